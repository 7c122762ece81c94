#!/usr/bin/perl
# The node's questions to itself are not limited: with `rrl on`, where loopback is
# limited like everybody else, and a limit far below what they need, the route is
# first choice and stays so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use Lab;

my $prefix = '127.0.0.0/8';
my $zone = "$FindBin::Bin/../zones/example.org.zone";
my $router = BGP->new(host => '127.0.0.9', as => 65009);
my $from = DNS::now();
my $lab = Lab->new(zones => { 'example.org' => $zone }, set => [ 'workers=2', 'bgp-as=65001', "bgp-prefix=$prefix", 'bgp-port=0',
	'bgp-peer=127.0.0.9 as 65009 retry 1 port ' . $router->port, 'rrl=on', 'rrl-rate=4', 'rrl-zone-rate=4', 'rrl-total-rate=4', 'rrl-slip=0' ]);

my $first = $router->announced($from, $prefix);
ok($first, 'announced') or BAIL_OUT('no announcement');
is_deeply($first->{path}, [65001], '... as first choice');

# somebody else on this machine takes all that there is for its loopback
my $q = DNS::query('example.org.', 'SOA');
my $s = DNS::udp_socket('127.0.0.1', $lab->port);
my $end = DNS::now() + 8;
$from = DNS::now();
while (DNS::now() < $end) {
	send $s, $q, 0;
	DNS::pause(0.01);
}
my ($answered, $in) = (0);
$answered++ while recv $s, $in, 4096, Socket::MSG_DONTWAIT();
cmp_ok($answered, '<', 100, "somebody else on this machine is limited ($answered answers to 800 questions)");
my @told = grep { @{ $_->{announced} // [] } || @{ $_->{withdrawn} // [] } } $router->events($from);
is(scalar @told, 0, 'the route stays as it is, for 8 s') or diag(explain(\@told));
my $route = $lab->status('node1')->{route};
is("$route->{level}: $route->{why}", 'full: all is well', '... and all is well');
$lab->down;
done_testing;
