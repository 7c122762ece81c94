#!/usr/bin/perl
# What sessions go through: interfaces that come late, routers that start again or
# ask for all routes anew, both sides calling at once, mistakes in a configuration,
# and a planned stop as a router sees it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Net;

my $why = Net::missing(qw(bird2 frr));
plan skip_all => $why if $why;

use constant { V4 => '192.0.2.0/24', BAR => 10 };

my $net = Net->new;
$net->add(qw(node bird frr));
$net->link('node', [qw(10.0.1.1/24 10.0.1.3/24 10.0.1.5/24)], 'bird', [qw(10.0.1.2/24 10.0.1.4/24 10.0.1.6/24)]);
$net->link('node', '10.0.2.1/24', 'frr', '10.0.2.2/24');
my $zone = "$FindBin::Bin/../zones/example.org.zone";

# BFD is slow here, as nothing below asks how soon it sees a failure: a machine shared with others stands still for a while itself.
my $channel = 'ipv4 { import all; export none; };';
sub start_bird {
	return $net->bird('bird', 'bird', <<"E");
log stderr all;
router id 10.0.1.2;
protocol device {}
protocol direct { ipv4; }
protocol bfd { interface "*" { min rx interval 500 ms; min tx interval 500 ms; multiplier 3; }; }
template bgp node { connect delay time 1; connect retry time 1; error wait time 1, 1; strict bind; $channel }
protocol bgp good from node { local 10.0.1.2 as 65010; neighbor 10.0.1.1 as 65001; bfd on; }
protocol bgp wrong_as from node { local 10.0.1.4 as 65099; neighbor 10.0.1.3 as 65001; }
protocol bgp wrong_secret from node { local 10.0.1.6 as 65010; neighbor 10.0.1.5 as 65001; password "another"; }
E
}
my $bird = start_bird();
my $frr = $net->frr('frr', 'frr', <<'E');
router bgp 65020
 bgp router-id 10.0.2.2
 no bgp ebgp-requires-policy
 neighbor 10.0.2.1 remote-as 65001
 neighbor 10.0.2.1 timers connect 1
exit
E

# how long until something is so, and that against the bar
my %worst;
sub soon {
	my ($what, $test) = @_;
	my $from = DNS::now();
	my $good = Lab::wait_for(5 * BAR, $test);
	my $took = DNS::now() - $from;
	$worst{$what} = $took if $took > ($worst{$what} // 0);
	return $good;
}
sub say_worst { note(sprintf '%s: within %.1f s (bar %d s)', $_[0], $worst{ $_[0] }, BAR) }

open my $secret, '<', Lab::spurt("$net->{dir}/secret", "one\n");
POSIX::dup2(fileno $secret, 300); # tests/lab closes the descriptors below 256
my @set = ('bgp-as=65001', 'bgp-id=10.0.1.1', 'bgp-drain=1', 'bgp-prefix=' . V4,
	'bgp-peer=10.0.1.2 as 65010 source 10.0.1.1 retry 1 bfd on bfd-tx 500 bfd-rx 500', 'bgp-peer=10.0.1.4 as 65010 source 10.0.1.3 retry 1',
	'bgp-peer=10.0.2.2 as 65020 retry 1');

# ---- a late interface ----

$net->ip('node', 'link set to_bird down');
my $lab = $net->within('node', sub {
	Lab->new(zones => { 'example.org' => $zone }, set => [ @set, 'bgp-peer=10.0.1.6 as 65010 source 10.0.1.5 retry 1 md5 fd:300' ])
});
sub peer { (grep { $_->{peer} eq $_[0] } @{ ($lab->status('node1') // {})->{bgp} // [] })[0] // {} }

ok(soon('another interface down: the neighbour at the first', sub { $frr->has('10.0.2.1', V4) }), 'FRR has the route');
isnt(peer('10.0.1.2')->{state}, 'Established', 'its interface is down: no session with BIRD');
DNS::pause(1.5);
$net->ip('node', 'link set to_bird up');
ok(soon('an interface that comes late', sub { $bird->has('good', V4) }), 'the interface is up: BIRD has the route')
	or diag($net->log('bird'), Lab::slurp("$lab->{dir}/node1/log"));
say_worst('an interface that comes late');
ok(Lab::wait_for(5 * BAR, sub { peer('10.0.1.2')->{bfd} =~ /^Up/ && $bird->birdc('show bfd sessions') =~ /\bUp\b/ }), '... and BFD has begun')
	or diag(explain(peer('10.0.1.2')), Lab::slurp("$lab->{dir}/node1/log"));

# ---- mistakes ----

ok(Lab::wait_for(10, sub { peer('10.0.1.4')->{last} =~ /Bad Peer AS/ }), 'a neighbour with another AS: the status says so') or diag(explain(peer('10.0.1.4')));
ok(!$bird->has('wrong_as', V4), '... and it has no route');
like(peer("10.0.1.6")->{state} // "", qr/^(Idle|Connect|Active)\z/, "another secret: no session");

# ---- routers that start again ----

my $since = peer('10.0.2.2')->{since};
# One of each: what ends a session that was short doubles the pause before the next.
$bird->stop; # by SIGKILL
ok(Lab::wait_for(5, sub { peer('10.0.1.2')->{state} ne 'Established' }), 'BIRD is killed: the node knows');
$bird = start_bird();
ok(soon('a router that starts again', sub { $bird->has('good', V4) }), 'BIRD starts again: it has the route');
say_worst('a router that starts again');
$bird->birdc('restart good');
ok(soon('a session that is restarted', sub { $bird->has('good', V4) && $bird->state('good') }), 'restarted by birdc, both sides calling: the route is back');
say_worst('a session that is restarted');
$frr->vtysh('clear bgp *');
DNS::pause(0.2);
ok(soon('a session that FRR clears', sub { $frr->has('10.0.2.1', V4) && $frr->state('10.0.2.1') }), 'cleared in FRR: the route is back');
say_worst('a session that FRR clears');

# ---- all routes anew ----

$since = peer('10.0.1.2')->{since};
$bird->birdc('reload in good');
DNS::pause(0.3);
ok($bird->has('good', V4), 'BIRD asks for all routes anew: it has the route');
$frr->vtysh('clear bgp * soft in');
DNS::pause(0.3);
ok($frr->has('10.0.2.1', V4), 'FRR asks for all routes anew: it has the route');
is(peer('10.0.1.2')->{since}, $since, 'in the same session');

ok(Lab::wait_for(60, sub { (peer('10.0.1.6')->{trouble} // '') =~ /no answer/ }), 'another secret: the status says that nobody answers') or diag(explain($lab->status('node1')->{bgp}));

# ---- the planned stop ----

my $from = DNS::now();
kill 'TERM', $lab->pids('node1', 'encdns-super');
my ($marked, $gone);
Lab::wait_for(10, sub {
	my $r = $bird->routes('good')->{+V4};
	$marked //= DNS::now() - $from if $r && $r =~ /\(65535,0\)/;
	$gone = DNS::now() - $from unless $r;
	return defined $gone;
});
ok(defined $marked && defined $gone && $marked < $gone, 'planned stop: first the community of graceful shutdown, then withdrawn');
note(sprintf 'after %.0f ms and %.0f ms (bgp-drain 1)', 1000 * ($marked // 0), 1000 * ($gone // 0));
ok(Lab::wait_for(10, sub { $net->log('bird') =~ /good: Received: Administrative shutdown/i }), '... then the session ends in order') or diag($net->log('bird'));
$lab->down;

# ---- doors that can't be opened ----

sub start_with {
	my (@peers) = @_;
	open $secret, '<', "$net->{dir}/secret";
	POSIX::dup2(fileno $secret, 300);
	return $net->within('node', sub { Lab->new(zones => { 'example.org' => $zone }, may_fail => 1, set => [ @set, map { "bgp-peer=$_" } @peers ]) });
}
# Whoever calls there is sent away, so that a router's own call does not stand against the node's.
sub hold_port {
	my $pid = $net->start('node', 'holder', $^X, '-MIO::Socket::INET', '-e',
		'$s = IO::Socket::INET->new(LocalPort => 179, Listen => 1, ReuseAddr => 1) or die $!; $| = 1; print "ready\n"; close $c while $c = $s->accept');
	Lab::wait_for(5, sub { $net->log('holder') =~ /ready/ }) or die 'port 179: ' . $net->log('holder');
	return $pid;
}
my $holder = hold_port();
$lab = start_with();
is($lab->{up}{status}, 0, 'somebody else has port 179: the node starts');
ok(soon('calls', sub { $frr->has('10.0.2.1', V4) }), '... and calls its neighbours itself');
$lab->down;
$lab = start_with('10.0.1.6 as 65010 source 10.0.1.5 mode listen');
isnt($lab->{up}{status}, 0, '... but not where a neighbour has to call it');
like($lab->{up}{err} . Lab::slurp("$lab->{dir}/node1/log"), qr/port 179: Address in use|port 179: Address already in use/, '... and says why');
$lab->down;
$net->stop($holder);

SKIP: {
	# the kernel has no room for a secret: never a door that lets in whoever comes
	my $full = eval { $net->within('node', sub { Net::sysctl('net.core.optmem_max', 0) }); 1 };
	skip 'this kernel limits secrets for all namespaces together', 1 unless $full;
	$lab = start_with('10.0.1.6 as 65010 source 10.0.1.5 md5 fd:300');
	isnt($lab->{up}{status}, 0, 'a secret that the kernel does not take: nothing starts');
	$lab->down;
}
done_testing;
