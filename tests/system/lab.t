#!/usr/bin/perl
# The contract of tests/lab, make run and the ad-hoc pipe.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

my $small = "$Lab::tree/tests/zones/example.org.zone";
my $dir = tempdir('encdns-lab-XXXXXX', TMPDIR => 1, CLEANUP => 1);

sub zone {
	my ($serial, $more) = @_;
	return "\$TTL 60\n\@ SOA ns hostmaster $serial 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\nserial TXT \"$serial\"\n" . ($more // '');
}
sub serial {
	my ($lab, $origin, %o) = @_;
	my $m = $lab->ask($origin, 'SOA', %o) or return 'no answer';
	return "@{ $m->{answer} }" =~ /SOA \S+ \S+ (\d+)/ ? $1 : $m->{rcode};
}
my ($kept, $live) = (0, undef);

subtest 'up, answers, status' => sub {
	my $lab = $live = Lab->new(nodes => 2, set => ['workers=1', 'rrl=off'],
		zones => { 'example.org' => $small, 'test.example.' => Lab::spurt("$dir/test.zone", zone(1)) });
	is($lab->{up}{status}, 0, 'up');
	for my $host ('127.0.0.1', '127.0.0.2') {
		for my $tcp (0, 1) {
			my $m = $lab->ask('www.example.org', 'A', host => $host, tcp => $tcp);
			is("@{ $m->{answer} }", 'www.example.org. 3600 IN A 192.0.2.80', "$host, " . ($tcp ? 'TCP' : 'UDP'));
			is("$m->{rcode} $m->{aa}$m->{tc}$m->{ra}$m->{ad}", 'NOERROR 1000', 'its header');
			is(serial($lab, 'test.example', host => $host), 1, 'the other zone');
		}
	}
	SKIP: {
		skip 'no IPv6 loopback', 2 unless Lab::slurp('/proc/net/if_inet6') =~ /^0{31}1 /m;
		is(serial($lab, 'example.org', host => '::1', tcp => $_), 2026010101, '::1' . ($_ ? ' over TCP' : '')) for 0, 1;
	}
	is($lab->ask('example.net', 'A')->{rcode}, 'REFUSED', 'a zone not carried');

	my $hub = $lab->status('hub1');
	like($hub->{sequence}, qr/^[1-9]\d*$/, "the hub's sequence");
	like($hub->{chain}, qr/^[0-9a-f]{64}$/, "the hub's chain hash");
	is(scalar @{ $hub->{nodes} }, 2, 'two nodes at the hub');
	ok(Lab::wait_for(5, sub { !grep { $_->{acknowledged} < $hub->{sequence} } @{ $lab->status('hub1')->{nodes} } }),
		'both acknowledge its sequence');
	for my $k (1, 2) {
		my $node = $lab->status("node$k");
		is($node->{sequence}, $hub->{sequence}, "node $k: sequence");
		is($node->{chain}, $hub->{chain}, "node $k: chain hash");
		is($node->{run_level}, 4, "node $k: run level");
		my %z = map { $_->{name} => "$_->{serial} $_->{state}" } @{ $node->{zones} };
		is_deeply(\%z, { 'example.org.' => '2026010101 serving', 'test.example.' => '1 serving' }, "node $k: zones");
	}
	like(Lab::slurp($lab->dir . "/$_.pid"), qr/^\d+\n$/, "$_.pid") for qw(hub1 node1 node2);
	my ($super) = Lab::slurp($lab->dir . '/node1.pid') =~ /(\d+)/;
	is(Lab::slurp("/proc/$super/comm"), "encdns-super\n", 'the supervisor is in node1.pid');
	is(scalar $lab->pids('node1', $_), 1, "one $_") for qw(encdns-super encdns-control encdns-dns);
	my $up = Lab::run($Lab::lab, 'up', $lab->dir, '--port', $lab->port, "example.org=$small");
	is($up->{status}, 1, 'up where a lab is up');
	like($up->{err}, qr/a lab is up here.*\n\z/, 'says so');
};

subtest 'update' => sub {
	my $lab = $live;
	Lab::spurt("$dir/test.zone", zone(2));
	my $u = $lab->cmd('update', "test.example=$dir/test.zone");
	is($u->{status}, 0, 'update') or diag($u->{err});
	is(serial($lab, 'test.example', host => "127.0.0.$_"), 2, "node $_ answers the new serial") for 1, 2;
	note(sprintf 'took %.3f s', $u->{seconds});
	is($lab->cmd('update', "test.example.=$dir/test.zone")->{status}, 0, 'the same again');
	Lab::spurt("$dir/new.zone", zone(7));
	my $r = Lab::run('sh', '-c', "cd $dir && exec \"\$0\" update \"\$1\" new.example=new.zone", $Lab::lab, $lab->dir);
	is($r->{status}, 0, 'a new zone, by a relative path') or diag($r->{err});
	is(serial($lab, 'new.example', host => '127.0.0.2'), 7, 'is answered');
};

subtest 'refused' => sub {
	my $lab = $live;
	Lab::spurt("$dir/test.zone", zone(3, "bad A 192.0.2.256\n"));
	my $u = $lab->cmd('update', "test.example=$dir/test.zone");
	is($u->{status}, 1, 'a broken file');
	like($u->{err}, qr/test\.zone:6: .*\n\z/, 'file, line and why are the last line');
	is(serial($lab, 'test.example'), 2, 'the old zone stays');
	Lab::spurt("$dir/test.zone", zone(2, "more A 192.0.2.5\n"));
	is($lab->cmd('update', "test.example=$dir/test.zone")->{status}, 1, 'other content at the same serial');
	Lab::spurt("$dir/test.zone", zone(1));
	is($lab->cmd('update', "test.example=$dir/test.zone")->{status}, 1, 'a serial that goes back');
	is($lab->cmd('update', "test.example=$dir/nothing")->{status}, 1, 'no file');
	Lab::spurt("$dir/test.zone", zone(4));
	Lab::spurt("$dir/new.zone", "not a zone\n");
	$u = $lab->cmd('update', "new.example=$dir/new.zone", "test.example=$dir/test.zone");
	is($u->{status}, 1, 'one good, one bad');
	is(serial($lab, 'test.example'), 4, 'the good one is taken');
	is(serial($lab, 'new.example'), 7, 'the bad one is not');
	is($lab->status('node1')->{sequence}, $lab->status('hub1')->{sequence}, 'hub and node at one sequence');
};

subtest 'restart' => sub {
	my $lab = $live;
	for my $args ([], ['--kill'], ['--hub'], ['--hub', '--kill']) {
		my @before = map { Lab::slurp($lab->dir . "/$_.pid") } "@$args" =~ /hub/ ? 'hub1' : qw(node1 node2);
		my $r = $lab->cmd('restart', @$args);
		is($r->{status}, 0, "restart @$args") or diag($r->{err});
		like($r->{out}, qr/^ready \d+\.\d+\n\z/, 'ready');
		note($r->{out});
		my @after = map { Lab::slurp($lab->dir . "/$_.pid") } "@$args" =~ /hub/ ? 'hub1' : qw(node1 node2);
		isnt("@after", "@before", 'other processes');
		is(serial($lab, 'test.example', host => "127.0.0.$_"), 4, "node $_ answers what it had") for 1, 2;
	}
	Lab::spurt("$dir/test.zone", zone(5));
	is($lab->cmd('update', "test.example=$dir/test.zone")->{status}, 0, 'an update goes through afterwards');
	is($lab->status('hub1')->{sequence}, $lab->status('node2')->{sequence}, 'node 2 is at the sequence of the hub');
};

subtest 'two side by side' => sub {
	my $other = Lab->new(zones => { 'test.example' => Lab::spurt("$dir/other.zone", zone(99)) });
	is(serial($other, 'test.example'), 99, 'the second');
	is(serial($live, 'test.example'), 5, 'the first');
	my @p = $other->pids('node1');
	is($other->down->{status}, 0, 'down');
	ok(!-e $other->dir, 'its folder is gone');
	is(scalar(grep { Lab::slurp("/proc/$_/stat") =~ /\) [^Z]/ } @p), 0, 'its processes are gone');
	is(serial($live, 'test.example'), 5, 'the first lives');
};

subtest 'down' => sub {
	my $lab = $live;
	my @p = map { $lab->pids($_) } qw(hub1 node1 node2);
	ok(@p >= 7, @p . ' processes');
	kill 'STOP', $lab->pids('node2', 'encdns-super'); # whatever state it was in
	kill 'KILL', $lab->pids('hub1');
	my $r = Lab::run($Lab::lab, 'down', $lab->dir);
	is($r->{status}, 0, 'down');
	cmp_ok($r->{seconds}, '<', 5, sprintf 'in %.2f s', $r->{seconds});
	ok(!-e $lab->dir, 'its folder is gone');
	is(scalar(grep { Lab::slurp("/proc/$_/stat") =~ /\) [^Z]/ } @p), 0, 'its processes are gone');
	is(Lab::run($Lab::lab, 'down', $lab->dir)->{status}, 0, 'again');
	is(serial($lab, 'test.example'), 'no answer', 'nobody answers');
};

subtest 'a refused zone at up' => sub {
	my $lab = Lab->new(may_fail => 1, list => Lab::spurt("$dir/list", "bad.example=bad.zone\n# comment\ngood.example.=$dir/good.zone\n"),
		zones => { do { Lab::spurt("$dir/bad.zone", "\$TTL 1\n\@ A 1.2.3.4\n"); Lab::spurt("$dir/good.zone", zone(3)); () } });
	is($lab->{up}{status}, 1, 'exit status 1');
	like($lab->{up}{err}, qr/bad\.zone:(\d+:)? [^\n]*\n\z/, 'the message is the last line');
	is(serial($lab, 'good.example'), 3, 'the good zone is answered');
	is($lab->ask('bad.example', 'SOA')->{rcode}, 'REFUSED', 'the bad one is not');
};

subtest 'what up refuses' => sub {
	for (['--set', 'nonsense=1'], ['--set', 'rrl=perhaps'], ['--set', 'workers=many'], ['--hubs', 2], ['--what'], ['noequals'], ['--port', 'x']) {
		my $r = Lab::run($Lab::lab, 'up', "$dir/refused", '--port', Lab::free_port(), @$_);
		is($r->{status}, 1, "@$_");
		like($r->{err}, qr/\S.*\n\z/, 'says why') and note($r->{err});
		Lab::run($Lab::lab, 'down', "$dir/refused");
	}
	is(Lab::run($Lab::lab, $_, "$dir/nothere")->{status}, 1, "$_ where no lab is") for qw(update restart);
	is(Lab::run($Lab::lab)->{status}, 1, 'nothing asked');
};

# Runs make in a process group of its own and ends it by a signal.
sub run_make {
	my ($signal, $group, @vars) = @_;
	my $tmp = tempdir('encdns-run-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $pid = fork // die;
	if (!$pid) {
		setpgrp;
		delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
		$ENV{TMPDIR} = $tmp;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$tmp/out";
		open STDERR, '>', "$tmp/err";
		exec 'make', '-C', $Lab::tree, 'run', @vars or POSIX::_exit(127);
	}
	my $from = DNS::now();
	my $line;
	Lab::wait_for(60, sub { ($line) = Lab::slurp("$tmp/out") =~ /^(dig .*)\n/m; $line || waitpid($pid, 1) });
	my $took = DNS::now() - $from;
	my ($folder) = grep { -d } glob "$tmp/encdns-*";
	my @p = $folder ? grep { Lab::slurp("/proc/$_/cmdline") =~ /\Q$folder\E/ } map { m,(\d+), } glob '/proc/[0-9]*' : ();
	my $answer = $line && $line =~ /^dig \@127\.0\.0\.1 -p (\d+) (\S+) (\S+)$/ ? DNS::ask('127.0.0.1', $1, $2, $3) : undef;
	my @lines = grep { /dig/ } split /\n/, Lab::slurp("$tmp/out");
	$from = DNS::now();
	kill $signal, $group ? -$pid : $pid;
	my $gone = Lab::wait_for(10, sub { waitpid($pid, 1) });
	# without a terminal's group, make may be gone a moment before the rest
	$gone &&= Lab::wait_for(3 - (DNS::now() - $from), sub { !-e $folder && !grep { Lab::slurp("/proc/$_/stat") =~ /\) [^Z]/ } @p });
	return { line => $line, lines => scalar @lines, answer => $answer, took => $took, gone => $gone, folder => $folder,
		end => DNS::now() - $from, err => Lab::slurp("$tmp/err"), processes => scalar @p };
}

subtest 'make run' => sub {
	plan skip_all => 'another build' if $ENV{ENCDNS_BUILD};
	for (['INT', 1], ['TERM', 0]) {
		my $port = Lab::free_port();
		my $r = run_make(@$_, "PORT=$port");
		is($r->{line}, "dig \@127.0.0.1 -p $port www.example.org A", "the line, SIG$_->[0]") or diag($r->{err});
		is($r->{lines}, 1, 'once');
		is($r->{answer} && "@{ $r->{answer}{answer} }", 'www.example.org. 3600 IN A 192.0.2.80', 'answered');
		cmp_ok($r->{took}, '<', 50, sprintf 'after %.2f s (bar 10 s)', $r->{took});
		cmp_ok($r->{processes}, '>=', 2, "$r->{processes} processes");
		ok($r->{gone} && $r->{end} < 3, sprintf 'all gone %.2f s after the signal', $r->{end});
	}
	my $port = Lab::free_port();
	Lab::spurt("$dir/mine.zone", zone(12));
	my $r = run_make('TERM', 0, "PORT=$port", "ZONE=mine.example=$dir/mine.zone");
	is($r->{line}, "dig \@127.0.0.1 -p $port mine.example SOA", 'a zone of one\'s own') or diag($r->{err});
	ok($r->{answer} && $r->{answer}{aa}, 'answered');
};

subtest 'ad hoc' => sub {
	my $port = Lab::free_port();
	my $from = DNS::now();
	my $pid = fork // die;
	if (!$pid) {
		setpgrp;
		open STDIN, '<', '/dev/null';
		open STDERR, '>', "$dir/adhoc.err";
		open STDOUT, '>&', \*STDERR;
		exec 'sh', '-c', "'$Lab::bin/encdns-hub' stream example.org='$small' | exec '$Lab::bin/encdns' run --ad-hoc --port $port"
			or POSIX::_exit(127);
	}
	my $m;
	Lab::wait_for(10, sub { $m = eval { DNS::ask('127.0.0.1', $port, 'www.example.org', 'A', wait => 0.02, tries => 1) }; $m && @{ $m->{answer} } });
	my $took = DNS::now() - $from;
	is($m && "@{ $m->{answer} }", 'www.example.org. 3600 IN A 192.0.2.80', 'answered') or diag(Lab::slurp("$dir/adhoc.err"));
	cmp_ok($took, '<', 5, sprintf 'after %.3f s (bar 1 s)', $took);
	diag(sprintf 'the ad-hoc pipe took %.3f s, the bar is 1 s', $took) if $took > 1;
	my @node = grep { Lab::slurp("/proc/$_/comm") eq "encdns-super\n" && getpgrp($_) == $pid } map { m,(\d+), } glob '/proc/[0-9]*';
	is(scalar @node, 1, 'its supervisor');
	kill 'TERM', @node;
	ok(Lab::wait_for(3, sub { waitpid($pid, 1) }), 'ends at SIGTERM') or kill 'KILL', -$pid;
	ok(!defined eval { DNS::ask('127.0.0.1', $port, 'www.example.org', 'A', wait => 0.1, tries => 1) }, 'and answers no more');
};
done_testing();
