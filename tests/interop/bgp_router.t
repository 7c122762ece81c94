#!/usr/bin/perl
# Two nodes with one service address behind a router, which is configured as the
# README says, and a client behind it. A planned stop loses no question, over TCP for
# clients that ask once more when a connection ends before the answer (RFC 7766
# section 6.2.4); a sudden end of a node loses those of a moment.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use IO::Select;
use IO::Socket::IP;
use Net;

my $why = Net::missing(qw(bird2 frr dnsperf));
plan skip_all => $why if $why;

use constant { V4 => '192.0.2.0/24', V6 => '2001:db8:53::/48', RATE => 500, BAR => 0.4 };

# The indented blocks of the README's section, in order.
my ($section) = Lab::slurp("$Lab::tree/README.md") =~ /^#### A router beside it\n(.*?)^#/ms or die 'README.md: no such section';
my @block = map { s/^    //gmr } $section =~ /((?:^    .*\n)+)/mg;
my ($node_conf) = grep { /^bgp-prefix/m } @block;
my ($host_conf) = grep { /^bgp-port 0/m } @block;
my ($host_bird) = grep { /^protocol bgp encdns / } @block;
my %router_conf = (BIRD => (grep { /^template bgp/m } @block)[0], FRR => (grep { /^ipv6 prefix-list.*^router bgp/ms } @block)[0]);
ok($node_conf && $host_conf && $host_bird && $router_conf{BIRD} && $router_conf{FRR}, 'the README has what a node, BIRD and FRR need') or BAIL_OUT('nothing to test');

# The same for the second node, on a link of its own.
sub second { $_[0] =~ s/198\.51\.100\.(\d)/'198.51.100.' . ($1 + 4)/ger =~ s/2001:db8:1::/2001:db8:2::/gr =~ s/\bnode1_/node2_/gr }
my %address = (a => [ '198.51.100.2', '2001:db8:1::2' ], b => [ '198.51.100.6', '2001:db8:2::2' ]);

my $net = Net->new;
$net->add(qw(a b router client));
$net->link('router', [qw(198.51.100.1/30 2001:db8:1::1/64)], 'a', [qw(198.51.100.2/30 2001:db8:1::2/64)]);
$net->link('router', [qw(198.51.100.5/30 2001:db8:2::1/64)], 'b', [qw(198.51.100.6/30 2001:db8:2::2/64)]);
$net->link('router', [qw(203.0.113.1/24 2001:db8:3::1/64)], 'client', [qw(203.0.113.9/24 2001:db8:3::9/64)]);
$net->ip($_->[0], "route add default via $_->[1]") for [ 'a', '198.51.100.1' ], [ 'b', '198.51.100.5' ], [ 'client', '203.0.113.1' ];
$net->ip($_->[0], "-6 route add default via $_->[1]") for [ 'a', '2001:db8:1::1' ], [ 'b', '2001:db8:2::1' ], [ 'client', '2001:db8:3::1' ];
$net->within('client', sub { Lab::spurt("$net->{dir}/queries", "www.example.org A\nexample.org SOA\nnone.example.org A\n") });

my (%lab, $router, %name);

sub start_node {
	my ($ns) = @_;
	my @set = map { s/ /=/r } split /\n/, $ns eq 'b' ? second($node_conf) : $node_conf;
	$lab{$ns} = $net->within($ns, sub {
		Lab->new(zones => { 'example.org' => "$FindBin::Bin/../zones/example.org.zone" },
			set => [ @set, 'bgp-drain=1', 'rrl=off', "identity=$ns" ])
	});
}

my %start = (
	BIRD => sub {
		my $text = $router_conf{BIRD};
		my $more = join '', map { second($_) } $text =~ /(^protocol bgp .*?^}\n)/msg;
		%name = map { $_ => $_ eq 'a' ? [qw(node1_4 node1_6)] : [qw(node2_4 node2_6)] } qw(a b);
		# what a router that forwards has anyway
		return $net->bird('router', 'bird', "log stderr all;\nrouter id 198.51.100.1;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n" .
			"protocol kernel { ipv4 { export all; }; }\nprotocol kernel { ipv6 { export all; }; }\n$text$more");
	},
	FRR => sub {
		my $text = $router_conf{FRR} =~ s/^(.*(?:198\.51\.100\.2|2001:db8:1::2)\b.*\n)/$1 . second($1)/gmer;
		%name = map { $_ => $address{$_} } qw(a b);
		return $net->frr('router', 'frr', $text);
	});

sub told { my ($ns) = @_; $router->has($name{$ns}[0], V4) && $router->has($name{$ns}[1], V6) }

# Which node the client's questions go to: the router's own table says so.
sub way {
	my ($to, $from) = @_;
	my $text = eval { $net->ip('router', "route get $to from $from iif to_client") } // ''; # dies without a route
	return $text =~ /dev to_([ab])\b/ ? $1 : '';
}
sub ways { (way('192.0.2.53', '203.0.113.9'), way('2001:db8:53::53', '2001:db8:3::9')) }

sub set_up {
	my ($kind) = @_;
	tear_down();
	$router = $start{$kind}->();
	my $from = DNS::now();
	for my $ns (qw(a b)) { # one after the other: the older route wins with FRR
		start_node($ns);
		ok(Lab::wait_for(50, sub { told($ns) }), "$kind as in the README: both prefixes of node $ns")
			or diag($net->log('bird'), $net->log('frr.bgpd'), Lab::slurp("$lab{$ns}{dir}/node1/log"));
	}
	note(sprintf '%s: after %.1f s (bar 10 s)', $kind, DNS::now() - $from);
	Lab::wait_for(5, sub { !grep { !$_ } ways() }) or diag("no way: @{[ways()]}");
}

sub tear_down {
	for (values %lab) {
		kill 'KILL', $_->pids('node1');
		$_->down;
	}
	%lab = ();
	$router->stop if $router;
	undef $router;
	for my $ns (qw(a b)) { # a node that was killed leaves its addresses
		$net->within($ns, sub { Lab::run(qw(ip addr del), $_, qw(dev lo)) }) for '192.0.2.53/32', '2001:db8:53::53/128';
	}
	$net->within('router', sub { Lab::run(qw(ip), "-$_->[0]", qw(route del), $_->[1]) }) for [ 4, V4 ], [ 6, V6 ];
}

# A TCP client: asks again and again, by one connection or by a new one for each
# question. A connection that ends before the answer is followed by a new one, once.
# Returns "asked lost repeated slowest", the last in ms.
sub tcp_client {
	my ($to, $seconds, $keep) = @_;
	my ($s, $sent, $lost, $again, $slowest) = (undef, 0, 0, 0, 0);
	my $q = DNS::query('www.example.org.', 'A');
	my $message = pack('n', length $q) . $q;
	my $end = DNS::now() + $seconds;
	local $SIG{PIPE} = 'IGNORE';
	while (DNS::now() < $end) {
		my ($from, $answer) = (DNS::now());
		for my $try (1, 2) {
			$s //= IO::Socket::IP->new(PeerHost => $to, PeerPort => 53, Proto => 'tcp', Timeout => 2);
			$answer = $s && ask_by($s, $message);
			last if $answer;
			$s = undef;
			$again += $try == 1;
		}
		$sent++;
		$lost += !$answer;
		my $took = 1000 * (DNS::now() - $from);
		$slowest = $took if $took > $slowest;
		$s = undef unless $keep;
		DNS::pause(0.002);
	}
	return sprintf "%d %d %d %d\n", $sent, $lost, $again, $slowest;
}

sub ask_by {
	my ($s, $message) = @_;
	(syswrite $s, $message) // return;
	my ($in, $end) = ('', DNS::now() + 2);
	until (length $in >= 14 && length $in >= 2 + unpack 'n', $in) {
		IO::Select->new($s)->can_read($end - DNS::now()) && sysread $s, $in, 65536, length $in or return;
	}
	return substr($in, 2, 2) eq substr($message, 2, 2) && (unpack('x4 n', $in) & 0x840f) == 0x8400; # authoritative, NOERROR
}

# Starts such clients, two of each kind for each family; returns what to read from.
sub start_tcp {
	my ($seconds, @to) = @_;
	return map {
		my ($to, $keep) = ($to[ $_ % @to ], $_ >> 1 & 1);
		$net->aside('client', sub { tcp_client($to, $seconds, $keep) });
	} 0 .. 4 * @to - 1;
}

# What dnsperf (UDP) and our clients (TCP) say of questions over both families, while
# something happens after a second: { sent, lost, tcp_sent, tcp_lost, repeated, slowest }
# together.
sub measure {
	my ($seconds, $event) = @_;
	my @to = ('192.0.2.53', '2001:db8:53::53');
	my $nth = ++$net->{nth};
	my @pids = map { $net->start('client', "dnsperf$nth.$_", qw(dnsperf -c 4 -T 1 -t 2 -p 53 -l), $seconds, '-Q', RATE, '-s', $to[$_],
		'-d', "$net->{dir}/queries") } 0, 1;
	my @tcp = start_tcp($seconds, @to);
	DNS::pause(1);
	$event->();
	my %r = (sent => 0, lost => 0, tcp_sent => 0, tcp_lost => 0, repeated => 0, slowest => 0);
	for (@tcp) {
		my ($sent, $lost, $again, $slowest) = split ' ', <$_> // '0 9999 0 0';
		$r{tcp_sent} += $sent, $r{tcp_lost} += $lost, $r{repeated} += $again;
		$r{slowest} = $slowest if $slowest > $r{slowest};
	}
	for my $i (0, 1) {
		Lab::wait_for($seconds + 10, sub { $net->log("dnsperf$nth.$i") =~ /Queries lost:/ });
		my $text = $net->log("dnsperf$nth.$i");
		$r{sent} += $1 if $text =~ /Queries sent:\s+(\d+)/;
		$r{lost} += $text =~ /Queries lost:\s+(\d+)/ ? $1 : 9999;
		$r{lost} += $1 if $text =~ /REFUSED (\d+)/ || $text =~ /SERVFAIL (\d+)/;
	}
	$net->stop(@pids);
	return \%r;
}

# The sessions of a node, and since when.
sub sessions { my ($ns) = @_; join ' ', map { "$_->{peer} $_->{state} $_->{since}" } @{ ($lab{$ns}->status('node1') // {})->{bgp} // [] } }

# A planned stop of the node that the client's questions go to. Where the machine has stood
# still for longer than BFD waits, so that the other node has lost its sessions, that
# tells nothing: again then, up to three times.
sub drain {
	my ($kind, $try) = @_;
	set_up($kind);
	my $bfd = $kind eq 'BIRD' ? sub { scalar(() = $router->birdc('show bfd sessions') =~ /\bUp\b/g) }
		: sub { scalar(() = $router->vtysh('show bfd peers brief') =~ /\bup\b/g) };
	ok(Lab::wait_for(20, sub { $bfd->() == 4 }), "$kind: BFD is Up with all four") or diag($bfd->());
	my ($four, $six) = ways();
	is($four, $six, "$kind: both families go to one node"); # so that all goes through its end
	my $other = $four eq 'a' ? 'b' : 'a';
	my $sessions = sessions($other);
	my $r = measure(5, sub { kill 'TERM', $lab{$four}->pids('node1', 'encdns-super') });
	return ($r, $four, $other) if sessions($other) eq $sessions || $try == 3;
	note("$kind: the other node lost a session: once more");
	return drain($kind, $try + 1);
}

for my $kind (qw(BIRD FRR)) {
	my ($r, $four, $other) = drain($kind, 1);
	my @far = grep { $net->within('client', sub { IO::Socket::IP->new(PeerHost => $_, PeerPort => 179, Proto => 'tcp', Timeout => 1) }) } @{ $address{$other} };
	is("@far", '', "$kind: all neighbours have GTSM: who is further away gets no connection");
	ok($r->{sent} > 5 * RATE, "$kind: questions were asked ($r->{sent})");
	is($r->{lost}, 0, "$kind: planned stop of the node they go to: none is lost");
	ok($r->{tcp_sent} > 1000, "$kind: and over TCP ($r->{tcp_sent})");
	is($r->{tcp_lost}, 0, "$kind: none of those is lost");
	note("$kind: $r->{repeated} were asked once more, as their connection ended; the slowest took $r->{slowest} ms");
	is_deeply([ ways() ], [ $other, $other ], "$kind: they now go to the other node");
	is(scalar $lab{$four}->pids('node1'), 0, "$kind: the node has ended");

	set_up($kind);
	($four) = ways();
	$other = $four eq 'a' ? 'b' : 'a';
	$r = measure(4, sub { kill 'KILL', $lab{$four}->pids('node1') });
	my $gap = $r->{lost} / RATE / 2;
	ok($gap <= 5 * BAR, "$kind: SIGKILL of the node they go to: the other takes over");
	note(sprintf '%s: %d of %d lost, %.0f ms of questions (bar %.0f ms)', $kind, $r->{lost}, $r->{sent}, 1000 * $gap, 1000 * BAR);
	is_deeply([ ways() ], [ $other, $other ], "$kind: they go to the other node");
}
tear_down();

# Beside a BIRD on the same machine: it listens, the node calls, and another router
# hears of it.
$net->add(qw(host world));
$net->link('host', [qw(198.51.100.2/24 2001:db8:1::2/64)], 'world', [qw(198.51.100.1/24 2001:db8:1::1/64)]);
my $head = "log stderr all;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n";
my $channels = 'ipv4 { import all; export %s; }; ipv6 { import all; export %1$s; };';
my $beside = $net->bird('host', 'beside', "router id 198.51.100.2;\n$head$host_bird" .
	'protocol bgp world { local 198.51.100.2 as 65000; neighbor 198.51.100.1 as 64999; ' . sprintf($channels, 'where proto = "encdns"') . ' }');
my $world = $net->bird('world', 'world', "router id 198.51.100.1;\n$head" .
	'protocol bgp host { local 198.51.100.1 as 64999; neighbor 198.51.100.2 as 65000; ' . sprintf($channels, 'none') . ' }');
my @set = map { s/ /=/r } grep { !/^bgp-peer/ } split /\n/, $node_conf;
$lab{host} = $net->within('host', sub {
	Lab->new(zones => { 'example.org' => "$FindBin::Bin/../zones/example.org.zone" }, set => [ @set, map { s/ /=/r } split /\n/, $host_conf ])
});
ok(Lab::wait_for(50, sub { $beside->has('encdns', V4, V6) }), 'beside a BIRD on the same machine: both prefixes are told to it')
	or diag($beside->birdc('show protocols all encdns'), $net->log('beside'), Lab::slurp("$lab{host}{dir}/node1/log"));
ok(Lab::wait_for(50, sub { $world->has('host', V4, V6) }), '... and by it to others') or diag($beside->birdc('show route all'));
like($world->routes('host')->{+V4} // '', qr/as_path: 65000 65001\n.*next_hop: 198\.51\.100\.2\n/s, '... with a next hop that leads here');
my $from = DNS::now();
kill 'KILL', $lab{host}->pids('node1');
ok(Lab::wait_for(5, sub { !%{ $world->routes('host') } }), 'killed: others hear that, too');
note(sprintf 'after %.0f ms (bar 200 ms)', 1000 * (DNS::now() - $from));
tear_down();
$beside->stop;
$world->stop;
done_testing;
