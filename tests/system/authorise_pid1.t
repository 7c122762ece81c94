#!/usr/bin/perl
# A machine that is encdns's alone: it is the first process there (of a PID namespace,
# where reboot(2) ends that with SIGHUP, power off with SIGINT). Reboot and power off by
# an operator, tampering, the operator's clock, and children whose parents have gone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use IO::Socket::INET;
use Lab;
use POSIX ();

my @alone = ('unshare', '--pid', '--fork', '--mount-proc', '--kill-child=KILL');
plan skip_all => 'needs root and PID namespaces' if $> || system("@alone true 2>/dev/null");

my $dir = tempdir('encdns-pid1-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
my $base = $lab->dir;
$lab->halt('node1');

sub level { ($lab->status('node1') // {})->{run_level} // 0 }
sub said { Lab::slurp("$base/node1/log") }
sub node { $lab->hub('node', 'node1', @_) }

# Starts it; what ends it is the signal of unshare, which tells its child's.
sub switch_on {
	my @how = @_;
	Lab::spurt("$base/node1/log", '');
	my $pid = fork // die;
	if (!$pid) {
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$base/node1/log";
		open STDERR, '>&', \*STDOUT;
		exec @alone, @how, "$Lab::bin/encdns", 'run', '--dir', "$base/node1" or POSIX::_exit(127);
	}
	ok(Lab::wait_for(20, sub { level() == 1 }), 'it waits, as the first process') or diag said();
	return $pid;
}

sub ends_with {
	my ($pid, $signal, $name) = @_;
	my $status;
	Lab::wait_for(20, sub { $status = $? if waitpid($pid, POSIX::WNOHANG()) == $pid; defined $status });
	is(defined $status ? $status & 127 : 'still there', $signal, $name) or diag said();
	ok(Lab::wait_for(5, sub { !$lab->pids('node1') }), 'nothing of it is left');
}

sub authorised {
	my $r = $lab->hub('authorise', 'node1', '--yes-if-unchanged', '--wait', 20);
	is($r->{status}, 0, 'authorised') or diag "$r->{out}$r->{err}";
	ok(Lab::wait_for(20, sub { level() == 4 }), 'it serves') or diag said();
}

my $pid = switch_on();
authorised();

# ---- orphans ----
my $ours = (glob "/proc/$pid/task/$pid/children")[0];
my ($first) = Lab::slurp($ours) =~ /(\d+)/;
is(system("nsenter -t $first -p -m sh -c '(sleep 0.1 &) ; (sleep 0.1 &)'"), 0, 'two processes whose parents have gone');
ok(Lab::wait_for(10, sub { !grep { (Lab::slurp($_) =~ /^\d+ \(sleep\) Z (\d+)/ ? $1 : 0) == $first } glob '/proc/[0-9]*/stat' }), 'are buried by it');
is(level(), 4, 'which serves on');

# ---- an operator's orders ----
my $r = node('reboot');
ok($r->{status} == 0 && $r->{out} =~ /the machine starts anew/, 'reboot') or diag $r->{err};
ends_with($pid, POSIX::SIGHUP(), 'the machine starts anew');
like(said(), qr/the machine is started anew: operator lab.*stopped/s, 'after a clean stop, and the log says who wanted it');
$pid = switch_on();
authorised();
$r = node('poweroff');
ok($r->{status} == 0 && $r->{out} =~ /switched off/, 'poweroff') or diag $r->{err};
ends_with($pid, POSIX::SIGINT(), 'the machine is switched off');

# ---- tampering ----
my $boot = Lab::slurp("$base/node1/boot");
Lab::spurt("$base/node1/boot", "${boot}tamper-reboot yes\n");
$pid = switch_on();
my ($host, $port) = $lab->port_of('node1');
my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
print $s "GET / HTTP/1.0\r\n\r\n";
$s->flush;
ends_with($pid, POSIX::SIGHUP(), 'tamper-reboot yes: a stranger has it started anew');
Lab::spurt("$base/node1/boot", $boot);

# ---- signals ----
$pid = switch_on();
authorised();
($first) = Lab::slurp("/proc/$pid/task/$pid/children") =~ /(\d+)/;
kill 'TERM', $first;
my $status;
Lab::wait_for(20, sub { $status = $? if waitpid($pid, POSIX::WNOHANG()) == $pid; defined $status });
is($status, 0, 'TERM ends it as anywhere else');

# ---- the operator's clock ----
# In a user namespace, where nobody may set the clock: it is everybody's here.
SKIP: {
	my ($late) = grep { -x } "$Lab::bin/tests/test_late", "$Lab::bin/build/tests/test_late";
	skip('no user namespaces, or no test programs', 4) if !$late || system("@alone --user --map-root-user true 2>/dev/null");
	$pid = switch_on('--user', '--map-root-user');
	$r = Lab::run({ limit => 60 }, $late, 'node1', '--yes-if-unchanged', '--wait', 20, '--station', "$base/operator");
	is($r->{status}, 0, 'an operator whose clock is an hour ahead') or diag $r->{err};
	ok(Lab::wait_for(20, sub { level() == 4 }), 'it serves') or diag said();
	like(said(), qr/this machine's clock is off by -3600 s.*the clock can't be set: Operation not permitted/s, 'and would go by his clock');
	($first) = Lab::slurp("/proc/$pid/task/$pid/children") =~ /(\d+)/;
	kill 'TERM', $first;
	waitpid $pid, 0;
}
done_testing();
