#!/usr/bin/perl
# The route is announced only while the node answers: what a neighbour hears when parts
# of the node die, stand still, answer wrongly, or leave; both directions; what
# status says; service addresses on the loopback interface.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use File::Temp 'tempdir';
use Lab;

my $prefix = '127.0.0.0/8';
my $dir = tempdir('encdns-route-XXXXXX', TMPDIR => 1, CLEANUP => 1);
sub zone { Lab::spurt("$dir/$_[0]", "\$TTL 60\n\@ SOA ns hostmaster $_[1] 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n") }

# A time by the clock, with its bar: fails only at five times the bar.
sub within {
	my ($from, $bar, $name, $event) = @_;
	return fail("$name: never") unless $event;
	my $took = $event->{at} - $from;
	diag(sprintf '%s: %.3f s, bar %.1f s', $name, $took, $bar) if $took > $bar;
	ok($took <= 5 * $bar, sprintf '%s (%.0f ms)', $name, $took * 1000);
}

my $router = BGP->new(host => '127.0.0.9', as => 4200000010);
my @bgp = ('bgp-as=65001', "bgp-prefix=$prefix", 'bgp-port=0', 'bgp-drain=1',
	'bgp-peer=127.0.0.9 as 4200000010 port ' . $router->port . ' retry 1 prepend 1 med 7 community 65001:5');
my $from = DNS::now();
my $lab = Lab->new(zones => { map { ("zone$_.example" => zone("z$_", 7)) } 1 .. 40 }, set => [ @bgp, 'workers=2' ]);

# Returns the time before it: what follows may be there sooner than we run again.
sub signal {
	my ($comm, $signal) = @_;
	my @pids = $lab->pids('node1', $comm);
	my $from = DNS::now();
	kill $signal, @pids;
	return $from;
}
sub bgp { (($lab->status('node1') // {})->{bgp} // [])->[0] // {} }
sub route { ($lab->status('node1') // {})->{route} // {} }
sub status_text { Lab::run({ limit => 10 }, "$Lab::bin/encdns", 'status', '--dir', $lab->dir . '/node1')->{out} }
sub answers { my $m = eval { $lab->ask('zone1.example', 'SOA', wait => 0.3, tries => 1) }; $m && $m->{aa} }

# ---- the first time ----
my $first = $router->announced($from, $prefix);
ok($first, 'announced') or BAIL_OUT('no announcement');
is_deeply($first->{path}, [ 65001, 65001 ], 'our AS, once more than needed');
is_deeply([ $first->{med}, $first->{next_hop}, @{ $first->{communities} } ], [ 7, '127.0.0.1', '65001:5' ], 'MED, next hop, community');
my $call = $router->heard($from, sub { $_[0]{what} eq 'connected' });
ok($call->{port} >= 20000 && $call->{port} <= 40000, "the connection comes from port $call->{port}");
ok(Lab::wait_for(5, sub { bgp()->{announced} }), 'status knows');
is_deeply([ @{ bgp() }{qw(peer as state announced level)} ], [ '127.0.0.9', 4200000010, 'Established', 1, 'full' ], 'status --json');
like(bgp()->{negotiated}, qr/IPv4, 4-octet AS/, 'what both have agreed on');
like(status_text(), qr/^route: announced: all is well\nbgp 127\.0\.0\.9 as 4200000010: Established for \d+ s, 1 of 1 prefixes announced/m, 'status in words');

# ---- what must not withdraw ----
$from = DNS::now();
for (1 .. 4) {
	signal('encdns-control', 'KILL');
	DNS::pause(1);
}
ok(!$router->withdrawn($from, $prefix, 1), 'encdns-control killed again and again: nothing changes');
ok(Lab::wait_for(15, sub { bgp()->{announced} }), 'and status comes back');
$lab->cmd('update', 'zone1.example=' . zone('z1', 8));
$lab->cmd('update', 'zone1.example=' . zone('z1', 9), 'zone2.example=' . zone('z2', 8));
ok(!$router->withdrawn($from, $prefix, 2), 'zones change: nothing is withdrawn');

# ---- encdns-dns dies ----
$from = signal('encdns-dns', 'KILL');
within($from, 0.2, 'encdns-dns killed, withdrawn', $router->withdrawn($from, $prefix));
my $again = $router->announced($from, $prefix, 30);
ok($again && $again->{at} - $from >= 9.5, 'announced again, after a stable time of 10 s');

# ---- it stands still ----
$from = signal('encdns-dns', 'STOP');
within($from, 1, 'encdns-dns stands still, withdrawn', $router->withdrawn($from, $prefix));
like(route()->{why}, qr/worker|answer/, 'the reason: ' . (route()->{why} // ''));
signal('encdns-dns', 'CONT');
ok(route()->{wait} > 10, 'now the stable time is longer');

# ---- a crash of all; a neighbour that sees the connection end ----
$from = signal('encdns-super', 'KILL');
within($from, 0.2, 'the whole node killed, connection closed', $router->heard($from, sub { $_[0]{what} eq 'closed' }));
ok(-s $lab->dir . '/node1/route', 'flaps are remembered');
like(Lab::slurp($lab->dir . '/node1/route'), qr/^flaps 2 /, 'both');
$from = DNS::now();
$lab->cmd('restart');
ok($router->heard($from, sub { $_[0]{what} eq 'connected' }), 'started again: a new session');
ok(!$router->announced($from, $prefix, 3), 'but nothing is announced yet');
ok(route()->{flaps} >= 2 && route()->{wait} > 5, 'because of what is remembered');

# ---- leaving in order ----
$lab->cmd('restart');
my $super = ($lab->pids('node1', 'encdns-super'))[0];
kill 'KILL', $super;
DNS::pause(0.3);
unlink $lab->dir . '/node1/route'; # forgiven
$from = DNS::now();
$lab->cmd('restart');
ok($router->announced($from, $prefix), 'forgotten: announced at once');
$from = DNS::now();
kill 'TERM', $lab->pids('node1', 'encdns-super');
my $shut = $router->heard($from, sub { grep { $_ eq '65535:0' } @{ $_[0]{communities} // [] } });
within($from, 0.2, 'SIGTERM: graceful shutdown', $shut);
my $gone = $router->withdrawn($from, $prefix);
ok($gone && $gone->{at} - $from >= 0.9, 'withdrawn after bgp-drain');
ok(answers(), 'and still answering then');
my $bye = $router->heard($from, sub { $_[0]{what} eq 'notification' });
ok($bye && $bye->{code} == 6 && $bye->{subcode} == 2 && $bye->{at} - $gone->{at} > 0.5, 'then Cease, administrative shutdown');
like($bye->{text} // '', qr/planned stop/, 'with a reason in words');
ok(Lab::wait_for(5, sub { !$lab->pids('node1') }), 'then all has stopped');
like(Lab::slurp($lab->dir . '/node1/route'), qr/^flaps 0 announced 0/, 'a planned stop is no flap');

# ---- a wrong answer ----
$from = DNS::now();
$lab->cmd('restart');
ok($router->announced($from, $prefix), 'announced again');
# someone writes over the disk: what is looked up is found, but does not open
$from = DNS::now();
{
	open my $f, '+<:raw', $lab->dir . '/node1/store' or die;
	my $at = 65536;
	while (sysseek($f, $at, 0) && (sysread $f, my $b, 65536)) {
		my $was = $b;
		$b =~ s/([^\0]{40,})/$1 ^ ("\0" x 20 . "\1" . "\0" x (length($1) - 21))/ge;
		$from = DNS::now();
		sysseek $f, $at, 0;
		syswrite $f, $b if $b ne $was;
		$at += length $b;
	}
}
within($from, 1, 'the store is written over, withdrawn', $router->withdrawn($from, $prefix));
like(route()->{why} // 'control is gone', qr/wrong answer|damaged|control is gone/, 'the reason: ' . (route()->{why} // ''));
$lab->down;
$router->stop;

# ---- both directions, two of our own nodes ----
my $port = Lab::free_port();
$lab = Lab->new(nodes => 2, zones => { 'zone1.example' => zone('z1', 1) });
for my $k (1, 2) {
	my $other = 3 - $k;
	my $mode = $ENV{MODE} // 'both';
	open my $conf, '>>', $lab->dir . "/node$k/conf" or die;
	print $conf "bgp-as 6500$k\nbgp-port $port\nbgp-prefix 127.0.0.$k/32\nbgp-prefix 2001:db8:$k\::/48\nbgp-drain 0\n",
		"bgp-peer 127.0.0.$other as 6500$other port $port mode $mode source 127.0.0.$k retry 1 next-hop 2001:db8::$k gtsm on ",
		"bfd on bfd-tx 100 bfd-rx 100\n";
	close $conf;
}
$lab->cmd('restart');
ok(Lab::wait_for(20, sub { 2 == grep { (($lab->status("node$_")->{bgp} // [])->[0] // {})->{announced} } 1, 2 }), 'two nodes, each calling the other');
ok(Lab::wait_for(10, sub { 2 == grep { (($lab->status("node$_")->{bgp} // [])->[0] // {})->{bfd} =~ /^Up/ } 1, 2 }), 'with BFD')
	or diag map { "$_: " . ($lab->status("node$_")->{bgp}[0]{bfd} // '') . "\n" } 1, 2;
is($lab->status('node1')->{bgp}[0]{announced}, 2, 'IPv4 and IPv6 prefixes in one session');
my $pid = ($lab->pids('node2', 'encdns-route'))[0];
$from = DNS::now();
kill 'STOP', $pid;
ok(Lab::wait_for(5, sub { $lab->status('node1')->{bgp}[0]{state} ne 'Established' }), 'one stands still: BFD ends the session');
my $took = DNS::now() - $from;
ok($took < 2.5, sprintf 'in %.2f s', $took);
like($lab->status('node1')->{bgp}[0]{last}, qr/BFD/, 'and says so');
ok(Lab::wait_for(20, sub { my ($p) = $lab->pids('node2', 'encdns-route'); $p && $p != $pid }), 'its supervisor starts it again');
ok(Lab::wait_for(30, sub { $lab->status('node1')->{bgp}[0]{state} eq 'Established' }), 'and the session returns');

# ---- TCP MD5: the secret comes by a descriptor, so the nodes are started by hand ----
sub start_by_hand { my ($who, $secret) = @_; $lab->by_hand($who, 30 => Lab::spurt("$dir/secret-$who", "$secret\n")) }
sub stop_by_hand { my ($pid) = @_; kill 'KILL', $pid; waitpid $pid, 0; DNS::pause(0.3) }
sub session { (($lab->status($_[0]) // {})->{bgp} // [])->[0] // { state => '' } }

for my $k (1, 2) {
	my $other = 3 - $k;
	my $conf = Lab::slurp($lab->dir . "/node$k/conf");
	$conf =~ s/^(bgp-peer .*) gtsm on .*/$1 md5 fd:30/m or die;
	my ($super) = $lab->pids("node$k", 'encdns-super');
	kill 'KILL', $super;
	Lab::wait_for(5, sub { !$lab->pids("node$k") });
	Lab::spurt($lab->dir . "/node$k/conf", $conf);
}
my @hand = map { start_by_hand("node$_", 'a common secret') } 1, 2;
SKIP: {
	Lab::wait_for(3, sub { session('node1')->{peer} });
	skip('this kernel has no TCP MD5', 2) if Lab::slurp($lab->dir . '/node1/log') =~ /Protocol not available/;
	ok(Lab::wait_for(15, sub { 2 == grep { session("node$_")->{state} eq 'Established' } 1, 2 }), 'MD5: a common secret')
		or diag Lab::slurp($lab->dir . '/node1/log');
	stop_by_hand($hand[1]);
	$hand[1] = start_by_hand('node2', 'another');
	ok(Lab::wait_for(10, sub { session('node2')->{peer} }) && !Lab::wait_for(4, sub { session('node2')->{state} eq 'Established' }), 'another secret: no session');
}
stop_by_hand($_) for @hand;
$lab->down;

# ---- service addresses on the loopback interface, in a namespace ----
SKIP: {
	my $ns = Lab::run({ limit => 10 }, 'unshare', '-n', 'ip', 'link', 'set', 'lo', 'up');
	skip('no network namespaces here: ' . ($ns->{err} =~ s/\n.*//sr), 4) if $ns->{status};
	my $script = <<'SH';
set -e
ip link set lo up
"$LAB" up "$D" --port 5300 --set bgp-loopback=on --set service=192.0.2.53@5300 --set service=2001:db8::53@5300 \
	--set bgp-as=65001 --set bgp-prefix=192.0.2.0/24 --set bgp-port=0 --set 'bgp-peer=127.0.0.9 as 65009 retry 1' zone1.example="$Z"
ip -o addr show dev lo | sed 's/^/up: /'
sleep 1.5
"$BIN/encdns" status --dir "$D/node1" | sed 's/^/status: /'
"$LAB" down "$D"
ip -o addr show dev lo | sed 's/^/down: /'
SH
	my $r = Lab::run({ limit => 60, env => { LAB => $Lab::lab, D => "$dir/nslab", BIN => $Lab::bin, Z => "$dir/z1" } }, 'unshare', '-n', 'sh', '-c', $script);
	is($r->{status}, 0, 'a lab in a namespace') or diag $r->{err};
	like($r->{out}, qr,up: .*192\.0\.2\.53/32.*up: .*2001:db8::53/128,s, 'addresses are put on the loopback interface');
	like($r->{out}, qr/status: route: announced: all is well/, 'and answer to ourselves there');
	unlike($r->{out}, qr/down: .*(192\.0\.2\.53|2001:db8::53)/, 'and are gone at the end');
}

done_testing();
