package Signed;
# Zones with everything that makes answers hard, signed in several ways.
use strict;
use warnings;
use Lab;

our $ds = 'a0b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8e9f';

our $body = <<"";
\$TTL 3600
\@ SOA ns1 hostmaster 2026010101 7200 900 1209600 300
\@ NS ns1
\@ NS ns2.deep.glue
\@ NS ns.outside.invalid.
\@ MX 10 mail
\@ MX 20 mail.outside.invalid.
\@ TXT "apex"
ns1 A 192.0.2.1
ns1 AAAA 2001:db8::1
ns2.deep.glue A 192.0.2.2
ns2.deep.glue AAAA 2001:db8::2
mail A 192.0.2.25
; several strings, sizes, and a set that does not fit 512 octets
texts TXT "one" "two" "" "four"
large TXT "${\ ('x' x 250)}"
large TXT "${\ ('y' x 250)}"
large TXT "${\ ('z' x 250)}"
huge TXT "${\ ('a' x 250)}" "${\ ('b' x 250)}" "${\ ('c' x 250)}" "${\ ('d' x 250)}" "${\ ('e' x 250)}"
huge A 192.0.2.3
; empty non-terminals
a.b.c.ent A 192.0.2.4
x.b.c.ent TXT "x"
_sip._tcp SRV 1 2 5060 sip
_sip._udp SRV 1 2 5060 sip.outside.invalid.
sip A 192.0.2.5
sip AAAA 2001:db8::5
; wildcards: plain, with an empty non-terminal above, beside names, CNAME, NS-like names, below a wildcard
*.wild A 192.0.2.6
*.wild MX 10 mail
exact.wild TXT "exact"
below.exact.wild TXT "below"
*.ent.wild2 TXT "wild2"
*.cwild CNAME mail
*.lwild CNAME loop.lwild
*.dwild CNAME nowhere.dwild2
*.xwild CNAME www.outside.invalid.
x.*.under TXT "a name below an asterisk"
*.*.twice TXT "two asterisks"
; CNAME chains: short, long, to a wildcard, dangling, out of the zone, into a delegation, a loop
www CNAME mail
c1 CNAME c2
c2 CNAME c3
c3 CNAME c4
c4 CNAME mail
cw CNAME anything.wild
cnx CNAME nothing
cout CNAME www.outside.invalid.
cdel CNAME host.signed
cund CNAME host.unsigned
cent CNAME c.ent
cdname CNAME host.dname
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
; DNAME: into the zone, out of it, to itself above, a chain, with other data
dname DNAME target
dname TXT "beside a DNAME"
host.target A 192.0.2.7
sub.host.target TXT "deeper"
*.target TXT "wild target"
dout DNAME outside.invalid.
dchain DNAME dname
dlong DNAME ${\ join '.', ('l' x 60) x 3}
ddel DNAME signed
; delegations: signed, unsigned, with glue of all kinds, deep, without glue, below an empty non-terminal
signed NS ns.signed
signed NS ns.unsigned
signed DS 1 13 2 $ds
signed DS 2 13 2 $ds
ns.signed A 192.0.2.8
ns.signed AAAA 2001:db8::8
unsigned NS ns.unsigned
ns.unsigned A 192.0.2.9
deepglue NS a.b.c.d.deepglue
a.b.c.d.deepglue A 192.0.2.10
a.b.c.d.deepglue AAAA 2001:db8::a
sibling NS ns.signed
sibling NS ns1
noglue NS ns.outside.invalid.
deleg.under.ent2 NS ns.outside.invalid.
sdeleg.under.ent3 NS ns.outside.invalid.
sdeleg.under.ent3 DS 3 13 2 $ds
\\*literal A 192.0.2.11
odd\\.label A 192.0.2.12
odd\\032space TXT "space"
\\000\\255bytes TXT "bytes"
UPPER TXT "upper"
svc SVCB 1 svchost alpn=h2 port=8443
svc HTTPS 0 mail
svchost A 192.0.2.13
ptr PTR mail
naptr NAPTR 1 2 "u" "E2U+sip" "!^.*\$!sip:info\@example.com!" .
caa CAA 0 issue "ca.outside.invalid"
tlsa TLSA 3 1 1 $ds
loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
unknown TYPE65280 \\# 3 abcdef
many NS ns01.many
many NS ns02.many
many NS ns03.many
many NS ns04.many
many NS ns05.many
many NS ns06.many
many NS ns07.many
many NS ns08.many
many NS ns09.many
many NS ns10.many
many NS ns11.many
many NS ns12.many
many NS ns13.many
${\ join '', map { sprintf "ns%02d.many A 192.0.2.%d\nns%02d.many AAAA 2001:db8:1::%x\n", $_, 100 + $_, $_, $_ } 1 .. 13}

# More delegations, so that opt-out has spans to skip.
$body .= "d$_ NS ns.outside.invalid.\n" . ($_ % 5 ? '' : "d$_ DS $_ 13 2 $ds\n") for 1 .. 60;

our %how = (
	'plain.example.' => undef,
	'nsec.example.' => [],
	'nsec3.example.' => ['-3', 'aabbccdd', '-H', '5'],
	'nsec3plain.example.' => ['-3', '-', '-H', '0'],
	'optout.example.' => ['-3', '0123', '-H', '1', '-A'],
);

# A zone's file signed, with one record a line: its path; undef when the tools are
# not there. how: dnssec-signzone's arguments; undef: not signed, only written out.
# Beside it lies dsset-ORIGIN with the DS records for the parent.
sub sign {
	my ($dir, $origin, $file, $how) = @_;
	my ($out, @command) = ("$file.full", qw(named-compilezone -q -i none -k ignore -m ignore -M ignore -S ignore
		-n ignore -W ignore -s full -o), "$file.full", $origin, $file);
	if ($how) {
		for my $flags ([], ['-f', 'KSK']) {
			my $r = Lab::run('dnssec-keygen', '-q', '-K', $dir, '-a', 'ECDSAP256SHA256', @$flags, $origin);
			return if $r->{status} == 127;
			die "dnssec-keygen: $r->{err}" if $r->{status};
		}
		$out = "$file.signed";
		@command = (qw(dnssec-signzone -S -K), $dir, '-d', $dir, '-o', $origin, qw(-O full -P -q -j 0 -e +315360000),
			@$how, '-f', $out, $file);
	}
	my $r = Lab::run(@command);
	return if $r->{status} == 127;
	die "$command[0] $origin: $r->{out}$r->{err}" if $r->{status};
	return $out;
}

# Origin => file with one record a line; undef when the tools are not there.
sub zones {
	my ($dir) = @_;
	my %file;
	for my $origin (sort keys %how) {
		my $file = Lab::spurt("$dir/$origin", "\$ORIGIN $origin\n$body");
		$file{$origin} = sign($dir, $origin, $file, $how{$origin}) // return;
	}
	return \%file;
}

# Questions for a zone read by Compare::read_zone: every RRset, common types at
# every name, at names beside and below it, and at the empty non-terminals.
sub questions {
	my ($zone, $origin) = @_;
	my (%name, @q);
	for my $owner (keys %$zone) {
		$name{$owner} = [ keys %{ $zone->{$owner} }, qw(A DS CNAME TXT NS MX) ];
		(my $up = $owner) =~ s/^(?:\\.|[^.\\])+\.//;
		while (length $up > length $origin) {
			$name{$up} //= [qw(A DS TXT NS)];
			$up =~ s/^(?:\\.|[^.\\])+\.//;
		}
	}
	$name{$origin} = [ @{ $name{$origin} }, qw(SOA DNSKEY AAAA TYPE4711) ];
	for my $owner (sort keys %$zone) {
		# below the hash of a name there is nothing to agree about
		next if $zone->{$owner}{NSEC3};
		$name{"nx.$owner"} //= [qw(A DS)] if length $owner < 200;
		$name{"deep.nx.$owner"} //= ['A'] if length $owner < 200 && $owner !~ /^d\d+\./;
	}
	$name{$_} //= [qw(A DS)] for Compare::beside($zone);
	$name{"$_.$origin"} //= ['A'] for qw(zzz aaa 0 *.nothing x.*.wild *.mail any.wild any.any.wild *.wild y.exact.wild a.twice a.b.twice
		x.under a.*.under host.dname a.b.dname host.dout host.dchain host.ddel ns1.signed host.unsigned ns.unsigned b.a.dwild c.cwild),
		join('.', ('l' x 60) x 1, 'dlong'), join '.', ('m' x 60, 'm' x 10, 'dlong');
	for my $n (sort keys %name) {
		my %seen;
		push @q, map { [$n, $_] } grep { !$seen{$_}++ } sort @{ $name{$n} };
	}
	return @q;
}

1;
