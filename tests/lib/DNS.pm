package DNS;
# A DNS client for tests: queries out, many at a time; answers in, as sets of
# text lines that can be compared. Only what perl-base has.
use strict;
use warnings;
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 IPPROTO_TCP TCP_NODELAY MSG_DONTWAIT SO_RCVBUF);
use Errno qw(EAGAIN EINTR EINPROGRESS ECONNREFUSED);

my $hires = eval { require Time::HiRes; 1 };

# Seconds on a clock that only goes forward.
sub now {
	return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) if $hires;
	open my $f, '<', '/proc/uptime' or return time;
	return (split ' ', <$f>)[0];
}

sub pause { select undef, undef, undef, $_[0] }

# ---- names, types, queries --------------------------------------------------

my @type = qw(1 A 2 NS 5 CNAME 6 SOA 11 WKS 12 PTR 13 HINFO 14 MINFO 15 MX 16 TXT 17 RP 18 AFSDB 25 KEY
	28 AAAA 29 LOC 33 SRV 35 NAPTR 36 KX 37 CERT 39 DNAME 41 OPT 42 APL 43 DS 44 SSHFP 45 IPSECKEY
	46 RRSIG 47 NSEC 48 DNSKEY 49 DHCID 50 NSEC3 51 NSEC3PARAM 52 TLSA 53 SMIMEA 59 CDS 60 CDNSKEY
	61 OPENPGPKEY 62 CSYNC 63 ZONEMD 64 SVCB 65 HTTPS 99 SPF 108 EUI48 109 EUI64 250 TSIG 251 IXFR
	252 AXFR 255 ANY 256 URI 257 CAA);
my %type_name = @type;
my %type_number = reverse %type_name;
my @rcode = qw(NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE
	11 12 13 14 15 BADVERS 17 18 19 20 21 22 BADCOOKIE);

sub type_number {
	my $t = uc shift;
	return $1 if $t =~ /^(?:TYPE)?([0-9]+)$/;
	return $type_number{$t} // die "no type '$t'\n";
}
sub type_name { $type_name{ $_[0] } // "TYPE$_[0]" }

# "www.example.org." (or without the last dot, or with \. and \DDD) to wire form.
sub wire {
	my $name = shift;
	my $w = '';
	$name =~ s/\.\z// unless $name =~ /\\\.\z/;
	if (index($name, '\\') < 0) {
		$w .= chr(length) . $_ for split /\./, $name;
	} else {
		while ($name =~ /\G((?:\\[0-9]{3}|\\.|[^.\\])+)(?:\.|\z)/gcs) {
			my $l = $1;
			$l =~ s/\\([0-9]{3})|\\(.)/defined $1 ? chr $1 : $2/ges;
			$w .= chr(length $l) . $l;
		}
	}
	return "$w\0";
}

# A label as text, in lower case.
sub label {
	my $l = lc shift;
	$l =~ s/([^a-z0-9_*-])/index('."();@$\\', $1) >= 0 ? "\\$1" : sprintf '\\%03d', ord $1/ge
		if $l =~ /[^a-z0-9_*-]/;
	return $l;
}

# A query with id 0. Options: edns (size; 0 for none), do, rd, cd, class, opcode,
# cookie (octets), options ([code, octets]...); arcount: its OPT comes behind.
sub query {
	my ($name, $type, %o) = @_;
	my @options = (@{ $o{options} // [] }, defined $o{cookie} ? [10, $o{cookie}] : ());
	my $size = $o{edns} // ($o{do} || @options ? 1232 : 0);
	my $flags = ($o{opcode} // 0) << 11 | ($o{rd} ? 0x100 : 0) | ($o{cd} ? 0x10 : 0);
	return pack('n6', 0, $flags, 1, 0, 0, $o{arcount} // ($size ? 1 : 0)) . wire($name) .
		pack('nn', type_number($type), $o{class} // 1) .
		($size ? opt($size, $o{do}, @options) : '');
}

sub opt {
	my ($size, $do, @options) = @_;
	return pack 'CnnN n/a*', 0, 41, $size, $do ? 0x8000 : 0, join '', map { pack 'n n/a*', @$_ } @options;
}

# ---- answers ----------------------------------------------------------------

# Names within rdata: octets before the first, how many.
my %names = (2 => [0, 1], 5 => [0, 1], 6 => [0, 2], 12 => [0, 1], 14 => [0, 2], 15 => [2, 1], 17 => [0, 2],
	18 => [2, 1], 33 => [6, 1], 36 => [2, 1], 39 => [0, 1]);

# The name at octet $p of $$m: text, and where it ends. Pointers go strictly backward.
sub name_at {
	my ($m, $p, $seen) = @_;
	my ($start, $low, $end, $text, $octets) = ($p, $p, undef, '', 1);
	my $have = $seen->{$p};
	return @$have if $have;
	my $all = length $$m;
	while (1) {
		die "name runs out of the message\n" if $p >= $all;
		my $n = ord substr $$m, $p, 1;
		if ($n == 0) {
			$end //= $p + 1;
			last;
		}
		if ($n >= 0xc0) {
			die "name runs out of the message\n" if $p + 2 > $all;
			my $to = unpack('n', substr $$m, $p, 2) & 0x3fff;
			die "compression pointer does not go backward\n" if $to >= $low;
			$end //= $p + 2;
			if (my $tail = $seen->{$to}) {
				$text .= $tail->[0] eq '.' ? '' : $tail->[0];
				last;
			}
			$p = $low = $to;
			next;
		}
		die "label of type $n\n" if $n > 63;
		die "name runs out of the message\n" if $p + 1 + $n > $all;
		die "name too long\n" if ($octets += $n + 1) > 255;
		$text .= label(substr $$m, $p + 1, $n) . '.';
		$p += $n + 1;
	}
	$text = '.' if $text eq '';
	$seen->{$start} = [$text, $end];
	return ($text, $end);
}

sub rdata_text {
	my ($m, $p, $len, $type, $seen) = @_;
	if ($type == 1 && $len == 4) {
		return join '.', unpack 'C4', substr $$m, $p, 4;
	}
	my $n = $names{$type} or return unpack 'H*', substr $$m, $p, $len;
	my ($skip, $count) = @$n;
	my $end = $p + $len;
	my $t = $skip ? join(' ', unpack 'n*', substr $$m, $p, $skip) . ' ' : '';
	$p += $skip;
	for (1 .. $count) {
		(my $name, $p) = name_at($m, $p, $seen);
		$t .= "$name ";
	}
	die "rdata runs over its length\n" if $p > $end;
	$t .= $type == 6 ? join ' ', unpack 'N*', substr $$m, $p, $end - $p : unpack 'H*', substr $$m, $p, $end - $p;
	return $t;
}

# A whole message: { id, qr, opcode, aa, tc, rd, ra, ad, cd, rcode, question,
# answer, authority, additional (sorted lists of "owner ttl class type rdata"),
# opt (undef or { size, version, do, options => { code => octets } }) }.
# Dies when it is malformed.
sub decode {
	my $m = \$_[0];
	die "shorter than a header\n" if length $$m < 12;
	my ($id, $flags, @count) = unpack 'n6', $$m;
	my $p = 12;
	my %seen;
	my %r = (id => $id, qr => $flags >> 15, opcode => $flags >> 11 & 15, aa => $flags >> 10 & 1,
		tc => $flags >> 9 & 1, rd => $flags >> 8 & 1, ra => $flags >> 7 & 1, z => $flags >> 6 & 1,
		ad => $flags >> 5 & 1, cd => $flags >> 4 & 1, question => '', opt => undef);
	my $rcode = $flags & 15;
	for (1 .. $count[0]) {
		(my $name, $p) = name_at($m, $p, \%seen);
		die "question runs out of the message\n" if $p + 4 > length $$m;
		my ($type, $class) = unpack 'nn', substr $$m, $p, 4;
		$r{question} .= "$name " . ($class == 1 ? 'IN' : "CLASS$class") . ' ' . type_name($type);
		$p += 4;
	}
	for my $s (1 .. 3) {
		my @rr;
		for (1 .. $count[$s]) {
			my $have = $seen{$p};
			(my $name, $p) = $have ? @$have : name_at($m, $p, \%seen);
			die "record runs out of the message\n" if $p + 10 > length $$m;
			my ($type, $class, $ttl, $len) = unpack 'nnNn', substr $$m, $p, 10;
			$p += 10;
			die "rdata runs out of the message\n" if $p + $len > length $$m;
			if ($type == 41) {
				die "OPT out of place\n" if $s != 3 || $r{opt} || $name ne '.';
				$rcode |= $ttl >> 24 << 4;
				my %opt;
				my $d = substr $$m, $p, $len;
				while (length $d) {
					my ($code, $l) = length $d >= 4 ? unpack 'nn', $d : (0, 0xffff);
					die "EDNS option runs out of its record\n" if $l + 4 > length $d;
					$opt{$code} = substr $d, 4, $l;
					substr $d, 0, 4 + $l, '';
				}
				$r{opt} = { size => $class, version => $ttl >> 16 & 255, do => $ttl >> 15 & 1, options => \%opt };
			} else {
				push @rr, "$name $ttl " . ($class == 1 ? 'IN' : "CLASS$class") . ' ' .
					($type_name{$type} // "TYPE$type") . ' ' . rdata_text($m, $p, $len, $type, \%seen);
			}
			$p += $len;
		}
		$r{ (qw(question answer authority additional))[$s] } = [ sort @rr ];
	}
	die "octets after the message\n" if $p != length $$m;
	$r{rcode} = $rcode[$rcode] // $rcode;
	return \%r;
}

# The serial in the answer to an SOA query: undef unless it is authoritative,
# NOERROR, and has one.
sub soa_serial {
	return unless length $_[0] >= 12 && (unpack 'n', substr $_[0], 2, 2)[0] >> 10 & 1;
	my $r = eval { decode($_[0]) } or return;
	return unless $r->{rcode} eq 'NOERROR' && @{ $r->{answer} };
	for (@{ $r->{answer} }) {
		return $1 if /^\S+ \d+ IN SOA \S+ \S+ (\d+)/;
	}
	return;
}

# RFC 1982: is serial a at b or past it?
sub serial_reached { (($_[0] - $_[1]) & 0xffffffff) < 0x80000000 }

# A message as one text, for comparing and for people.
sub text {
	my $r = ref $_[0] ? $_[0] : decode($_[0]);
	my $t = $r->{rcode} . join('', map { $r->{$_} ? " $_" : () } qw(aa tc rd ra z ad cd)) . "\n";
	$t .= "edns $r->{opt}{version}" . ($r->{opt}{do} ? ' do' : '') . "\n" if $r->{opt};
	$t .= "? $r->{question}\n";
	for my $s (qw(answer authority additional)) {
		$t .= "$s\n" . join '', map { "  $_\n" } @{ $r->{$s} } if @{ $r->{$s} };
	}
	return $t;
}

# ---- asking -----------------------------------------------------------------

sub sockaddr {
	my ($host, $port) = @_;
	my $six = index($host, ':') >= 0;
	my $ip = inet_pton($six ? AF_INET6 : AF_INET, $host) // die "not an address: $host\n";
	return $six ? (AF_INET6, pack_sockaddr_in6($port, $ip)) : (AF_INET, pack_sockaddr_in($port, $ip));
}

sub udp_socket {
	my ($family, $to) = sockaddr(@_);
	socket my $s, $family, SOCK_DGRAM, 0 or die "socket: $!\n";
	setsockopt $s, SOL_SOCKET, SO_RCVBUF, pack 'i', 4 << 20;
	connect $s, $to or die "connect: $!\n";
	return $s;
}

sub readable {
	my ($s, $wait) = @_;
	vec(my $r = '', fileno $s, 1) = 1;
	return select($r, undef, undef, $wait) > 0;
}

# Replies to a list of queries (see query()), undef where none came. At most
# `window` are open at a time; each is sent again `tries` times in all. quiet: the
# seconds without any reply after which the server is given up.
sub ask_udp {
	my ($host, $port, $queries, %o) = @_;
	my ($window, $wait, $tries) = ($o{window} // 64, $o{wait} // 0.4, $o{tries} // 5);
	die "too many queries at once\n" if @$queries > 65536;
	my $s = udp_socket($host, $port);
	my (@reply, @sent, @open);
	my ($next, $in_flight, $last) = (0, 0, now());
	while ($next < @$queries || $in_flight) {
		last if $o{quiet} && now() - $last > $o{quiet};
		while ($in_flight < $window && $next < @$queries) {
			my $q = $queries->[$next];
			substr $q, 0, 2, pack 'n', $next;
			send $s, $q, 0;
			$sent[$next] = 1;
			push @open, [now(), $next++];
			$in_flight++;
		}
		if (readable($s, 0.05)) {
			my $m;
			while (defined recv $s, $m, 65535, MSG_DONTWAIT) {
				last if !defined $m || $m eq '';
				next if length $m < 12;
				my ($id, $flags) = unpack 'nn', $m;
				next if !($flags & 0x8000) || !$sent[$id] || defined $reply[$id];
				$reply[$id] = $m;
				$in_flight--;
				$last = now();
				last if $in_flight < $window / 2;
			}
		}
		my $t = now();
		while (@open && (defined $reply[ $open[0][1] ] || $open[0][0] + $wait < $t)) {
			my $i = (shift @open)->[1];
			next if defined $reply[$i];
			if ($sent[$i]++ >= $tries) {
				$sent[$i] = 0;
				$in_flight--;
				next;
			}
			my $q = $queries->[$i];
			substr $q, 0, 2, pack 'n', $i;
			send $s, $q, 0;
			push @open, [$t, $i];
		}
	}
	$#reply = $#$queries if @$queries;
	return \@reply;
}

sub tcp_socket {
	my ($family, $to) = sockaddr(@_);
	socket my $s, $family, SOCK_STREAM, 0 or die "socket: $!\n";
	connect $s, $to or die "connect: $!\n";
	setsockopt $s, IPPROTO_TCP, TCP_NODELAY, pack 'i', 1;
	$s->blocking(0);
	return $s;
}

# The same over TCP: `window` queries in the pipe, a new connection when the
# server closes one.
sub ask_tcp {
	my ($host, $port, $queries, %o) = @_;
	my ($window, $wait) = ($o{window} // 32, $o{wait} // 5);
	die "too many queries at once\n" if @$queries > 65536;
	require IO::Handle;
	my (@reply, $s, $in, $out, %open);
	my ($next, $idle, $barren) = (0, now(), 0);
	while ($next < @$queries || %open) {
		if (!$s) {
			last if $barren++ > 3;
			$s = eval { tcp_socket($host, $port) } or do { pause(0.05); next };
			($in, $out) = ('', '');
			for my $i (sort { $a <=> $b } keys %open) {
				my $q = $queries->[$i];
				$out .= pack('nn', length $q, $i) . substr $q, 2;
			}
			$idle = now();
		}
		while (keys %open < $window && $next < @$queries) {
			my $q = $queries->[$next];
			$out .= pack('nn', length $q, $next) . substr $q, 2;
			$open{ $next++ } = 1;
		}
		vec(my $r = '', fileno $s, 1) = 1;
		my $w = length $out ? $r : undef;
		select $r, $w, undef, 0.2;
		if (defined $w && vec $w, fileno $s, 1) {
			my $n = syswrite $s, $out;
			substr $out, 0, $n, '' if $n;
			undef $s, next if !defined $n && !$!{EAGAIN} && !$!{EINTR};
		}
		if (vec $r, fileno $s, 1) {
			my $n = sysread $s, $in, 65536, length $in;
			undef $s, next if defined $n ? !$n : !$!{EAGAIN} && !$!{EINTR};
			while (length $in >= 2 && length $in >= 2 + unpack 'n', $in) {
				my $len = unpack 'n', $in;
				my $m = substr $in, 2, $len;
				substr $in, 0, 2 + $len, '';
				my $id = length $m >= 12 ? unpack('n', $m) : -1;
				next unless delete $open{$id};
				$reply[$id] = $m;
				$barren = 0;
				$idle = now();
			}
		}
		undef $s if now() - $idle > $wait;
	}
	$#reply = $#$queries if @$queries;
	return \@reply;
}

# One question: the decoded answer, or undef. Options as query(), and tcp.
sub ask {
	my ($host, $port, $name, $type, %o) = @_;
	my $q = [ query($name, $type, %o) ];
	my $r = $o{tcp} ? ask_tcp($host, $port, $q, %o) : ask_udp($host, $port, $q, %o);
	return defined $r->[0] ? decode($r->[0]) : undef;
}

1;
