#!/usr/bin/perl
# A node as the neighbour of real routers: sessions get Established and the prefixes
# are in their tables, over IPv4 and IPv6, with MD5, GTSM, BFD, a short hold time,
# several hops, whoever opens the connection. Then they are withdrawn on a stop.
#
# The node has an address for each session, so that one node and one daemon of
# each kind do for all of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Net;

my $why = Net::missing(qw(bird2 frr gobgpd exabgp openbgpd));
plan skip_all => $why if $why;

use constant { AS => 4200000053, V4 => '192.0.2.0/24', V6 => '2001:db8:53::/48', BAR => 10, SECRET => 'open_sesame' };

my $net = Net->new;
$net->add(qw(node bird frr far gobgp exabgp openbgp));
my %subnet = (bird => 1, frr => 2, gobgp => 3, exabgp => 4, openbgp => 5);

# Session k of a router: the addresses of the node and of the router.
sub near { my ($who, $k, $v6) = @_; $v6 ? "fd00:$subnet{$who}::$k" : "10.0.$subnet{$who}.$k" }
sub peer { my ($who, $k, $v6) = @_; near($who, $k + 100, $v6) }

my @set = ('bgp-as=' . AS, 'bgp-id=10.0.1.1', 'bgp-prefix=' . V4, 'bgp-prefix=' . V6, 'bgp-drain=1');
my @expect; # [what, router, neighbour there, [prefixes], pattern]

# What each session is for: words of ours, of BIRD, of FRR, and what must come of it.
my $kernel_md5 = $net->within('node', sub { md5_works() });
my @case = (
	{ name => 'IPv4', families => 'v4', ours => 'med 7 prepend 2 community 65001:7 large 4200000053:1:2',
		bird_sees => qr/as_path: 4200000053 4200000053 4200000053\b.*med: 7\b.*\(65001,7\).*\(4200000053, 1, 2\)/s,
		frr_sees => qr/"metric":7\b.*"path":"4200000053 4200000053 4200000053"/ },
	{ name => 'IPv6', v6 => 1, families => 'v6' },
	{ name => 'IPv6 prefix over an IPv4 session', families => 'v4,v6', hop6 => 1 },
	{ name => 'IPv4 prefix over an IPv6 session, IPv4 next hop', v6 => 1, families => 'v4,v6', hop4 => 1 },
	{ name => 'IPv4 prefix with an IPv6 next hop', v6 => 1, families => 'v4,v6', ours => 'v4-by-v6 on',
		bird_channel => 'extended next hop;', frr => 'capability extended-nexthop' },
	{ name => 'TCP MD5', families => 'v4', md5 => 1, bird => 'password "' . SECRET . '";', frr => 'password ' . SECRET },
	{ name => 'TCP MD5, IPv6', v6 => 1, families => 'v6', md5 => 1, bird => 'password "' . SECRET . '";', frr => 'password ' . SECRET },
	{ name => 'GTSM', families => 'v4', ours => 'gtsm on', bird => 'ttl security on;', frr => 'ttl-security hops 1' },
	{ name => 'GTSM, IPv6', v6 => 1, families => 'v6', ours => 'gtsm on', bird => 'ttl security on;', frr => 'ttl-security hops 1' },
	{ name => 'hold time 3 s', families => 'v4', ours => 'hold 3', bird => 'hold time 9;', frr => 'timers 3 9', hold => 1 },
	{ name => 'BFD', families => 'v4', ours => 'bfd on bfd-tx 100 bfd-rx 100', bird => 'bfd on;', frr => 'bfd', bfd => 1 },
	{ name => 'BFD, IPv6', v6 => 1, families => 'v6', ours => 'bfd on bfd-tx 100 bfd-rx 100', bird => 'bfd on;', frr => 'bfd', bfd => 1 },
	{ name => 'the node waits', families => 'v4', ours => 'mode listen' },
	{ name => 'the node calls', families => 'v4', ours => 'mode dial', bird => 'passive on;', frr => 'passive' },
	{ name => 'both call at once', families => 'v4', ours => 'mode both retry 1', bird => 'connect delay time 1;', collision => 1 },
	{ name => 'no capabilities, AS of two octets', families => 'v4', bird => 'enable as4 off; capabilities off;', as2 => 1,
		# FRR reads our capability all the same, and then leaves AS4_PATH alone
		frr => 'dont-capability-negotiate', bird_sees => qr/as_path: 4200000053\b/, frr_sees => qr/"path":"23456"/ },
);
$_->{ours} //= '' for @case;
@case = grep { !$_->{md5} || $kernel_md5 } @case;

# Is TCP_MD5SIG there?
sub md5_works {
	socket my $s, Socket::AF_INET(), Socket::SOCK_STREAM(), 0 or return 0;
	my $sig = pack 'a128 C C S l a80', Socket::pack_sockaddr_in(0, Socket::inet_aton('127.0.0.1')), 0, 0, 3, 0, 'abc';
	return setsockopt $s, Socket::IPPROTO_TCP(), 14, $sig;
}

# tests/lab closes the descriptors below 256 that are not its own.
sub secret_fd {
	my ($n) = @_;
	open my $f, '<', Lab::spurt("$net->{dir}/secret", "open_sesame\n");
	POSIX::dup2(fileno $f, $n);
	return $n;
}

# Neighbours that one node has at one router, and the router's own text about them.
sub links {
	my ($who) = @_;
	$net->link('node', [ map { (near($who, $_) . '/24', near($who, $_, 1) . '/64') } 1 .. @case ],
		$who, [ map { (peer($who, $_) . '/24', peer($who, $_, 1) . '/64') } 1 .. @case ]);
}
links($_) for sort keys %subnet;
# another hop behind BIRD's
$net->link('bird', '10.0.9.1/24', 'far', [ '10.0.9.2/24', '10.0.9.3/24' ]);
$net->ip('node', 'route add 10.0.9.0/24 via ' . peer('bird', 1));
$net->ip('far', 'route add 10.0.1.0/24 via 10.0.9.1');

my $fd = 300;
sub our_line {
	my ($c, $who, $as, $k) = @_;
	my $hops = ($c->{hop6} ? ' next-hop ' . near($who, $k, 1) : '') . ($c->{hop4} ? ' next-hop ' . near($who, $k) : '');
	my $md5 = $c->{md5} ? ' md5 fd:' . secret_fd($fd++) : '';
	push @set, 'bgp-peer=' . peer($who, $k, $c->{v6}) . " as $as source " . near($who, $k, $c->{v6}) .
		" families $c->{families} $c->{ours}$hops$md5" . ($c->{ours} =~ /retry/ ? '' : ' retry 1');
}

my (@bird, @frr, @frr_family);
for my $k (1 .. @case) {
	my $c = $case[ $k - 1 ];
	my $as = $c->{as2} ? 23456 : AS;
	my @prefix = ($c->{families} =~ /v4/ ? V4 : (), $c->{families} =~ /v6/ ? V6 : ());

	my ($us, $it) = (near('bird', $k, $c->{v6}), peer('bird', $k, $c->{v6}));
	my $channels = join ' ', map { "ip$_ { import all; export none; " . ($_ eq 'v4' && $c->{bird_channel} || '') . ' };' } split /,/, $c->{families};
	push @bird, "protocol bgp s$k { local $it as 65010; neighbor $us as $as; strict bind; $channels " . ($c->{bird} // '') .
		" connect retry time 1; error wait time 1, 2; }\n";
	our_line($c, 'bird', 65010, $k);
	push @expect, [ "BIRD: $c->{name}", 'bird', "s$k", \@prefix, $c->{bird_sees}, $c ];

	($us, $it) = (near('frr', $k, $c->{v6}), peer('frr', $k, $c->{v6}));
	push @frr, map { " neighbor $us $_" } 'remote-as ' . AS, "update-source $it", 'timers connect 1', $c->{frr} // ();
	push @{ $frr_family[$_] }, "  neighbor $us activate" for grep { $c->{families} =~ /v$_/ } 4, 6;
	our_line($c, 'frr', 65020, $k);
	push @expect, [ "FRR: $c->{name}", 'frr', $us, \@prefix, $c->{frr_sees}, $c ];
}

my %router;
my $head = "log stderr all;\nrouter id 10.0.1.101;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n";
$router{bird} = $net->bird('bird', 'bird', $head . <<"E" . join '', @bird);
protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
E
$router{frr} = $net->frr('frr', 'frr', join "\n", 'router bgp 65020', ' bgp router-id 10.0.2.101', ' no bgp ebgp-requires-policy',
	' no bgp default ipv4-unicast', @frr, (map { (" address-family ipv$_ unicast", @{ $frr_family[$_] }, ' exit-address-family') } 4, 6), 'exit', '');

# several hops: two routers behind another one
$router{far} = $net->bird('far', 'far', $head =~ s/10.0.1.101/10.0.9.2/r . <<"E");
protocol static { ipv4; route 10.0.1.0/24 via 10.0.9.1; }
protocol bgp far { local 10.0.9.2 as 65090; neighbor 10.0.1.1 as @{[AS]}; multihop 4; strict bind; ipv4 { import all; export none; };
	connect retry time 1; error wait time 1, 2; bfd on; }
protocol bfd { multihop { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
E
push @set, 'bgp-peer=10.0.9.2 as 65090 source 10.0.1.1 ttl 4 retry 1 families v4 bfd multihop bfd-tx 100 bfd-rx 100';
push @expect, [ 'BIRD: behind another hop, with BFD', 'far', 'far', [V4], undef, { bfd => 1 } ];
$router{far2} = $net->frr('far', 'far2', <<"E", '-l', '10.0.9.3');
router bgp 65091
 bgp router-id 10.0.9.3
 no bgp ebgp-requires-policy
 neighbor 10.0.1.2 remote-as @{[AS]}
 neighbor 10.0.1.2 update-source 10.0.9.3
 neighbor 10.0.1.2 ebgp-multihop 4
 neighbor 10.0.1.2 passive
exit
E
push @set, 'bgp-peer=10.0.9.3 as 65091 source 10.0.1.2 ttl 4 retry 1 families v4';
push @expect, [ 'FRR: behind another hop', 'far2', '10.0.1.2', [V4] ];

# the others: one session over IPv4 with both families
sub other {
	my ($who, $as) = @_;
	push @set, 'bgp-peer=' . peer($who, 1) . " as $as source " . near($who, 1) . ' next-hop ' . near($who, 1, 1) . ' retry 1 hold 9';
	push @expect, [ "$who: both families", $who, near($who, 1), [V4, V6] ];
	return (peer($who, 1), near($who, 1));
}
my ($it, $us) = other('gobgp', 65030);
$router{gobgp} = $net->gobgp('gobgp', 'gobgp', <<"E");
[global.config]
  as = 65030
  router-id = "$it"
  local-address-list = ["$it"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "$us"
    peer-as = @{[AS]}
  [neighbors.transport.config]
    local-address = "$it"
  [neighbors.timers.config]
    connect-retry = 5
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
E
($it, $us) = other('exabgp', 65040);
$router{exabgp} = $net->exabgp('exabgp', 'exabgp', <<"E");
neighbor $us {
	router-id $it;
	local-address $it;
	local-as 65040;
	peer-as @{[AS]};
	family { ipv4 unicast; ipv6 unicast; }
	api { processes [ received ]; neighbor-changes; receive { parsed; update; } }
}
E
($it, $us) = other('openbgp', 65050);
$router{openbgp} = $net->openbgp('openbgp', 'openbgp', <<"E");
AS 65050
router-id $it
fib-update no
listen on $it
nexthop qualify via default
neighbor $us {
	remote-as @{[AS]}
	local-address $it
	announce IPv4 unicast
	announce IPv6 unicast
}
allow from any
E

my $from = DNS::now();
my $lab = $net->within('node', sub {
	Lab->new(zones => { 'example.org' => "$FindBin::Bin/../zones/example.org.zone" }, set => \@set)
});
note(sprintf 'the node answers after %.1f s', DNS::now() - $from);
sub status { $lab->status('node1') }

# All at once; asked in turn, as nobody is in a hurry here.
my ($start, $worst) = (DNS::now(), 0);
my @left = @expect;
Lab::wait_for(5 * BAR, sub {
	@left = grep { !$router{ $_->[1] }->has($_->[2], @{ $_->[3] }) } @left;
	$worst = DNS::now() - $start;
	return !@left;
});
my %late = map { $_->[0] => 1 } @left;
for my $e (@expect) {
	my ($what, $who, $neighbour, $prefixes, $pattern) = @$e;
	my $r = $router{$who};
	ok(!$late{$what} && $r->state($neighbour), "$what: Established, and @$prefixes in its table") or do {
		diag(($who =~ /bird|far$/ ? $r->birdc("show protocols all $neighbour") : '') . $net->log($r->{name}));
		next;
	};
	like($r->routes($neighbour)->{ $prefixes->[0] }, $pattern, "$what: attributes") if $pattern;
}
note(sprintf 'all %d sessions and their prefixes: within %.1f s (bar %d s)', scalar @expect, $worst, BAR);

my $s = status();
my @up = grep { $_->{state} eq 'Established' && $_->{announced} } @{ $s->{bgp} };
is(scalar @up, scalar @expect, 'the node says so, too') or diag(explain([ grep { $_->{state} ne 'Established' } @{ $s->{bgp} } ]));

SKIP: {
	skip 'this kernel has no TCP_MD5SIG', 1 unless $kernel_md5;
	# a stranger without the secret does not get as far as a connection
	my ($n) = grep { $case[ $_ - 1 ]{md5} } 1 .. @case;
	my $connected = $net->within('bird', sub {
		require IO::Socket::INET;
		IO::Socket::INET->new(LocalAddr => peer('bird', $n), PeerAddr => near('bird', $n), PeerPort => 179, Timeout => 1);
	});
	ok(!$connected, 'without the secret of MD5: no connection');
}

for my $e (grep { $_->[5] && $_->[5]{bfd} && $_->[1] =~ /bird|far/ } @expect) {
	my ($what, $who, $neighbour) = @$e;
	my $text = $router{$who}->birdc('show bfd sessions');
	my $address = $who eq 'far' ? '10.0.1.1' : near('bird', $neighbour =~ s/s//r, $e->[5]{v6});
	like($text, qr/^\Q$address\E\s.*\bUp\b/m, "$what: BFD is Up") or diag(explain([ grep { $_->{bfd} } @{ $s->{bgp} } ]));
}
{
	my $text = $router{frr}->vtysh('show bfd peers brief');
	for my $k (grep { $case[ $_ - 1 ]{bfd} } 1 .. @case) {
		like($text, qr/\Q@{[near('frr', $k, $case[$k - 1]{v6})]}\E\s+up\b/, "FRR: $case[$k - 1]{name}: up") or diag($text);
	}
	my ($k) = grep { $case[ $_ - 1 ]{hold} } 1 .. @case;
	my $n = near('frr', $k);
	is($router{frr}->json("show bgp neighbors $n json")->{$n}{bgpTimerHoldTimeMsecs}, 3000, 'FRR: hold time 3 s is what was agreed');
}

# nothing flaps: the sessions are the same some seconds later
my %since = map { $_->{peer} => $_->{since} } @{ $s->{bgp} };
DNS::pause(4); # more than the hold time of 3 s
is_deeply({ map { $_->{peer} => $_->{since} } @{ status()->{bgp} } }, \%since, '4 s later: the same sessions');

# a planned stop: gone from all tables, by a Cease
$start = DNS::now();
kill 'TERM', $lab->pids('node1', 'encdns-super');
@left = @expect;
ok(Lab::wait_for(5 * 5, sub { !(@left = grep { %{ $router{ $_->[1] }->routes($_->[2]) } } @left) }), 'planned stop: gone from all tables')
	or diag(join ', ', map { $_->[0] } @left);
note(sprintf 'after %.1f s, 1 s of them to drain', DNS::now() - $start);
like($net->log('bird'), qr/s1: Received: Administrative shutdown/i, 'BIRD knows it for a planned stop');
$lab->down;

done_testing;
