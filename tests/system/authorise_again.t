#!/usr/bin/perl
# Authorisation that was broken off somewhere: a lost answer, a failed enrolment, an
# operator who was denied, two commands at once, a child that can't start, guests who
# won't go. None of it locks the operator out, and none lets anybody in.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use IO::Socket::INET;
use Lab;

my $dir = tempdir('encdns-again-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
my ($base, $station) = ($lab->dir, $lab->dir . '/operator');
my $record = "$station/machines/node1";

sub level { my ($who) = @_; ($lab->status($who // 'node1') // {})->{run_level} // 0 }
sub said { Lab::slurp("$base/node1/log") }
sub forget { Lab::spurt("$base/node1/log", '') }
sub authorise { $lab->hub('authorise', 'node1', '--wait', 20, @_) }
sub restart { $lab->halt('node1'); forget(); $lab->waiting('node1') or BAIL_OUT('it does not start') }
sub fine { my ($r, $name) = @_; is($r->{status}, 0, $name) or diag "$r->{out}$r->{err}" }
sub refused { my ($r, $like, $name) = @_; ok($r->{status} == 1 && "$r->{out}$r->{err}" =~ $like, $name) or diag "$r->{status}: $r->{out}$r->{err}" }
my $conf = Lab::slurp("$base/node1/conf");
my $wrong = Lab::spurt("$dir/wrong", "${conf}nosuchkey 1\n");
my $nobgp = Lab::spurt("$dir/nobgp", "${conf}bgp-peer 127.0.0.9 as 65001\nbgp-prefix 127.0.0.0/8\n");

# ---- tickets ----
# The machine took the second one, and its answer was lost; then a try that fails before
# it takes a third.
restart();
Lab::spurt("$record/ticket", 'ab' x 32 . "\n" . Lab::slurp("$base/node1/ticket"));
refused(authorise('--yes-if-unchanged', '--conf', $wrong), qr/unknown key "nosuchkey"/, 'a ticket whose arrival was never confirmed, and a try that fails');
fine(authorise('--yes-if-unchanged', '--conf', "$base/node1/conf"), 'the machine is known by the ticket that it shows');
is(Lab::slurp("$record/ticket"), Lab::slurp("$base/node1/ticket"), 'and then it is the only one');

# Unlocked as the station sees it; but the keys never came to the supervisor.
restart();
Lab::spurt("$record/boots", Lab::slurp("$base/node1/boots"));
refused(authorise('--yes-if-unchanged'), qr/authorised in this start already.*something has changed/s, 'waiting again in the same start: not without being asked');
fine(authorise({ input => "yes\n" }), 'a person may authorise it again');
restart();
Lab::spurt("$record/boots", Lab::slurp("$base/node1/boots") + 1);
refused(authorise({ input => "yes\n" }), qr/counter went back/, 'a counter that goes back is refused as ever');
Lab::spurt("$record/boots", Lab::slurp("$base/node1/boots") - 1);

# ---- what is wrong with a configuration comes to the operator, whichever part finds it ----
restart();
refused(authorise('--yes-if-unchanged', '--conf', $nobgp), qr/node1: .*with bgp-peer, a line "bgp-as NUMBER" is wanted/, 'what lines need together');
rename "$base/node1/store", "$base/node1/store.away";
symlink 'store', "$base/node1/store";
refused(authorise('--yes-if-unchanged', '--conf', "$base/node1/conf"), qr{node1: \S+/node1/store: \S}, 'a store that does not open is named');
unlink "$base/node1/store";
rename "$base/node1/store.away", "$base/node1/store";

# ---- two commands at once ----
pipe my $answer, my $operator or die;
my $pid = fork // die;
if (!$pid) {
	open STDIN, '<&', $answer;
	open STDOUT, '>', "$dir/first";
	open STDERR, '>&', \*STDOUT;
	close $operator;
	exec "$Lab::bin/encdns-hub", 'authorise', 'node1', '--station', $station or POSIX::_exit(127);
}
close $answer;
ok(Lab::wait_for(10, sub { Lab::slurp("$dir/first") =~ /started \d+ times/ }), 'one operator is asked');
refused(authorise('--yes-if-unchanged'), qr/another command is at work with this machine/, 'another command is refused meanwhile');
syswrite $operator, "yes\n";
waitpid $pid, 0;
is($?, 0, 'and the first goes on') or diag Lab::slurp("$dir/first");

# ---- an enrolment that failed ----
my @cookie = -e "$station/cookie-secret" ? ('--file', "cookie-secret=$station/cookie-secret") : ();
mkdir "$base/fresh";
my ($host, $port) = ('127.0.0.77', Lab::free_port());
Lab::spurt("$base/fresh/boot", "unlock $host\@$port\n");
Lab::spurt("$base/fresh/root.pem", Lab::slurp("$base/node1/root.pem"));
Lab::spurt("$base/fresh/log", '');
ok($lab->waiting('fresh'), 'a new machine waits');
my $many = Lab::spurt("$dir/many", "${conf}nosuchkey 1\nworkers many\n" . "nosuchkey 2\n" x 300);
my $r = $lab->hub('enrol', "$host\@$port", 'fresh', '--conf', $many, '--yes', @cookie);
refused($r, qr/unknown key "nosuchkey".*\n.*, line \d+: workers wants a number.*\nand \d+ more: its console has them\n/s, 'enrolled with mistakes in its configuration, which are all told');
cmp_ok(length $r->{err}, '<', 10000, 'within bounds');
is(scalar(() = Lab::slurp("$base/fresh/log") =~ /not unlocked: /g), 1, 'in one line of the log');
is(level('fresh'), 1, 'it waits on');
$lab->halt('fresh');
ok($lab->waiting('fresh'), 'even when started again');
(my $mended = $conf) =~ s/^(service|admin)\s+127\.0\.0\.1/$1 $host/mg;
$r = $lab->hub('authorise', 'fresh', '--yes-if-unchanged', '--conf', Lab::spurt("$dir/mended", $mended));
fine($r, 'the mended configuration, and no word of an older disk');
$lab->halt('fresh');

# ---- an operator who was denied has sealed the bundle ----
my $ca = "$station/ca";
fine(Lab::run("$Lab::bin/encdns-hub", 'ca', 'issue', 'operator', $_, '--no-passphrase', '--dir', $ca), "operator $_") for qw(second mallory);
fine(Lab::run("$Lab::bin/encdns-hub", 'ca', 'deny', 'operator', 'lab', '--dir', $ca), 'who has sealed all bundles is denied');
Lab::spurt("$station/operator.pem", Lab::slurp("$ca/issued/operator-second.pem"));
Lab::spurt("$base/node1/denials", Lab::slurp("$ca/denials"));
my $sealed = Lab::slurp("$base/node1/bundle");
restart();
fine(authorise('--yes-if-unchanged'), 'a colleague authorises as always');
isnt(Lab::slurp("$base/node1/bundle"), $sealed, 'with a bundle that he has sealed anew');

# ---- the station's own copy is damaged ----
my $copy = Lab::slurp("$record/bundle");
restart();
Lab::spurt("$record/bundle", $copy =~ s/.\z/~/sr);
fine(authorise('--yes-if-unchanged'), "a damaged copy at the station: the machine's own is as good");
Lab::spurt("$record/bundle", $copy);

# ---- an older hub ----
restart();
Lab::spurt("$record/minimum", '999999 ' . 'cd' x 32 . "\n");
refused(authorise('--yes-if-unchanged', '--hub', "$base/hub1"), qr/minimum: the hub went back from sequence 999999 to \d+.*something has changed/s, 'a hub that went back: not without being asked');
fine(authorise('--hub', "$base/hub1", { input => "yes\n" }), 'a person may say that it is well');

# ---- a child that can't start ----
restart();
rename "$base/node1/identity.pem", "$base/node1/identity.away";
kill 'KILL', $lab->pids('node1', 'encdns-control');
DNS::pause(3);
my $deaths = () = said() =~ /encdns-control has died/g;
ok($deaths >= 3 && $deaths <= 8, "started again and again, after 20 ms, 40 ms and so on ($deaths times in 3 s)");
rename "$base/node1/identity.away", "$base/node1/identity.pem";
ok(Lab::wait_for(10, sub { level() == 1 }), 'until it can');

# ---- what a flood of strangers hides ----
($host, $port) = $lab->port_of('node1');
forget();
for (1 .. 60) {
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 5) or next;
	print $s "GET / HTTP/1.0\r\n\r\n";
	$s->flush;
	sysread $s, my $end, 100;
}
my $strangers = () = said() =~ /is no operator/g;
cmp_ok($strangers, '<', 40, "60 strangers cost $strangers lines");
refused(authorise('--yes-if-unchanged', '--conf', $wrong), qr/nosuchkey/, 'after them an operator with a mistake');
like(said(), qr/not unlocked: .*nosuchkey/, 'hears of it on the console too');
fine(authorise('--yes-if-unchanged', '--conf', "$base/node1/conf"), 'and authorises');
restart();

# ---- guests who won't go ----
SKIP: {
	skip('no openssl', 2) unless grep { -x "$_/openssl" } split /:/, $ENV{PATH};
	my $m = "$ca/issued/operator-mallory.pem";
	my $client = "openssl s_client -quiet -connect $host:$port -cert '$m' -key '$m' -cert_chain '$ca/operator.pem' -tls1_2";
	forget();
	for (1 .. 5) {
		Lab::run({ limit => 10 }, 'sh', '-c', "(sleep 0.3; printf '\\377\\377\\377\\377'; sleep 0.3) | $client >/dev/null 2>&1");
	}
	ok(Lab::wait_for(5, sub { said() =~ /mallory has failed 5 times/ }), 'a certificate that has to wait') or diag said();
	my @guests = map {
		my $p = fork // die;
		if (!$p) { POSIX::setsid(); exec 'sh', '-c', "(for i in \$(seq 100); do echo; sleep 0.1; done) | $client >/dev/null 2>&1" or POSIX::_exit(127) }
		$p;
	} 1 .. 4;
	DNS::pause(1.5);
	my $from = DNS::now();
	fine(authorise('--yes-if-unchanged'), 'comes four times and talks on: another operator is heard');
	cmp_ok(DNS::now() - $from, '<', 5, 'soon');
	kill 'KILL', -$_ for @guests;
	waitpid $_, 0 for @guests;
}
done_testing();
