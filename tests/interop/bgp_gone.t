#!/usr/bin/perl
# A node that no longer answers is no longer announced: the time from a fault to
# the route's end in BIRD's table. And what is no fault changes nothing.
#
# Each time everything is set up anew, as a node that has failed is not announced
# again so soon. REPEAT times each (2; with LONG 20).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use IO::Socket::INET;
use Net;

my $why = Net::missing(qw(bird2 dnsperf));
plan skip_all => $why if $why;

my $repeat = $ENV{REPEAT} // ($ENV{LONG} ? 20 : 2);
use constant { V4 => '192.0.2.0/24', WORKERS => 2 };

my $net = Net->new;
$net->add(qw(node router));
$net->link('node', '10.0.1.1/24', 'router', '10.0.1.2/24');
my $zone = "$FindBin::Bin/../zones/example.org.zone";
my ($lab, $bird, $queries);

# A node that is announced, and BIRD beside it; bfd: its interval in ms.
sub set_up {
	my (%o) = @_;
	tear_down();
	$bird = $net->bird('router', 'bird', <<"E");
log stderr all;
router id 10.0.1.2;
protocol device {}
protocol direct { ipv4; }
protocol bfd { interface "*" { min rx interval @{[$o{bfd} // 100]} ms; min tx interval @{[$o{bfd} // 100]} ms; multiplier 3; }; }
protocol bgp node { local 10.0.1.2 as 65010; neighbor 10.0.1.1 as 65001; passive on; @{[$o{bfd} ? 'bfd on;' : '']}
	ipv4 { import all; export none; }; }
E
	my $words = $o{bfd} ? " bfd on bfd-tx $o{bfd} bfd-rx $o{bfd}" : '';
	$lab = $net->within('node', sub {
		Lab->new(zones => { 'example.org' => $zone }, set => [ 'workers=' . WORKERS, 'bgp-as=65001', 'bgp-id=10.0.1.1', 'bgp-prefix=' . V4,
			'bgp-peer=10.0.1.2 as 65010 retry 1 hold ' . ($o{hold} // 90) . $words ])
	});
	Lab::wait_for(30, \&announced) or die "never announced: " . $net->log('bird') . Lab::slurp("$lab->{dir}/node1/log");
	Lab::wait_for(30, sub { $bird->birdc('show bfd sessions') =~ /\bUp\b/ }) or die 'no BFD' if $o{bfd};
}

sub tear_down {
	if ($lab) {
		kill 'KILL', $lab->pids('node1'); # what stands still can't stop in order
		$lab->down;
	}
	$bird->stop if $bird;
	undef $lab, undef $bird;
}

sub announced { $bird->has('node', V4) }

# Seconds from a fault to the route's end; the bar is for the worst of all.
sub gone_after {
	my ($what, $bar, $options, $fault) = @_;
	my ($worst, @all) = (0);
	for (1 .. $repeat) {
		$net->ip('node', 'route flush type blackhole');
		set_up(%$options);
		DNS::pause(0.2 + rand 0.3); # anywhere within a round of probes
		my $from = DNS::now();
		$fault->();
		my $gone = Lab::wait_for(5 * $bar, sub { !announced() });
		push @all, $gone ? DNS::now() - $from : 9999;
		$worst = $all[-1] if $all[-1] > $worst;
		last unless $gone;
	}
	ok($worst <= 5 * $bar, "$what: the route goes") or diag(Lab::slurp("$lab->{dir}/node1/log"));
	my ($median) = (sort { $a <=> $b } @all)[ $#all / 2 ];
	note(sprintf '%s: gone after %.0f ms at worst, median %.0f ms of %d (bar %.0f ms)', $what, 1000 * $worst, 1000 * $median, scalar @all, 1000 * $bar);
}

# One thread stands still, the others go on: only a tracer can do that.
my %ptrace = (call => (POSIX::uname())[4] eq 'x86_64' ? 101 : 117, SEIZE => 0x4206, INTERRUPT => 0x4207);
sub stop_worker {
	my ($dns) = $lab->pids('node1', 'encdns-dns');
	my @threads = sort { $a <=> $b } map { m,(\d+)\z, } glob "/proc/$dns/task/*";
	my $t = $threads[ -1 - int rand WORKERS ];
	for (qw(SEIZE INTERRUPT)) {
		syscall($ptrace{call}, $ptrace{$_}, $t + 0, 0, 0) == 0 or die "ptrace $_ $t: $!\n";
	}
}

# All of the store but its head is overwritten: what is asked can't be opened.
sub damage {
	my $path = "$lab->{dir}/node1/store";
	open my $f, '+<', $path or die "$path: $!\n";
	binmode $f;
	my $left = (-s $f) - 65536;
	sysseek $f, 65536, 0;
	while ($left > 0) {
		my $n = syswrite $f, 'damage! ' x 8192, $left < 65536 ? $left : 65536 or die "$path: $!\n";
		$left -= $n;
	}
}

sub signal { my ($sig, @comm) = @_; kill $sig, map { $lab->pids('node1', $_) } @comm ? @comm : undef }

gone_after('SIGKILL of the whole node', 0.2, {}, sub { signal('KILL') });
gone_after('SIGKILL of encdns-super', 0.2, {}, sub { signal('KILL', 'encdns-super') });
gone_after('SIGKILL of encdns-dns', 1, {}, sub { signal('KILL', 'encdns-dns') });
gone_after('SIGSTOP of encdns-dns', 1, {}, sub { signal('STOP', 'encdns-dns') });
gone_after('a worker stands still', 1, {}, \&stop_worker);
gone_after('SIGSTOP of the whole node, BFD', 1, { bfd => 100 }, sub { signal('STOP') });
gone_after('SIGSTOP of the whole node, hold time 3 s', 3.5, { hold => 3 }, sub { signal('STOP') });
gone_after('SIGKILL of encdns-route', 0.2, {}, sub { signal('KILL', 'encdns-route') });
gone_after('a damaged store: wrong answers', 1, {}, \&damage);
gone_after('no way to the neighbour, BFD', 1, { bfd => 100 }, sub { $net->ip('node', 'route add blackhole 10.0.1.2/32') });

# ---- what is no fault ----

# Watches the route for some seconds; how often it was absent.
sub absent_during {
	my ($seconds, $each) = @_;
	my ($absent, $end) = (0, DNS::now() + $seconds);
	while (DNS::now() < $end) {
		$absent++ unless announced();
		$each->() if $each;
		DNS::pause(0.005);
	}
	return $absent;
}
sub since { $lab->status('node1')->{bgp}[0]{since} }

$net->ip('node', 'route flush type blackhole');
set_up(bfd => 300); # as the README has it: BIRD itself gets little of the processor in a flood
my $session = since();
my ($kills, $next) = (0, 0);
is(absent_during(3, sub {
	return if DNS::now() < $next;
	$next = DNS::now() + 0.25;
	my ($pid) = $lab->pids('node1', 'encdns-control') or return;
	$kills += kill 'KILL', $pid;
}), 0, 'encdns-control is killed again and again: the route stays');
cmp_ok($kills, '>=', 3, "it was ($kills times)");
Lab::wait_for(20, sub { $lab->pids('node1', 'encdns-control') && $lab->status('node1') });
is(since(), $session, '... and the session');

# BFD from beyond the link: the kernel drops it, and what the neighbour sends still comes
sub bfd_drops { $net->within('node', sub { Lab::slurp('/proc/thread-self/net/udp') =~ /^ *\d+: [0-9A-F]+:0EC8 .* (\d+) *$/m ? $1 : -1 }) }
my $drops = bfd_drops();
my @far = map { $net->aside('router', sub {
	my $s = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '10.0.1.1', PeerPort => 3784) or return "0\n";
	setsockopt $s, 0, 2, pack 'i', 254; # IP_TTL
	my ($n, $end) = (0, time + 3);
	POSIX::nice(10);
	until (time > $end) {
		$n += defined syswrite $s, pack 'C4 N5', 0x20, 0x40, 3, 24, 7, 0, 100000, 100000, 0 for 1 .. 1000;
	}
	return "$n\n";
}) } 1 .. 2;
is(absent_during(3), 0, 'a flood of BFD that a router has passed on: the route stays');
my $far = 0;
$far += <$_> for @far;
cmp_ok(bfd_drops() - $drops, '>=', $far * 0.9, "the kernel drops it ($far packets)");
is(since(), $session, '... and the session stays');

# Processor time that others had of this machine, in hundredths of a second. A worker
# that got none stood still, and is rightly taken for one that does.
sub stolen { return (split ' ', (Lab::slurp('/proc/stat') =~ /^(cpu .*)/)[0])[8] // 0 }
sub stays {
	my ($what, @how) = @_;
	my $from = stolen();
	my $absent = absent_during(@how);
	my $stolen = stolen() - $from;
	SKIP: {
		skip "$what: others had $stolen hundredths of a second of this machine", 1 if $absent && $stolen > 20 * $how[0];
		return is($absent, 0, "$what: the route stays");
	}
	return 1;
}

# more than two processors can answer, from clients that wait for answers
$queries = Lab::spurt("$net->{dir}/queries", join '', map { "name$_.example.org A\nwww.example.org A\n" } 1 .. 500);
my @flood = map { $net->start('node', "flood$_", qw(dnsperf -c 20 -q 2000 -t 1 -l), 4, '-s', '127.0.0.1', '-p', $lab->port, '-d', $queries) } 1 .. 3;
DNS::pause(0.3);
my $stayed = stays('a flood of queries', 4);
my @done = map { $net->log("flood$_") =~ /Queries completed:\s+(\d+)/ ? $1 : 0 } 1 .. 3;
Lab::wait_for(15, sub { @done = map { $net->log("flood$_") =~ /Queries completed:\s+(\d+)/ ? $1 : 0 } 1 .. 3; !grep { !$_ } @done });
cmp_ok($done[0] + $done[1] + $done[2], '>', 10000, "it was one (@done answered in 4 s)") or diag(map { $net->log("flood$_") } 1 .. 3);
is(since(), $session, '... and the session');
diag(Lab::slurp("$lab->{dir}/node1/log")) unless $stayed;
$net->stop(@flood);

# ... and from some that don't: queues overflow, our own questions are lost, too
sub blind {
	my ($seconds) = @_;
	my @s = map { DNS::udp_socket('127.0.0.1', $lab->port) } 1 .. 16; # each worker has some
	my $q = DNS::query('www.example.org.', 'A');
	my ($n, $end) = (0, time + $seconds);
	POSIX::nice(10); # it is to fill the node's sockets, not to take its processor
	until (time > $end) {
		$n += 1600;
		send $s[ $_ % 16 ], $q, 0 for 1 .. 1600;
	}
	return $n;
}
my @senders = map { $net->aside('node', sub { blind(4) . "\n" }) } 1 .. 3;
DNS::pause(0.3);
$stayed = stays('a blind flood of queries', 4);
my @sent = map { scalar <$_> } @senders;
1 while waitpid(-1, POSIX::WNOHANG()) > 0;
chomp @sent;
cmp_ok($sent[0] + $sent[1] + $sent[2], '>', 50000, "it was one (@sent sent)");
is(since(), $session, '... and the session');
diag(Lab::slurp("$lab->{dir}/node1/log")) unless $stayed;
note(map { /second choice/ ? 'it was announced as second choice meanwhile' : () } Lab::slurp("$lab->{dir}/node1/log"));

# An update is no fault: other zones and serials all the time.
{
	my $n = 1;
	my $text = Lab::slurp($zone);
	my ($serial) = $text =~ /(\d+) ; serial/ or die 'no serial';
	$next = 0;
	stays('a zone changes all the time', 4, sub {
		return if DNS::now() < $next;
		my $new = $serial + $n++;
		my $file = $lab->file('zone', $text =~ s/\d+(?= ; serial)/$new/r);
		my $r = $lab->{updated} = Lab::run("$Lab::bin/encdns-hub", 'load', '--dir', "$lab->{dir}/hub1", "example.org=$file");
		die $r->{err} if $r->{status};
		$next = DNS::now() + 0.05;
	});
	cmp_ok($n, '>', 10, "it did ($n times)");
}
tear_down();
done_testing;
