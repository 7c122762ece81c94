#!/usr/bin/perl
# What comes and goes makes no routes come and go: encdns-control is killed again and
# again, encdns-dns stands still again and again, a neighbour hangs up again and
# again. For 40 s each; LONG: a quarter of an hour, control killed every 30 s.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use Lab;

my ($seconds, $every) = $ENV{LONG} ? (900, 30) : (40, 2);
my $prefix = '127.0.0.0/8';
my $zone = "$FindBin::Bin/../zones/example.org.zone";

my $router = BGP->new(host => '127.0.0.9', as => 65009);
my $rude = BGP->new(host => '127.0.0.10', as => 65010, hang_up => 'in "another" life');
my $from = DNS::now();
my $lab = Lab->new(zones => { 'example.org' => $zone }, set => [ 'workers=2', 'bgp-as=65001', "bgp-prefix=$prefix", 'bgp-port=0',
	'bgp-peer=127.0.0.9 as 65009 retry 1 port ' . $router->port, 'bgp-peer=127.0.0.10 as 65010 retry 1 port ' . $rude->port ]);

ok($router->announced($from, $prefix), 'announced') or BAIL_OUT('no announcement');
DNS::pause(1);

# How often the neighbour has heard of each kind since a moment.
sub heard {
	my ($from) = @_;
	my @e = $router->events($from);
	return { map { my $k = $_; $k => scalar grep { @{ $_->{$k} // [] } } @e } qw(announced withdrawn) },
		{ map { my $k = $_; $k => scalar grep { $_->{what} eq $k } @e } qw(connected closed notification) };
}

# ---- encdns-control ----
$from = DNS::now();
my ($kills, $next) = (0, 0);
while (DNS::now() < $from + $seconds) {
	if (DNS::now() >= $next) {
		my ($pid) = $lab->pids('node1', 'encdns-control');
		$kills += kill 'KILL', $pid if $pid;
		$next = DNS::now() + $every;
	}
	DNS::pause(0.05);
}
my ($routes, $session) = heard($from);
cmp_ok($kills, '>=', $seconds / $every / 2, "in $seconds s encdns-control was killed $kills times");
is_deeply($routes, { announced => 0, withdrawn => 0 }, 'and no route was announced or withdrawn');
is_deeply($session, { connected => 0, closed => 0, notification => 0 }, 'in the same session');

# ---- a neighbour that hangs up: its own log says how often it was called ----
my @called = map { $_->{at} } grep { $_->{what} eq 'connected' } $rude->events;
my @apart = sort { $a <=> $b } map { $called[$_] - $called[ $_ - 1 ] } 1 .. $#called;
cmp_ok(scalar @called, '>=', 4, 'a neighbour that hangs up is called again (' . @called . ' times)');
# the neighbour's own delays in accepting can bring two of its entries together
ok($apart[0] >= 0.9, sprintf 'never less than 1 s apart (%.3f to %.1f s)', $apart[0], $apart[-1]);
ok($apart[-1] > 3 * $apart[0], 'and less and less often');

# ---- what status says of it all ----
sub text { Lab::run({ limit => 10 }, "$Lab::bin/encdns", 'status', '--dir', $lab->dir . '/node1')->{out} }
my $hint = qr/^bgp 127\.0\.0\.9 as 65009: Established for \d+ s, 1 of 1 prefixes announced, .*\n +Established but no traffic: .*import policy/m;
ok(Lab::wait_for(90, sub { text() =~ $hint }), 'status: Established, but nobody asks since a minute: the hint') or diag(text());
my %peer = map { $_->{peer} => $_ } @{ $lab->status('node1')->{bgp} };
ok($peer{'127.0.0.9'}{no_queries} && !$peer{'127.0.0.10'}{no_queries}, '... --json says of whom');
ok(abs(time - $peer{'127.0.0.9'}{since}) < $seconds + 120 && $peer{'127.0.0.10'}{since} > 0, '... and since when');
my $last = 'received: Cease, Administrative Shutdown: "in "another" life"';
like(text(), qr/^bgp 127\.0\.0\.10 as 65010: (?:Idle|Active|Connect|OpenSent) for \d+ s.*; last notification \Q$last\E$/m, '... the last NOTIFICATION, in words') or diag(text());
is($peer{'127.0.0.10'}{last}, $last, '... in --json as well');
$lab->ask('example.org', 'SOA');
ok(Lab::wait_for(10, sub { text() !~ /no traffic/ }), 'one question, and the hint is gone');

# ---- encdns-dns stands still for a moment ----
$from = DNS::now();
$next = 0;
my $stops = 0;
while (DNS::now() < $from + $seconds) {
	if (DNS::now() >= $next) {
		my ($pid) = $lab->pids('node1', 'encdns-dns');
		$stops += kill 'STOP', $pid if $pid;
		DNS::pause(1.2);
		kill 'CONT', $pid if $pid;
		$next = DNS::now() + 13; # longer than the first stable time
	}
	DNS::pause(0.05);
}
($routes, $session) = heard($from);
cmp_ok($stops, '>=', 3, "in $seconds s encdns-dns stood still $stops times");
cmp_ok($routes->{withdrawn}, '>=', 1, 'which is a reason to withdraw');
ok($routes->{withdrawn} <= 2 && $routes->{announced} <= 2, "at most two cycles ($routes->{withdrawn} times withdrawn, $routes->{announced} announced)");
is_deeply($session, { connected => 0, closed => 0, notification => 0 }, 'in the same session');
$lab->down;
done_testing;
