#!/usr/bin/perl
# What a person meets who enrols a machine for the first time, or stands at its terminal: mistakes in the words, in
# the configuration, in the address. Each is told in a line or two, and what failed may
# be done again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;
use POSIX ();

my $dir = tempdir('encdns-enrol-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
my ($base, $port) = ($lab->dir, Lab::free_port());
my ($hub) = Lab::slurp("$base/node1/conf") =~ /^(hub \S+\n)/m;
my $conf = "service 127.0.0.7\@$port\n$hub";
mkdir "$base/new";
Lab::spurt("$base/new/root.pem", Lab::slurp("$base/operator/ca/root.pem"));
Lab::spurt("$base/new/boot", "unlock 127.0.0.7\@$port\n");
Lab::spurt("$base/new/log", '');
ok($lab->waiting('new'), 'a new machine waits') or BAIL_OUT(Lab::slurp("$base/new/log"));

my $bad = Lab::spurt("$dir/bad", "${conf}nosuchkey 1\n");
my $good = Lab::spurt("$dir/good", $conf =~ s/127.0.0.7/127.0.0.8/r);
sub enrol { my ($name, $file) = @_; $lab->hub('enrol', "127.0.0.7\@$port", $name, '--conf', $file, '--yes', '--wait', 20) }
sub says { my ($r, $status, $like, $name) = @_; ok($r->{status} == $status && "$r->{out}$r->{err}" =~ $like, $name) or diag "$r->{status}: $r->{out}$r->{err}" }

# ---- a mistake in its configuration ----
says(enrol('new', $bad), 1, qr/unknown key "nosuchkey".*new is not unlocked: mend that, and enrol it again;/s, 'a bad configuration');
says($lab->hub('authorise', 'new', '--yes-if-unchanged', '--wait', 20), 1, qr/enrolment was not finished: enrol it again/, 'authorise says what is to be done');
says(enrol('node1', $good), 1, qr/node1 is enrolled already/, 'it does not get a name that another has');
says(enrol('new', $good), 0, qr/new is enrolled and authorised/, 'done again with a good one');
ok(Lab::wait_for(20, sub { (($lab->status('new') // {})->{run_level} // 0) == 4 }), 'it serves');
says(enrol('new', $good), 1, qr/new is enrolled already/, 'and is not enrolled twice');
says($lab->hub('authorise', 'new'), 0, qr/it runs already$/m, 'authorise of one that runs');
says($lab->hub('authorise', 'new', '--conf', $good), 1, qr/it runs already: nothing new was delivered/, 'which takes no configuration');
says($lab->hub('node', 'new', 'status', '--json'), 0, qr/^\{"sequence"/, 'status --json');
$lab->halt('new');

# ---- a terminal of 40 columns, which no line of the clock fits ----
sub drawn {
	my ($pty, $want, $text, $end) = (@_, '', DNS::now() + 10);
	while (DNS::now() < $end && (() = $text =~ /\e\[J/g) < $want) {
		my $r = '';
		vec($r, fileno $pty, 1) = 1;
		select($r, undef, undef, 0.5) > 0 and (sysread $pty, $text, 4096, length $text) // last;
	}
	return $text;
}
mkdir "$base/narrow";
Lab::spurt("$base/narrow/root.pem", Lab::slurp("$base/operator/ca/root.pem"));
Lab::spurt("$base/narrow/boot", "unlock 127.0.0.7\@$port\nunlock 127.0.0.8\@$port\n");
open my $pty, '+<', '/dev/ptmx' or die "/dev/ptmx: $!\n";
my ($unlock, $number, $size) = (pack('i', 0), pack('i', 0), pack('SSSS', 20, 40, 0, 0));
ioctl($pty, 0x40045431, $unlock) && ioctl($pty, 0x80045430, $number) or die "a terminal: $!\n";
open my $tty, '+<', '/dev/pts/' . unpack('i', $number) or die "its other side: $!\n";
ioctl($tty, 0x5414, $size) or die "its size: $!\n";
my $pid = fork // die "fork: $!\n";
if (!$pid) {
	open STDERR, '>&', $tty;
	exec "$Lab::bin/encdns", 'run', '--dir', "$base/narrow" or POSIX::_exit(127);
}
like(drawn($pty, 2), qr/waiting for authorisation.*fingerprint.*\e\[4A\r/s, 'it goes back over as many lines as there are on the screen');
kill 'TERM', $pid;
waitpid $pid, 0;

# ---- the hub's own configuration ----
my $hubconf = Lab::spurt("$dir/hub.conf", "listen 127.0.0.1\@5390\ncredentials fd:4\n");
says(Lab::run("$Lab::bin/encdns-hub", 'checkconf', $hubconf), 0, qr/all is right/, 'checkconf of a hub');
Lab::spurt($hubconf, "listen nowhere\nfoo bar\n");
says(Lab::run("$Lab::bin/encdns-hub", 'checkconf', $hubconf), 1, qr/:1: listen wants.*:2: unknown key "foo".*"listen ADDRESS\@PORT" is wanted.*"credentials fd:N" is wanted/s, 'all that is wrong with it');

# ---- nobody there ----
says($lab->hub('authorise', 'new', '--wait', 0), 1, qr/^encdns-hub: 127\.0\.0\.7\@$port: Connection refused \(/m, 'nobody at that port');
says($lab->hub('enrol', 'nosuch.invalid', 'other', '--conf', $good, '--wait', 0), 1, qr/no address is found/, 'a name without an address');

# ---- wrong words ----
for ([['enrol', 'a'], 'NAME is wanted'], [['enrol', 'a', 'b'], '--conf FILE is wanted'], [['enrol', '--what'], 'unknown option --what'],
	[['enrol', 'a', 'b', '--wait', 'ten'], '--wait wants a number, not "ten"'], [['node', 'new', 'status', '--wait=-1'], '--wait wants a number, not "-1"'],
	[['authorise', 'new', '--wait', 99999999], '--wait must be from 0 to 86400'], [['authorise', 'new', '--refill=yes'], 'no value is wanted here: --refill=yes'],
	[['node', 'new', 'log', '--json'], '--json goes with status only'], [['station', 'key'], 'key wants the NAME of a machine'],
	[['station', 'init', '--operator', 'a b'], '--operator: a name has 1 to 63 letters, digits, dots, dashes or underscores, not "a b"'],
	[['station', 'init', '--passphrase', 'fd:3', '--no-passphrase'], '--passphrase or --no-passphrase, not both'],
	[['station', 'init', '--new-passphrase', 'fd:3'], 'init wants --passphrase, not --new-passphrase'],
	[['station', 'passphrase', '--new-passphrase', 'fd:3', '--no-passphrase'], '--new-passphrase or --no-passphrase, not both'],
	[['authorise'], 'HOST or NAME is wanted'], [['node', 'new'], 'a command is wanted'], [['station'], 'init, list, key or passphrase is wanted']) {
	my ($words, $what) = @$_;
	my $r = $lab->hub(@$words);
	ok($r->{status} == 2 && $r->{err} eq "encdns-hub: $words->[0]: $what\nTry: encdns-hub $words->[0] --help\n", "@$words: $what") or diag "$r->{status}: $r->{err}";
}
for my $verb ('enrol', 'authorise', 'node', 'station', 'ca') {
	for my $help ('-h', '--help') {
		my $r = Lab::run("$Lab::bin/encdns-hub", $verb, $help);
		ok($r->{status} == 0 && $r->{out} =~ /^(usage: )?encdns-hub $verb /m && $r->{err} eq '', "$verb $help");
	}
}
for my $exe ('encdns', 'encdns-hub') {
	says(Lab::run("$Lab::bin/$exe", $_), 0, qr/^$exe: /, "$exe $_") for '-h', '--help', 'help';
	says(Lab::run("$Lab::bin/$exe", 'nosuch'), 2, qr/there is no "nosuch"/, "$exe nosuch");
	says(Lab::run("$Lab::bin/$exe", '--help', 'nosuch'), 2, qr/there is no "nosuch"/, "$exe --help nosuch");
}
for ([['nosuch', '--dir', 'x'], 'these words are not understood'], [['list'], '--dir DIR is wanted'], [['--dir', 'x'], 'a command is wanted'],
	[['list', '--dir', 'x', '--what'], 'unknown option --what'], [['list', '--dir', ''], '--dir wants a value, not an empty one'],
	[['passphrase', '--dir', 'x', '--new-passphrase', 'fd:3', '--no-passphrase'], '--new-passphrase or --no-passphrase, not both'],
	[['init', '--dir', 'x', '--passphrase', 'fd:3', '--no-passphrase'], '--passphrase or --no-passphrase, not both']) {
	my ($words, $what) = @$_;
	my $r = Lab::run("$Lab::bin/encdns-hub", 'ca', @$words);
	ok($r->{status} == 2 && $r->{err} =~ /^encdns-hub: ca: \Q$what\E\n(?!.*\nissue )/, "ca @$words: $what, and what may be said, not the whole help") or diag $r->{err};
}
says(Lab::run("$Lab::bin/encdns-hub", $_, '--dir', $dir, '--conf', $hubconf, 'word'), 2, qr/$_: no word is wanted here: word/, "$_ with a word too many") for 'run', 'status', 'stop';
says(Lab::run("$Lab::bin/encdns-hub", 'ca', 'list', '--dir', $base . '/operator'), 1, qr/no CA lies in .*ST\/ca/, "the station's folder for the CA's");
done_testing;
