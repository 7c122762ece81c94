#!/usr/bin/perl
# The port afterwards: an operator's commands for a machine that runs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use File::Temp 'tempdir';
use JSON::PP ();
use Lab;

my $dir = tempdir('encdns-node-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $prefix = '127.0.0.0/8';
my $router = BGP->new(host => '127.0.0.9', as => 4200000010);
my $from = DNS::now();
my $lab = Lab->new(zones => { 'zone.example' => $zone }, set => [ 'bgp-as=65001', "bgp-prefix=$prefix", 'bgp-port=0', 'bgp-drain=0',
	'bgp-peer=127.0.0.9 as 4200000010 port ' . $router->port . ' retry 1' ]);
ok($router->announced($from, $prefix), 'announced') or BAIL_OUT('no announcement');

sub node { $lab->hub('node', 'node1', @_) }
sub done { my ($r, $like, $name) = @_; ok($r->{status} == 0 && $r->{out} =~ $like, $name) or diag "$r->{status}: $r->{out}$r->{err}" }
sub refused { my ($r, $like, $name) = @_; ok($r->{status} == 1 && $r->{err} =~ $like, $name) or diag "$r->{status}: $r->{out}$r->{err}" }
sub answers { my $m = eval { $lab->ask('zone.example', 'SOA', wait => 0.3, tries => 1) }; $m && $m->{aa} }
sub pid { ($lab->pids('node1', $_[0]))[0] // 0 }

done(node('status'), qr/^run level 4.*zone zone\.example\. serial 7 serving/s, 'status');
is(eval { JSON::PP::decode_json(node('status', 'json')->{out})->{zones}[0]{serial} }, 7, 'in JSON');
done(node('check'), qr/catalog sound/, 'check');
done(node('log'), qr/encdns-control\S*: Entering run level 4/, 'log');

$from = DNS::now();
done(node('withdraw'), qr/withdrawn/, 'withdraw');
ok($router->withdrawn($from, $prefix), 'neighbours are told');
ok(answers(), 'while it answers whom it is asked by');
ok(Lab::wait_for(5, sub { $lab->status('node1')->{route}{why} eq 'withdrawn by an operator' }), 'status says why');
my $control = pid('encdns-control');
done(node('restart', 'control'), qr/encdns-control is started anew/, 'restart control');
ok(Lab::wait_for(10, sub { my $p = pid('encdns-control'); $p && $p != $control && $lab->status('node1') }), 'another process');
my $route = pid('encdns-route');
kill 'KILL', $route;
ok(Lab::wait_for(10, sub { my $p = pid('encdns-route'); $p && $p != $route }), 'and another encdns-route');
ok(!$router->announced($from, $prefix, 3), 'withdrawn it stays');
$from = DNS::now();
done(node('announce'), qr/announced as soon as/, 'announce');
ok($router->announced($from, $prefix, 30), 'and it is announced again');

my $dns = pid('encdns-dns');
done(node('restart', 'dns'), qr/encdns-dns is started anew/, 'restart dns');
ok(Lab::wait_for(10, sub { my $p = pid('encdns-dns'); $p && $p != $dns && answers() }), 'another process answers');
my $log = Lab::slurp($lab->dir . '/node1/log');
like($log, qr/ encdns-super\S*: $_ is started anew: operator lab$/m, "$_: the log says who wanted it") for qw(encdns-dns encdns-control);
unlike($log, qr/warning: encdns-(dns|control) ended/, 'and warns of nothing');
done(node('reconnect'), qr/made anew/, 'reconnect');
ok(Lab::wait_for(10, sub { $lab->status('node1')->{journal}{state} eq 'streaming' }), 'streaming again');

refused(node($_), qr/not this machine's init/, "$_: not as a plain process") for qw(reboot poweroff);
refused(node('sh', 'id'), qr/unknown command sh/, 'no other word');
refused(node('restart', 'everything'), qr/unknown command/, 'and no other process');
is($lab->hub('node', 'node1')->{status}, 2, 'no word is wrong usage');
ok(answers(), 'it serves on');
like(Lab::slurp($lab->dir . '/operator/audit.log'), qr/withdraw machine=node1 done.*restart machine=node1 done: control.*reboot machine=node1 failed/s, 'the audit log has what was done');

# a machine that waits takes no commands
$lab->halt('node1');
$lab->waiting('node1');
refused(node('status'), qr/it has to be authorised first/, 'none before it is unlocked');
done_testing();
