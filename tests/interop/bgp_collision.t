#!/usr/bin/perl
# Both ends open a connection at once, and neither is ahead: one connection stays, that
# of the greater identifier (RFC 4271 section 6.8).
#
# Against a scripted neighbour, which holds both connections in OpenSent and then
# answers them in each order; and against BIRD, behind a wire that holds back
# each side's first packets until the other side has sent its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use IO::Select;
use IO::Socket::INET;
use Net;

my $why = Net::missing('bird2');
plan skip_all => $why if $why;

use constant { V4 => '192.0.2.0/24' };
my $zone = "$FindBin::Bin/../zones/example.org.zone";

# ---- a scripted neighbour ----

# The next message of a connection but KEEPALIVE, as [type, body]; undef: closed.
my %in;
sub next_message {
	my ($s, $seconds) = @_;
	my $end = DNS::now() + $seconds;
	while (1) {
		my $n = length $in{$s} >= 19 ? unpack 'n', substr $in{$s}, 16, 2 : undef;
		if ($n && length $in{$s} >= $n) {
			my $m = substr $in{$s}, 0, $n, '';
			my $type = ord substr $m, 18, 1;
			return [ $type, substr $m, 19 ] if $type != 4;
			next;
		}
		my $left = $end - DNS::now();
		return [ 'silence', '' ] if $left <= 0 || !IO::Select->new($s)->can_read($left);
		sysread $s, $in{$s}, 65536, length $in{$s} or return;
	}
}
sub describe {
	my ($m) = @_;
	return !$m ? 'closed' : $m->[0] eq 3 ? 'NOTIFICATION ' . join '/', unpack 'CC', $m->[1] : "message $m->[0]";
}

my ($port, $keep) = (Lab::free_port(), BGP::message(4, ''));
my ($lesser, $greater) = (0x0a000032, 0x0a0000c8); # than the node's 10.0.0.100
# the neighbour's identifier; which connections are answered, in this order; which
# is to stay ("ours": that the node has opened)
my @case = (
	[ $lesser, [qw(ours theirs)], 'ours', 'the node has the greater identifier, OPEN on its own connection first' ],
	[ $lesser, [qw(theirs ours)], 'ours', 'the node has the greater identifier, OPEN on the neighbour\'s first' ],
	[ $lesser, [qw(both)], 'ours', 'the node has the greater identifier, OPEN on both at once' ],
	[ $greater, [qw(ours theirs)], 'theirs', 'the neighbour has the greater one, OPEN on the node\'s connection first' ],
	[ $greater, [qw(theirs ours)], 'theirs', 'the neighbour has the greater one, OPEN on its own first' ],
	[ $greater, [qw(both)], 'theirs', 'the neighbour has the greater one, OPEN on both at once' ],
	[ $greater, [qw(established theirs)], 'ours', 'the neighbour has the greater one, but the node\'s is Established already' ],
);
my @at = map { '127.0.0.' . (20 + $_) } 0 .. $#case;
my @door = map { IO::Socket::INET->new(LocalAddr => $_, LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "$_: $!\n" } @at;
my $lab = Lab->new(zones => { 'example.org' => $zone }, set => [ 'bgp-as=65001', 'bgp-id=10.0.0.100', 'bgp-prefix=' . V4, "bgp-port=$port",
	map { "bgp-peer=$_ as 65002 port $port source 127.0.0.1 retry 1" } @at ]);

my @kept;
for my $k (0 .. $#case) {
	my ($id, $order, $stays, $what) = @{ $case[$k] };
	IO::Select->new($door[$k])->can_read(20) or die 'the node does not call';
	my %s = (ours => scalar $door[$k]->accept,
		theirs => IO::Socket::INET->new(LocalAddr => $at[$k], PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5));
	$in{$_} = '' for values %s;
	is(join(' and ', map { describe(next_message($_, 10)) } @s{qw(ours theirs)}), 'message 1 and message 1', "$what: it sends OPEN on both");
	my $open = BGP::open_message(as => 65002, id => $id);
	for my $step (@$order) {
		if ($step eq 'established') {
			syswrite $s{ours}, $open . $keep;
			is(describe(next_message($s{ours}, 5)), 'message 2', '... its own comes up, and has the route');
		} else {
			syswrite $s{$_}, $open for $step eq 'both' ? qw(ours theirs) : $step;
		}
	}
	my ($goes) = grep { $_ ne $stays } qw(ours theirs);
	is(describe(next_message($s{$goes}, 5)), 'NOTIFICATION 6/7', '... one is ended by Cease, Connection Collision Resolution');
	is(describe(next_message($s{$goes}, 5)), 'closed', '... and closed');
	syswrite $s{$stays}, $keep;
	is(describe(next_message($s{$stays}, 5)), 'message 2', '... the other one comes up, and has the route') if $order->[0] ne 'established';
	push @kept, $s{$stays};
}
sub sessions { return { map { $_->{peer} => "$_->{state} $_->{since}" } @{ $lab->status('node1')->{bgp} } } }
my $sessions;
ok(Lab::wait_for(5, sub { $sessions = sessions(); @case == grep { /^Established/ } values %$sessions }), 'all are Established');
DNS::pause(3);
is_deeply(sessions(), $sessions, '3 s later: the same sessions');
ok(!IO::Select->new(@door)->can_read(0), 'and the node calls nobody again');
$lab->down;

# ---- BIRD ----

# One end of a wire, in a namespace: a descriptor that frames come by, or undef.
sub tap {
	my ($net, $ns, $name, $address) = @_;
	return $net->within($ns, sub {
		open my $f, '+<', '/dev/net/tun' or return;
		ioctl $f, 0x400454ca, pack 'a16 s x22', $name, 0x1002 or return; # TUNSETIFF: TAP, no header
		Net::must(split ' ', $_) for "ip addr add $address dev $name", "ip link set $name up";
		return $f;
	});
}

# TCP of IPv4: (flags, octets of data, who to whom).
sub tcp_of {
	my ($frame) = @_;
	return if length $frame < 54 || unpack('x12 n', $frame) != 0x0800 || ord(substr $frame, 23, 1) != 6;
	my $ip = substr $frame, 14, unpack 'x16 n', $frame;
	my $head = 4 * (ord($ip) & 15);
	my ($from, $to, $off, $flags) = unpack "x$head n n x8 C C", $ip;
	return ($flags, length($ip) - $head - 4 * ($off >> 4), "$from>$to");
}

# Holds back SYNs until there is one from each end, then what has data until all four
# directions of both connections have some; afterwards it is just a wire.
sub pump {
	my ($say, @end) = @_;
	my (%seen, @held);
	my $phase = 0;
	while (1) {
		for my $s (IO::Select->new(@end)->can_read) {
			my $i = $s == $end[0] ? 0 : 1;
			sysread $s, my $frame, 65536 or return;
			my ($flags, $len, $way) = tcp_of($frame);
			my $hold = !defined $flags ? undef : $phase == 0 && ($flags & 0x12) == 2 ? $i : $phase == 1 && $len ? $way : undef;
			if (!defined $hold) {
				syswrite $end[ 1 - $i ], $frame;
				next;
			}
			$seen{$hold} = 1;
			push @held, [ 1 - $i, $frame ];
			next if keys %seen < ($phase ? 4 : 2);
			$phase++;
			%seen = ();
			syswrite $end[ $_->[0] ], $_->[1] for splice @held;
			syswrite $say, "both\n" if $phase == 2;
		}
	}
}

for my $who (qw(node BIRD)) {
	my $net = Net->new;
	$net->add(qw(node bird));
	my @end = (tap($net, 'node', 'to_bird', '10.0.1.1/24'), tap($net, 'bird', 'to_node', '10.0.1.2/24'));
	SKIP: {
		skip 'needs /dev/net/tun', 6 unless $end[0] && $end[1];
		pipe my $heard, my $say or die "pipe: $!\n";
		my $pid = fork // die "fork: $!\n";
		if (!$pid) {
			pump($say, @end);
			POSIX::_exit(0);
		}
		close $say;
		my $id = $who eq 'BIRD' ? '10.0.1.2' : '10.0.0.2';
		my $bird = $net->bird('bird', 'bird', <<"E");
log stderr all;
router id $id;
protocol device {}
protocol direct { ipv4; }
protocol bgp node { local 10.0.1.2 as 65010; neighbor 10.0.1.1 as 65001; connect delay time 1; connect retry time 60; strict bind;
	debug { states, events }; ipv4 { import all; export none; }; }
E
		$lab = $net->within('node', sub {
			Lab->new(zones => { 'example.org' => $zone }, set => [ 'bgp-as=65001', 'bgp-id=10.0.1.1', 'bgp-prefix=' . V4, 'bgp-peer=10.0.1.2 as 65010 retry 1' ])
		});
		my $words = "$who has the greater identifier";
		ok(IO::Select->new($heard)->can_read(40), "$words: both connections get as far as OPEN, both ways") or diag($net->log('bird'));
		ok(Lab::wait_for(40, sub { $bird->state('node') && $bird->has('node', V4) }), "$words: the session is Established, BIRD has the route")
			or diag($net->log('bird'), Lab::slurp("$lab->{dir}/node1/log"));
		my @left;
		Lab::wait_for(5, sub { @left = grep { /:179\b/ } split /\n/, $net->within('node', sub { Net::must(qw(ss -Htn state established)) }); @left == 1 });
		is(scalar @left, 1, "$words: one connection is left") or diag(@left);
		like($left[0], $who eq 'node' ? qr/10\.0\.1\.2:179\b/ : qr/10\.0\.1\.1:179\b/, '... the one it has opened');
		ok(Lab::wait_for(5, sub { $sessions = sessions(); $sessions->{'10.0.1.2'} =~ /^Established/ }), '... Established, says the node');
		DNS::pause(3);
		is_deeply(sessions(), $sessions, '... and the same 3 s later');
		$lab->down;
		$bird->stop;
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
}
done_testing;
