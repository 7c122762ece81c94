#!/usr/bin/perl
# A node and its store when the disk, or somebody, does not do as it should: each
# case has its own message, nothing of others is overwritten, what can be served
# is served, and what is damaged comes again from the hub without an operator.
# Not tested here, for want of a device that fails on request: an input/output
# error of the disk itself. A file cut short under the mapping raises the same
# signal, a limit of file sizes and a full file system fail the writes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

use constant { BLOCK => 262144, NAMES => 6000 };
my $work = tempdir('encdns-store-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $head = "\$TTL 60\n\@ SOA ns hostmaster SERIAL 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n";
sub zone {
	my ($file, $serial, $names) = @_;
	return Lab::spurt("$work/$file", ($head =~ s/SERIAL/$serial/r) . join '', map { sprintf "name%d TXT \"%s\"\n", $_, 'x' x 100 } 1 .. $names);
}
my $small = zone('small', 1, 3);
my $big = zone('big', 1, NAMES);
my $lab = Lab->new(zones => { 'small.example' => $small, 'big.example' => $big }, set => ['rrl=off', 'workers=2', 'store-reserve=1G']);
my $node = $lab->dir . '/node1';
my $store = "$node/store";
my $key = $lab->dir . '/operator/node1.key';

sub said { my $from = shift; return substr Lab::slurp("$node/log"), $from }
sub now_at { return -s "$node/log" }
sub stop { kill 'TERM', ($lab->pids('node1', 'encdns-super'))[0] // die "no node\n"; Lab::wait_for(20, sub { !$lab->pids('node1') }) or die "it does not stop\n" }
sub check { Lab::run({ limit => 60, input => $_[1] // $key }, "$Lab::bin/encdns", 'check', '--store', $_[0] // $store, '--key', 'fd:0', @_[2 .. $#_]) }
sub copy { system 'cp', '--sparse=never', @_ and die "cp\n" }
sub poke {
	my ($file, $from, $to, $step) = @_;
	open my $f, '+<', $file or die "$file: $!\n";
	my $n = 0;
	for (my $i = $from; $i < $to; $i += $step) {
		sysseek $f, $i, 0;
		sysread $f, my $c, 1;
		next if $c eq "\0";
		sysseek $f, $i, 0;
		syswrite $f, $c ^ "\x10";
		$n++;
	}
	return $n;
}
# How often each rcode comes for the names of a zone.
sub rcodes {
	my ($zone, $n) = @_;
	my %r;
	my $a = DNS::ask_udp('127.0.0.1', $lab->port, [ map { DNS::query("name$_.$zone", 'TXT') } 1 .. $n ]);
	$r{ defined $_ ? DNS::decode($_)->{rcode} : 'none' }++ for @$a;
	return \%r;
}
sub status { $lab->status('node1') // {} }

# ---- check ----
like(check()->{err}, qr/another process is using it/, 'check refuses a store in use');
is(check()->{status}, 2, 'exit status 2');
stop();
my $c = check();
is($c->{status}, 0, 'a stopped one is sound') or diag("$c->{out}$c->{err}");
like($c->{out}, qr/: sequence 2, 2 zones, 60\d\d names.*: sound$/s, 'and says what it saw');
$c = JSON::PP::decode_json(check($store, $key, '--json')->{out});
is("$c->{result} $c->{zones} @{ $c->{faults} }", 'sound 2 ', 'the same as JSON');
is(check($store, $lab->dir . '/operator/hub1.key')->{status}, 2, 'another key: status 2');
copy($store, "$work/good");
copy($store, "$work/bad");
my $poked = poke("$work/bad", 3 * BLOCK, 3 * BLOCK + 40000, 500);
$c = check("$work/bad");
is($c->{status}, 1, "$poked changed octets: status 1");
like($c->{out}, qr/octet \d+.*damaged.*: damaged; nothing was changed/s, 'and where');

# ---- what is no store of ours: said, not touched, nothing starts ----
sub refused {
	my ($what, $message) = @_;
	my $from = now_at();
	my $before = Lab::slurp($store);
	my $r = $lab->cmd('restart');
	is($r->{status}, 1, "$what: it does not start");
	like(said($from), $message, "$what: it says so") or diag(said($from));
	ok(Lab::slurp($store) eq $before, "$what: not an octet was changed");
	ok(!$lab->pids('node1'), "$what: nothing is left running");
}
Lab::spurt($store, "this is a letter to my aunt\n" x 20000);
refused('a file that is no store', qr/is no encdns store; nothing was changed/);
Lab::spurt($store, "short\n");
refused('a short file', qr/is no encdns store, or cut short; nothing was changed/);
copy("$work/good", $store);
for my $at (8, 4096 + 8) {
	open my $f, '+<', $store;
	sysseek $f, $at, 0;
	syswrite $f, pack 'N', 99;
}
refused('another version', qr/store of version 99, this program reads version \d+; nothing was changed/);
copy("$work/good", $store);
my $epoch = $lab->dir . '/operator/machines/node1/epoch'; # what its key is derived from
my $right = Lab::slurp($epoch);
Lab::spurt($epoch, '5' x 64 . "\n");
refused('another key', qr/the key does not fit .*; nothing was changed/);
Lab::spurt($epoch, $right);

# ---- damaged while it was off ----
for (['cut short', sub { truncate $store, 5 * BLOCK }], ['cut within its first table', sub { truncate $store, BLOCK + 1000 }]) {
	copy("$work/good", $store);
	$_->[1]->();
	my $from = now_at();
	my $r = $lab->cmd('restart');
	is($r->{status}, 0, "$_->[0] while it was off: it starts") or diag($r->{err} . said($from));
	like(said($from), qr/damaged|can't be read/, 'says that it is damaged');
	like(said($from), qr/filling a new store beside it from the hub.*a new store was filled from the hub and is in use/s, 'and what is done');
	is_deeply(rcodes('big.example', NAMES), { NOERROR => NAMES }, 'every name is there');
	ok(!-e "$store.new", 'no second file is left');
	stop();
	is(check()->{status}, 0, 'the new one is sound');
}

# ---- a roll-back: the hub remembers ----
copy($store, "$work/old");
is($lab->cmd('restart')->{status}, 0, 'up again');
is($lab->cmd('update', 'small.example=' . zone('small', 2, 4))->{status}, 0, 'an update');
my $acked = status()->{sequence};
ok(Lab::wait_for(15, sub { my $h = $lab->status('hub1'); $h && $h->{nodes}[0]{acknowledged} == $acked }), "acknowledged: $acked");
stop();
copy("$work/old", $store);
is($lab->cmd('restart')->{status}, 0, 'an older store in its place');
ok(Lab::wait_for(10, sub { Lab::slurp($lab->dir . '/hub1/log') =~ /ALARM: node node1 returns at sequence \d+ but had acknowledged $acked: an older disk, or a copy/ }), 'the hub raises an alarm');
ok(Lab::wait_for(10, sub { (status()->{sequence} // 0) == $acked }), 'and the node catches up');

# ---- damaged while it serves: one zone ----
my $from = now_at();
my ($dns) = $lab->pids('node1', 'encdns-dns');
poke($store, 2 * BLOCK, 3 * BLOCK + 200000, 400);
my ($worst, $others, $repaired) = (0, 0, 0);
my $end = DNS::now() + 30;
until ($repaired || DNS::now() > $end) {
	my $r = rcodes('big.example', NAMES);
	my $bad = $r->{SERVFAIL} // 0;
	$worst = $bad if $bad > $worst;
	note(join ' ', map { "$_ $r->{$_}" } sort keys %$r);
	fail("an answer that is wrong: $_ $r->{$_}") for grep { !/^(NOERROR|SERVFAIL)$/ } keys %$r;
	$others++ if grep { $_ ne 'NOERROR' } keys %{ rcodes('small.example', 3) };
	$repaired = $worst && !$bad;
}
cmp_ok($worst, '>', 100, "damage: $worst names were SERVFAIL");
cmp_ok($worst, '<', NAMES, 'the others were answered');
ok($repaired, 'all of them came back by themselves');
my $st = status()->{repair};
SKIP: {
	skip 'more than one zone was hit', 4 if said($from) =~ /not one zone alone/;
	is($others, 0, 'the other zone was served all the time');
	cmp_ok($st->{done}, '>=', 1, "status: $st->{done} done, the last $st->{zone}");
	like(said($from), qr/ALARM: \d+ queries met damage.*data of zone big\.example\. is damaged on the disk: fetching the zone again.*zone big\.example\. was fetched again/s, 'the log tells it');
	is(($lab->pids('node1', 'encdns-dns'))[0], $dns, 'by the same process');
}
is($lab->cmd('update', 'big.example=' . zone('big', 2, NAMES))->{status}, 0, 'and an update comes through');

# ---- damage that nobody asks for, until a transaction meets it ----
my ($serial, $letter) = (2, 'k');
for (['all over the store', sub { -s $store }, qr/a new store was filled|was fetched again/], ['in one zone', sub { 3 * BLOCK + 200000 }, qr/a new store was filled|zone big\.example\. was fetched again/]) {
	my ($where, $to, $what) = @$_;
	$from = now_at();
	($dns) = $lab->pids('node1', 'encdns-dns');
	poke($store, 2 * BLOCK, $to->(), 300);
	my $text = $letter++ x 100;
	$serial++;
	my $file = Lab::spurt("$work/changed", Lab::slurp(zone('big', $serial, NAMES)) =~ s/x{100}/$text/gr);
	is($lab->cmd('update', "big.example=$file")->{status}, 0, "damage $where: an update comes through") or diag(said($from));
	my $m = $lab->ask('name77.big.example', 'TXT');
	is($m->{answer}[0] =~ s/.* 64//r, unpack('H*', $text), 'and is what is answered');
	is_deeply(rcodes('big.example', NAMES), { NOERROR => NAMES }, 'every name is there');
	SKIP: { # what lies free may be damaged as it likes
		skip 'the damage hit nothing in use', 1 unless said($from) =~ /damaged/;
		like(said($from), $what, 'the log tells how') or diag(said($from));
	}
	unlike(said($from), qr/signal 7|signal 11/, 'no process crashed');
}
is(($lab->pids('node1', 'encdns-dns'))[0], $dns, 'for a zone the same process answers on');

# ---- cut short while it serves ----
$from = now_at();
($dns) = $lab->pids('node1', 'encdns-dns');
truncate $store, BLOCK;
my $r = rcodes('big.example', 200);
is_deeply([ grep { !/^(SERVFAIL|NOERROR)$/ } keys %$r ], [], 'cut short under the mapping: ' . join ', ', map { "$_ $r->{$_}" } sort keys %$r);
unlike(said($from), qr/signal 7|signal 11/, 'no process crashed');
ok(Lab::wait_for(30, sub { my $m = $lab->ask('name7.big.example', 'TXT'); $m && $m->{aa} && $m->{rcode} eq 'NOERROR' }), 'a new store, filled from the hub, answers');
is_deeply(rcodes('big.example', NAMES), { NOERROR => NAMES }, 'every name is there');
unlike(said($from), qr/signal 7|signal 11/, 'still no process crashed');
stop();
is(check()->{status}, 0, 'the new one is sound');

# ---- a limit of file sizes ----
$from = now_at();
my $limit = int((-s $store) / 512) + 100;
$r = Lab::run({ limit => 60 }, 'sh', '-c', "ulimit -f $limit && exec '$Lab::lab' restart '$lab->{dir}'");
is($r->{status}, 0, 'it starts under a limit of file sizes') or diag($r->{err} . said($from));
my $huge = zone('huge', 1, 60000);
my $load = Lab::run({ limit => 60 }, "$Lab::bin/encdns-hub", 'load', '--dir', $lab->dir . '/hub1', "huge.example=$huge");
is($load->{status}, 0, 'a zone that is too large for it comes');
ok(Lab::wait_for(20, sub { said($from) =~ /the disk is full/ }), 'it says that there is no room');
is_deeply(rcodes('big.example', 100), { NOERROR => 100 }, 'and serves on');
is($lab->ask('huge.example', 'SOA')->{rcode}, 'REFUSED', 'without a part of the new zone');
is($lab->cmd('restart')->{status}, 0, 'without the limit');
ok(Lab::wait_for(30, sub { my $m = $lab->ask('name9.huge.example', 'TXT'); $m && $m->{aa} }), 'it catches up');
stop();

# ---- small, read-only and full file systems ----
SKIP: {
	skip 'mounting takes root', 1 if $>;
	my $mount = "$work/mount";
	mkdir $mount;
	my @on = (qw(mount -t tmpfs -o), 'size=1m', 'tmpfs', $mount);
	skip 'no mounting here', 1 if system("@on 2>/dev/null");
	my $guard = bless [], 'Unmount';
	sub Unmount::DESTROY { local $?; system "umount '$work/mount'" }
	Lab::spurt("$node/conf", Lab::slurp("$node/conf") =~ s/^store .*\n//mr . "store $mount/store\n");
	$from = now_at();
	is($lab->cmd('restart')->{status}, 1, 'too small a disk: it does not start');
	like(said($from), qr/can't be created: No space left on device/, 'and says so') or diag(said($from));
	system "mount -o remount,size=400m,ro '$mount'";
	unlink "$mount/store";
	$from = now_at();
	is($lab->cmd('restart')->{status}, 1, 'a read-only file system: it does not start');
	like(said($from), qr{\Q$mount\E/store: Read-only file system}, 'and says so') or diag(said($from));
	system "mount -o remount,size=60m,rw '$mount'";
	is($lab->cmd('restart')->{status}, 0, 'with room it does');
	ok(Lab::wait_for(20, sub { my $m = $lab->ask('name9.huge.example', 'TXT'); $m && $m->{aa} }), 'and fills');
	my $used = int((-s "$mount/store") / 1048576) + 1;
	system "mount -o remount,size=${used}m '$mount'";
	$from = now_at();
	my $more = zone('more', 1, 80000);
	Lab::run({ limit => 60 }, "$Lab::bin/encdns-hub", 'load', '--dir', $lab->dir . '/hub1', "more.example=$more");
	ok(Lab::wait_for(20, sub { said($from) =~ /the disk is full: nothing more is applied until there is room; serving on/ }), 'a disk that fills up: it says so');
	is_deeply(rcodes('big.example', 100), { NOERROR => 100 }, 'and serves on');
	# damage, and no room for a second store
	$from = now_at();
	truncate "$mount/store", BLOCK;
	system "mount -o remount,size=${used}m '$mount'";
	rcodes('big.example', 10);
	system "mount -o remount,size=300m '$mount'" if Lab::wait_for(1, sub { said($from) =~ /no room for a new store|filling a new store beside/ });
	ok(Lab::wait_for(60, sub { my $m = $lab->ask('name9.more.example', 'TXT', wait => 0.2, tries => 1); $m && $m->{aa} }), 'damage on a full disk, then room: all comes back') or diag(said($from));
	stop();
}
done_testing();
