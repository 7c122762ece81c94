#!/usr/bin/perl
# The private CA beside openssl: it reads every key and certificate, and verifies what
# was issued; passphrases by descriptor and typed; list, renew, deny.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use JSON::PP ();
use Lab;

plan(skip_all => 'needs openssl') unless grep { -x "$_/openssl" } split /:/, $ENV{PATH};
my $hub = "$Lab::bin/encdns-hub";
my $dir = tempdir('encdns-ca-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $ca = "$dir/ca";
my $file = 0;

# Runs encdns-hub ca; a hash is options => passphrases, each given by a descriptor.
sub ca {
	my %pass = ref $_[-1] ? %{ pop @_ } : ();
	my ($shell, @args) = ('', @_);
	my $fd = 3;
	for (sort keys %pass) {
		$shell .= " $fd<" . Lab::spurt("$dir/pass" . $file++, "$pass{$_}\n");
		push @args, $_, "fd:$fd";
		$fd++;
	}
	# no terminal, whoever runs the tests
	return Lab::run('setsid', '-w', 'sh', '-c', "exec \"\$0\" ca \"\$@\"$shell", $hub, @args);
}
sub openssl { Lab::run('openssl', @_) }
sub good { my ($r, $name) = @_; is($r->{status}, 0, $name) or diag($r->{err}); return $r }
sub refused { my ($r, $like, $name) = @_; ok($r->{status} && $r->{err} =~ $like, $name) or diag("$r->{status}: $r->{err}") }
sub pubkey { openssl('x509', '-in', $_[0], '-noout', '-pubkey')->{out} }

# ---- made under a passphrase ----
refused(ca('init', '--dir', $ca), qr/no terminal.*--no-passphrase/, 'without a terminal and an option no CA is made');
ok(!-e "$ca/root.key", 'and no key is there');
good(ca('init', '--dir', $ca, { '--passphrase' => 'correct horse' }), 'a CA under a passphrase');
my @roles = qw(hub node operator machine);
for (qw(root), @roles) {
	like(Lab::slurp("$ca/$_.key"), qr/^-----BEGIN ENCRYPTED PRIVATE KEY-----/, "$_.key is encrypted");
	my $r = openssl('pkey', '-in', "$ca/$_.key", '-passin', 'pass:correct horse', '-pubout');
	ok(!$r->{status} && $r->{out} eq pubkey("$ca/$_.pem"), "openssl reads $_.key: it is the certificate's") or diag($r->{err});
}
ok(openssl('pkey', '-in', "$ca/root.key", '-passin', 'pass:another')->{status}, 'not with another passphrase');
my $asn = openssl('asn1parse', '-in', "$ca/root.key")->{out};
like($asn, qr/PBES2.*PBKDF2.*INTEGER\s*:0927C0.*hmacWithSHA256.*aes-256-cbc/s, 'PBKDF2 with 600,000 rounds of HMAC-SHA256, AES-256-CBC');

# ---- issuing ----
refused(ca('issue', 'hub', 'hub1', '--dir', $ca), qr/no terminal.*--passphrase/, 'the passphrase is wanted');
refused(ca('issue', 'hub', 'hub1', '--dir', $ca, { '--passphrase' => 'horse' }), qr/another passphrase/, 'the right one');
refused(ca('issue', 'hub', 'hub1', '--dir', $ca, { '--passphrase' => '' }), qr/no passphrase/, 'none is not one');
good(ca('issue', $_, "${_}1", '--dir', $ca, { '--passphrase' => 'correct horse' }), "a $_") for qw(hub node);
refused(ca('issue', 'operator', 'alice', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/--new-passphrase/,
	"an operator's key wants a passphrase of its own");
good(ca('issue', 'operator', 'alice', '--dir', $ca, { '--passphrase' => 'correct horse', '--new-passphrase' => 'battery' }), 'and gets it');
for my $p (['hub', 'hub1'], ['node', 'node1'], ['operator', 'alice']) {
	my ($role, $name) = @$p;
	my $pem = "$ca/issued/$role-$name.pem";
	my $text = good(openssl('x509', '-in', $pem, '-noout', '-text'), "openssl reads the certificate of $role $name")->{out};
	like($text, qr/Subject: O = encdns, OU = $role, CN = $name/, 'its subject');
	like($text, qr/URI:encdns:$role:$name/, 'its role');
	like($text, qr/Key Usage: critical\s+Digital Signature\n/, 'its use');
	good(openssl('verify', '-x509_strict', '-CAfile', "$ca/root.pem", '-untrusted', "$ca/$role.pem", $pem), 'openssl verifies it');
	my $key = openssl('pkey', '-in', $pem, '-passin', 'pass:battery', '-pubout');
	is($key->{out}, pubkey($pem), 'its key is in the file');
}
like(Lab::slurp("$ca/issued/operator-alice.pem"), qr/ENCRYPTED/, "the operator's key is encrypted");
unlike(Lab::slurp("$ca/issued/node-node1.pem"), qr/ENCRYPTED/, "a node's is not");
like(good(openssl('x509', '-in', "$ca/root.pem", '-noout', '-text'), 'openssl reads the root')->{out}, qr/CA:TRUE, pathlen:1/, 'pathlen 1');
like(good(openssl('x509', '-in', "$ca/machine.pem", '-noout', '-text'), 'and who issues for machines')->{out}, qr/CA:TRUE, pathlen:0/, 'pathlen 0');

# ---- a key that openssl has put under a passphrase ----
good(openssl('pkcs8', '-topk8', '-in', "$ca/hub.key", '-passin', 'pass:correct horse', '-v2', 'aes-256-cbc', '-v2prf', 'hmacWithSHA256',
	'-iter', 70000, '-passout', 'pass:correct horse', '-out', "$dir/hub.key"), 'openssl encrypts the key anew');
rename "$dir/hub.key", "$ca/hub.key" or die "rename: $!";
good(ca('issue', 'hub', 'hub2', '--dir', $ca, { '--passphrase' => 'correct horse' }), 'we read it');
good(openssl('pkcs8', '-topk8', '-in', "$ca/hub.key", '-passin', 'pass:correct horse', '-v2', 'aes-128-cbc',
	'-passout', 'pass:correct horse', '-out', "$dir/weak.key"), 'one by another cipher');
rename "$ca/hub.key", "$dir/hub.key" or die "rename: $!";
rename "$dir/weak.key", "$ca/hub.key" or die "rename: $!";
refused(ca('issue', 'hub', 'hub3', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/not a private key of ours/, 'is refused');
rename "$dir/hub.key", "$ca/hub.key" or die "rename: $!";

# ---- typed ----
# Runs a program at a terminal of its own and answers its prompts; what was on the screen.
sub at_terminal {
	my ($answers, @command) = @_;
	open my $m, '+<', '/dev/ptmx' or die "/dev/ptmx: $!";
	my $n = pack 'i', 0;
	ioctl $m, 0x40045431, $n or die "TIOCSPTLCK: $!";
	ioctl $m, 0x80045430, $n or die "TIOCGPTN: $!";
	my $tty = '/dev/pts/' . unpack 'i', $n;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		POSIX::setsid();
		open STDIN, '+<', $tty or POSIX::_exit(126);
		open STDOUT, '>&', \*STDIN;
		open STDERR, '>&', \*STDIN;
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	open my $keep, '+<', $tty; # the master reads no error when the child has gone
	my ($screen, $from) = ('', 0);
	local $SIG{ALRM} = sub { kill 'KILL', $pid };
	alarm 60;
	my $status;
	until (defined $status) {
		my $r = '';
		vec($r, fileno $m, 1) = 1;
		if (select($r, undef, undef, 0.05) > 0) {
			sysread $m, $screen, 4096, length $screen;
			if (@$answers && substr($screen, $from) =~ /: \z/) {
				$from = length $screen;
				DNS::pause(0.05); # echo is off before the prompt is written
				syswrite $m, shift @$answers;
			}
		} elsif (waitpid($pid, POSIX::WNOHANG()) > 0) {
			$status = $?;
		}
	}
	alarm 0;
	my $echo = Lab::run({ input => $tty }, 'stty', '-a')->{out} =~ /(?<!-)\becho\b/;
	return { status => $status, screen => $screen, echo => $echo };
}
my $typed = "$dir/typed";
my $r = at_terminal([ "open sesame\n", "open sesame\n" ], $hub, 'ca', 'init', '--dir', $typed);
is($r->{status}, 0, 'a passphrase typed twice') or diag($r->{screen});
like($r->{screen}, qr/new passphrase for the CA in.*the same once more/s, 'it was asked for twice');
unlike($r->{screen}, qr/sesame/, 'it was not on the screen');
ok($r->{echo}, 'echo is on again');
is(openssl('pkey', '-in', "$typed/node.key", '-passin', 'pass:open sesame', '-noout')->{status}, 0, 'the keys are under it');
$r = at_terminal([ "open sesame\n" ], $hub, 'ca', 'issue', 'node', 'n1', '--dir', $typed);
is($r->{status}, 0, 'typed once to issue') or diag($r->{screen});
$r = at_terminal([ "one\n", "two\n" ], $hub, 'ca', 'init', '--dir', "$dir/differ");
like($r->{screen}, qr/the two passphrases differ/, 'two that differ');
ok(!-e "$dir/differ/root.key", 'nothing was made');
$r = at_terminal([ "half a passph\x03" ], $hub, 'ca', 'init', '--dir', "$dir/differ");
is($r->{status} & 127, 2, 'an interrupt ends it');
ok($r->{echo}, 'and the terminal is as it was');

# ---- list and renew ----
sub listed { JSON::PP::decode_json(good(ca('list', '--json', '--dir', $ca), 'list')->{out}) }
sub states { my ($name) = @_; join ' ', map { $_->{state} } grep { $_->{name} eq $name } @{ listed()->{certificates} } }
my $list = ca('list', '--dir', $ca)->{out};
like($list, qr/^[0-9a-f]{32} node     node1 +until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  valid$/m, 'list, for people');
is(states('node1'), 'valid', 'list, for programs');
my $old = Lab::slurp("$ca/issued/node-node1.pem");
good(ca('renew', 'node', 'node1', '--dir', $ca, '--days', 40, { '--passphrase' => 'correct horse' }), 'renew');
# the old one has a year, the new one was asked for 40 days: it is the old one that counts
is(states('node1'), 'valid renewed', 'a shorter one does not renew the longer one');
good(ca('renew', 'node', 'node1', '--dir', $ca, '--days', 400, { '--passphrase' => 'correct horse' }), 'renew');
is(states('node1'), 'renewed renewed valid', 'a longer one does');
isnt(Lab::slurp("$ca/issued/node-node1.pem"), $old, 'it is in its place');
good(openssl('verify', '-CAfile', "$ca/root.pem", '-untrusted', "$ca/node.pem", Lab::spurt("$dir/old.pem", $old)), 'the old one is good');
refused(ca('renew', 'node', 'node9', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/no certificate/, 'nothing to renew');
good(ca('issue', 'node', 'short', '--dir', $ca, '--days', 20, { '--passphrase' => 'correct horse' }), 'one for 20 days');
is(states('short'), 'expiring', 'it ends soon');

# ---- deny ----
refused(ca('deny', 'node', 'node9', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/no certificate of node node9/, 'a stranger');
refused(ca('deny', 'node', 'node1', '--dir', $ca, { '--passphrase' => 'horse' }), qr/another passphrase/, 'it is the root that signs');
like(good(ca('deny', 'node', 'node1', '--reason', 'sold "as is"', '--dir', $ca, { '--passphrase' => 'correct horse' }), 'deny by name')->{out},
	qr/^3 denied: list 1 is/, 'all that it has');
is(states('node1'), 'denied denied denied', 'they are listed so');
my ($one) = grep { $_->{name} eq 'node1' } @{ listed()->{certificates} };
is($one->{reason}, 'sold "as is"', 'with the reason');
unlike(Lab::slurp("$ca/denials"), qr/sold/, 'which is not in what everybody gets');
refused(ca('deny', 'node', 'node1', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/not denied already/, 'once is enough');
refused(ca('renew', 'node', 'node1', '--dir', $ca, { '--passphrase' => 'correct horse' }), qr/is denied/, 'no way round by renewing');
my ($serial) = openssl('x509', '-in', "$ca/issued/hub-hub2.pem", '-noout', '-serial')->{out} =~ /serial=(\w+)/;
like(good(ca('deny', $serial, '--dir', $ca, { '--passphrase' => 'correct horse' }), 'deny by serial number')->{out}, qr/^1 denied: list 2/, 'the next list');
is(states('hub2'), 'denied', 'that one');
is(states('hub1'), 'valid', 'and no other');
good(ca('issue', 'node', 'node1', '--dir', $ca, { '--passphrase' => 'correct horse' }), 'the name can be used again');
is(states('node1'), 'denied denied denied valid', 'by a certificate that is good');

# ---- another passphrase, none ----
good(ca('passphrase', '--dir', $ca, { '--passphrase' => 'correct horse', '--new-passphrase' => 'staple' }), 'another passphrase');
is(openssl('pkey', '-in', "$ca/$_.key", '-passin', 'pass:staple', '-noout')->{status}, 0, "$_.key is under it") for 'root', @roles;
good(ca('passphrase', '--dir', $ca, { '--passphrase' => 'correct horse', '--new-passphrase' => 'staple' }), 'again after an interruption');
refused(ca('passphrase', '--dir', $ca, { '--passphrase' => 'correct horse', '--new-passphrase' => 'third' }),
	qr/neither the old passphrase nor the new one opens .*root\.key.*with the same new one/, 'but not with another new one');
good(ca('passphrase', '--no-passphrase', '--dir', $ca, { '--passphrase' => 'staple' }), 'none');
good(ca('issue', 'hub', 'hub4', '--dir', $ca), 'then none is wanted');
is(openssl('pkey', '-in', "$ca/root.key", '-noout')->{status}, 0, 'and openssl reads the plain form');
done_testing();
