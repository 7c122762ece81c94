#!/usr/bin/perl
# Random questions about zones with everything in them, asked of us, NSD and Knot:
# every answer is the same, or the difference is in the table below.
# SEED=n: other zones and questions. LONG=1: ten times as many questions.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Storable ();
use Differ;
use DiffZones;
use DNS;
use Lab;
use Peers;
use POSIX ();

my $seed = $ENV{SEED} // 1;
my $count = $ENV{QUESTIONS} // ($ENV{LONG} ? 1_000_000 : 100_000);
my $workers = 2;
my $batch = 4000;

my %chain; # zone => what its proofs are made of

sub records { my ($r) = @_; map { @{ $r->{$_} } } 1 .. 3 }
sub take { # ours is right in all, or in a section
	my ($t, $o, @sections) = @_;
	$t->{$_} = [ @{ $o->{$_} } ] for @sections ? @sections : 1 .. 3;
	@$t{qw(rcode flags question opt)} = @$o{qw(rcode flags question opt)} unless @sections;
}
sub within { # is a section of a part of that of b?
	my ($a, $b, $section) = @_;
	my %b = map { Differ::key($_) => 1 } @{ $b->{$section} };
	return !grep { !$b{ Differ::key($_) } } @{ $a->{$section} };
}
sub proves { my ($type) = Differ::covered($_[0]) =~ / (\d+)\z/; return $type == 47 || $type == 50 }
sub proven { # is the proof of our answer the one that the zone has for it, no more and no less?
	my ($q, $o) = @_;
	my $z = $chain{ zone_of($q) } // return;
	my %have = map { $_->[0] => 1 } Differ::types($o, 2, 47, 50);
	return join(' ', sort keys %have) eq join ' ', sort keys %{ Differ::proof($q, $o, $z) };
}
sub one_set { my ($r) = @_; my %s = map { Differ::covered($_) => 1 } @{ $r->{1} }; return scalar keys %s }
sub chain_end { # where an answer's CNAMEs lead; undef when there is none
	my ($q, $r) = @_;
	my %to = map { $_->[0] => $_->[4] } Differ::types($r, 1, 5);
	my $n = $q->{name};
	return if !exists $to{$n};
	my %seen;
	$n = $to{$n} while exists $to{$n} && !$seen{$n}++;
	return $n;
}
my %origin;
sub zone_of {
	my ($q) = @_;
	my @z = grep { exists $origin{$_} } Differ::suffixes($q->{name});
	shift @z if @z > 1 && $q->{type} == 43 && $z[0] eq $q->{name};
	return $z[0] // '';
}

sub below_cut { # is a name at or below a delegation of the zone?
	my ($apex, $name) = @_;
	my $names = $chain{$apex}{names};
	return scalar grep { $_ ne $apex && Differ::below($_, $apex) && grep { $_ == 2 } @{ $names->{$_} // [] } } Differ::suffixes($name);
}

# Each: what the difference is; which peer has it; the RFC paragraph that decides it;
# a test of question, our answer and theirs (Differ::question and parse), which makes
# theirs (or ours) equal in the one respect it is about and returns true.
my @table = (
	['class ANY is never authoritative', 'nsd knot', 'RFC 1035 section 6.2', sub {
		my ($q, $o, $t) = @_;
		return if $q->{class} != 255 || Differ::aa($o) || !Differ::aa($t);
		$t->{flags} &= ~0x400;
		return 1;
	}],
	['the SOA of a negative answer in class ANY', 'nsd', 'RFC 2308 section 3', sub {
		my ($q, $o, $t) = @_;
		my @soa = grep { Differ::covered($_) =~ / 6\z/s } @{ $o->{2} };
		return if $q->{class} != 255 || !@soa || Differ::types($t, 2, 6);
		push @{ $t->{2} }, @soa;
		return 1;
	}],
	['the question goes back with an error', 'nsd', 'RFC 1035 section 4.1.1', sub {
		my ($q, $o, $t) = @_;
		return if $t->{question} ne '' || $t->{rcode} == 0;
		$t->{question} = $o->{question};
		$t->{opt} = $o->{opt} if $t->{rcode} == 1;
		return 1;
	}],
	['the RCODE field of a query means nothing', 'nsd', 'RFC 1035 section 4.1.1', sub {
		my ($q, $o, $t) = @_;
		return if !($q->{flags} & 15) || $t->{rcode} != 1;
		take($t, $o);
		return 1;
	}],
	['a size below 512 octets counts as 512', 'knot', 'RFC 6891 section 6.2.3', sub {
		my ($q, $o, $t) = @_;
		return if !$q->{small} || $t->{rcode} != 1 || records($t);
		take($t, $o);
		return 1;
	}],
	['NXNAME is a mark in a bitmap, no question', 'nsd knot', 'RFC 9824 section 3.1', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 128 || $o->{rcode} != 1 || records($o);
		take($t, $o);
		return 1;
	}],
	['DS of a served child whose parent is not served: no data, by the child', 'nsd knot', 'RFC 4035 section 3.1.4.1', sub {
		my ($q, $o, $t) = @_;
		my $z = $chain{ $q->{name} };
		return if $q->{type} != 43 || !$z || !Differ::types($o, 2, 6) || @{ $o->{1} } || !defined Differ::cut($t) || Differ::cut($t) eq $q->{name};
		take($t, $o);
		return 1;
	}],
	['addresses of a service binding whose target is "."', 'nsd knot', 'RFC 9460 section 2.5.2', sub {
		my ($q, $o, $t) = @_;
		return if !within($t, $o, 3) || @{ $t->{3} } == @{ $o->{3} } || !grep { substr($_->[4], 0, 3) =~ /\A(?!\0\0)..\0/s } Differ::types($o, 1, 64, 65);
		take($t, $o, 3);
		return 1;
	}],
	['zone transfers are refused, whatever the transport and the name', 'nsd knot', 'RFC 5936 section 5', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 251 && $q->{type} != 252 || $o->{rcode} != 5 || $t->{rcode} != 4 && $t->{rcode} != 9 || records($o) || records($t);
		$t->{rcode} = 5;
		return 1;
	}],
	['types that only mean something in queries are not there', 'knot', 'RFC 6895 section 3.1', sub {
		my ($q, $o, $t) = @_;
		return if ($q->{type} != 0 && $q->{type} != 41 && ($q->{type} < 128 || $q->{type} > 254)) || $t->{rcode} != 4 || records($t);
		take($t, $o);
		return 1;
	}],
	['ANY: which set it is', 'nsd knot', 'RFC 8482 section 4.1', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 255 || $o->{rcode} != $t->{rcode};
		my %sets;
		$sets{ Differ::covered($_) } = 1 for @{ $o->{1} };
		for (Differ::types($o, 1, 39)) { # what a DNAME made on the way
			delete $sets{ Differ::covered($_) };
			my $d = $_->[0];
			delete $sets{$_} for grep { my $n = substr $_, 0, -2; / 5\z/ && $n ne $d && Differ::below($n, $d) } keys %sets;
		}
		my $owner = join ' ', sort keys %{ { map { substr($_, 0, rindex $_, ' ') => 1 } keys %sets } };
		return if keys %sets != 1 || !grep { $_->[0] eq $owner } @{ $t->{1} };
		my @same = map { Differ::essence({ %$_, 2 => [] }) } $o, $t;
		return if $same[0] eq $same[1] && !@{ $o->{2} };
		take($t, $o);
		return 1;
	}],
	['RRSIG: the signatures of one set', 'nsd', 'RFC 8482 section 4.1', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 46 || !@{ $o->{1} } || !within($o, $t, 1) || one_set({ 1 => [ Differ::types($o, 1, 46) ] }) != 1;
		take($t, $o);
		return 1;
	}],
	['RRSIG, NSEC: may stand beside a CNAME, which does not stand for them', 'nsd', 'RFC 4035 section 2.5', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 46 && $q->{type} != 47 || !within($o, $t, 1) || !Differ::types($t, 1, 5) || $o->{1} == $t->{1};
		take($t, $o);
		return 1;
	}],
	['NSEC3 has an owner of its own: where there is a CNAME, it counts', 'nsd', 'RFC 5155 section 7.2.8', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 50 || !Differ::types($o, 1, 5) || @{ $t->{1} } >= @{ $o->{1} } || !within($t, $o, 1);
		take($t, $o);
		return 1;
	}],
	['a CNAME is not followed into another zone that is served', 'nsd', 'RFC 5452 section 6', sub {
		my ($q, $o, $t) = @_;
		my $end = chain_end($q, $o) // return;
		return if zone_of({ name => $end, type => $q->{type} }) eq zone_of($q) && !defined Differ::cut($o) || !within($o, $t, 1);
		take($t, $o);
		return 1;
	}],
	['a chain of CNAMEs is followed for 16 of them', 'nsd', 'RFC 1034 section 3.6.2', sub {
		my ($q, $o, $t) = @_;
		return if Differ::types($o, 1, 5) != 17 || Differ::types($t, 1, 5) < 17 || !within($o, $t, 1);
		take($t, $o);
		return 1;
	}],
	['a chain of CNAMEs is followed beyond the fifth', 'knot', 'RFC 1034 section 3.6.2', sub {
		my ($q, $o, $t) = @_;
		return if Differ::types($t, 1, 5) > 5 || Differ::types($t, 1, 5) < 5 || Differ::types($o, 1, 5) < 6 || !within($t, $o, 1);
		take($t, $o);
		return 1;
	}],
	['a record is there once', 'knot', 'RFC 2181 section 5', sub {
		my ($q, $o, $t) = @_;
		my $more = 0;
		my %seen;
		for my $s (1 .. 3) {
			my @once = grep { !$seen{ Differ::key($_) }++ } @{ $t->{$s} };
			$more += @{ $t->{$s} } - @once;
			$t->{$s} = \@once;
		}
		return $more > 0;
	}],
	['a DNAME that leads below itself is followed once', 'knot', 'RFC 1034 section 3.6.2', sub {
		my ($q, $o, $t) = @_;
		my ($d) = grep { Differ::below($_->[4], $_->[0]) } Differ::types($o, 1, 39) or return;
		return if !within($o, $t, 1) || @{ $o->{1} } == @{ $t->{1} } && $o->{rcode} == $t->{rcode};
		take($t, $o);
		return 1;
	}],
	['YXDOMAIN is the end: nothing follows', 'knot', 'RFC 6672 section 2.2', sub {
		my ($q, $o, $t) = @_;
		return if $o->{rcode} != 6 || @{ $o->{2} } || !within($o, $t, 1) || Differ::essence($o) eq Differ::essence($t);
		take($t, $o);
		return 1;
	}],
	['the NS set of a wildcard makes no delegation', 'knot', 'RFC 4592 section 4.2', sub {
		my ($q, $o, $t) = @_;
		return if defined Differ::cut($o) || (Differ::cut($t) // '') !~ /\A\x01\*/;
		take($t, $o);
		return 1;
	}],
	['the DNAME of a wildcard is shown with its own name', 'knot', 'RFC 4592 section 4.4', sub {
		my ($q, $o, $t) = @_;
		my ($d) = grep { $_->[0] =~ /\A\x01\*/ } Differ::types($o, 1, 39) or return;
		return if Differ::types($t, 1, 39) != 1;
		take($t, $o);
		return 1;
	}],
	['what is denied is denied with an SOA and a proof, and AA', 'knot', 'RFC 2308 section 3, RFC 5155 section 7.2', sub {
		my ($q, $o, $t) = @_;
		return if Differ::aa($t) || records($t) || !Differ::types($o, 2, 50) || $o->{rcode} != $t->{rcode} || !proven($q, $o);
		take($t, $o);
		return 1;
	}],
	['which NSEC or NSEC3 prove it', 'nsd knot', 'RFC 4035 section 3.1.3, RFC 5155 section 7.2', sub {
		my ($q, $o, $t) = @_;
		return if !proven($q, $o);
		$t->{2} = [ (grep { !proves($_) } @{ $t->{2} }), grep { proves($_) } @{ $o->{2} } ];
		return 1;
	}],
	['a wildcard below a cut makes no glue', 'nsd knot', 'RFC 1034 section 4.3.3', sub {
		my ($q, $o, $t) = @_;
		my $cut = Differ::cut($o) // return;
		my $names = $chain{ zone_of($q) }{names};
		my @there = grep { !Differ::below($_->[0], $cut) || $names->{ $_->[0] } } @{ $t->{3} };
		return if @there == @{ $t->{3} };
		$t->{3} = \@there;
		return 1;
	}],
	['a zero octet in a label is an octet', 'knot', 'RFC 2181 section 11', sub {
		my ($q, $o, $t, $agrees) = @_;
		return if !grep { /\A..+\0/s } Differ::labels($q->{name});
		take($t, $o);
		return 1;
	}],
	['extra addresses', 'nsd', 'RFC 1035 section 3.3.9, RFC 2782, RFC 9460 section 4.1', sub {
		my ($q, $o, $t) = @_;
		return if defined Differ::cut($o) || @{ $o->{3} } <= @{ $t->{3} } || !within($t, $o, 3);
		take($t, $o, 3);
		return 1;
	}],
	['what a delegation has not, its NSEC or NSEC3 does not tell', 'knot', 'RFC 6840 section 4.1', sub {
		my ($q, $o, $t) = @_;
		return if $q->{type} != 64 && $q->{type} != 65 || !within($o, $t, 3);
		my %o = map { Differ::key($_) => 1 } @{ $o->{3} };
		return if grep { !$o{ Differ::key($_) } && !proves($_) } @{ $t->{3} };
		take($t, $o, 3);
		return 1;
	}],
	['what proves that a target has no more addresses', 'knot', 'RFC 9460 section 4.1', sub {
		my ($q, $o, $t) = @_;
		my $z = $chain{ zone_of($q) };
		return if !$z || !$z->{kind};
		my %may;
		for (Differ::types($o, 1, 64, 65)) {
			my $target = Differ::name(Differ::labels(substr $_->[4], 2));
			next if !Differ::below($target, $z->{apex});
			$may{$_} = 1 for grep { defined } $z->{kind} eq 'NSEC3' ? @{ (Differ::encloser($z, $target, $target))[0] } : Differ::link_of($z, $target);
		}
		return if !%may || grep { !$may{ $_->[0] } } Differ::types($o, 3, 47, 50);
		my ($ours, $theirs) = map { { map { Differ::key($_) => 1 } grep { proves($_) } @{ $_->{3} } } } $o, $t;
		return if join('', sort keys %$ours) eq join '', sort keys %$theirs;
		$t->{3} = [ (grep { !proves($_) } @{ $t->{3} }), grep { proves($_) } @{ $o->{3} } ];
		return 1;
	}],
	['below a cut there are addresses and nothing else', 'knot', 'RFC 1034 section 4.2.1', sub {
		my ($q, $o, $t) = @_;
		my @left = grep { $_->[1] == 1 || $_->[1] == 28 || !below_cut(zone_of($q), $_->[0]) } @{ $t->{3} };
		return if @left == @{ $t->{3} };
		$t->{3} = \@left;
		return 1;
	}],
	['the additional records of a wildcard bear the name asked for', 'knot', 'RFC 4592 section 3.3.3', sub {
		my ($q, $o, $t) = @_;
		return if !grep { $_->[0] =~ /\A\x01\*/ } @{ $t->{3} };
		take($t, $o, 3);
		return 1;
	}],
);

my $dir = tempdir('encdns-diff-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $files = DiffZones::zones($dir, $seed) or plan skip_all => 'needs package bind9-utils';
my %set = (udp_size => 4096, identity => $Differ::identity, version => 'v');
my %port;
for (qw(nsd knot)) {
	$port{$_} = Peers::start($_, \%set, %$files) // plan skip_all => "needs package $_";
}
my $lab = Lab->new(zones => $files, set => [ 'rrl=off', 'udp-size=4096', "identity=$Differ::identity", 'version=v' ]);
$port{ours} = $lab->port;
my %owners = map { $_ => Differ::owners($files->{$_}, $_) } keys %$files;
for (keys %$files) {
	my $n = lc DNS::wire($_);
	$origin{$n} = $_;
	$chain{$n} = Differ::chain($files->{$_}, $_, $owners{$_});
}
note("seed $seed, $count questions, " . keys(%$files) . ' zones, ' . eval { my $n = 0; $n += keys %$_ for values %owners; $n } . ' names');

# ---- asking and comparing ---------------------------------------------------------

my %tally; # of this worker
my %stuck; # peers that do not answer any more

sub ask {
	my ($who, $tcp, $packets) = @_;
	return [] unless @$packets && !$stuck{$who};
	my $raw = $tcp ? DNS::ask_tcp('127.0.0.1', $port{$who}, $packets, wait => 3) : DNS::ask_udp('127.0.0.1', $port{$who}, $packets, quiet => 10);
	my @mute = grep { !defined $raw->[$_] } 0 .. $#$packets;
	if (@mute && $who ne 'ours') {
		# some questions drive a peer mad: no more of it then
		$stuck{$who} = $tally{stuck}{$who} = 1;
		$tally{mute}{ "$who: " . Differ::question_text(Differ::question($packets->[$_], $tcp)) } = 1 for @mute > 70 ? @mute[ 0 .. 69 ] : @mute;
	}
	return $raw;
}

sub parsed {
	my ($raw) = @_;
	return { flags => 0, rcode => 'no answer', question => '', opt => '', 1 => [], 2 => [], 3 => [], len => 0, extra => 0, essence => 'no answer' } if !defined $raw;
	my $r = eval { Differ::parse($raw) };
	$r = { flags => 0, rcode => "malformed: $@", question => '', opt => '', 1 => [], 2 => [], 3 => [], len => 0, extra => 0, essence => "malformed $@" } if !$r;
	$r->{raw} = $raw;
	$r->{essence} //= Differ::essence($r);
	return $r;
}

# Lengths of answers that say the same.
sub measure {
	my ($q, $who, $o, $t) = @_;
	my $n = $tally{length}{$who} //= { ours => 0, theirs => 0, worst => -9999, example => '', more => 0 };
	my ($ours, $theirs) = ($o->{len} - $o->{extra}, $t->{len} - $t->{extra});
	$n->{ours} += $ours;
	$n->{theirs} += $theirs;
	$n->{more}++ if $ours > $theirs;
	return if $ours - $theirs <= $n->{worst};
	$n->{worst} = $ours - $theirs;
	$n->{example} = Differ::question_text($q) . ": $ours octets, $who $theirs";
}

# Tries the table on one pair; returns the entries that explain it all, or nothing.
sub decide {
	my ($q, $who, $ours, $theirs) = @_;
	my $o = { %$ours, map { $_ => [ @{ $ours->{$_} } ] } 1 .. 3 };
	my $t = { %$theirs, map { $_ => [ @{ $theirs->{$_} } ] } 1 .. 3 };
	my @why;
	for my $k (0 .. $#table) {
		my ($what, $peers, $rfc, $apply) = @{ $table[$k] };
		next if $peers !~ /$who/ || !$apply->($q, $o, $t);
		push @why, $k;
		return @why if Differ::essence($o) eq Differ::essence($t);
	}
	return;
}

# What a message says of itself, for grouping what is not in the table.
sub shape {
	my ($q, $who, $o, $t) = @_;
	my @d;
	push @d, "rcode $o->{rcode}/$t->{rcode}" if $o->{rcode} ne $t->{rcode};
	push @d, sprintf 'flags %04x/%04x', $o->{flags}, $t->{flags} if $o->{flags} ne $t->{flags};
	push @d, 'opt' if $o->{opt} ne $t->{opt};
	push @d, 'question' if $o->{question} ne $t->{question};
	for my $s (1 .. 3) {
		my %o = map { Differ::key($_) => $_ } @{ $o->{$s} };
		my %t = map { Differ::key($_) => $_ } @{ $t->{$s} };
		my @o = delete @o{ grep { delete $t{$_} } keys %o };
		my $n = sub { my %n; $n{ DNS::type_name($_->[1]) }++ for @_; join ',', map { "$_" } sort keys %n };
		push @d, "section $s: +" . $n->(values %o) . ' -' . $n->(values %t) if %o || %t;
	}
	return "$who: " . join '; ', @d;
}

sub show {
	my ($r) = @_;
	return "no answer\n" unless defined $r->{raw};
	return (eval { DNS::text($r->{raw}) } // "malformed: $@") . "$r->{len} octets\n";
}

sub compare {
	my ($q, $o, $t, $full) = @_;
	$tally{asked}++;
	my @explained;
	for my $who (qw(nsd knot)) {
		my $p = $t->{$who};
		if ($stuck{$who} && !defined $p->{raw}) {
			$tally{unasked}{$who}++;
			next;
		}
		if ($o->{essence} eq $p->{essence}) {
			$tally{same}{$who}++;
			measure($q, $who, $o, $p);
			next;
		}
		my @why;
		if ($full) { # over UDP: what doesn't fit may differ, what is left over TCP may not
			my $fault = Differ::size_fault($q, $o, $full->{ours});
			my $alike = $full->{ours}{essence} eq $full->{$who}{essence};
			# they fit it all, we do not: then we waste room
			$fault = "TC, yet $who fits it" if $alike && Differ::tc($o) && !Differ::tc($p) && Differ::complete($q, $p, $full->{$who});
			if ($fault eq '' && $alike) {
				my $k = !Differ::tc($o) && Differ::tc($p) ? 'they TC' : Differ::tc($o) && !Differ::tc($p) ? 'we TC' : 'other additional';
				$tally{size}{"$who: $k"}++;
				next;
			}
			print STDERR Differ::question_text($q), ": $fault\n" if $ENV{FAULTS} && $fault;
			if ($fault eq '' && (@why = decide($q, $who, $full->{ours}, $full->{$who}))) {
				$tally{table}{$_}{$who}++ for @why;
				next;
			}
		}
		@why = decide($q, $who, $o, $p);
		if (@why) {
			$tally{table}{$_}{$who}++ for @why;
			next;
		}
		my ($other) = map { $t->{$_}{essence} } $who eq 'nsd' ? 'knot' : 'nsd';
		my $shape = ($other eq $o->{essence} ? 'the other agrees' : $other eq $p->{essence} ? 'BOTH ALIKE' : 'all different') . ', ' . shape($q, $who, $o, $p);
		my $d = $tally{differ}{$shape} //= { n => 0 };
		$d->{n}++;
		my $text = Differ::question_text($q) . "\nours: " . show($o) . join '', map { "$_: " . show($t->{$_}) } qw(nsd knot);
		$d->{text} = $text if !defined $d->{text} || length $text < length $d->{text};
	}
}

sub run {
	my ($me, $n) = @_;
	srand($seed * 1000 + $me);
	my $asker = Differ::asker(\%owners);
	while ($n > 0) {
		my (@udp, @tcp);
		for (1 .. ($n < $batch ? $n : $batch)) {
			my ($packet, $tcp) = $asker->();
			push @{ $tcp ? \@tcp : \@udp }, $packet;
		}
		$n -= $batch;
		for (['', @udp], [1, @tcp]) {
			my ($tcp, @packets) = @$_;
			my %raw = map { $_ => ask($_, $tcp, \@packets) } keys %port;
			my (@differ);
			for my $i (0 .. $#packets) {
				my $q = Differ::question($packets[$i], $tcp);
				my %p = map { $_ => parsed($raw{$_}[$i]) } keys %port;
				if (!$tcp && grep { $p{ours}{essence} ne $p{$_}{essence} } qw(nsd knot)) {
					push @differ, [ $q, \%p ];
				} else {
					compare($q, $p{ours}, \%p);
				}
			}
			my @again = map { $_->[0]{raw} } @differ;
			my %full = map { $_ => ask($_, 1, \@again) } keys %port;
			for my $i (0 .. $#differ) {
				my %f = map { $_ => parsed($full{$_}[$i]) } keys %port;
				compare($differ[$i][0], $differ[$i][1]{ours}, $differ[$i][1], \%f);
			}
		}
	}
}

sub add { # one worker's tally to another's
	my ($to, $from) = @_;
	for (keys %$from) {
		if (ref $from->{$_}) { add($to->{$_} //= {}, $from->{$_}) }
		elsif ($_ eq 'worst') { @$to{qw(worst example)} = @$from{qw(worst example)} if !defined $to->{worst} || $from->{worst} > $to->{worst} }
		elsif ($_ eq 'example' || $_ eq 'text') { $to->{$_} //= $from->{$_} }
		else { $to->{$_} = ($to->{$_} // 0) + $from->{$_} }
	}
}

# ---- referrals at every size (RFC 9471) -------------------------------------------

# Of answers over UDP: in-domain glue is whole or there is TC; what lies elsewhere goes
# first; no set is split; nothing is longer than it may be; and what fits is there.
sub sweep {
	my ($q, $full) = @_;
	my $cut = Differ::cut($full) // return "no referral";
	my %size = map { $_ => 1 } grep { $_ % 97 == 0 } 512 .. 4096;
	my $opt = 11;
	for my $end (Differ::needed($q, $full) - $opt, map { $_->[5] } @{ $full->{2} }, @{ $full->{3} }) {
		$size{ $end + $opt + $_ } = 1 for -2 .. 2;
	}
	my @size = grep { $_ >= 512 && $_ <= 4096 } sort { $a <=> $b } keys %size;
	my @packets = map { my $p = $q->{raw}; substr $p, length($p) - 8, 2, pack 'n', $_; $p } @size;
	my $raw = ask('ours', 0, \@packets);
	for my $k (0 .. $#size) {
		my $udp = parsed($raw->[$k]);
		my $here = { %$q, size => $size[$k], limit => $size[$k] };
		my $fault = Differ::size_fault($here, $udp, $full);
		my @glue = grep { Differ::below($_->[0], $cut) } @{ $udp->{3} };
		my @all = grep { Differ::below($_->[0], $cut) } @{ $full->{3} };
		$fault ||= 'other addresses before glue' if @glue < @all && @{ $udp->{3} } > @glue;
		$fault ||= 'not all, and yet it fits' if $size[$k] >= $full->{len} && $udp->{essence} ne $full->{essence};
		return "at $size[$k] octets: $fault" if $fault;
	}
	return '';
}

{
	my (@queries, $wrong, $shapes);
	for my $apex (sort keys %origin) {
		my $names = $chain{$apex}{names};
		for my $cut (sort grep { $_ ne $apex && grep { $_ == 2 } @{ $names->{$_} } } keys %$names) {
			next if $cut =~ /\A\x02?d\d+/ || $cut =~ /\A\x01\*/;
			for my $do (0, 0x8000) {
				push @queries, pack('n6', 0, 0, 1, 0, 0, 1) . Differ::name("\1x", Differ::labels($cut)) . pack 'nnCnnNn', 1, 1, 0, 41, 4096, $do, 0;
			}
		}
	}
	@queries = grep { length $_ < 275 } @queries;
	my $full = ask('ours', 1, \@queries);
	my @wrong;
	for my $k (0 .. $#queries) {
		my $q = Differ::question($queries[$k], 0);
		my $whole = parsed($full->[$k]);
		next unless defined Differ::cut($whole); # another zone, or below another cut
		$shapes++;
		my $fault = sweep($q, $whole);
		push @wrong, Differ::question_text($q) . ": $fault" if $fault;
	}
	ok($shapes > 100, "$shapes referrals at every size that matters");
	is(scalar @wrong, 0, 'glue is whole or TC, sets are whole, sizes are kept');
	diag($_) for @wrong > 10 ? @wrong[ 0 .. 9 ] : @wrong;
}

my $from = DNS::now();
my @pids;
for my $w (1 .. $workers) {
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		my $done = eval { run($w, $count / $workers); Storable::nstore(\%tally, "$dir/tally$w") };
		print STDERR $@ unless $done;
		POSIX::_exit($done ? 0 : 1);
	}
	push @pids, $pid;
}
my $died = 0;
for (@pids) {
	waitpid $_, 0;
	$died++ if $?;
}
is($died, 0, 'all were asked');
my %all;
add(\%all, Storable::retrieve("$dir/tally$_")) for grep { -r "$dir/tally$_" } 1 .. $workers;
note(sprintf '%d questions in %.0f s', $all{asked}, DNS::now() - $from);

my %differ = %{ $all{differ} // {} };
is(keys %differ, 0, 'no difference that is not in the table');
for (sort { $differ{$b}{n} <=> $differ{$a}{n} } keys %differ) {
	diag("$differ{$_}{n} times: $_\n$differ{$_}{text}");
}
for (sort keys %{ $all{unasked} }) {
	diag("$_ stopped answering: $all{unasked}{$_} of $all{asked} answers were not compared with it; one of these questions did it:");
}
diag("  $_") for sort keys %{ $all{mute} };
ok($all{same}{$_} && $all{same}{$_} > ($all{unasked}{$_} ? 0 : 0.8) * $all{asked}, "$_ was compared") for qw(nsd knot);
note("$_ the same: $all{same}{$_}") for sort keys %{ $all{same} };
note("by size, $_: $all{size}{$_}") for sort keys %{ $all{size} };
for my $k (0 .. $#table) {
	my ($what, $peers, $rfc) = @{ $table[$k] };
	for (split ' ', $peers) {
		my $n = $all{table}{$k}{$_} // 0;
		note("$_: $n: $what ($rfc)");
		diag("never seen in this run: $_: $what") unless $n;
	}
}
for (sort keys %{ $all{length} }) {
	my $l = $all{length}{$_};
	note("octets of the same answers: ours $l->{ours}, $_ $l->{theirs}; worst $l->{worst}: $l->{example}");
}
is($all{length}{knot}{more}, 0, 'no answer is longer than Knot\'s');
diag($all{length}{knot}{example}) if $all{length}{knot}{more};
done_testing();
