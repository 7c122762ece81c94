package Differ;
# The differential test's engine: random questions about known zones, answers
# brought into one form without regard to order, case and compression, and what
# the size of a message excuses.
use strict;
use warnings;
use DNS;

# ---- questions ----------------------------------------------------------------

our $identity = 'diff';

sub pick { $_[ int rand @_ ] }
sub chance { rand() < $_[0] }

sub labels { # of a wire name, each with its length in front
	my ($w) = @_;
	my @l;
	push @l, substr $w, 0, 1 + ord $w, '' while ord $w;
	return @l;
}
sub name { join('', @_) . "\0" }

# Wire name => [types] of a zone file with a record a line; names may be relative.
sub owners {
	my ($file, $origin) = @_;
	open my $f, '<', $file or die "$file: $!\n";
	my %z;
	while (my $line = <$f>) {
		my ($owner, $type) = $line =~ /^([^\s;\$]+)\s+(?:\d+\s+)?(?:IN\s+)?([A-Z][A-Z0-9-]*)\s/ or next;
		$owner = $owner eq '@' ? $origin : $owner =~ /(?<!\\)\.\z/ ? $owner : "$owner.$origin";
		$z{ lc DNS::wire($owner) }{$type} = 1;
	}
	my $apex = lc DNS::wire($origin);
	for my $n (keys %z) { # the empty non-terminals
		my @l = labels($n);
		shift @l, $z{ name(@l) } //= {} while @l && name(@l) ne $apex;
	}
	return { map { my $n = $_; ($n => [ map { DNS::type_number($_) } sort keys %{ $z{$n} } ]) } keys %z };
}

my @common = qw(1 28 2 6 16 15 5 43 12 33 35 39 64 65 48 47 50 51 59 257 13 14 17);
my @meta = (41, 249, 250, 253, 254, 251, 252);
my @odd = (0, 3, 4, 7, 8, 9, 10, 24, 30, 38, 128, 103, 731, 4711, 32769, 65281, 65534, 65535);

# A maker of questions about zones (see owners()): returns a sub that returns
# (packet, over TCP?) each time.
sub asker {
	my ($zones) = @_;
	my @all;
	my (%types, @wild, @cuts, %label);
	for my $z (map { $zones->{$_} } sort keys %$zones) {
		for my $n (sort keys %$z) {
			my $nsec3 = grep { $_ == 50 } @{ $z->{$n} };
			next if $nsec3 && !chance(0.02); # names by hash say little
			push @all, $n;
			push @{ $types{$n} }, @{ $z->{$n} };
			push @wild, $n if $n =~ /\A\x01\*/;
			push @cuts, $n if grep { $_ == 2 || $_ == 39 } @{ $z->{$n} };
			$label{$_} = 1 for labels($n);
		}
	}
	my @label = sort keys %label;
	push @label, map { chr(length) . $_ } qw(zzz 0 -- nx www * *), "\0", "\xff", '.', "a\0b";
	my $near = sub { # a label that differs in one place
		my ($l) = @_;
		my $n = ord $l;
		my $k = 1 + int rand $n;
		my $r = rand;
		return $l if $n == 0;
		if ($r < 0.3 && $n > 1) { substr $l, $k, 1, ''; substr $l, 0, 1, chr $n - 1 }
		elsif ($r < 0.6 && $n < 63) { substr $l, $k, 0, pick(qw(a - 0 *)); substr $l, 0, 1, chr $n + 1 }
		else { substr $l, $k, 1, chr((ord(substr $l, $k, 1) + pick(1, 255)) & 255) }
		return $l;
	};
	my $qname = sub {
		my $r = rand;
		my $n = pick(@all);
		return $n if $r < 0.34;
		return name(pick(@label), labels($n)) if $r < 0.42;
		return name(pick(@label), pick(@label), labels($n)) if $r < 0.46;
		my @l = labels($n);
		if ($r < 0.52) { shift @l }
		elsif ($r < 0.60) { $l[0] = $near->($l[0]) }
		elsif ($r < 0.66) { $l[0] = pick(@label) }
		elsif ($r < 0.69) { my $k = int rand @l; $l[$k] = $near->($l[$k]) }
		elsif ($r < 0.80) { # below a wildcard's parent
			@l = labels(pick(@wild));
			splice @l, 0, 1, map { pick(@label) } 1 .. pick(1, 1, 1, 2, 3);
		} elsif ($r < 0.92) { # below a cut or DNAME
			@l = ((map { pick(@label) } 1 .. pick(0, 1, 1, 2)), labels(pick(@cuts)));
		} elsif ($r < 0.95) { # each label from elsewhere
			@l = ((map { pick(@label) } 1 .. pick(1, 2, 3, 4)), @l[ ($#l > 2 ? $#l - 2 : 0) .. $#l ]);
		} elsif ($r < 0.98) { # as long as it gets
			my $left = 255 - length $n;
			while ($left > 1) {
				my $k = pick(1 .. ($left - 1 > 63 ? 63 : $left - 1));
				unshift @l, chr($k) . pick('a' .. 'z') x $k;
				$left -= $k + 1;
				last if chance(0.05);
			}
		} else { @l = (map { pick(@label) } 1 .. pick(0, 1, 2, 3)) } # nobody's
		return name(@l);
	};
	return sub {
		my $n = $qname->();
		$n = pick(@all) while length $n > 255;
		my $have = $types{$n};
		my $r = rand;
		my $type = $r < 0.45 && $have && @$have ? pick(@$have) : $r < 0.80 ? pick(@common) : $r < 0.87 ? 255 : $r < 0.90 ? 46
			: $r < 0.93 ? 43 : $r < 0.96 ? pick(@meta) : $r < 0.99 ? pick(@odd) : int rand 65536;
		$n = join '', map { chance(0.5) && ord > 63 ? uc : $_ } split //, $n if chance(0.15);
		$r = rand;
		my $class = $r < 0.975 ? 1 : $r < 0.985 ? 255 : $r < 0.99 ? 3 : pick(0, 2, 4, 254, 65535);
		my $flags = (chance(0.5) ? 0x100 : 0) | (chance(0.1) ? 0x10 : 0) | (chance(0.1) ? 0x20 : 0) |
			(chance(0.01) ? pick(0x400, 0x200, 0x80, 0x40, 0x0f) : 0);
		my $opt = '';
		if (chance(0.8)) {
			my $size = chance(0.3) ? 1232 : chance(0.2) ? 4096 : chance(0.2) ? 512 : chance(0.03) ? int rand 512 : 512 + int rand 3585;
			my $options = chance(0.1) ? pack 'nn', 3, 0 : '';
			$options .= pack 'nnn', pick(12, 65001), 2, 0 if chance(0.01);
			$opt = pack 'Cnn Nn', 0, 41, $size, chance(0.65) ? 0x8000 : 0, length $options;
			$opt .= $options;
		}
		return (pack('n6', 0, $flags, 1, 0, 0, $opt ne '' ? 1 : 0) . $n . pack('nn', $type, $class) . $opt, chance(0.06));
	};
}

# What a packet of asker()'s asks: name in wire form and lower case, type, class,
# flags, edns, do, size, nsid.
sub question {
	my ($p, $tcp) = @_;
	my ($flags, $ar) = unpack 'x2 n x6 n', $p;
	my $at = 12;
	$at += 1 + ord substr $p, $at, 1 while ord substr $p, $at, 1;
	my %q = (name => lc(substr $p, 12, $at + 1 - 12), tcp => $tcp, flags => $flags, edns => $ar, do => 0, nsid => 0, size => 512, raw => $p);
	@q{qw(type class)} = unpack 'nn', substr $p, $at + 1, 4;
	if ($ar) {
		my ($size, $ttl, $options) = unpack 'x3 n N n/a', substr $p, $at + 5;
		$q{small} = $size < 512;
		$q{size} = $size < 512 ? 512 : $size;
		$q{do} = $ttl >> 15 & 1;
		$q{nsid} = 1 if $options =~ /\A\0\x03\0\0/;
	}
	$q{limit} = $tcp ? 65535 : $q{size} > 4096 ? 4096 : $q{size};
	return \%q;
}

# ---- answers --------------------------------------------------------------------

# Names within rdata: octets in front of the first, how many, whether they may be compressed.
my %names = (2 => [0, 1, 1], 5 => [0, 1, 1], 6 => [0, 2, 1], 7 => [0, 1, 1], 8 => [0, 1, 1], 9 => [0, 1, 1], 12 => [0, 1, 1],
	14 => [0, 2, 1], 15 => [2, 1, 1], 17 => [0, 2], 18 => [2, 1], 21 => [2, 1], 26 => [2, 2], 33 => [6, 1], 36 => [2, 1],
	39 => [0, 1], 46 => [18, 1], 47 => [0, 1], 64 => [2, 1], 65 => [2, 1]);

my ($M, %S, $E); # the message, its names by offset, where the last one ended

sub name_at {
	my ($p, $depth) = @_;
	my $c = ord substr $M, $p, 1;
	if ($c >= 0xc0) {
		my $to = unpack('n', substr $M, $p, 2) & 0x3fff;
		die "pointer\n" if $to >= $p || $to < 12 || $depth > 130;
		my $n = $S{$to} // name_at($to, $depth + 1);
		$E = $p + 2;
		return $n;
	}
	die "name\n" if $p >= length $M || $c > 63 || $depth > 130;
	if ($c == 0) {
		$E = $p + 1;
		return "\0";
	}
	my $n = lc(substr $M, $p, $c + 1) . name_at($p + 1 + $c, $depth + 1);
	die "long name\n" if length $n > 255;
	return $S{$p} = $n;
}

sub rdata_at {
	my ($type, $p, $len) = @_;
	my $n = $names{$type};
	if ($type == 35) { # NAPTR: three strings in front
		my $skip = 4;
		$skip += 1 + ord substr $M, $p + $skip, 1 for 1 .. 3;
		$n = [ $skip, 1 ];
	}
	return substr $M, $p, $len if !$n;
	my ($skip, $count, $compresses) = @$n;
	my $end = $p + $len;
	my $r = substr $M, $p, $skip;
	$p += $skip;
	for (1 .. $count) {
		my $name = name_at($p, 0);
		die "compressed name in a record of type $type\n" if !$compresses && $E - $p != length $name;
		$r .= $name;
		$p = $E;
	}
	die "rdata\n" if $p > $end;
	return $r . substr $M, $p, $end - $p;
}

# A message as { flags, rcode, question, opt, extra (octets of options but NSID),
# len, 1, 2, 3 (records by section, as [owner, type, class, ttl, rdata, end of it]) }.
# Dies when it is malformed.
sub parse {
	$M = $_[0];
	%S = ();
	die "short\n" if length $M < 12;
	my ($flags, @n) = unpack 'x2 n5', $M;
	my $p = 12;
	my %r = (flags => $flags & 0xfff0, rcode => $flags & 15, question => '', opt => '', extra => 0, len => length $M);
	for (1 .. $n[0]) {
		my $name = name_at($p, 0);
		$r{question} .= $name . substr $M, $E, 4;
		$p = $E + 4;
	}
	for my $sec (1 .. 3) {
		my @rr;
		for (1 .. $n[$sec]) {
			my $owner = name_at($p, 0);
			die "record\n" if length $M < $E + 10;
			my ($type, $class, $ttl, $len) = unpack 'nnNn', substr $M, $E, 10;
			$p = $E + 10;
			die "rdata\n" if length $M < $p + $len;
			if ($type == 41) {
				die "OPT\n" if $sec != 3 || $r{opt} ne '' || $owner ne "\0";
				$r{rcode} |= $ttl >> 20 & 0xff0;
				my %o = unpack '(n n/a)*', substr $M, $p, $len;
				$r{extra} += 4 + length $o{$_} for grep { $_ != 3 } keys %o;
				$r{opt} = join ' ', "size $class", 'version ' . ($ttl >> 16 & 255), ($ttl >> 15 & 1 ? 'do' : ()),
					($ttl & 0x7fff ? 'z' : ()), (defined $o{3} ? "nsid $o{3}" : ());
			} else {
				push @rr, [ $owner, $type, $class, $ttl, rdata_at($type, $p, $len), $p + $len ];
			}
			$p += $len;
		}
		$r{$sec} = \@rr;
	}
	die "behind the end\n" if $p != length $M;
	return \%r;
}

sub key { $_[0][0] . pack('nnN', @{ $_[0] }[ 1 .. 3 ]) . $_[0][4] }

# All of a parsed message that is compared, as one string.
sub essence {
	my ($r) = @_;
	my $s = pack('nn', $r->{flags}, $r->{rcode}) . "$r->{question}|$r->{opt}";
	for my $sec (1 .. 3) {
		$s .= "\n$sec ";
		$s .= join "\n", sort map { key($_) } @{ $r->{$sec} };
	}
	return $s;
}

sub tc { $_[0]{flags} & 0x200 }
sub aa { $_[0]{flags} & 0x400 }
sub types { my ($r, $sec, @t) = @_; my %t = map { $_ => 1 } @t; grep { $t{ $_->[1] } } @{ $r->{$sec} } }
sub below { my ($n, $up) = @_; $n eq $up || (length $n > length $up && substr($n, -length $up) eq $up && grep { $_ eq $up } suffixes($n)) }
sub suffixes { my @l = labels($_[0]); map { name(@l[ $_ .. $#l ]) } 0 .. $#l + 1 }
# The owner of a referral's NS set, or undef.
sub cut { my ($r) = @_; my ($ns) = types($r, 2, 2); return $ns && !types($r, 2, 6) ? $ns->[0] : undef }

# Octets an answer has to have: all of answer and authority section, a referral's
# glue at or below the cut, and the OPT.  full: our own whole answer.
sub needed {
	my ($q, $full) = @_;
	my $end = 16 + length $q->{name};
	$end = $_->[5] > $end ? $_->[5] : $end for @{ $full->{1} }, @{ $full->{2} };
	my $cut = cut($full);
	if (defined $cut) {
		for (@{ $full->{3} }) {
			$end = $_->[5] if below($_->[0], $cut) && $_->[5] > $end;
		}
	}
	return $end + ($q->{edns} ? 11 : 0) + ($q->{nsid} ? 4 + length $identity : 0);
}

sub covered { my ($rr) = @_; "$rr->[0] " . ($rr->[1] == 46 ? unpack 'n', $rr->[4] : $rr->[1]) }

# Does an answer that is not TC have all that it has to have of the whole one?
sub complete {
	my ($q, $udp, $full) = @_;
	my $cut = cut($full);
	my %have = map { my $sec = $_; map { $sec . key($_) => 1 } @{ $udp->{$sec} } } 1 .. 3;
	for my $sec (1 .. 3) {
		for (@{ $full->{$sec} }) {
			return 0 if ($sec < 3 || (defined $cut && below($_->[0], $cut))) && !$have{ $sec . key($_) };
		}
	}
	return 1;
}

# What is wrong with an answer over UDP, measured by our own whole one; '' if nothing.
sub size_fault {
	my ($q, $udp, $full) = @_;
	my $need = needed($q, $full);
	return "$udp->{len} octets, more than $q->{limit}" if $udp->{len} > $q->{limit};
	return 'TC over TCP' if tc($full);
	return tc($udp) ? "TC, yet $need octets fit in $q->{limit}" : "not TC, yet $need octets do not fit in $q->{limit}"
		if !!tc($udp) != ($need > $q->{limit});
	my %full = map { $_ => {} } 1 .. 3;
	my %left;
	for my $sec (1 .. 3) {
		$full{$sec}{ key($_) }++ for @{ $full->{$sec} };
		for (@{ $udp->{$sec} }) {
			delete $full{$sec}{ key($_) } or return "a record in section $sec that the whole answer does not have";
			$left{$sec}{ covered($_) } = 1;
		}
	}
	for my $sec (1 .. 3) {
		my ($half) = grep { $full{$sec}{ key($_) } && $left{$sec}{ covered($_) } } @{ $full->{$sec} };
		return "a set that is split in section $sec" if $half;
	}
	return '' if tc($udp);
	return "section $_ lacks something, yet no TC" for grep { %{ $full{$_} } } 1, 2;
	my $cut = cut($full);
	return 'glue is missing, yet no TC' if defined $cut && grep { $full{3}{ key($_) } && below($_->[0], $cut) } @{ $full->{3} };
	return '';
}

# ---- proofs that something is not there --------------------------------------------

# A name so that the order of octets is the canonical order (RFC 4034 section 6.1).
sub order { join '', map { my $l = substr $_, 1; $l =~ s/([\0\1])/"\1" . chr(1 + ord $1)/ge; "$l\0" } reverse labels($_[0]) }

# What of a zone's file proofs are made of; names as from owners().
sub chain {
	my ($file, $origin, $names) = @_;
	my %z = (apex => lc DNS::wire($origin), names => {}, kind => '');
	my @nsec;
	for my $n (keys %$names) {
		if (grep { $_ == 50 } @{ $names->{$n} }) { push @nsec, [ substr($n, 1, 32), $n ] }
		else { $z{names}{$n} = $names->{$n} }
	}
	if (@nsec) {
		$z{kind} = 'NSEC3';
		(undef, undef, $z{iterations}, $z{salt}) = split ' ', (Lab::slurp($file) =~ /\sNSEC3PARAM\s+(\d+ .*)/)[0];
		$z{salt} = $z{salt} eq '-' ? '' : pack 'H*', $z{salt};
	} else {
		@nsec = map { [ order($_), $_ ] } grep { grep { $_ == 47 } @{ $names->{$_} } } keys %$names;
		$z{kind} = 'NSEC' if @nsec;
	}
	$z{links} = [ sort { $a->[0] cmp $b->[0] } @nsec ];
	return \%z;
}

sub hashed { # RFC 5155 section 5, as the label of its owner
	my ($z, $name) = @_;
	require Digest::SHA;
	my $h = $name;
	$h = Digest::SHA::sha1($h . $z->{salt}) for 0 .. $z->{iterations};
	my $bits = unpack 'B*', $h;
	return join '', map { (0 .. 9, 'a' .. 'v')[ oct "0b$_" ] } $bits =~ /.{5}/g;
}

# The owner of the link that matches or covers a name; of that which matches alone.
sub link_of {
	my ($z, $name, $match) = @_;
	my $k = $z->{kind} eq 'NSEC3' ? hashed($z, $name) : order($name);
	my ($lo, $hi) = (-1, $#{ $z->{links} });
	while ($lo < $hi) {
		my $mid = int(($lo + $hi + 1) / 2);
		if ($z->{links}[$mid][0] le $k) { $lo = $mid } else { $hi = $mid - 1 }
	}
	return if $match && ($lo < 0 || $z->{links}[$lo][0] ne $k);
	return $z->{links}[$lo][1]; # -1: the last one covers what is before the first
}

# RFC 5155 sections 7.2.1, 7.2.4 and 7.2.7: the closest encloser that has a link, and what covers the next
# closer name; the encloser too.
sub encloser {
	my ($z, $name, $from) = @_;
	my $next = $name;
	my $up = $name;
	while (1) {
		my $there = length $up <= length $from && link_of($z, $up, 1);
		return ([ $there, $next eq $up ? () : link_of($z, $next) ], $up) if $there;
		last if $up eq $z->{apex};
		$next = $up;
		$up = substr $up, 1 + ord $up;
	}
	return ([], $z->{apex});
}

# The owners of all NSEC or NSEC3 records that the authority section of our answer has to
# have, by what the zone has: { owner => 1 }.
sub proof {
	my ($q, $r, $z) = @_;
	my ($cur, %want, %seen) = ($q->{name});
	return {} if !$q->{do} || !$z->{kind};
	my $three = $z->{kind} eq 'NSEC3';
	my $want = sub { $want{$_} = 1 for grep { defined } @_ };
	my $above = sub { my $n = shift; $n = substr $n, 1 + ord $n until $z->{names}{$n} || $n eq $z->{apex} || $n eq "\0"; $n };
	my $wild = sub { # it was made of a wildcard
		my $n = shift;
		my $ce = $above->($n);
		return if $ce eq $n;
		my ($next) = grep { length $_ > length $ce && substr($_, 1 + ord $_) eq $ce } suffixes($n);
		$want->(link_of($z, $three ? $next : $n));
	};
	my (%cname, %dname);
	for (@{ $r->{1} }) {
		$cname{ $_->[0] } = $_->[4] if $_->[1] == 5;
		$dname{ $_->[0] } = 1 if $_->[1] == 39;
	}
	my $made = sub { my $n = shift; grep { $_ ne $n && $dname{$_} } suffixes($n) }; # by a DNAME
	my $all = $q->{type} == 5 || $q->{type} == 46 || $q->{type} == 47 || $q->{type} == 255; # of a CNAME's own name
	while (exists $cname{$cur} && ($made->($cur) || !$all) && !$seen{$cur}++) {
		$wild->($cur) unless $made->($cur);
		$cur = $cname{$cur};
	}
	my $soa = types($r, 2, 6);
	if (!$seen{$cur} && grep { $_->[0] eq $cur } @{ $r->{1} }) {
		$wild->($cur) unless $made->($cur);
	} elsif (defined(my $cut = cut($r))) {
		$want->($three ? link_of($z, $cut, 1) // @{ (encloser($z, $cut, $above->($cut)))[0] } : link_of($z, $cut)) unless types($r, 2, 43);
	} elsif ($soa && $z->{names}{$cur}) { # no data
		my $own = link_of($z, $cur, 1);
		$want->($own // ($three ? @{ (encloser($z, $cur, $cur))[0] } : link_of($z, $cur)));
	} elsif ($soa) {
		my $ce = my $parent = $above->($cur);
		if ($three) {
			(my $two, $ce) = encloser($z, $cur, $ce);
			# a wildcard in an opt-out span has no link: the covered next closer name says it all
			$want->(@$two, $r->{rcode} == 3 ? link_of($z, "\1*$ce") : link_of($z, "\1*$parent", 1));
		} else {
			$want->(link_of($z, $cur), link_of($z, "\1*$ce"));
		}
	}
	return \%want;
}

# A question for people.
sub question_text {
	my ($q) = @_;
	my $m = pack('n6', 0, 0, 1, 0, 0, 0) . $q->{name} . pack 'nn', $q->{type}, $q->{class};
	return DNS::decode($m)->{question} . sprintf(', flags %04x', $q->{flags}) .
		($q->{edns} ? ", EDNS $q->{size}" : '') . ($q->{do} ? ' DO' : '') . ($q->{nsid} ? ' NSID' : '') . ($q->{tcp} ? ', TCP' : ', UDP');
}

1;
