#!/usr/bin/perl
# Nothing of a zone can be read from what hub and node leave on the disk: no label
# of 8 octets or more (as on the wire, or before a dot), no text of 8 or more, no
# address. Outside operator/; a zone's own origin may be in logs and configuration.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Lab;
use File::Find;

my @label = map { "secretlabel${_}xyzzy" } 'a' .. 'j';
my $origin = 'hiddenzone.example-origin';
my @text = map { "confidential text number $_ plugh" } 1 .. 5;
my $lines = <<"";
\$ORIGIN $origin.
\$TTL 300
\@ SOA primaryserver.$origin. hostmasterbox 1 3600 900 604800 300
\@ NS nameserver1
\@ NS nameserver2.outsideworld.example.
nameserver1 A 198.51.100.201
nameserver1 AAAA 2001:db8:feed:f00d:1234:5678:9abc:def0
delegation01 NS subserver01.delegation01
subserver01.delegation01 A 203.0.113.177

my $n = 0;
for (@label) {
	$n++;
	$lines .= "$_ A 198.51.100." . (100 + $n) . "\n";
	$lines .= "$_ AAAA 2001:db8:cafe:$n:1111:2222:3333:4444\n";
	$lines .= "mailhost$_ MX 10 $_\n";
}
$lines .= "textrecord$_ TXT \"$text[$_]\"\n" for 0 .. $#text;

my $lab = Lab->new(may_fail => 1);
is($lab->{up}{status}, 0, 'a lab without zones') or diag($lab->{up}{err});
my $file = $lab->file('zone', $lines);
is($lab->cmd('update', "$origin=$file")->{status}, 0, 'the zone is served');
# through all that writes: changes, snapshot and checkpoint at a clean stop, recovery
for my $serial (2 .. 4) {
	(my $l = $lines) =~ s/hostmasterbox 1 /hostmasterbox $serial /;
	$l .= "laterlabel$serial TXT \"text that came later $serial\"\n";
	$lab->file('zone', $l);
	is($lab->cmd('update', "$origin=$file")->{status}, 0, "serial $serial");
}
like($lab->cmd('restart')->{out}, qr/^ready/, 'restart');
like($lab->cmd('restart', '--kill')->{out}, qr/^ready/, 'restart --kill');
like($lab->cmd('restart', '--hub')->{out}, qr/^ready/, 'restart --hub');

# What must not be found: regular expression => what it is.
my %secret;
my @labels = (@label, (map { "mailhost$_" } @label), (map { "textrecord$_" } 0 .. $#text), (map { "laterlabel$_" } 2 .. 4),
	qw(primaryserver hostmasterbox nameserver1 nameserver2 outsideworld delegation01 subserver01));
for (@labels) {
	$secret{ quotemeta(chr(length) . $_) } = "label $_ in wire form";
	$secret{ quotemeta("$_.") } = "label $_ before a dot";
}
$secret{ quotemeta $_ } = "text $_" for @text, map { "text that came later $_" } 2 .. 4;
$secret{ quotemeta $_ } = "address $_" for '198.51.100.201', '203.0.113.177', map { '198.51.100.' . (100 + $_) } 1 .. @label;
$secret{ quotemeta pack 'H*', $_ } = "address $_" for '20010db8feedf00d123456789abcdef0',
	map { sprintf '20010db8cafe%04x1111222233334444', hex $_ } 1 .. 10;
$secret{'2001:db8:(feed|cafe):'} = 'a textual IPv6 address';
my %origin_label = ('hiddenzone' => 1, 'example-origin' => 1);
my $any = join '|', sort keys %secret;
my $any_origin = join '|', map { quotemeta(chr(length) . $_), quotemeta("$_.") } sort keys %origin_label;

my ($files, $octets) = (0, 0);
my @found;
find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1, return if $_ eq $lab->dir . '/operator';
	return unless -f;
	my $data = Lab::slurp($_);
	$files++;
	$octets += length $data;
	my $name = substr $_, 1 + length $lab->dir;
	while ($data =~ /($any)/gi) {
		my $hit = $1;
		my ($what) = map { $secret{$_} } grep { $hit =~ /^(?:$_)\z/i } keys %secret;
		push @found, "$name at $-[0]: $what";
	}
	next_file($name, $data) unless $name =~ m{/(log|conf)\z};
} }, $lab->dir);
sub next_file {
	my ($name, $data) = @_;
	push @found, "$name at $-[0]: the zone's origin" while $data =~ /$any_origin/gi;
}
cmp_ok($files, '>=', 6, "$files files, $octets octets");
cmp_ok($octets, '>', 10_000, 'a store is among them');
is(scalar @found, 0, 'nothing of the zone in them');
diag($_) for grep { defined } @found[0 .. 9];

# Keys: neither there, nor on a command line or in an environment.
my @key = map { my $k = Lab::slurp($_); chomp $k; $k } glob $lab->dir . '/operator/*.key';
ok(@key >= 2, scalar(@key) . ' keys of servers');
my $keys = join '|', map { ($_, quotemeta pack 'H*', $_) } @key;
@found = ();
find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1, return if $_ eq $lab->dir . '/operator';
	push @found, $_ if -f && Lab::slurp($_) =~ /$keys|PRIVATE KEY/i;
} }, $lab->dir);
is("@found", '', 'no key outside operator/');
for my $pid (map { $lab->pids($_) } qw(hub1 node1)) {
	unlike(Lab::slurp("/proc/$pid/cmdline") . Lab::slurp("/proc/$pid/environ"), qr/$keys/, "no key in the arguments of $pid");
}
done_testing();
