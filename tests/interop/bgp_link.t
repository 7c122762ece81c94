#!/usr/bin/perl
# Neighbours at link-local addresses: BIRD and FRR, each on a link of its own and both
# with the same address there, over which the node calls and is called; BFD; and next
# hops as RFC 2545 has them, a global address with a link-local one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Net;

my $why = Net::missing(qw(bird2 frr));
plan skip_all => $why if $why;

use constant { V4 => '192.0.2.0/24', V6 => '2001:db8:53::/48', BAR => 10 };

my $net = Net->new;
$net->add(qw(node bird birdlisten frr));
for ([ bird => 1 ], [ birdlisten => 2 ], [ frr => 3 ]) {
	my ($who, $k) = @$_;
	$net->link('node', ["10.0.$k.1/24"], $who, ["10.0.$k.2/24"]);
	for ([ 'node', "to_$who", 'fe80::1' ], [ $who, 'to_node', 'fe80::2' ]) {
		my ($ns, $dev, $address) = @$_;
		$net->ip($ns, "addr flush dev $dev scope link");
		$net->address($ns, $dev, "$address/64");
	}
}
# a global address on one of the links
$net->address('node', 'to_bird', '2001:db8:1::1/64');
$net->address('bird', 'to_node', '2001:db8:1::2/64');

my $bird = sub {
	my ($ns, $k, $words) = @_;
	return $net->bird($ns, $ns, <<"E");
log stderr all;
router id 10.0.$k.2;
protocol device {}
protocol direct { ipv4; ipv6; }
protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
protocol bgp node { local fe80::2 as 65010; neighbor fe80::1 as 65001; interface "to_node"; bfd on; connect retry time 1; error wait time 1, 2;
	connect delay time 1; $words
	ipv4 { import all; export none; extended next hop; }; ipv6 { import all; export none; }; }
E
};
my %router = (bird => $bird->('bird', 1, ''), birdlisten => $bird->('birdlisten', 2, 'passive on;'),
	frr => $net->frr('frr', 'frr', <<'E'));
router bgp 65020
 bgp router-id 10.0.3.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor fe80::1 remote-as 65001
 neighbor fe80::1 interface to_node
 neighbor fe80::1 timers connect 1
 neighbor fe80::1 bfd
 address-family ipv6 unicast
  neighbor fe80::1 activate
 exit-address-family
exit
E

my $from = DNS::now();
my $lab = $net->within('node', sub {
	Lab->new(zones => { 'example.org' => "$FindBin::Bin/../zones/example.org.zone" }, set => [ 'bgp-as=65001', 'bgp-id=10.0.1.1', 'bgp-prefix=' . V4,
		'bgp-prefix=' . V6, 'bgp-drain=0', 'bgp-peer=fe80::2%to_bird as 65010 v4-by-v6 on retry 1 mode listen bfd on bfd-tx 100 bfd-rx 100',
		'bgp-peer=fe80::2%to_birdlisten as 65010 v4-by-v6 on retry 1 mode dial bfd on bfd-tx 100 bfd-rx 100',
		'bgp-peer=fe80::2%to_frr as 65020 families v6 retry 1 bfd on bfd-tx 300 bfd-rx 300' ])
});
sub peers { return { map { $_->{peer} => $_ } @{ ($lab->status('node1') // {})->{bgp} // [] } } }
my %name = (bird => 'node', birdlisten => 'node', frr => 'fe80::1');
for my $who (qw(bird birdlisten frr)) {
	my $what = { bird => 'BIRD calls', birdlisten => 'BIRD listens', frr => 'FRR' }->{$who};
	ok(Lab::wait_for(5 * BAR, sub { $router{$who}->has($name{$who}, $who eq 'frr' ? V6 : (V4, V6)) }), "$what: the prefixes are there")
		or diag($who eq 'frr' ? $net->log('frr.bgpd') : $net->log($who), $who =~ /bird/ ? $router{$who}->birdc('show protocols all node') : $router{$who}->vtysh('show bgp neighbors'),
			Lab::slurp("$lab->{dir}/node1/log"));
	ok(Lab::wait_for(BAR, sub { my $p = peers()->{"fe80::2%to_$who"}; $p->{state} eq 'Established' && $p->{bfd} =~ /^Up/ }), '... the node names the link; BFD is Up')
		or diag(explain(peers()));
}
note(sprintf 'after %.1f s (bar %d s)', DNS::now() - $from, BAR);

my $hops = sub { my ($who, $p) = @_; $router{$who}->routes('node')->{$p} =~ /BGP\.next_hop: (.*)/ ? $1 : '' };
is($hops->('bird', V6), '2001:db8:1::1 fe80::1', 'next hop: the global address of the link, and the link-local one');
is($hops->('bird', V4), '2001:db8:1::1 fe80::1', '... of IPv4 as well');
like($hops->('birdlisten', V6), qr/fe80::1\z/, 'without a global one the link-local one');
like($router{birdlisten}->routes('node')->{+V6}, qr/via fe80::1 on to_node/, '... by which BIRD would send');

$from = DNS::now();
$net->ip('node', 'link set to_bird down');
ok(Lab::wait_for(BAR, sub { my $p = peers(); $p->{'fe80::2%to_bird'}{state} ne 'Established' }), 'one link goes down: so does its session');
is(join(' ', map { peers()->{"fe80::2%to_$_"}{state} } qw(birdlisten frr)), 'Established Established', '... and no other');
$net->ip('node', 'link set to_bird up');
$net->address('node', 'to_bird', 'fe80::1/64'); # the kernel has taken it
ok(Lab::wait_for(5 * BAR, sub { $router{bird}->has('node', V6) }), 'it comes up: the prefix is back') or diag($net->log('bird'), Lab::slurp("$lab->{dir}/node1/log"));

kill 'TERM', $lab->pids('node1', 'encdns-super');
ok(Lab::wait_for(BAR, sub { !grep { %{ $router{$_}->routes($name{$_}) } } keys %router }), 'a planned stop: gone from all tables');
$lab->down;
done_testing;
