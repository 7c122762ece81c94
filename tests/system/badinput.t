#!/usr/bin/perl
# Broken zones and configurations are refused with their lines; strangers' bytes
# crash nothing and don't fill the log.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use IO::Socket::INET;
use Lab;

my $dir = tempdir('encdns-bad-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $head = "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n";
my $good = Lab::spurt("$dir/good", $head);
my $lab = Lab->new(zones => { 'good.example' => $good });

# Zone files: what is wrong, at which line. (The head has four.)
for (
	['an unknown type', "x NOSUCH 1\n", 5],
	['a bad address', "\n\nx A 1.2.3\n", 7],
	['a bad IPv6 address', "x AAAA 2001:db8:::1\n", 5],
	['an open parenthesis', "x TXT ( \"a\"\n", qr/[56]/],
	['an open quote', "x TXT \"a\n", qr/[56]/],
	['a label of 64', 'x' x 64 . " A 192.0.2.2\n", 5],
	['a name of 256', join('.', ('x' x 60) x 5) . " A 192.0.2.2\n", 5],
	['an owner outside', "x.other.example. A 192.0.2.2\n", 5],
	['two SOA', "\@ SOA ns hostmaster 2 3600 900 604800 300\n", 5],
	['CNAME beside others', "x A 192.0.2.2\nx CNAME y\n", qr/[56]/],
	['a number too large', "x MX 65536 y\n", 5],
	['too few fields', "x SRV 1 2 y\n", 5],
	['too many fields', "x A 192.0.2.2 192.0.2.3\n", 5],
	['an unknown directive', "\$NOSUCH x\n", 5],
	['a missing include', "\$INCLUDE nothere\n", 5],
	['bad base64', "x DNSKEY 257 3 8 ab!cd\n", 5],
	['generic rdata of a wrong length', "x TYPE65280 \\# 5 C0000201\n", 5],
) {
	my ($what, $text, $line) = @$_;
	my $file = Lab::spurt("$dir/bad", $head . $text);
	my $u = $lab->cmd('update', "bad.example=$file");
	is($u->{status}, 1, $what);
	like($u->{err}, qr/^\Q$file\E:$line: ..*\n\z/m, "$what: file, line, what is wrong") or diag($u->{err});
}
for (['no SOA', "\@ 60 NS ns\nns 60 A 192.0.2.1\n"], ['no NS', "\@ 60 SOA ns hostmaster 1 3600 900 604800 300\n"], ['nothing', '']) {
	my $file = Lab::spurt("$dir/bad", $_->[1]);
	my $u = $lab->cmd('update', "bad.example=$file");
	is($u->{status}, 1, $_->[0]);
	like($u->{err}, qr/^\Q$file\E:(\d+:)? ..*\n\z/m, "$_->[0]: file, what is wrong") or diag($u->{err});
}
is($lab->ask('bad.example', 'SOA')->{rcode}, 'REFUSED', 'none of them is served');
ok($lab->ask('good.example', 'SOA')->{aa}, 'the good one is');

# Configurations: every error, with its line, and nothing starts.
my $conf = Lab::spurt("$dir/conf", "# comment\nservice 127.0.0.1\@notaport\nnosuchkey 1\nworkers many\nservice 127.0.0.1\@5399\nudp-size 7\nrrl maybe\nservice 0.0.0.0\@5399\nadmin 127.0.0.9\@53\nadmin 127.0.0.1\nrrl-allow 10.0.0.0/33\n");
my $c = Lab::run("$Lab::bin/encdns", 'checkconf', $conf);
isnt($c->{status}, 0, 'checkconf of a broken file');
like("$c->{out}$c->{err}", qr/^\Q$conf\E:$_: ./m, "an error at line $_") for 2, 3, 4, 6, 7, 8, 9, 11;
unlike("$c->{out}$c->{err}", qr/^\Q$conf\E:([15]|10): /m, 'none at the good lines');
like("$c->{out}$c->{err}", qr/^\Q$conf\E: 127\.0\.0\.1 can't be both/m, 'an admin address that is a service address');
mkdir "$dir/node";
my $run = Lab::run({ limit => 10, input => Lab::spurt("$dir/key", '0' x 64 . "\n") }, "$Lab::bin/encdns", 'run', '--dir', "$dir/node", '--conf', $conf, '--key', 'fd:0');
is($run->{status}, 1, 'it does not run with it');
like($run->{err}, qr/\Q$conf\E:3: /, 'and says why');
is(Lab::run("$Lab::bin/encdns", 'checkconf', $lab->dir . '/node1/conf')->{status}, 0, "checkconf of the lab's");
my $none = Lab::run("$Lab::bin/encdns", 'checkconf', "$dir/nothere");
isnt($none->{status}, 0, 'checkconf of no file');
is(scalar(() = $none->{err} =~ /\n/g), 1, 'one line tells it') or diag($none->{err});
my $sealed = Lab::spurt("$dir/sealed", "service 127.0.0.1\@5399\nhub 127.0.0.1\@840\n");
is(Lab::run("$Lab::bin/encdns", 'checkconf', $sealed)->{status}, 0, 'a configuration for a station, whose bundle brings the credentials');
isnt(Lab::run("$Lab::bin/encdns", @$_)->{status}, 0, "encdns @$_") for ['nosuch'], ['run'], ['run', '--what'], ['status', '--dir', "$dir/nothere"];
isnt(Lab::run("$Lab::bin/encdns-hub", @$_)->{status}, 0, "encdns-hub @$_") for ['nosuch'], ['load'], ['ca'], ['ca', 'issue', 'king', 'x', '--dir', $dir];
like(Lab::run("$Lab::bin/encdns", '--help', 'keys')->{out}, qr/^\s*service\b.*^\s*workers\b/ms, '--help keys');

# Credentials that are none, or another role's.
my ($fd, $hubs) = (4, Lab::spurt("$dir/hubs", 'listen 127.0.0.1@' . Lab::free_port() . "\ncredentials fd:4\n"));
for (['absent', undef, qr/Bad file descriptor/], ['a key', "$dir/key", qr/certificate is missing/], ["a node's", glob($lab->dir . '/operator/ca/issued/node-*.pem'), qr/is a node's, not a hub's/]) {
	my ($what, $file, $like) = @$_;
	Lab::spurt("$dir/key", "0" x 64 . "\n");
	my $from = defined $file ? "$fd<'$file'" : "$fd<&-";
	my $r = Lab::run({ limit => 10 }, 'sh', '-c', "exec '$Lab::bin/encdns-hub' run --dir '$dir/hub' --conf '$hubs' --key fd:3 3<'$dir/key' $from");
	ok($r->{status} == 1 && $r->{err} =~ /^encdns-hub: credentials fd:$fd: .*$like.*; nothing was started$/, "the hub's credentials: $what") or diag $r->{err};
}

# Bad keys.
for (['short', "abc\n"], ['not hex', 'x' x 64 . "\n"], ['none', '']) {
	my $r = Lab::run({ limit => 10, input => Lab::spurt("$dir/key", $_->[1]) }, "$Lab::bin/encdns-hub", 'run', '--dir', "$dir/node", '--conf', $lab->dir . '/hub1/conf', '--key', 'fd:0');
	is($r->{status}, 1, "a key that is $_->[0]");
}

# Strangers. The seed is printed, so that a failure can be repeated.
my $seed = $ENV{SEED} // time;
srand $seed;
note("SEED=$seed");
my %before = map { $_ => join ' ', sort { $a <=> $b } $lab->pids($_) } qw(hub1 node1);
my %log = map { $_ => -s $lab->dir . "/$_/log" } qw(hub1 node1);
my ($tunnel) = Lab::slurp($lab->dir . '/hub1/conf') =~ /^listen 127\.0\.0\.1@(\d+)/m;

sub noise { join '', map { chr int rand 256 } 1 .. shift }
my @model = map { DNS::query(@$_) } ['good.example', 'SOA'], ['www.good.example', 'A', do => 1], ['good.example', 'ANY'],
	['good.example', 'AXFR'], ['*.good.example', 'TXT', edns => 65535], ['.', 'NS'];
sub mangled {
	my $q = $model[ rand @model ];
	for (1 .. 1 + rand 6) {
		my $how = int rand 4;
		if ($how == 0) { substr $q, rand length $q, 1, chr int rand 256 }
		elsif ($how == 1) { $q = substr $q, 0, rand(1 + length $q) }
		elsif ($how == 2) { $q .= noise(1 + rand 40) }
		else { substr $q, rand length $q, 2, pack 'n', 0xc000 | rand 64 }
		$q = noise(12) if $q eq '';
	}
	return $q;
}
my $s = DNS::udp_socket('127.0.0.1', $lab->port);
my ($sent, $alive) = (0, 0);
for my $round (1 .. 100) {
	for (1 .. 100) {
		send $s, rand() < 0.2 ? noise(rand 600) : mangled(), 0;
		$sent++;
	}
	my $m = $lab->ask('good.example', 'SOA');
	$alive++ if $m && $m->{aa};
	1 while defined recv $s, my $x, 65535, Socket::MSG_DONTWAIT();
}
is($alive, 100, "answers right after each of 100 bursts of broken datagrams ($sent)");

sub tcp { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Proto => 'tcp', Timeout => 5) }
local $SIG{PIPE} = 'IGNORE';
for (1 .. 200) {
	my $c = tcp($lab->port) or next;
	my $kind = $_ % 5;
	my $m = mangled();
	syswrite $c, $kind == 0 ? noise(rand 2000) : $kind == 1 ? pack('n', 65535) . noise(100) : $kind == 2 ? pack('n', 0) x 50
		: $kind == 3 ? pack('n/a*', $m) x 20 : substr pack('n/a*', $m), 0, rand length $m;
	close $c;
}
my $m = $lab->ask('good.example', 'SOA', tcp => 1);
ok($m && $m->{aa}, 'answers over TCP after 200 broken streams');

my $hello = pack 'H*', '160301002f0100002b0303' . '00' x 32 . '000004c02c00ff0100';
for (1 .. 200) {
	my $c = tcp($tunnel) or next;
	my $kind = $_ % 4;
	my $h = $hello;
	substr $h, rand length $h, 1, chr int rand 256 for 1 .. 3;
	syswrite $c, $kind == 0 ? noise(rand 3000) : $kind == 1 ? $h : $kind == 2 ? $hello . noise(500) : substr $hello, 0, rand length $hello;
	close $c;
}
SKIP: {
	skip 'needs package openssl', 1 if Lab::run('openssl', 'version')->{status};
	my $r = Lab::run({ limit => 10 }, 'openssl', 's_client', '-connect', "127.0.0.1:$tunnel", '-tls1_2', '-brief');
	unlike($r->{out}, qr/journal/i, 'a TLS client without a certificate learns nothing');
}
Lab::spurt("$dir/good", $head =~ s/ 1 3600/ 2 3600/r);
my $u = $lab->cmd('update', "good.example=$dir/good");
is($u->{status}, 0, 'an update goes through after 200 strangers at the tunnel') or diag($u->{err});

for my $who (qw(hub1 node1)) {
	is(join(' ', sort { $a <=> $b } $lab->pids($who)), $before{$who}, "$who: the same processes");
	my $more = (-s $lab->dir . "/$who/log") - $log{$who};
	cmp_ok($more, '<', 20_000, "$who: $more octets of log");
}
done_testing();
