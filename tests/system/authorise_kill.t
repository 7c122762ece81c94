#!/usr/bin/perl
# An authorisation with a new bundle, in the midst of which the operator's command, all
# of the machine or its child is killed: the next one gets through, whatever the disks
# on both sides have of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

use constant { KILLS => 9, WITHIN => 0.09 };
my $dir = tempdir('encdns-kill-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
my ($base, $station) = ($lab->dir, $lab->dir . '/operator');
my $conf = Lab::slurp("$base/node1/conf");

sub level { ($lab->status('node1') // {})->{run_level} // 0 }
sub again { $lab->halt('node1', 'KILL'); $lab->waiting('node1') or BAIL_OUT('it does not start') }

sub authorising {
	my $pid = fork // die;
	return $pid if $pid;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', '/dev/null';
	open STDERR, '>&', \*STDOUT;
	exec "$Lab::bin/encdns-hub", 'authorise', 'node1', '--station', $station, '--yes-if-unchanged', @_ or POSIX::_exit(127);
}

for my $i (0 .. KILLS - 1) {
	again();
	my $after = rand WITHIN;
	my $what = ('the command', 'the machine', 'its child')[ $i % 3 ];
	my $pid = authorising('--conf', Lab::spurt("$dir/conf", "${conf}identity try-$i\n"));
	DNS::pause($after);
	kill 'KILL', $what eq 'the command' ? $pid : $lab->pids('node1', $what eq 'its child' ? 'encdns-control' : ());
	waitpid $pid, 0;
	again() if $what eq 'the machine';
	DNS::pause(0.3);
	my $r = level() == 1 ? $lab->hub('authorise', 'node1', '--wait', 20, { input => "yes\n" }) : { status => 0 };
	ok($r->{status} == 0 && Lab::wait_for(20, sub { level() == 4 }), sprintf '%s killed after %.0f ms', $what, $after * 1000)
		or diag "$r->{out}$r->{err}" . Lab::slurp("$base/node1/log");
}
done_testing();
