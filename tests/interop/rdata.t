#!/usr/bin/perl
# Records of every type, in every form we know of: what we make of their text is
# what BIND, NSD, Knot and ldns make of it, octet by octet, each as far as it
# knows the type.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use DNS;
use Lab;
use Peers;

my $reader = ($ENV{ENCDNS_BUILD} // "$Lab::tree/build") . '/tests/test_master';
plan skip_all => 'needs build/tests/test_master: make check-programs' unless -x $reader;

my %program = map { $_ => scalar Peers::program($_) }
	qw(named-compilezone ldns-read-zone kzonecheck knotd nsd-checkzone nsd);
my %package = ('named-compilezone' => 'bind9-utils', 'ldns-read-zone' => 'ldnsutils', kzonecheck => 'knot-dnssecutils',
	knotd => 'knot', 'nsd-checkzone' => 'nsd', nsd => 'nsd');
plan skip_all => "needs package $package{'named-compilezone'}" unless $program{'named-compilezone'};

# ---- the records ------------------------------------------------------------

my $key = 'AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==';
my $sha1 = '2BB183AF5F22588179A53B0A98631FAD1A292118';
my $sha256 = '0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B56664C5D3D6';
my $sha384 = $sha256 . substr $sha256, 0, 32;
my $label = 'x' x 63;
my $longest = join '.', ($label) x 3, 'y' x 61, '';
my $string = 's' x 255;
my $many = join ' ', map { "\"$_" . ('z' x 200) . '"' } 1 .. 100;
my $svc = 'alpn=h2,h3 port=53 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1';
my $name = 'b\.c\032d\065.Example';

# Lines of "TYPE rdata"; a line that begins with white space goes on with the last.
my $records = <<"";
A 192.0.2.1
A 0.0.0.0
A 255.255.255.255
A \\# 4 c0000201
A \\# 4 C000 02 01
AAAA 2001:db8::1
AAAA ::
AAAA ::ffff:192.0.2.1
AAAA FFFF:ffff:ffff:ffff:ffff:ffff:ffff:ffff
NS a.example.
MD md
MF mf.example.
CNAME $longest
CNAME $name
CNAME \@
CNAME .
CNAME \\000\\255.\\\@x\\"y\\;z\\(.
MB mb
MG mg
MR mr
NULL \\# 3 010203
NULL \\# 0
WKS 192.0.2.1 TCP 25
WKS 192.0.2.1 tcp 0 65535 1
WKS 192.0.2.1 UDP domain ntp
WKS 192.0.2.1 17
WKS 10.0.0.1 6 ( ftp telnet
	smtp time domain )
WKS 10.0.0.1 tcp smtp http https pop3 nntp sunrpc finger
WKS 10.0.0.1 255 7
PTR host\\.dot.Example.
HINFO "PC Intel" Linux
HINFO "" ""
HINFO a\\"b c\\;d
HINFO $string x
MINFO r e
MINFO . Other.example.
MX 0 .
MX 10 mail
MX 65535 Mail.Example.ORG.
TXT a
TXT "" "" ""
TXT "a b" c\\032d "q\\"uote" "semi;colon" \\255 \\000
TXT ( "multi" ; a comment
	line
	"text" )
TXT $string
TXT $many
TXT \\# 3 026869
TXT "\\\\# 3"
RP mbox Txt.example.
RP . .
AFSDB 1 AFS
X25 311061700956
X25 "3110"
ISDN 150862028003217
ISDN "150862028003217" 004
ISDN "" ""
RT 10 Relay
NSAP 0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00
NSAP 0x47000580005A0000000001E133FFFFFF00016100
NSAP 0xAb
NSAP-PTR Foo.bar.
SIG NXT 1 3 3600 19960102030405 19951211100908 21435 Foo.tld. $key
SIG A 5 1 4294967295 4294967295 0 65535 . AQ==
KEY 512 3 3 AQIDBA==
KEY 49152 3 3
KEY NOKEY NONE 5
KEY USER|ZONE DNSSEC RSASHA1 AQID
KEY HOST|SIG15 IPSEC DSA AQ ID BA ==
KEY NOCONF|HOST 3 3 AQID
KEY NOAUTH|EXTEND|FLAG2|FLAG4|FLAG5|FLAG8|FLAG9|FLAG10|FLAG11|NTYP3|SIG1 ALL 255 AQID
KEY NOCONF|USER|SIG0 TLS 1 AQID
KEY ZONE|KSK EMAIL DH AQID
KEY \\# 4 c0000303
PX 50 Ab.fr. PRMD-ab.ADMD-ac.C-fr.
PX 0 a b
GPOS -32.6882 116.8652 10.0
GPOS "-32.6882" "116.8652" "10.0"
LOC 42 21 54.123 N 71 06 18 W -24m 30m
LOC 52 N 4 E 0
LOC 90 S 180 W 42849672.95 90000000.00m 0.00m 1234.56m
LOC 1 2 N 3 4 5.5 E 10.5m 1 2 3
LOC ( 42 21 28.764 N
	71 00 51.617 W -100000.00m )
NXT Medium.foo.tld. A MX SIG NXT
NXT a TYPE127
NXT a. A TYPE1 MX
NXT a.
EID 813F 4B7C DAB3 4217
EID 00
NIMLOC ( 3227 45
	0A 01 00 34 )
SRV 0 5 5060 Sip
SRV 65535 0 0 .
ATMA 39.246f.00.0e7c9c.0312.0001.0001.000012345678.00
ATMA 39246F000E7C9C031200010001000012345678FF
ATMA +1.908.555.1212
ATMA +61200000000
NAPTR 100 50 "s" "z3950+I2L+I2C" "" _z3950._tcp.Gatech.edu.
NAPTR 0 65535 "" "" "!^.*\$!sip:x\@example.com!" .
NAPTR 1 1 u E2U+sip "!^(\\\\d+)\$!a\\\\1!" .
KX 10 Kx
CERT PKIX 65535 RSASHA256 Zm9vYmFy
CERT PGP 65534 DSA AQID
CERT 4 1 8 AQIDBA==
CERT SPKI 1 RSAMD5 AQID
CERT IPKIX 1 RSASHA1 AQID
CERT ISPKI 1 DSA AQID
CERT IPGP 1 DH AQID
CERT ACPKIX 1 ECDSAP256SHA256 AQID
CERT IACPKIX 1 ECDSAP384SHA384 AQID
CERT URI 0 0 AQID
CERT OID 0 PRIVATEOID AQID
A6 0 2345:00C1:CA11:0001:1234:5678:9ABC:DEF1
A6 64 0:0:0:0:1234:5678:9abc:def1 Subnet-1.ip6.example.
A6 128 Net.example.
A6 61 ::6:1234:5678:9abc:def1 x
A6 60 ffff::ffff x
A6 127 ::1 x
A6 1 7fff:: x
DNAME Other.example.org.
SINK 1 2 3 AQID
SINK 255 0 255
APL 1:192.168.32.0/21 !1:192.168.38.0/28 2:FF00:0:0::/8 1:0.0.0.0/0
APL
APL 2:2001:db8::/128
DS 60485 5 1 ( 2BB183AF5F22588179A53B0A
	98631FAD1A292118 )
DS 1 RSASHA256 2 $sha256
DS 65535 ED448 4 $sha384
DS 1 13 3 $sha256
DS 1 8 SHA-256 $sha256
DS 1 8 SHA-1 $sha1
DS 1 8 200 00
SSHFP 2 1 $sha1
SSHFP 4 2 $sha256
IPSECKEY 10 1 2 192.0.2.38 $key
IPSECKEY 10 0 2 . $key
IPSECKEY 10 3 2 MyGateway.example.com. $key
IPSECKEY 10 2 2 2001:0DB8:0:8002::2000:1 $key
RRSIG A 8 2 3600 20300101000000 20200101000000 12345 Example. AQIDBAUGBwg=
RRSIG NSEC3 RSASHA512 2 1 4294967295 0 1 \@ AA ==
RRSIG TYPE65534 ED25519 0 0 19700101000000 21060207062815 65535 . AAAA
RRSIG WKS ECDSAP384SHA384 0 0 20240229235959 20240229235959 1 . AAAA
NSEC A.example. A NS TYPE1234 CAA TYPE65534
NSEC a. A
NSEC . WKS X25 ISDN RT NSAP NSAP-PTR SIG KEY PX GPOS NXT EID NIMLOC ATMA KX A6 DNAME SINK
NSEC . HIP NINFO RKEY TALINK CDS CDNSKEY CSYNC NID L32 L64 LP EUI48 EUI64
NSEC . AVC DOA AMTRELAY TA DLV
NSEC . DSYNC RESINFO WALLET
NSEC . UINFO UID GID UNSPEC
NSEC . HHIT BRID
NSEC . CLA IPN
NSEC . NXNAME
DNSKEY 257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==
DNSKEY 256 3 RSASHA256 ( AwEA
	AaZ4 )
DNSKEY 0 3 ECC-GOST AQID
DNSKEY 0 3 RSASHA1-NSEC3-SHA1 AQID
DNSKEY 0 3 NSEC3RSASHA1 AQID
DNSKEY 0 3 DSA-NSEC3-SHA1 AQID
DNSKEY 0 3 NSEC3DSA AQID
DNSKEY 0 3 ECCGOST AQID
DNSKEY 0 3 INDIRECT AQID
DNSKEY 0 3 PRIVATEDNS AQIDAA==
DNSKEY ZONE|KSK DNSSEC ED448 AQID
DHCID ( AAIBY2/AuCccgoJbsaxcQc9TUapptP69l
	OjxfNuVAA2kjEA= )
NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
NSEC3 1 0 65535 - 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S
NSEC3 1 0 0 - 2vptu5timamqttgl4luu9kg21e0aor3s WKS A6 TA
NSEC3PARAM 1 0 12 AABBccdd
NSEC3PARAM 1 0 0 -
TLSA 3 1 1 0C72AC70B745AC19998811B131D662C9AC69DBDBE7CB23E5B514B566 64C5D3D6
SMIMEA 3 0 0 AABB
HIP 2 200100107B1A74DF365639CC39F1D578 $key
HIP ( 2 200100107B1A74DF365639CC39F1D578
	$key
	Rvs1.example.com.
	rvs2 )
HIP 0 00 AA==
NINFO "a" b
NINFO $string
RKEY 0 1 8 AQID
RKEY 65535 255 255 $key
TALINK h0.Example.com. h2
TALINK . .
CDS 12345 13 2 $sha256
CDS 0 0 0 00
CDNSKEY 257 3 8 AQID
CDNSKEY 0 3 0 AA==
OPENPGPKEY AQID BAUG Bw==
CSYNC 66 3 A NS AAAA
CSYNC 4294967295 65535 TYPE65535
CSYNC 1 0
ZONEMD 2024010101 1 240 00112233445566778899aabbccdd
ZONEMD 1 1 1 $sha384
ZONEMD 1 1 2 $sha256$sha256
SVCB 0 Foo.example.com.
SVCB 1 .
SVCB 16 foo.example.com. $svc
SVCB 1 foo.example.com. key667="hello\\210qoo"
SVCB 16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1
SVCB 17 foo.example.org. alpn="f\\\\\\\\oo\\\\,bar,h2"
HTTPS 1 . alpn=h2 no-default-alpn ech="AQIDBA==" port="443" key7="/dns-query{?dns}"
HTTPS 65535 .
DSYNC CDS NOTIFY 5359 Cds-scanner.example.net.
DSYNC TYPE65535 255 65535 .
DSYNC CSYNC 1 0 x
HHIT gxJpM2Zm OCAwMDBh
BRID owAAAYIE UQEgAQA/
UNECE 16 - JPTYO "place of inspection"
UNECE 20 12500 MTQ "reservoir volume"
ISO 4217 125000 USD "declared cargo value"
SPF "v=spf1 -all"
UINFO \\# 2 0102
UID \\# 4 00000001
GID \\# 0
UNSPEC \\# 1 ff
NID 10 0014:4fff:ff20:ee64
NID 65535 0:1:A:ffFF
L32 10 10.1.2.0
L64 10 2001:0DB8:1140:1000
L64 0 0:0:0:0
LP 10 L64-subnet1.example.com.
LP 0 .
EUI48 00-00-5e-00-53-2a
EUI64 00-00-5E-ef-10-00-00-2a
URI 10 1 "ftp://ftp1.example.com/public"
URI 0 65535 "x y\\"z"
CAA 0 issue "ca.example.net; policy=ev"
CAA 128 TBS Unknown
CAA 0 issue ";"
AVC "app-name:WOLFGANG|app-class:OAM"
AVC a b
DOA 0 1 2 "" bWFpbHRvOmxhYnNAbmxuZXRsYWJzLm5s
DOA 4294967295 100000 200 example/nothing -
DOA 1 2 3 "text/plain; charset=\\"x\\"" AQ ID
AMTRELAY 10 0 0 .
AMTRELAY 10 0 1 203.0.113.15
AMTRELAY 255 1 2 2001:db8::15
AMTRELAY 128 1 3 Amtrelays.example.com.
AMTRELAY \\# 4 0a 84 0102
RESINFO qnamemin exterr=15-17 infourl=https://resolver.example.com/guide
RESINFO "a b"
WALLET BTC "bc1q x"
CLA TCP-v4-v6 TCP-v4
IPN 100
IPN 4294967295.1
IPN 0.4294967295
IPN 18446744073709551615
TA 60485 5 1 $sha1
DLV 58470 5 1 ( $sha1 )
TYPE65280 \\# 5 01 02030405
TYPE65534 \\# 0
TYPE1 \\# 4 01020304

my @records = map { s/\n[ \t]+/\n\t/gr } split /\n(?![ \t])/, $records;

# ---- what each makes of them: index => rdata in hex ---------------------------

my $dir = tempdir('encdns-rdata-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @line; # index => where the record begins

# A zone of these records, each at a name of its own.
sub zone_of {
	my ($file) = shift;
	my $text = "\$ORIGIN example.\n\$TTL 60\n@ SOA ns1.o. h.o. 1 2 3 4 5\n@ NS ns1.o.\n";
	for my $i (@_) {
		$line[$i] = 1 + ($text =~ tr/\n//);
		$text .= "r$i IN $records[$i]\n";
	}
	return Lab::spurt("$dir/$file", $text);
}

# Those of the records that a program takes; it takes or refuses a whole zone.
sub taken {
	my ($takes, @i) = @_;
	return @i if !@i || $takes->(zone_of('part', @i));
	return if @i == 1;
	my @left = splice @i, 0, @i / 2;
	return (taken($takes, @left), taken($takes, @i));
}

# Knot and NSD keep names in lower case.
my %folds = (knot => 1, nsd => 1);
sub folded { unpack 'H*', lc pack 'H*', $_[0] }

sub runs { Lab::run({ limit => 20 }, @_)->{status} == 0 }

# Our own reader: "line type hex", and what it says of the rest.
sub ours {
	my $r = Lab::run({ limit => 60 }, $reader, zone_of('all', 0 .. $#records));
	my %at = map { $line[$_] => $_ } 0 .. $#records;
	my %have;
	for (split /\n/, $r->{out}) {
		my ($line, $type, $hex) = /^(\d+) (\d+) ([0-9a-f]*)$/ or die "test_master says: $_\n";
		$have{ $at{$line} } = $hex if defined $at{$line};
	}
	return (\%have, $r->{err});
}

# BIND: -F raw is a head of 24 octets, then sets: length, class, type, covered
# type, TTL, number of records, owner, records; each after its length.
sub bind9 {
	my $takes = sub { runs($program{'named-compilezone'}, qw(-q -i none -k ignore -F raw -o), "$dir/raw", 'example', $_[0]) };
	my @i = taken($takes, 0 .. $#records);
	$takes->(zone_of('part', @i)) or die "named-compilezone\n";
	my $raw = Lab::slurp("$dir/raw");
	my %have;
	for (my $p = 24; $p < length $raw;) {
		my ($len, undef, undef, undef, undef, $n, $owner) = unpack 'N n n n N N n/a', substr $raw, $p;
		my $q = $p + 20 + length $owner;
		$p += $len;
		my ($i) = $owner =~ /^.r(\d+)\x07example\0\z/s or next;
		die "a set of $n records at r$i\n" if $n != 1;
		$have{$i} = unpack 'H*', unpack 'n/a', substr $raw, $q;
	}
	return \%have;
}

# ldns writes any type as \# when told so by its name.
sub ldns {
	my @i = taken(sub { runs($program{'ldns-read-zone'}, $_[0]) }, 0 .. $#records);
	my %types = map { /^(?!TYPE\d)(\S+)/ ? ($1 => 1) : () } @records[@i];
	my $r = Lab::run({ limit => 20 }, $program{'ldns-read-zone'}, (map { ('-u', $_) } sort keys %types), zone_of('part', @i));
	my %have;
	for (split /\n/, $r->{out}) {
		$have{$1} = lc $2 if /^r(\d+)\.example\.\s.*\\# \d+ ?([0-9a-fA-F]*)\s*$/;
	}
	return \%have;
}

# Names in the rdata of types that servers compress: octets before the first, how many.
my %names = (2 => [0, 1], 3 => [0, 1], 4 => [0, 1], 5 => [0, 1], 7 => [0, 1], 8 => [0, 1], 9 => [0, 1], 12 => [0, 1],
	14 => [0, 2], 15 => [2, 1], 17 => [0, 2], 18 => [2, 1], 21 => [2, 1], 26 => [2, 2], 33 => [6, 1], 36 => [2, 1],
	39 => [0, 1]);

# The name at $p without compression, and where it ends.
sub expand {
	my ($m, $p) = @_;
	my ($name, $end) = ('', undef);
	while ((my $n = ord substr $m, $p, 1) != 0) {
		if ($n >= 0xc0) {
			$end //= $p + 2;
			$p = unpack('n', substr $m, $p, 2) & 0x3fff;
		} else {
			$name .= substr $m, $p, $n + 1;
			$p += $n + 1;
		}
	}
	return ("$name\0", $end // $p + 1);
}

# Those of them that may be compressed (RFC 3597 section 4).
my %compressed = map { $_ => $names{$_} } 2 .. 5, 7 .. 9, 12, 14, 15;

# The rdata of the one record of a type in an answer; undef: it is no such answer.
sub only_rdata {
	my ($m, $type, $names) = @_;
	return unless defined $m && (unpack 'n6', $m)[3] == 1;
	my (undef, $p) = expand($m, 12);
	(undef, $p) = expand($m, $p + 4);
	my ($got, undef, undef, $len) = unpack 'n n N n', substr $m, $p, 10;
	return unless $got == $type;
	my $at = $p += 10;
	my $rdata = '';
	if (my $n = $names->{$type}) {
		$rdata = substr $m, $at, $n->[0];
		$at += $n->[0];
		for (1 .. $n->[1]) {
			my ($name, $next) = expand($m, $at);
			$rdata .= $name;
			$at = $next;
		}
	}
	return unpack 'H*', $rdata . substr $m, $at, $len - ($at - $p);
}

# What a server answers. What it holds but does not answer by its own name
# (delegations, NSEC3) is left out.
sub answers {
	my ($port, $types, $names, @i) = @_;
	my $said = DNS::ask_tcp('127.0.0.1', $port, [ map { DNS::query("r$_.example", $types->[$_]) } @i ]);
	my %have = map { ($i[$_] => scalar only_rdata($said->[$_], $types->[ $i[$_] ], $names)) } 0 .. $#i;
	delete @have{ grep { !defined $have{$_} } keys %have };
	return \%have;
}

# A peer's server, of what its checker takes.
sub server {
	my ($name, $takes, $types) = @_;
	my @i = taken($takes, 0 .. $#records);
	return answers(Peers::start($name, example => zone_of('part', @i)), $types, \%names, @i);
}

# ---- compared -----------------------------------------------------------------

my ($ours, $err) = ours();
is($err, '', 'we take all of them');
my @types = map { 0 } @records;
for (split /\n/, Lab::run({ limit => 60 }, $reader, "$dir/all")->{out}) {
	my ($at, $type) = split;
	my ($i) = grep { $line[$_] == $at } 0 .. $#records;
	$types[$i] = $type if defined $i;
}

# We answer what we read, whatever the type.
my $lab = Lab->new(zones => { example => "$dir/all" });
my $served = answers($lab->port, \@types, \%compressed, 0 .. $#records);
my @lost = grep { !defined $served->{$_} && $records[$_] !~ /^(NS|NSEC3|RRSIG) / } 0 .. $#records;
# A name that is compressed has the letters of the one it points to.
my @other = grep { $served->{$_} ne $ours->{$_} && !($compressed{ $types[$_] } && folded($served->{$_}) eq folded($ours->{$_})) }
	sort { $a <=> $b } keys %$served;
is(join("\n", @records[@lost]), '', 'all of them are answered');
is(join("\n", @records[@other]), '', 'as they were read, and only names of RFC 1035 compressed');

my %needs = (ldns => ['ldns-read-zone'], nsd => ['nsd-checkzone', 'nsd'], knot => ['kzonecheck', 'knotd']);
my %ask = (
	ldns => \&ldns,
	nsd => sub { server('nsd', sub { runs($program{'nsd-checkzone'}, 'example', $_[0]) }, \@types) },
	knot => sub { server('knot', sub { runs($program{kzonecheck}, qw(-o example -d off), $_[0]) }, \@types) });
my %peers = (bind => bind9());
for my $peer (sort keys %ask) {
	my ($missing) = grep { !$program{$_} } @{ $needs{$peer} };
	SKIP: {
		skip "needs package $package{$missing}", 1 if $missing;
		$peers{$peer} = $ask{$peer}->();
		cmp_ok(scalar keys %{ $peers{$peer} }, '>', 80, "$peer takes " . keys(%{ $peers{$peer} }) . ' of ' . @records);
	}
}

# Where one differs, and why we are right.
my @except = (
	[ldns => qr/^WKS .*\(/, 'it ends the list of ports where the line ends'],
	[ldns => qr/^NSAP-PTR/, 'RFC 1706 section 8: a name, not a string'],
	[ldns => qr/^ATMA/, 'AF-DANS-0152.000: an octet says the format'],
	[ldns => qr/^NSEC3? /, 'a type it does not know becomes type 0'],
	[ldns => qr/^SVCB .*alpn=.*\\\\/, 'RFC 9460 appendix A.1: escapes are undone twice'],
);

cmp_ok(scalar keys %{ $peers{bind} }, '>', 150, 'BIND takes ' . keys(%{ $peers{bind} }) . ' of ' . @records);
my (%vouched, %kinds);
for my $i (0 .. $#records) {
	my $text = $records[$i] =~ s/\s+/ /gr;
	my ($type) = $text =~ /^(\S+)/;
	$kinds{$type} = 1;
	my $mine = $ours->{$i} // 'refused';
	my %same = map { my $r = $peers{$_}{$i}; defined $r ? ($_ => $r eq $mine || ($folds{$_} && folded($r) eq folded($mine))) : () }
		keys %peers;
	my @with = grep { $same{$_} } sort keys %same;
	my @against = grep { !$same{$_} } sort keys %same;
	my @left = grep { my $p = $_; !grep { $p eq $_->[0] && $text =~ $_->[1] } @except } @against;
	$vouched{$type} += @with;
	ok(!@left, substr($text, 0, 60) . ': ' . (@with ? join ', ', @with : 'nobody else knows it'))
		or diag("ours: $mine", map { "\n$_: $peers{$_}{$i}" } @left);
}
note('known to us alone here: ' . join ' ', grep { !$vouched{$_} } sort keys %kinds);
done_testing();
