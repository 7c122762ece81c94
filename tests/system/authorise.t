#!/usr/bin/perl
# Port 22: a machine waits at every start; an operator sees what has changed, and the
# answer is no unless he says otherwise. Old disks, copies, other stores, bundles that
# were touched, strangers and wrong certificates are refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Fcntl ();
use File::Temp 'tempdir';
use IO::Socket::INET;
use JSON::PP ();
use Lab;

my $dir = tempdir('encdns-authorise-XXXXXX', TMPDIR => 1, CLEANUP => 1);
sub zone { Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster $_[0] 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n") }
my $lab = Lab->new(zones => { 'zone.example' => zone(1) }, nodes => 2);
my ($base, $station) = ($lab->dir, $lab->dir . '/operator');
my $record = "$station/machines/node1";

sub level { ($lab->status('node1') // {})->{run_level} // 0 }
sub serial { my $m = eval { $lab->ask('zone.example', 'SOA', wait => 0.3, tries => 1) }; $m && $m->{aa} ? "@{ $m->{answer} }" =~ /hostmaster\S* (\d+)/ && $1 : 0 }
sub serves { my ($n) = @_; Lab::wait_for(15, sub { serial() >= $n }) }
sub said { Lab::slurp("$base/node1/log") }
sub forget { Lab::spurt("$base/node1/log", '') }
sub authorise { $lab->hub('authorise', 'node1', '--wait', 20, @_) }
sub answers_no { my ($r, $like, $name) = @_; ok($r->{status} == 1 && "$r->{out}$r->{err}" =~ $like && level() == 1, $name) or diag "$r->{status}: $r->{out}$r->{err}" }
sub restart { $lab->halt('node1'); forget(); $lab->waiting('node1') }

# ---- enrolment has left this ----
is($lab->status('node1')->{run_level}, 4, 'a node of the lab was enrolled through its port, and serves');
like(Lab::slurp("$station/audit.log"), qr/operator=lab enrol machine=node1 done/, 'the audit log says so');
is(join(' ', grep { !/^(log|conf|store|control)\z/ } map { s,.*/,,r } sort glob "$base/node1/*"),
	'boot boots bundle identity.key identity.pem root.pem salt ticket', 'what lies on its disk');
like(Lab::slurp("$base/node1/log"), qr/Entering run level 1.*waiting for authorisation.*contact: the lab.*Entering run level 2.*Entering run level 4/s, 'run levels 1, 2, 4');

# ---- a start waits; the default is no ----
ok(restart(), 'started again it waits');
is(level(), 1, 'at run level 1');
ok(!serial(), 'and answers nothing');
answers_no(authorise({ input => '' }), qr/Nothing has changed.*not authorised: the operator said no/s, 'no answer is no');
answers_no(authorise({ input => "n\n" }), qr/said no/, 'no is no');
my $r = authorise({ input => "yes\n" });
is($r->{status}, 0, 'yes is yes') or diag "$r->{out}$r->{err}";
ok(serves(1), 'and it serves');
is(level(), 4, 'at run level 4');
is(authorise()->{out} =~ /it runs already/ ? 1 : 0, 1, 'once more: it runs already');
$r = $lab->hub('authorise', 'node1', '--json');
is(eval { JSON::PP::decode_json($r->{out})->{outcome} }, 'it runs already', 'in JSON');
like(Lab::slurp("$station/audit.log"), qr/authorise machine=node1 refused: .*said no.*authorise machine=node1 done: unchanged/s, 'the audit log has both');

# ---- the inventory ----
restart();
my $inventory = Lab::slurp("$record/inventory");
my ($key, $value) = $inventory =~ /^(cpu\S*|kernel\S*|memory\S*) (\S.*)$/m;
ok(defined $key, "the inventory has a line \"$key\"");
Lab::spurt("$record/inventory", $inventory =~ s/^\Q$key $value\E$/$key another one/mr);
$r = authorise('--yes-if-unchanged');
answers_no($r, qr/something has changed/, 'changed: not without being asked');
my @changes = $r->{out} =~ /^  ! (.*)$/mg;
is("@changes", "$key: was another one, is $value", 'what has changed is shown, and nothing else');
$r = authorise('--yes-if-unchanged', '--json');
is_deeply(eval { JSON::PP::decode_json($r->{out})->{changes} }, \@changes, 'in JSON too');
answers_no(authorise('--minimum', '-1:' . 'ab' x 32), qr/--minimum wants SEQUENCE:CHAIN/, 'a minimum below zero is none');
is(authorise({ input => "yes\n" })->{status}, 0, 'the operator accepts it');
is(Lab::slurp("$record/inventory"), $inventory, 'so it is what is known from then on');
like(Lab::slurp("$station/audit.log"), qr/machine=node1 done: \Q$key\E: was another one/, 'the audit log says what had changed');
serves(1);

# ---- a wrong ticket; an older disk ----
restart();
my $ticket = Lab::slurp("$base/node1/ticket");
Lab::spurt("$base/node1/ticket", 'ab' x 32 . "\n");
answers_no(authorise({ input => "yes\n" }), qr/ticket.*older disk.*not authorised.*--accept-ticket/s, 'a wrong ticket is refused, whatever the answer');
Lab::spurt("$base/node1/ticket", $ticket);
$lab->halt('node1');
system 'cp', '-a', "$base/node1", "$dir/image";
$lab->waiting('node1');
is(authorise('--yes-if-unchanged')->{status}, 0, 'with the right one it starts');
is($lab->cmd('update', 'zone.example=' . zone(2))->{status}, 0, 'an update');
my $seq = $lab->status('node1')->{sequence};
is(scalar(grep { $_->{acknowledged} == $seq } @{ $lab->status('hub1')->{nodes} }), 2, 'that the hub knows it has');

# a copy of it, started elsewhere while it runs
system 'cp', '-a', "$dir/image", "$base/node9";
Lab::spurt("$base/node9/boot", Lab::slurp("$base/node9/boot") =~ s/127\.0\.0\.1/127.0.0.9/r);
ok($lab->waiting('node9'), 'a copy waits at another address');
my ($host, $port) = $lab->port_of('node9');
my $real = Lab::slurp("$record/host");
Lab::spurt("$record/host", "$host\@$port\n");
sub copy { my $r = $lab->hub('authorise', 'node1', @_); return ($r->{status} == 1 && "$r->{out}$r->{err}", $r) }
like((copy({ input => "yes\n" }))[0], qr/starts: its counter went back|ticket: /, 'it shows an older ticket');
like((copy('--hub', "$base/hub1", '--accept-ticket', { input => "yes\n" }))[0], qr/the hub sees this node at work/, 'and the hub sees the original at work');
is($lab->status('node9')->{run_level}, 1, 'it stays shut');
Lab::spurt("$record/host", $real);
$lab->halt('node9');
system 'rm', '-rf', "$base/node9", "$base/node9.pid";

# the older disk is put back
$lab->halt('node1');
system 'rm', '-rf', "$base/node1";
system 'cp', '-a', "$dir/image", "$base/node1";
forget();
$lab->waiting('node1');
answers_no(authorise('--yes-if-unchanged'), qr/ticket/, 'an older disk is refused');
my $chain = $lab->status('hub1')->{chain};
kill 'STOP', my ($hub) = $lab->pids('hub1');
is(authorise('--accept-ticket', '--minimum', "$seq:$chain", { input => "yes\n" })->{status}, 0, 'accepted on purpose, with a minimum');
ok(Lab::wait_for(10, sub { level() == 2 }), 'it starts');
DNS::pause(1);
is(serial(), 0, 'but answers nothing below the minimum');
is($lab->status('node1')->{minimum}, $seq, 'as status says');
like(said(), qr/below the $seq that the operator has named: nothing is answered/, 'and its log');
kill 'CONT', $hub;
ok(serves(2), 'once it is caught up it answers, from where it has to be');
ok(Lab::wait_for(5, sub { Lab::slurp("$base/hub1/log") =~ /ALARM: node node1 returns at sequence/ }), 'the hub has raised an alarm');
ok((grep { $_->{name} eq 'node1' && $_->{alarm} } @{ $lab->status('hub1')->{nodes} }), 'that its status shows');

# another history at the same sequence
restart();
is(authorise('--minimum', "$seq:" . 'cd' x 32, { input => "yes\n" })->{status}, 0, 'a minimum of another history');
ok(Lab::wait_for(10, sub { said() =~ /ALARM: the store's history at sequence $seq is not the one/ }), 'is said');
ok(Lab::wait_for(10, sub { said() =~ /ALARM: a(nother| snapshot of another) history than the operator has named/ }), "and the hub's is not believed either");
is(serial(), 0, 'nothing is served');
restart();
is(authorise('--minimum', "$seq:$chain", { input => "yes\n" })->{status}, 0, 'the right one again');
ok(serves(2), 'is served');

# ---- another machine's store ----
$lab->halt($_) for qw(node1 node2);
system 'cp', "$base/node2/store", "$base/node1/store";
forget();
$lab->waiting('node1');
$r = authorise('--yes-if-unchanged');
answers_no($r, qr/the key does not fit/, "another machine's store is refused");
like(said(), qr/not unlocked: .*the key does not fit/, 'its console says so');
is(authorise('--yes-if-unchanged', '--refill')->{status}, 0, 'dropped when the operator says so');
ok(serves(2), 'and filled again from the hub');
like(said(), qr/is dropped and filled again from the hub/, 'as the log says');

# ---- bundles ----
restart();
my $bundle = Lab::slurp("$base/node1/bundle");
for my $at (10, 40, 200, length($bundle) - 10) {
	my $b = $bundle;
	substr($b, $at, 1) ^= "\x04";
	Lab::spurt("$base/node1/bundle", $b);
	$r = authorise('--yes-if-unchanged');
	ok($r->{status} == 1 && level() == 1, "a bundle with one bit changed at $at is refused") or diag "$r->{out}$r->{err}";
	DNS::pause(0.1);
}
like(said(), qr/refused: /, 'the console says why');
Lab::spurt("$base/node1/bundle", Lab::slurp("$base/node2/bundle"));
restart(); # also: five failures, and an operator would have to wait
answers_no(authorise('--yes-if-unchanged'), qr/refused; its console says why/, "another machine's bundle is");
unlink "$base/node1/bundle";
is(authorise('--yes-if-unchanged')->{status}, 0, 'one that is lost comes from the station');
ok(serves(2), 'and serves');
my $conf = Lab::slurp("$base/node1/conf");
my $next = Lab::spurt("$dir/conf", "${conf}identity new-one\n");
restart();
is(authorise('--yes-if-unchanged', '--conf', $next)->{status}, 0, 'another configuration');
ok(serves(2), 'is delivered');
$r = DNS::ask('127.0.0.1', $lab->port, 'id.server', 'TXT', class => 3);
like("@{ $r->{answer} // [] }", qr/@{[unpack 'H*', 'new-one']}/, 'and in use') or diag explain $r;
my $newer = Lab::slurp("$base/node1/bundle");
restart();
Lab::spurt("$base/node1/bundle", $bundle);
is(authorise('--yes-if-unchanged')->{status}, 0, 'an older one in its place');
is(Lab::slurp("$base/node1/bundle"), $newer, 'is replaced by the newest');
serves(2);
restart();
Lab::spurt("$dir/wrong", "${conf}nosuchkey 1\n");
answers_no(authorise('--yes-if-unchanged', '--conf', "$dir/wrong"), qr/unknown key "nosuchkey"/, 'a mistake in a configuration is said to the operator');
is(authorise('--yes-if-unchanged', '--conf', $next)->{status}, 0, 'who mends it in the same way');
serves(2);

# ---- a newer executable in the bundle ----
SKIP: {
	my $exe = Lab::spurt("$dir/encdns", Lab::slurp("$Lab::bin/encdns") . "\nanother build");
	skip('a dynamic executable is not one that starts from memory everywhere', 3) if $ENV{ENCDNS_BUILD};
	restart();
	is(authorise('--yes-if-unchanged', '--file', "encdns=$exe")->{status}, 0, 'an executable is delivered');
	ok(serves(2), 'and runs');
	my ($super) = $lab->pids('node1', 'encdns-super');
	like(readlink("/proc/$super/exe") // '', qr/memfd:encdns/, 'from memory');
	my ($starts) = Lab::slurp("$base/node1/boots") =~ /(\d+)/;
	like(authorise()->{out}, qr/started $starts times/, 'which knows how often the machine was started');
	is(level(), 4, 'as before');
	ok($lab->hub('node', 'node1', 'status')->{status} == 0, 'its port goes on');
}

# ---- strangers ----
sub first_octets {
	my ($s) = @_;
	my $bits = '';
	vec($bits, fileno $s, 1) = 1;
	return select($bits, undef, undef, 5) > 0 && sysread($s, my $b, 4096) ? $b : '';
}
restart();
($host, $port) = $lab->port_of('node1');
my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 5);
print $s "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
$s->flush;
unlike(first_octets($s), qr/SSH/, 'who speaks as ssh does gets no answer of that kind');
ok(Lab::wait_for(5, sub { said() =~ /127\.0\.0\.1\@\d+ is no operator: / }), 'and a line on the console');
if (grep { -x "$_/ssh" } split /:/, $ENV{PATH}) {
	$r = Lab::run({ limit => 20 }, 'ssh', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-p', $port, $host);
	ok($r->{status} != 0, 'ssh itself is turned away');
}
is(level(), 1, 'the machine waits on');
sub client {
	my ($pem) = @_;
	my ($role) = $pem =~ /issued.(\w+)-/;
	return Lab::run({ limit => 20 }, 'sh', '-c', "sleep 0.5 | openssl s_client -connect $host:$port -cert '$pem' -key '$pem' -cert_chain '$station/ca/$role.pem' -tls1_2 2>&1");
}
SKIP: {
	skip('no openssl', 4) unless grep { -x "$_/openssl" } split /:/, $ENV{PATH};
	my $ca = "$station/ca";
	like(client("$ca/issued/node-node1.pem")->{out}, qr/alert|unknown ca|certificate/i, "a node's certificate");
	ok(Lab::wait_for(5, sub { said() =~ /is no operator: .*(role|not of our root|another)/ }), 'is refused as such') or diag said();
	Lab::run("$Lab::bin/encdns-hub", 'ca', 'issue', 'operator', 'mallory', '--no-passphrase', '--dir', $ca);
	my $m = "$ca/issued/operator-mallory.pem";
	forget();
	client($m);
	ok(Lab::wait_for(5, sub { said() =~ /operator mallory from \S+ is connected/ }), 'an operator is not') or diag said();
	Lab::run("$Lab::bin/encdns-hub", 'ca', 'deny', 'operator', 'mallory', '--dir', $ca);
	Lab::spurt("$base/node1/denials", Lab::slurp("$ca/denials"));
	restart();
	client($m);
	ok(Lab::wait_for(5, sub { said() =~ /is no operator: .*denied/ }), 'unless he is denied') or diag said();
	unlike(said(), qr/mallory.*is connected/, 'then he is not listened to');
}

# What was sent once, sent again.
my $proxy = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp');
my $recording = "$dir/recording";
my $pid = fork // die;
if (!$pid) {
	my $in = $proxy->accept;
	my $out = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
	open my $f, '>', $recording;
	binmode $f;
	while (1) {
		my $bits = '';
		vec($bits, fileno $_, 1) = 1 for $in, $out;
		last if select($bits, undef, undef, 10) <= 0;
		for ([$in, $out], [$out, $in]) {
			next unless vec $bits, fileno $_->[0], 1;
			my $n = sysread $_->[0], my $b, 65536;
			if (!$n) { close $f; POSIX::_exit(0) }
			syswrite $_->[1], $b;
			syswrite $f, $b if $_->[0] == $in;
		}
	}
	POSIX::_exit(1);
}
Lab::spurt("$record/host", '127.0.0.1@' . $proxy->sockport . "\n");
is(authorise('--yes-if-unchanged')->{status}, 0, 'authorised, and recorded on the way');
waitpid $pid, 0;
Lab::spurt("$record/host", $real);
serves(2);
restart();
$s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
syswrite $s, Lab::slurp($recording);
DNS::pause(1);
is(level(), 1, 'the same octets again unlock nothing');
like(said(), qr/is no operator: /, 'they are a stranger\'s');

# ---- tamper-reboot ----
my $boot = Lab::slurp("$base/node1/boot");
Lab::spurt("$base/node1/boot", "${boot}tamper-reboot yes\n");
restart();
$s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port);
print $s "GET / HTTP/1.0\r\n\r\n";
$s->flush;
ok(Lab::wait_for(10, sub { !$lab->pids('node1') }), 'tamper-reboot yes: a stranger ends it');
like(said(), qr/tamper-reboot: starting anew/, 'and it says why');
Lab::spurt("$base/node1/boot", $boot);

# ---- mistakes of the operator's ----
Lab::spurt("$base/node1/boot", "unlock nowhere\nfoo bar\n");
$r = Lab::run({ limit => 10 }, "$Lab::bin/encdns", 'run', '--dir', "$base/node1");
ok($r->{status} == 1 && $r->{err} =~ m{boot:1: unlock wants ADDRESS\@PORT} && $r->{err} =~ m{boot:2: unknown key "foo"}, 'mistakes in boot are said with their lines') or diag $r->{err};
Lab::spurt("$base/node1/boot", $boot);
rename "$base/node1/root.pem", "$base/node1/root.away";
$r = Lab::run({ limit => 10 }, "$Lab::bin/encdns", 'run', '--dir', "$base/node1");
ok($r->{status} == 1 && $r->{err} =~ /root\.pem/, 'without the root certificate it does not start');
rename "$base/node1/root.away", "$base/node1/root.pem";
$r = $lab->hub('authorise', 'nobody');
ok($r->{status} == 1 && $r->{err} =~ /no machine of this name or address is enrolled/, 'an unknown machine');
$r = $lab->hub('authorise', 'node1', '--wait', 0);
ok($r->{status} == 1 && $r->{err} =~ /refused|Connection/, 'one that is not there');

# ---- a station under a passphrase ----
my $pass = Lab::spurt("$dir/pass", "correct horse\n");
sub sealed { my ($file, @args) = @_; Lab::run('setsid', '-w', 'sh', '-c', 'exec "$0" "$@" 3<"' . $file . '"', "$Lab::bin/encdns-hub", @args) }
is(sealed($pass, 'station', 'init', '--station', "$dir/st", '--passphrase', 'fd:3')->{status}, 0, 'a station under a passphrase');
unlike(join('', map { Lab::slurp($_) } "$dir/st/master.key", "$dir/st/operator.pem", glob "$dir/st/ca/*"), qr/^[0-9a-f]{64}$|BEGIN (EC )?PRIVATE/m, 'has no key in clear');
my $other = Lab::spurt("$dir/pass2", "battery staple\n");
for (['master.key', 'operator.pem'], ['master.key', 'operator.pem', map { ("ca/$_.key", "ca/$_.pem") } 'hub', 'node', 'operator', 'machine']) {
	unlink map { "$dir/st/$_" } @$_;
	like(sealed($other, 'station', 'init', '--station', "$dir/st", '--passphrase', 'fd:3')->{err}, qr/another passphrase/, 'its making broken off: not under another one');
	is(sealed($pass, 'station', 'init', '--station', "$dir/st", '--passphrase', 'fd:3')->{status}, 0, 'but gone on with');
}
my @st = ('--station', "$dir/st", '--passphrase', 'fd:3');
sub opens { my ($file) = @_; sealed($file, 'station', 'key', 'nobody', @st)->{err} =~ /no machine of this name/ }
ok(opens($pass), 'opens with it');
like(sealed($other, 'station', 'key', 'nobody', @st)->{err}, qr/not its passphrase/, 'and with no other');
is(Lab::run("$Lab::bin/encdns-hub", 'station', 'list', '--station', "$dir/st")->{status}, 0, 'its list wants none');
like(Lab::run("$Lab::bin/encdns-hub", 'station', 'list', '--station', "$dir/nost")->{err}, qr/no station in/, 'nor is there one elsewhere');

mkdir "$dir/st/machines/fra1";
rename "$dir/st/master.key", "$dir/st/master.away";
like(sealed($pass, 'station', 'init', '--station', "$dir/st", '--passphrase', 'fd:3')->{err}, qr{machines, whose keys hang on the \S+/master.key that is missing}, 'no other master key for machines that are there');
rename "$dir/st/master.away", "$dir/st/master.key";
rmdir "$dir/st/machines/fra1";

# another passphrase, also after it was broken off half-way
sub renewed { my ($next, @args) = @_; Lab::run('setsid', '-w', 'sh', '-c', 'exec "$0" "$@" 3<"' . $pass . '" 4<"' . $next . '"', "$Lab::bin/encdns-hub", 'station', 'passphrase', @st, @args) }
# credentials of a node that the station has issued, and one that lies there in clear
sub ca { sealed($pass, 'ca', @_, '--dir', "$dir/st/ca", '--passphrase', 'fd:3') }
is(ca('issue', 'node', 'clear')->{status}, 0, 'a node in clear');
mkdir "$dir/st/ca/issued";
my ($issued, $in_clear) = map { "$dir/st/ca/issued/node-$_.pem" } 'node1', 'clear';
Lab::spurt($issued, Lab::slurp("$dir/st/operator.pem"));
my $clear_was = Lab::slurp($in_clear);
my @keys = ("$dir/st/master.key", "$dir/st/operator.pem", "$dir/st/ca/root.key", "$dir/st/ca/hub.key", "$dir/st/ca/node.key", "$dir/st/ca/operator.key", "$dir/st/ca/machine.key", $issued);
my %was = map { $_ => Lab::slurp($_) } @keys;
is(renewed($other, '--new-passphrase', 'fd:4')->{status}, 0, 'another passphrase');
ok(opens($other) && !opens($pass), 'it opens with that, and with the old one no longer');
ok(!(grep { Lab::slurp($_) eq $was{$_} } @keys), 'every key was written anew');
is(Lab::slurp($in_clear), $clear_was, 'but for what lies there in clear');
is((() = Lab::slurp($issued) =~ /BEGIN CERTIFICATE/g) . (() = Lab::slurp($issued) =~ /BEGIN ENCRYPTED/g), '31', 'credentials are whole');
is((stat $_)[2] & 0777, 0600, "$_: for nobody else") for @keys;
for my $n (1, $#keys) { # broken off after the first so many
	my @done = (@keys[2 .. $#keys - 1], $keys[1], $issued)[0 .. $n - 1];
	my %now = map { $_ => Lab::slurp($_) } @keys;
	Lab::spurt($_, $was{$_}) for grep { my $k = $_; !grep { $_ eq $k } @done } @keys;
	is(renewed($other, '--new-passphrase', 'fd:4')->{status}, 0, "broken off after $n keys: once more");
	ok(opens($other), 'and it opens');
}
$pass = $other;
is(renewed($other, '--no-passphrase')->{status}, 0, 'none at all');
like(Lab::run("$Lab::bin/encdns-hub", 'station', 'key', 'nobody', '--station', "$dir/st")->{err}, qr/no machine of this name/, 'then none is asked for');
mkdir "$dir/st/machines/node1";
is(Lab::run('setsid', '-w', 'sh', '-c', 'exec "$0" "$@" 4<"' . $other . '"', "$Lab::bin/encdns-hub", 'station', 'passphrase', '--station', "$dir/st", '--new-passphrase', 'fd:4')->{status}, 0, 'and one again');
ok(opens($other), 'that it opens with');
like(Lab::slurp($issued), qr/BEGIN ENCRYPTED/, 'what it had issued meanwhile to a machine of its own is under it, too');
is(Lab::slurp($in_clear), $clear_was, 'but not what was not for one');
open my $lock, '<', "$dir/st" or die;
flock $lock, Fcntl::LOCK_EX() or die;
like(renewed($other, '--no-passphrase')->{err}, qr/another command is changing its passphrase/, 'one change of it at a time');
done_testing();
