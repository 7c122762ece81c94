#!/usr/bin/perl
# A flood at port 22: from 1,000 networks 1,000 connections a second, half of them
# silent, half with garbage. An operator gets in all the same, within 10 s; nobody who
# isn't certified keeps a place for more than 2 s; memory stays what it was.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;
use POSIX ();
use Socket qw(:DEFAULT pack_sockaddr_in inet_aton);

use constant { RATE => 1000, SECONDS => 14, HELD => 400 };
my $dir = tempdir('encdns-flood-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
$lab->halt('node1');
ok($lab->waiting('node1'), 'a machine waits');
my ($host, $port) = $lab->port_of('node1');
my $to = pack_sockaddr_in($port, inet_aton($host));
my ($waiter) = $lab->pids('node1', 'encdns-control');
sub resident { Lab::slurp("/proc/$waiter/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 }
sub level { ($lab->status('node1') // {})->{run_level} // 0 }

# One connection, from one of 1,000 networks of the loopback; not waited for.
sub connection {
	my ($nth) = @_;
	socket my $s, PF_INET, SOCK_STREAM | 04000, 0 or return; # SOCK_NONBLOCK
	bind $s, pack_sockaddr_in(0, inet_aton(sprintf '127.%d.%d.%d', 16 + $nth / 250 % 4, $nth % 250, 1 + rand 250)) or return;
	connect $s, $to;
	return $s;
}

my ($told, $tell) = ();
pipe $told, $tell;
my $flood = fork // die;
if (!$flood) {
	close $told;
	$SIG{PIPE} = 'IGNORE';
	my ($begun, $made, @held) = (DNS::now(), 0);
	while ((my $t = DNS::now() - $begun) < SECONDS) {
		while ($made < $t * RATE) {
			my $s = connection($made++) or next;
			push @held, [ $s, $made % 2 ];
			while (@held > HELD) { # the oldest is connected by now: garbage, or its end
				my ($old, $garbage) = @{ shift @held };
				syswrite $old, join '', map { chr rand 256 } 1 .. 200 if $garbage;
			}
		}
		DNS::pause(0.002);
	}
	syswrite $tell, sprintf '%d', $made / SECONDS;
	POSIX::_exit(0);
}
close $tell;
DNS::pause(2);
my $early = resident();

# ---- who isn't certified does not stay ----
my $slow = connection(3);
my $from = DNS::now();
# a ClientHello as it ought to be, an octet at a time
my @octets = (22, 3, 1, 1, 0xf4, 1, 0, 1, 0xf0, 3, 3, map { int rand 256 } 1 .. 32);
$SIG{PIPE} = 'IGNORE';
my $gone = Lab::wait_for(12, sub {
	my $bits = '';
	vec($bits, fileno $slow, 1) = 1;
	select undef, $bits, undef, 0.1; # connected, at first
	return 1 unless defined syswrite $slow, chr shift @octets;
	DNS::pause(0.1) if @octets < 40;
	my $n = sysread $slow, my $b, 100;
	return defined $n || !$!{EAGAIN};
});
my $held = DNS::now() - $from;
ok($gone && $held < 5 * 2, sprintf 'one that trickles is gone after %.1f s (bar 2 s)', $held);
diag(sprintf 'it took %.2f s, bar 2 s', $held) if $held > 2.5;

# ---- an operator ----
$from = DNS::now();
my $before = resident();
my $r = $lab->hub('authorise', 'node1', '--yes-if-unchanged', '--wait', 20);
my $took = DNS::now() - $from;
is($r->{status}, 0, 'an operator authorises it') or diag "$r->{out}$r->{err}";
ok($took < 5 * 10, sprintf 'within %.2f s (bar 10 s)', $took);
diag(sprintf 'it took %.2f s, bar 10 s', $took) if $took > 10;
ok(Lab::wait_for(10, sub { level() == 4 }), 'it serves, under the same flood');
ok($before - $early < 1024, sprintf 'memory before and while: %d and %d KiB', $early, $before);

# ---- and the same for who commands it ----
($waiter) = $lab->pids('node1', 'encdns-control');
$early = resident();
$r = $lab->hub('node', 'node1', 'status', '--wait', 20);
is($r->{status}, 0, 'commands are heard too') or diag $r->{err};
waitpid $flood, 0;
sysread $told, my $rate, 20;
cmp_ok($rate, '>', RATE / 2, "$rate connections a second");
ok(resident() - $early < 4096, sprintf 'memory of encdns-control: %d and %d KiB', $early, resident());
my @lines = grep { /is no operator/ } split /\n/, Lab::slurp($lab->dir . '/node1/log');
cmp_ok(scalar @lines, '<', 60, scalar(@lines) . ' lines about strangers in the log');
done_testing();
