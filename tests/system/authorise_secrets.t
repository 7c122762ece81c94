#!/usr/bin/perl
# After enrolment, authorisation and a stop: no file outside the operator's station
# holds a key of his or of the machine's bundle and store, as octets or in hex; neither do
# arguments and environments. Of its own the machine has its identity alone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Digest::SHA qw(hmac_sha256 sha256);
use File::Find;
use File::Temp 'tempdir';
use MIME::Base64 'decode_base64';
use Lab;

my $dir = tempdir('encdns-secrets-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$TTL 60\n\@ SOA ns hostmaster 7 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n");
my $lab = Lab->new(zones => { 'zone.example' => $zone });
my ($base, $st) = ($lab->dir, $lab->dir . '/operator');
is($lab->cmd('restart')->{status}, 0, 'authorised once more');

# ---- what must not be found ----
sub hex_file { my ($x) = Lab::slurp($_[0]) =~ /([0-9a-f]{64})/; pack 'H*', $x // die "$_[0]: no key" }
sub hkdf { my ($key, $salt, $info) = @_; hmac_sha256("$info\x01", hmac_sha256($key, $salt)) }
my $record = "$st/machines/node1";
my $master = hex_file("$st/master.key");
my $salt = hex_file("$base/node1/salt");
my ($pub) = Lab::slurp("$record/pub") =~ /^([0-9a-f]{130})$/m;
my $id = substr sha256(pack 'H*', $pub), 0, 20;
my %secret = ('master key' => $master, 'K_system' => hkdf($master, $salt, "system/v1$id"),
	'K_data' => hkdf($master, $salt, "data/v1$id" . hex_file("$record/epoch")), "hub's key" => hex_file("$st/hub1.key"));
is($secret{K_data}, hex_file("$st/node1.key"), 'K_data is what the station says it is');
$secret{'cookie secret'} = pack 'H*', Lab::slurp("$st/cookie-secret") =~ s/\s+//gr;
for my $pem (glob("$st/ca/*.key"), glob("$st/ca/issued/*.pem"), "$st/operator.pem") {
	my ($text) = Lab::slurp($pem) =~ /BEGIN EC PRIVATE KEY-----\n(.*?)-----END/s or next;
	my $der = decode_base64($text);
	my ($scalar) = $der =~ /^\x30.\x02\x01\x01\x04\x20(.{32})/s or next;
	$secret{ $pem =~ s,.*/operator/,,r } = $scalar;
}
cmp_ok(scalar keys %secret, '>=', 9, join ', ', sort keys %secret);
my %found_as;
for my $name (keys %secret) {
	my $hex = unpack 'H*', $secret{$name};
	$found_as{$_} = $name for quotemeta $secret{$name}, $hex, uc $hex;
}
my $any = join '|', keys %found_as;
sub look { my ($where, $text) = @_; $text =~ /($any)/ ? "$where: " . ($found_as{ quotemeta $1 } // $found_as{$1}) : () }

# ---- files ----
my ($files, $octets, @found) = (0, 0);
sub scan {
	@found = ();
	find({ no_chdir => 1, wanted => sub {
		$File::Find::prune = 1, return if $_ eq $st;
		return unless -f;
		my $text = Lab::slurp($_);
		($files, $octets) = ($files + 1, $octets + length $text);
		push @found, look($_, $text);
		push @found, "$_: a private key" if $text =~ /PRIVATE KEY/;
	} }, $base);
}
ok(look('a', "x$secret{K_system}y") && look('b', unpack 'H*', $master), 'what is looked for would be found');
scan();
is("@found", '', "nothing in $files files of $octets octets, while it runs");
my @said;
for my $pid (map { $lab->pids($_) } qw(hub1 node1)) {
	push @said, look("$pid", Lab::slurp("/proc/$pid/cmdline") . Lab::slurp("/proc/$pid/environ"));
}
is("@said", '', 'nothing in arguments and environments');
$lab->halt('node1');
scan();
is("@found", '', 'nothing after it has stopped');
is((stat "$base/node1/identity.key")[2] & 0777, 0600, "the machine's identity is its owner's to read");
done_testing();
