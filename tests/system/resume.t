#!/usr/bin/perl
# A node whose writer is killed in the midst of a snapshot gets the rest of it, not
# all of it again, and has every name afterwards.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

use constant { NAMES => 100_000, TXT => 1750 }; # 170 MiB: five commits on the way
my $work = tempdir('encdns-resume-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $text = join ' ', ('"' . 'x' x 250 . '"') x (TXT / 250);
open my $f, '>', "$work/zone" or die;
print $f "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n";
printf $f "name%d TXT $text\n", $_ for 1 .. NAMES;
close $f;
my $small = Lab::spurt("$work/small", "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'big.example' => "$work/zone", 'small.example' => $small }, set => ['rrl=off', 'workers=1'], limit => 300);
my $node = $lab->dir . '/node1';

# The node comes back with an empty store.
kill 'KILL', $lab->pids('node1');
Lab::wait_for(20, sub { !$lab->pids('node1') }) or die "it does not end\n";
unlink "$node/store" or die "store: $!\n";
my $from = -s "$node/log";
sub said { return substr Lab::slurp("$node/log"), $from }
my $starter = fork // die;
if (!$starter) {
	exec $Lab::lab, 'restart', $lab->dir or POSIX::_exit(127);
}
ok(Lab::wait_for(60, sub { (-s "$node/store" // 0) > 110_000_000 }), 'a snapshot is on its way');
my ($control) = $lab->pids('node1', 'encdns-control');
my $answered = $lab->ask('small.example', 'SOA', tries => 1, wait => 0.2);
kill 'KILL', $control;
unlike(said(), qr/snapshot complete/, 'its writer is killed before it is complete');
isnt(($answered // {})->{rcode}, 'NOERROR', 'nothing of it was seen');
waitpid $starter, 0;
ok(Lab::wait_for(120, sub { (($lab->status('node1') // {})->{run_level} // 0) == 4 && said() =~ /snapshot complete/ }), 'it comes to its end');
my ($chunk) = said() =~ /going on with the snapshot at sequence \d+ behind chunk (\d+)/;
cmp_ok($chunk // 0, '>', 100, 'the second writer went on where the first had come to');
is(scalar(() = said() =~ /receiving a snapshot/g), 1, 'and began none from the start') or diag(said(), Lab::slurp($lab->dir . '/hub1/log'));

my $wrong = 0;
for (my $i = 0; $i < NAMES; $i += 2000) {
	my $r = DNS::ask_udp('127.0.0.1', $lab->port, [ map { DNS::query('name' . ($i + $_) . '.big.example', 'A') } 1 .. 2000 ]);
	for (@$r) {
		my $m = defined $_ ? DNS::decode($_) : {};
		$wrong++ unless ($m->{rcode} // '') eq 'NOERROR' && $m->{aa};
	}
}
is($wrong, 0, NAMES . ' names are there');
isnt(($lab->ask('name0.big.example', 'A') // {})->{rcode}, 'NOERROR', 'and no other');
kill 'TERM', ($lab->pids('node1', 'encdns-super'))[0];
Lab::wait_for(20, sub { !$lab->pids('node1') });
my $check = Lab::run({ limit => 60, input => $lab->dir . '/operator/node1.key' }, "$Lab::bin/encdns", 'check', '--store', "$node/store", '--key', 'fd:0');
is($check->{status}, 0, 'the store is sound') or diag($check->{err});
$lab->down;
done_testing;
