#!/usr/bin/perl
# While the hub takes in a large zone all else goes on: commands are answered, nodes
# stay connected, one that comes anew is fed; and a second load waits for its turn.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use List::Util 'sum';
use POSIX ();
use Lab;

use constant { NAMES => 400_000, ANSWER => 1, TURNS => 60 }; # ANSWER: the longest wait for one, in seconds
my $work = tempdir('encdns-loading-XXXXXX', TMPDIR => 1, CLEANUP => 1);
sub small { return Lab::spurt("$work/small", "\$TTL 60\n\@ SOA ns hostmaster $_[0] 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n") }
my $lab = Lab->new(zones => { 'small.example' => small(1) }, set => [ 'rrl=off', 'workers=1' ]);
my ($hub, $node) = map { $lab->dir . "/$_" } 'hub1', 'node1';

sub in_child {
	my (@cmd) = @_;
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	open STDOUT, '>', "$work/$$.out";
	open STDERR, '>&', \*STDOUT;
	exec @cmd or POSIX::_exit(127);
}
# Asks the hub where it stands until a test is true; how often it answered, the longest
# wait for an answer, and how many came while its store grew.
sub ask_until {
	my ($seconds, $test) = @_;
	my ($n, $longest, $growing, $end, $size) = (0, 0, 0, DNS::now() + $seconds, -s "$hub/store");
	until ($test->()) {
		my $from = DNS::now();
		return ($n, 1e9, 0) if $from > $end;
		my $grows = -s "$hub/store" > $size;
		if (defined $lab->status('hub1')) {
			$n++;
			$growing++ if $grows && !$test->();
		}
		my $took = DNS::now() - $from;
		$longest = $took if $took > $longest;
		DNS::pause(0.02);
	}
	return ($n, $longest, $growing);
}
sub greeted { return scalar(() = Lab::slurp("$hub/log") =~ /node node1: streaming from sequence/g) }
sub new_session {
	my $before = greeted();
	kill 'KILL', $lab->pids('node1', 'encdns-control');
	return sub { greeted() > $before };
}
sub over {
	my ($pid, $status) = @_;
	return sub {
		$$status = $? if waitpid($pid, POSIX::WNOHANG()) == $pid;
		return defined $$status;
	};
}

sub changed_zone {
	my ($serial) = @_;
	open my $f, '>', "$work/zone" or die "$work/zone: $!\n";
	print $f "\$TTL 60\n\@ SOA ns hostmaster $serial 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n";
	printf $f "name%d NS ns.name%d\nns.name%d A 192.0.2.%d\n", $_ , $_, $_, $serial + 1 for 0 .. NAMES - 1;
	close $f;
	return "big.example=$work/zone";
}

# It is read from a pipe: the hub is in the midst of it for as long as we like.
POSIX::mkfifo("$work/pipe", 0600) or die "mkfifo: $!\n";
my $load = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, "big.example=$work/pipe");
open my $zone, '>', "$work/pipe" or die "pipe: $!\n";
print $zone "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n";
$zone->flush;
my ($n, $longest) = ask_until(30, new_session());
cmp_ok($n, '>', 0, 'the hub answers while a zone is read');
cmp_ok($longest, '<', 5 * ANSWER, sprintf 'soon: %.3f s at most (bar %.3f s)', $longest, ANSWER);
my $second = in_child($Lab::lab, 'update', $lab->dir, 'small.example=' . small(2));
DNS::pause(0.5);
is(waitpid($second, POSIX::WNOHANG()), 0, 'a second load waits');
printf $zone "name%d NS ns.name%d\nns.name%d A 192.0.2.2\n", $_ * 7919 % NAMES, $_ * 7919 % NAMES, $_ * 7919 % NAMES for 1 .. NAMES;
close $zone;

# From here on it is sorted, written to the journal and into the hub's store.
my ($done, $status);
($n, $longest, my $growing) = ask_until(120, over($load, \$done));
is($done, 0, 'the zone is taken') or diag(Lab::slurp("$work/$load.out"));
cmp_ok($growing, '>', 5, "the hub answers while it is stored ($growing of $n times)");
cmp_ok($longest, '<', 5 * ANSWER, sprintf 'soon: %.3f s at most (bar %.3f s)', $longest, ANSWER);
diag(sprintf '%.3f s is over the bar of %.3f s', $longest, ANSWER) if $longest > ANSWER;
ok(Lab::wait_for(60, over($second, \$status)), 'the second load has had its turn');
is($status, 0, 'and was taken');
like("@{ ($lab->ask('small.example', 'SOA') // {})->{answer} // [] }", qr/ 2 3600 /, 'the node serves it');
ok(Lab::wait_for(60, sub { my $m = $lab->ask('ns.name' . (NAMES - 1) . '.big.example', 'A') // {}; ($m->{rcode} // '') eq 'NOERROR' && @{ $m->{authority} // [] } }),
	'and the large one');

# The same zone with all its addresses changed, from a file.
$load = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, changed_zone(2));
my $new = new_session();
my $gone = over($load, \my $taken);
($n, $longest) = ask_until(120, sub { $new->() || $gone->() });
ok($new->(), 'a node that comes while changes are looked for is fed');
ok(Lab::wait_for(120, $gone), 'the zone is taken');
is($taken, 0, 'with its changes') or diag(Lab::slurp("$work/$load.out"));

# It is to stop while the next change, safe in its journal, goes into its store.
sub journal { return sum(map { -s } glob "$hub/journal/*") }
my $had = journal();
$load = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, changed_zone(3));
$gone = over($load, \$taken);
undef $taken;
my ($size, $same) = ($had, 0);
Lab::wait_for(120, sub { # until the journal grows no more
	DNS::pause(0.02);
	my $was = $size;
	$size = journal();
	$same = $size == $was ? $same + 1 : 0;
	return $gone->() || ($size > $had + 10 * NAMES && $same > 5);
});
Lab::spurt("$hub/conf", Lab::slurp("$hub/conf") . "import-memory 16M\n"); # for the next one
is(Lab::run({ limit => 120 }, $Lab::lab, 'restart', $lab->dir, '--hub')->{status}, 0, 'stopped in the midst of a change, it starts again');
ok(Lab::wait_for(30, $gone), 'the load has ended');
my $told = Lab::slurp("$work/$load.out") =~ /big\.example\. serial 3 sequence/;
is($taken == 0, $told, 'well, if it said that the zone is taken') or diag(Lab::slurp("$work/$load.out"));
note($told ? 'it had' : 'it had not', Lab::slurp("$hub/log") =~ /(: asked to stop: .*)/ ? $1 : '');
ok(Lab::wait_for(60, sub { "@{ ($lab->ask('big.example', 'SOA') // {})->{answer} // [] }" =~ ($told ? qr/ 3 3600 / : qr/ 2 3600 /) }),
	'and the node serves what was taken');

# One that is sorted on the disk, and wrong at its end.
my $file = changed_zone(4);
open my $wrong, '>>', "$work/zone" or die "$work/zone: $!\n";
print $wrong "zz CNAME a\nzz TXT b\n";
close $wrong;
my $r = Lab::run({ limit => 120 }, "$Lab::bin/encdns-hub", 'load', '--dir', $hub, $file);
isnt($r->{status}, 0, 'a zone larger than import-memory is refused for its last name');
my ($at, $line) = (quotemeta "$work/zone", 2 * NAMES + 6);
like($r->{err}, qr/\A$at:$line: zz\.big\.example\.: CNAME beside other data \(TXT\)\n$at:1: warning: .*import-memory.*\n\z/, 'it says where');

# A load of many turns, as it names one zone again and again: another one has its turn
# behind the one that is at work when it comes.
# Its file is long, so that others are asked while it is read, and has little in it.
my $mid = Lab::spurt("$work/mid", "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n" . ";\n" x 2_000_000);
$load = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, '--force', ("mid.example=$mid") x TURNS);
ok(Lab::wait_for(30, sub { -s "$work/$load.out" }), 'a load of many turns has had its first');
my $small = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, 'small.example=' . small(3));
my ($small_gone, $all_gone) = (over($small, \my $small_status), over($load, \my $all_status));
ok(Lab::wait_for(120, sub { $all_gone->(); $small_gone->() }), 'another load is taken');
is($small_status, 0, 'well');
my $turns = () = Lab::slurp("$work/$load.out") =~ /sequence/g;
cmp_ok($turns, '<', 12, "in its midst: behind turn $turns of " . TURNS);
ok(Lab::wait_for(120, $all_gone) && $all_status == 0, 'which then comes to its end');
unlike(Lab::slurp("$node/log") . Lab::slurp("$hub/log"), qr/silent/, 'nobody was taken for dead');

# It stops while it waits for a pipe that has a writer, and says no word.
POSIX::mkfifo("$work/mute", 0600) or die "mkfifo: $!\n";
$load = in_child("$Lab::bin/encdns-hub", 'load', '--dir', $hub, "big.example=$work/mute", 'small.example=' . small(4));
open my $mute, '+<', "$work/mute" or die "mute: $!\n";
DNS::pause(0.5);
is($lab->down->{status}, 0, 'down');
ok(Lab::wait_for(30, over($load, \my $left)), 'the load has ended');
isnt($left, 0, 'and failed');
like(Lab::slurp("$work/$load.out"), qr/mute:1: the rest was not read: the hub is stopping\n.*only what it has told of/s, 'it says why');
unlike(Lab::slurp("$work/$load.out"), qr/^small/m, 'nor has it gone on with the next');
done_testing;
