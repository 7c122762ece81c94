#!/usr/bin/perl
# The denial list from the CA to hub and nodes: a denied node withdraws, stops and wipes
# its keys within a second and isn't started again; one that was away hears of it when
# it returns; a denied hub is refused; older, foreign and damaged lists are not taken.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use File::Temp 'tempdir';
use Lab;

use constant { DENIED => 77, STOPPED_WITHIN => 1 };
my $dir = tempdir('encdns-denial-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");

sub hub { my ($lab, @args) = @_; Lab::run({ limit => 20 }, "$Lab::bin/encdns-hub", @args) }
sub deny { my ($lab, @who) = @_; hub($lab, 'ca', 'deny', @who, '--dir', $lab->dir . '/operator/ca') }
sub give { my ($lab, $file) = @_; hub($lab, 'denials', '--dir', $lab->dir . '/hub1', $file // $lab->dir . '/operator/ca/denials') }
sub log_of { my ($lab, $who) = @_; Lab::slurp($lab->dir . "/$who/log") }
sub answers { my ($lab, $host) = @_; my $m = eval { $lab->ask('zone.example', 'SOA', host => $host, wait => 0.2, tries => 1) }; $m && $m->{aa} }
sub streams { my ($lab) = @_; ((($lab->status('node1') // {})->{journal} // {})->{state} // '') eq 'streaming' }
sub number { my ($lab, $who) = @_; ($lab->status($who) // {})->{denials} // -1 }

# Its exit status, and how long it took; undef when it lives on.
sub ended {
	my ($pid, $within) = @_;
	my $from = DNS::now();
	my $status;
	Lab::wait_for($within, sub { waitpid($pid, POSIX::WNOHANG()) > 0 && defined($status = $?) });
	return defined $status ? $status & 127 ? 128 + ($status & 127) : $status >> 8 : undef, DNS::now() - $from;
}
sub stop { my ($pid) = @_; kill 'KILL', $pid; ended($pid, 15) }
sub within {
	my ($took, $bar, $name) = @_;
	diag(sprintf '%s: %.3f s, bar %.1f s', $name, $took, $bar) if $took > $bar;
	ok($took <= 5 * $bar, sprintf '%s (%.0f ms, bar %.0f ms)', $name, $took * 1000, $bar * 1000);
}

# ---- a live node ----
my $prefix = '127.0.0.0/8';
my $router = BGP->new(host => '127.0.0.9', as => 4200000010);
my $from = DNS::now();
my $lab = Lab->new(zones => { 'zone.example' => $zone }, set => [ 'bgp-as=65001', "bgp-prefix=$prefix", 'bgp-port=0', 'bgp-drain=30',
	'bgp-peer=127.0.0.9 as 4200000010 port ' . $router->port . ' retry 1' ]);
ok($router->announced($from, $prefix), 'announced') or BAIL_OUT('no announcement');
is(number($lab, $_), 0, "$_ has no denial list") for qw(hub1 node1);
is(deny($lab, 'node', 'node1', '--reason', 'a test')->{status}, 0, 'denied at the CA');
ok(answers($lab, '127.0.0.1'), 'nothing happens before a hub has the list');
$from = DNS::now();
my $r = give($lab);
is($r->{status}, 0, 'the hub takes it') or diag $r->{err};
like($r->{out}, qr/^denial list 1: 1 certificates; 1 nodes told, 1 of them denied$/m, 'and says whom it told');
my $gone = Lab::wait_for(10, sub { !$lab->pids('node1') });
my $took = DNS::now() - $from;
ok($gone, 'the node has ended') && within($took, STOPPED_WITHIN, 'all its processes');
my $w = $router->withdrawn($from, $prefix);
ok($w, 'the route is withdrawn') && within($w->{at} - $from, STOPPED_WITHIN, 'long before a drain would be over');
ok(!answers($lab, '127.0.0.1'), 'nothing is answered');
like(log_of($lab, 'node1'), qr/this node's certificate is denied \(list 1\)/, 'its log says why');
is(Lab::slurp($lab->dir . '/node1/denials'), Lab::slurp($lab->dir . '/operator/ca/denials'), 'it has kept the list');
like(log_of($lab, 'hub1'), qr/node node1 is denied/, "the hub's log says so");
DNS::pause(1.5);
is(scalar(my @alive = $lab->pids('node1')), 0, 'nothing starts it again');

my ($status, $seconds) = ended($lab->by_hand('node1'), 10);
is($status, DENIED, 'started by hand it ends with status 77') or diag(log_of($lab, 'node1'));
like(log_of($lab, 'node1'), qr/this certificate is denied \(list 1 in .*; nothing was started/, 'and says why');
unlink $lab->dir . '/node1/denials';
($status, $seconds) = ended($lab->by_hand('node1'), 15);
is($status, DENIED, 'without its list it hears of it from the hub');
diag(sprintf 'after %.2f s', $seconds);
ok(-e $lab->dir . '/node1/denials', 'and has it again');
is(hub($lab, 'ca', 'issue', 'node', 'node1', '--dir', $lab->dir . '/operator/ca')->{status}, 0, 'another certificate for the same name');
my $pid = $lab->by_hand('node1');
ok(Lab::wait_for(10, sub { answers($lab, '127.0.0.1') }), 'is good') or diag(log_of($lab, 'node1'));
ok($router->announced(DNS::now() - 5, $prefix, 15), 'and announced again');
stop($pid);
$lab->down;

# ---- two nodes, one of them away ----
$lab = Lab->new(zones => { 'zone.example' => $zone }, nodes => 2);
my $list = $lab->dir . '/operator/ca/denials';
kill 'KILL', $lab->pids('node2', 'encdns-super');
Lab::wait_for(5, sub { !$lab->pids('node2') });
deny($lab, 'node', 'node2');
my $first = Lab::spurt("$dir/list1", Lab::slurp($list));
like(give($lab)->{out}, qr/list 1: 1 certificates; 1 nodes told, 0 of them denied/, 'who is away is not told');
ok(Lab::wait_for(5, sub { number($lab, 'node1') == 1 }), 'who is there is');
ok(answers($lab, '127.0.0.1'), 'and serves on');
($status, $seconds) = ended($lab->by_hand('node2'), 15);
is($status, DENIED, 'the other one hears of it when it returns');
is($lab->cmd('restart', '--hub')->{status}, 0, 'the hub starts anew');
is(number($lab, 'hub1'), 1, 'and has its list');
ok(Lab::wait_for(15, sub { streams($lab) }), 'a good node comes back to it');

# ---- lists that are not taken ----
sub refused { my ($r, $like, $name) = @_; ok($r->{status} == 1 && $r->{err} =~ $like, $name) or diag "$r->{status} $r->{out}$r->{err}" }
hub($lab, 'ca', 'issue', 'operator', 'mallory', '--no-passphrase', '--dir', $lab->dir . '/operator/ca');
deny($lab, 'operator', 'mallory');
like(give($lab)->{out}, qr/list 2: 2 certificates/, 'the next list');
like(give($lab)->{out}, qr/list 2 is in force already/, 'the same again is no mistake');
refused(give($lab, $first), qr/older/, 'an older one is');
my $octets = Lab::slurp($list);
substr($octets, 40, 1) ^= "\1";
refused(give($lab, Lab::spurt("$dir/damaged", $octets)), qr/not signed by our root|not a denial list/, 'a changed one');
refused(give($lab, Lab::spurt("$dir/short", substr $octets, 0, 50)), qr/not a denial list/, 'half of one');
refused(give($lab, "$dir/none"), qr/No such file/, 'none at all');
hub($lab, 'ca', 'init', '--no-passphrase', '--dir', "$dir/other");
for (1 .. 3) {
	hub($lab, 'ca', 'issue', 'node', "n$_", '--dir', "$dir/other");
	hub($lab, 'ca', 'deny', 'node', "n$_", '--dir', "$dir/other");
}
refused(give($lab, "$dir/other/denials"), qr/not signed by our root/, "another CA's");
# two stations, each with a copy of the CA
system 'cp', '-r', $lab->dir . '/operator/ca', "$dir/copy";
hub($lab, 'ca', 'issue', 'operator', $_, '--no-passphrase', '--dir', "$dir/copy") for qw(a b);
hub($lab, 'ca', 'deny', 'operator', $_, '--dir', "$dir/copy") for qw(a b);
hub($lab, 'ca', 'issue', 'operator', 'c', '--no-passphrase', '--dir', $lab->dir . '/operator/ca');
deny($lab, 'operator', 'c');
like(give($lab)->{out}, qr/list 3: 3 certificates/, 'one station denies');
refused(give($lab, "$dir/copy/denials"), qr/lacks a certificate/, "another one's newer list has forgotten that");
is(number($lab, 'hub1'), 3, 'what is in force stays');
ok(Lab::wait_for(5, sub { number($lab, 'node1') == 3 }), 'at the nodes too');

# ---- an operator ----
sub authorise { my ($station, @how) = @_; Lab::run({ limit => 30 }, "$Lab::bin/encdns-hub", 'authorise', 'node1', '--station', $station, '--yes-if-unchanged', '--wait', 1, @how) }
my $station = $lab->dir . '/operator';
system 'cp', '-r', $station, "$dir/stolen";
is(authorise("$dir/stolen")->{status}, 0, 'two stations of one operator: a machine talks to both');
deny($lab, 'operator', 'lab');
is(give($lab)->{status}, 0, 'the operator is denied');
ok(Lab::wait_for(5, sub { number($lab, 'node1') == 4 }), 'nodes know');
refused(authorise($station), qr/operator lab is denied/, 'his own station says so');
my $r2 = authorise("$dir/stolen");
refused($r2, qr/./, 'and a running machine refuses a copy of it that does not know') or diag $r2->{err};
kill 'KILL', $lab->pids('node1', 'encdns-super');
Lab::wait_for(5, sub { !$lab->pids('node1') });
$lab->waiting('node1');
refused(authorise("$dir/stolen"), qr/./, 'so does one that waits to be authorised');
like(log_of($lab, 'node1'), qr/denied/, 'and says why');
is(scalar(my @dns = $lab->pids('node1', 'encdns-dns')), 0, 'it stays locked');
is(hub($lab, 'ca', 'issue', 'operator', 'lab', '--no-passphrase', '--out', "$station/operator.pem", '--dir', "$station/ca")->{status}, 0,
	'another certificate for the operator');
is(authorise($station)->{status}, 0, 'is good, and what was sealed under the old one is sealed anew');
ok(Lab::wait_for(15, sub { answers($lab, '127.0.0.1') }), 'and the machine serves');

is(deny($lab, 'machine', 'node1')->{status}, 0, 'a machine is denied');
refused(authorise($station), qr/machine node1 is denied/, 'it is authorised no more');
is(give($lab)->{status}, 0, 'which concerns nobody else');
ok(Lab::wait_for(5, sub { number($lab, 'node1') == 5 }) && answers($lab, '127.0.0.1'), 'nor the tunnel of its node');

# ---- the hub itself ----
my ($hub) = $lab->pids('hub1');
kill 'TERM', $hub;
Lab::wait_for(10, sub { !$lab->pids('hub1') });
$hub = $lab->by_hand('hub1');
ok(Lab::wait_for(15, sub { streams($lab) }), 'the node streams') or diag(log_of($lab, 'hub1'));
deny($lab, 'hub', 'hub1');
is(give($lab)->{status}, 0, 'a hub takes the list that it is on itself');
ok(Lab::wait_for(5, sub { number($lab, 'node1') == 6 }), 'tells its nodes');
($status, $seconds) = ended($hub, 10);
is($status, DENIED, 'and stops');
like(log_of($lab, 'node1'), qr/the hub's certificate is denied/, 'the node goes');
ok(answers($lab, '127.0.0.1'), 'and serves on');
($status) = ended($lab->by_hand('hub1'), 10);
isnt($status, 0, 'it does not start again');
like(log_of($lab, 'hub1'), qr/this hub's certificate is denied/, 'and says why');
unlink $lab->dir . '/hub1/denials';
$hub = $lab->by_hand('hub1'); # its list is gone, its certificate still the old one
ok(Lab::wait_for(15, sub { log_of($lab, 'node1') =~ /the peer's certificate is denied/ }), 'without its list it starts, and the node refuses it');
kill 'KILL', $lab->pids('node1', 'encdns-super');
Lab::wait_for(5, sub { !$lab->pids('node1') });
Lab::spurt($lab->dir . '/node1/log', '');
$pid = $lab->by_hand('node1');
ok(Lab::wait_for(15, sub { log_of($lab, 'node1') =~ /the peer's certificate is denied/ }), 'after a restart too');
ok(answers($lab, '127.0.0.1'), 'it serves what it has');
stop($_) for $hub, $pid;
done_testing();
