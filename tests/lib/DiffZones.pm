package DiffZones;
# Zones for the differential test: what Signed has, the rest of what a zone can
# hold, and a tree of random names. The same seed gives the same zones (but for
# keys and signatures). Each main zone has child zones that are served beside it.
use strict;
use warnings;
use Lab;
use Signed;

# Main zone => arguments of dnssec-signzone; undef: unsigned.
our %how = (
	'plain.diff.' => undef,
	'nsec.diff.' => [],
	'nsec3.diff.' => ['-3', 'a1b2c3', '-H', '3'],
	'optout.diff.' => ['-3', '-', '-H', '0', '-A'],
);
# Child zones, below each of them. in.unsigned lies below an unsigned delegation, so that
# the parent knows nothing of it; deep has empty non-terminals above.
our @children = qw(kid ukid x.y.deep in.unsigned);

# A name of exactly so many octets below an origin, its labels full.
sub longest {
	my ($origin, $octets) = @_;
	my $left = $octets - length DNS::wire($origin);
	my @l;
	while ($left > 0) {
		my $n = $left > 64 ? ($left - 64 == 1 ? 63 : 64) : $left;
		push @l, chr(97 + @l) x ($n - 1);
		$left -= $n;
	}
	return join('.', @l) . ".$origin";
}

# What Signed's zones don't have.
sub features {
	my ($origin) = @_;
	# dnssec-signzone wants room for "*." when it makes NSEC3
	my $long = longest($origin, $origin =~ /^(nsec3|optout)/ ? 253 : 255);
	my $text = <<"";
; data below cuts and at them, delegations below delegations
below.unsigned NS ns.below.unsigned
ns.below.unsigned A 192.0.2.70
ns.below.unsigned AAAA 2001:db8::70
x.below.unsigned TXT "occluded"
unsigned TXT "at a cut"
mx.unsigned MX 10 ns.unsigned
selfns NS selfns
selfns A 192.0.2.72
selfns AAAA 2001:db8::72
wildns NS any.wild
twons NS ns.twons
twons NS ns2.twons
ns.twons A 192.0.2.73
ns2.twons AAAA 2001:db8::73
sibbelow NS ns.below.unsigned
sibbelow NS ns.sibbelow
ns.sibbelow A 192.0.2.74
lacking NS ns.lacking
half NS ns1.half
half NS ns2.half
ns1.half A 192.0.2.75
UPCUT NS NS.UpCut
Ns.upcuT A 192.0.2.76
cnamens NS www
wildglue NS a.wildglue
*.wildglue A 192.0.2.94
occluded HTTPS 1 x.unsigned
x.unsigned HTTPS 1 .
x.unsigned A 192.0.2.95
zero A 192.0.2.96
zer\\000o A 192.0.2.97
; zones served beside this one
kid NS ns.kid
kid NS ns1
ns.kid A 192.0.2.77
ns.kid AAAA 2001:db8::77
ukid NS ns.ukid
ns.ukid A 192.0.2.78
x.y.deep NS ns.x.y.deep
ns.x.y.deep A 192.0.2.79
ckid CNAME www.kid
ckidnx CNAME nothing.kid
cukid CNAME www.ukid
ckidapex CNAME kid
; wildcards
*.wmx MX 10 any.wmx2
*.wmx MX 20 mail
*.wmx2 A 192.0.2.80
*.wsvc SVCB 1 any.wmx2 port=1
*.wsvc HTTPS 1 . alpn=h2
*.wsvc A 192.0.2.81
*.wsrv SRV 0 0 1 sip
*.wsrv SRV 0 0 2 any.wild
*.wcw CNAME any.wild
*.wcwc CNAME x.wcwc2
*.wcwc2 CNAME y.cwild
*.wloop CNAME *.wloop
*.wself CNAME self.wself
*.a.wnest A 192.0.2.82
*.wnest TXT "outer"
b.a.wnest TXT "beside"
c.b.a.wnest TXT "deeper"
*.e1.e2.went A 192.0.2.83
*.went TXT "above empty ones"
a.*.mid TXT "mid"
b.*.mid A 192.0.2.84
*.b.*.mid TXT "below mid"
*.*.nest A 192.0.2.85
*.nest TXT "nest"
y.*.nest TXT "y"
*.wbig TXT "${\ ('w' x 250)}"
*.wbig TXT "${\ ('v' x 250)}"
*.wbig TXT "${\ ('u' x 250)}"
*.WCase TXT "Case"
; wildcards above cuts and beside them
*.wcut TXT "w"
d.wcut NS ns.d.wcut
ns.d.wcut A 192.0.2.86
; chains
long1 CNAME long2
${\ join '', map { "long$_ CNAME long" . ($_ + 1) . "\n" } 2 .. 14}long15 A 192.0.2.87
vlong1 CNAME vlong2
${\ join '', map { "vlong$_ CNAME vlong" . ($_ + 1) . "\n" } 2 .. 24}vlong25 A 192.0.2.88
cself CNAME CSELF
cwnx CNAME x.y.exact.wild
centw CNAME e1.e2.went
ctxt CNAME texts
cbig CNAME huge
capex CNAME \@
ccds CNAME signed
cocc CNAME x.below.unsigned
lp1 CNAME lp2
lp2 CNAME lp3
lp3 CNAME lp1
lp4 CNAME lp1
; DNAMEs
dd1 DNAME dd2
dd2 DNAME dd3
dd3 DNAME target
dl1 DNAME dl2
dl2 DNAME dl1
dself DNAME dself
grow DNAME more.grow
dnwild DNAME wild
dcwild DNAME cwild
dcut DNAME unsigned
dkid DNAME kid
droot DNAME .
dwmx DNAME wmx
dmx MX 10 host.dname
dmx MX 20 www
dmx MX 30 x.dnwild
cdd CNAME host.dd1
cdwild CNAME q.dnwild
; additional data
mxall MX 1 mail
mxall MX 2 ns.signed
mxall MX 3 any.wild
mxall MX 4 nothing
mxall MX 5 www
mxall MX 6 mail.outside.invalid.
mxall MX 7 MAIL
mx0 MX 0 .
srv0 SRV 0 0 0 .
srvall SRV 0 0 1 mail
srvall SRV 0 0 1 exact.wild
srvall SRV 0 0 1 ns.unsigned
svcall SVCB 1 svchost alpn=h2
svcall SVCB 2 svc port=1
svcall SVCB 3 any.wsvc port=2
svcall SVCB 4 nothing port=3
svcall SVCB 5 sib.outside.invalid. port=4
svcalias SVCB 0 svcself
svcself SVCB 1 . port=5
svcself A 192.0.2.89
svcself HTTPS 1 . port=6
svcself AAAA 2001:db8::89
svcw HTTPS 1 any.wsvc
svckid HTTPS 1 www.kid
naptrall NAPTR 10 1 "S" "SIP+D2U" "" _sip._tcp
naptrall NAPTR 20 1 "A" "SIP+D2U" "" sip
naptrall NAPTR 30 1 "U" "E2U" "!x!y!" .
kxall KX 10 mail
afsdb AFSDB 1 mail
rt RT 10 mail
px PX 10 mail www
rp RP admin.mail texts
minfo MINFO mail www
mball MB mail
mgall MG mail
mrall MR mail
; rare and unknown types
hinfo HINFO "cpu" "os"
null TYPE10 \\# 5 0001020304
x25 TYPE19 \\# 5 0433313137
apl APL 1:192.0.2.0/24 !2:2001:db8::/32
sshfp SSHFP 4 2 ${\ ('ab' x 32)}
ipseckey IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
cert CERT 1 2 3 AQNRU3mG7TVTO2BkR47usntb
dhcid DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=
smimea SMIMEA 3 1 1 ${\ ('cd' x 32)}
cds CDS 1 13 2 ${\ ('ef' x 32)}
openpgpkey OPENPGPKEY AQNRU3mG7TVTO2BkR47usntb
csync CSYNC 1 3 A NS
eui EUI48 00-00-5e-00-53-2a
eui EUI64 00-00-5e-ef-10-00-00-2a
uri URI 10 1 "ftp://ftp.example.com/public"
spf SPF "v=spf1 -all"
unk TYPE731 \\# 6 abcdef012345
unk TYPE65534 \\# 0
unk TYPE65000 \\# 300 ${\ ('5a' x 300)}
; labels
\\000 A 192.0.2.90
\\001\\002\\255 TXT "binary"
a\\.b\\.c TXT "dots"
\\@ TXT "at"
\\"q\\" TXT "quotes"
\\255\\254.\\128 TXT "high"
\\*.lit TXT "an asterisk all the same"
x\\*y TXT "asterisk inside"
MiXeD.CaSe A 192.0.2.91
mixed.case TXT "mixed"
CASEMX MX 10 MAIL.CaseMX
mail.casemx A 192.0.2.92
$long TXT "longest"
${\ ('m' x 63)} A 192.0.2.93
${\ join '.', ('n') x 60} TXT "many labels"

	# sets around the sizes of messages
	for my $size (470, 500, 512, 1180, 1220, 1232, 1300, 4000, 4080, 4200, 9000) {
		my $left = $size - 60;
		my $k = 0;
		while ($left > 13) {
			my $n = $left - 13 > 240 ? 240 : $left - 13;
			$text .= sprintf "s$size TXT \"%03d%s\"\n", $k++, 's' x ($n > 3 ? $n - 3 : 0);
			$left -= $n + 13;
		}
	}
	$text .= join '', map { "a40 A 198.51.100.$_\n" } 1 .. 40;
	$text .= join '', map { sprintf "aaaa150 AAAA 2001:db8:2::%x\n", $_ } 1 .. 150;
	$text .= join '', map { "ptr60 PTR host$_.sub.ptr60\n" } 1 .. 60;
	$text .= join '', map { "mx30 MX $_ host$_.mx30\nhost$_.mx30 A 198.51.100.$_\nhost$_.mx30 AAAA 2001:db8:3::$_\n" } 1 .. 30;
	$text .= join '', map { "mx200 MX $_ host$_.mx200\n" } 1 .. 200;
	$text .= join '', map { "srv20 SRV 0 0 $_ host$_.mx30\n" } 1 .. 20;
	for my $n (3, 6, 9, 13, 20, 40) { # referrals of many sizes
		$text .= "ref$n NS " . ($_ % 4 ? "n$_.ref$n" : $_ % 8 ? "n$_.ref6" : "host$_.mx30") . "\nn$_.ref$n A 203.0.113.$_\n" .
			($_ % 3 ? "n$_.ref$n AAAA 2001:db8:4::$_\n" : '') for 1 .. $n;
		$text .= "ref$n DS $_ 13 2 $Signed::ds\n" for 1 .. $n % 3;
	}
	return $text;
}

# What the BIND tools refuse to sign: only in the unsigned zone.
my $unsigned_only = <<"";
*.wns NS ns1
*.wns2 NS ns.outside.invalid.
x.wns2 TXT "x"
*.wdname DNAME target
in.*.wns3 NS ns1

my $kid = <<"";
\@ SOA ns hostmaster 7 7200 900 1209600 60
\@ NS ns
\@ NS ns.outside.invalid.
\@ MX 10 www
ns A 192.0.2.100
ns AAAA 2001:db8::100
www A 192.0.2.101
*.w A 192.0.2.102
up CNAME mail.UP
upmx MX 10 mail.UP
cut NS ns.cut
ns.cut A 192.0.2.103
dn DNAME target.UP
a.b.c TXT "deep"

sub pick { $_[ int rand @_ ] }

# A label of a small alphabet, so that names share parents and collide.
sub random_label {
	my $r = rand;
	return '*' if $r < 0.12;
	return pick('A', 'Www', 'xX', '\\000', '\\.', '\\200\\201', '-', '_1', 'c' x 63) if $r < 0.24;
	return pick('a' .. 'f');
}

sub random_name { join '.', map { random_label() } 1 .. pick(1, 1, 2, 2, 3, 3, 4, 5, 6) }

my %data = (
	A => sub { '192.0.2.' . int rand 256 },
	AAAA => sub { '2001:db8::' . sprintf '%x', int rand 65536 },
	TXT => sub { '"' . ('t' x int rand pick(5, 200)) . int(rand 9) . '"' },
	MX => sub { int(rand 9) . ' ' . $_[0]->() },
	SRV => sub { '0 0 ' . int(rand 9) . ' ' . $_[0]->() },
	PTR => sub { $_[0]->() },
	HTTPS => sub { int(rand 3) . ' ' . $_[0]->() },
	NAPTR => sub { '1 ' . int(rand 9) . ' "S" "" "" ' . $_[0]->() },
	TYPE65281 => sub { sprintf '\\# 4 %08x', rand 2 ** 32 },
);
my $ds_data = sub { int(rand 60000) . " 13 2 $Signed::ds" };

# A tree of random names below "t", each a node of a random kind.
sub tree {
	my %node;
	$node{ lc random_name() } //= 1 while keys %node < 350;
	my @names = map { "$_.t" } sort keys %node;
	my %parent; # a name with others below it
	for my $n (@names) {
		my $up = $n;
		$parent{$up}++ while $up =~ s/^(?:\\\d\d\d|\\.|[^.\\])+\.//;
	}
	my $target = sub {
		my $r = rand;
		return pick(@names) if $r < 0.6;
		return random_label() . '.' . pick(@names) if $r < 0.8;
		return pick('mail', 'ns1', 'any.wild', 'www.kid', 'ns.unsigned', 'x.outside.invalid.', 'www', 'nothing.t');
	};
	my $text = '';
	for my $n (@names) {
		my $r = rand;
		my $wild = $n =~ /^\*\./;
		my @rr;
		if ($r < 0.12) {
			@rr = 'CNAME ' . $target->();
		} elsif ($r < 0.17 && !$wild) {
			@rr = map { 'NS ' . (rand > 0.5 ? pick(qw(ns n2 na)) . ".$n" : $target->()) } 1 .. pick(1, 2, 3);
			push @rr, 'DS ' . $ds_data->() if rand > 0.5;
			push @rr, 'A 192.0.2.1' if rand > 0.8;
			$text .= "ns.$n A 192.0.2.200\n" if rand > 0.3;
			$text .= "na.$n AAAA 2001:db8::200\n" if rand > 0.3;
		} elsif ($r < 0.22 && !$wild && !$parent{$n}) {
			@rr = 'DNAME ' . $target->();
			push @rr, 'TXT "with a DNAME"' if rand > 0.5;
		} else {
			for my $type (map { pick(sort keys %data) } 1 .. pick(1, 1, 2, 3)) {
				push @rr, map { "$type " . $data{$type}->($target) } 1 .. pick(1, 1, 1, 2, 4);
			}
		}
		my %seen;
		my %ttl;
		for (@rr) {
			my ($type) = /^(\S+)/;
			$ttl{$type} //= pick(0, 60, 300, 3600, 86400, 604800);
			# mixed case now and then
			my $owner = rand > 0.9 && $n !~ /\\/ ? ucfirst $n : $n;
			$text .= "$owner $ttl{$type} $_\n" unless $seen{ lc $_ }++;
		}
	}
	return $text;
}

# zones(dir, seed): { origin => file }; undef when BIND's tools are not there.
sub zones {
	my ($dir, $seed) = @_;
	srand $seed;
	my %file;
	for my $origin (sort keys %how) {
		my $ds = '';
		for my $child (@children) {
			my $o = "$child.$origin";
			my $how = $child eq 'ukid' || $child eq 'in.unsigned' ? undef : $how{$origin};
			my $text = "\$ORIGIN $o\n\$TTL 1800\n" . $kid =~ s/\bUP$/$origin/gmr;
			$file{$o} = Signed::sign($dir, $o, Lab::spurt("$dir/$o", $text), $how) // return;
			$ds .= Lab::slurp("$dir/dsset-$o") if $how;
		}
		my $text = "\$ORIGIN $origin\n$Signed::body\n" . features($origin) . ($how{$origin} ? '' : $unsigned_only) . tree() . $ds;
		my $path = Lab::spurt("$dir/$origin", $text);
		# BIND's tools refuse what the unsigned zone has
		$path = Signed::sign($dir, $origin, $path, $how{$origin}) // return if $how{$origin};
		$file{$origin} = generic($path);
	}
	return \%file;
}

# BIND reads and writes mnemonics that the others don't know: as TYPEnnn.
sub generic {
	my ($file) = @_;
	my %type = (MB => 7, MG => 8, MR => 9, X25 => 19, RT => 21, PX => 26, NULL => 10);
	my $any = join '|', keys %type;
	my ($origin, @out) = ('');
	for (split /\n/, Lab::slurp($file)) {
		$origin = $1 if /^\$ORIGIN (\S+)/;
		if (/^(\S+(?:\s+\d+)?(?:\s+IN)?\s+)($any)\s+(.+)$/) {
			my ($head, $type) = ($1, $2);
			my $text = $3;
			my $rdata = join '', map { !/^\d+$/ ? DNS::wire(/\.$/ ? $_ : "$_.$origin") : $type eq 'X25' ? chr(length) . $_ : pack 'n', $_ }
				split ' ', $text =~ tr/"//dr;
			$_ = "${head}TYPE$type{$type} " . ($text =~ /^\\#/ ? $text : '\\# ' . length($rdata) . ' ' . unpack 'H*', $rdata);
		} elsif (/^\S*\s+\d+\s+IN\s+RRSIG\s/) {
			s/(\sRRSIG\s+)($any)\s/$1TYPE$type{$2} /;
		} elsif (/^\S*\s+\d+\s+IN\s+NSEC3?\s/) {
			s/(\s)($any)(?=\s|$)/$1TYPE$type{$2}/g;
		}
		push @out, $_;
	}
	return Lab::spurt("$file.generic", join '', map { "$_\n" } @out);
}

1;
