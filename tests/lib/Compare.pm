package Compare;
# Asks us and the reference servers the same questions and compares whole answers.
use strict;
use warnings;
use DNS;

# The ways a question is asked.
our @ways = (
	['UDP'], ['UDP with DO', do => 1], ['TCP', tcp => 1], ['TCP with DO', tcp => 1, do => 1]);

my %cache; # raw answer => what is compared

# rcode, flags and sections as sets; of a truncated answer the sections say
# nothing (RFC 2181 section 9), so only the header is compared.
sub essence {
	my $m = shift // return 'no answer';
	my $body = substr $m, 2;
	return $cache{$body} //= do {
		my $r = eval { DNS::decode($m) };
		if (!$r) {
			"malformed: $@";
		} else {
			$r->{$_} = [] for $r->{tc} ? qw(answer authority additional) : ();
			DNS::text($r);
		}
	};
}

sub ask_all {
	my ($port, $tcp, $queries) = @_;
	my $raw = $tcp ? DNS::ask_tcp('127.0.0.1', $port, $queries) : DNS::ask_udp('127.0.0.1', $port, $queries);
	return [ map { essence($_) } @$raw ];
}

# compare(port => ours, peers => [[name, port]...], questions => [[name, type]...],
#         except => [[qr/question/, 'RFC paragraph', sub { [name, type], ours, peers... : bool }]...])
# Returns { asked => n, excepted => { paragraph => n }, differ => [text...], alone => { peer => n } }.
# A question passes when any peer agrees; all peers are asked only when the first does not.
sub compare {
	my %o = @_;
	my %r = (asked => 0, excepted => {}, differ => [], alone => {});
	my $batch = 4000;
	for my $way (@{ $o{ways} // \@ways }) {
		my ($label, %how) = @$way;
		for (my $i = 0; $i < @{ $o{questions} }; $i += $batch) {
			my $j = $i + $batch > @{ $o{questions} } ? @{ $o{questions} } : $i + $batch;
			my @q = @{ $o{questions} }[ $i .. $j - 1 ];
			my @query = map { DNS::query(@$_, do => $how{do}) } @q;
			my $ours = ask_all($o{port}, $how{tcp}, \@query);
			$r{asked} += @q;
			my @left = 0 .. $#q;
			my @said;
			for my $peer (@{ $o{peers} }) {
				last unless @left;
				my $theirs = ask_all($peer->[1], $how{tcp}, [ @query[@left] ]);
				my @still;
				for my $k (0 .. $#left) {
					next if $theirs->[$k] eq $ours->[ $left[$k] ];
					push @{ $said[ $left[$k] ] }, "$peer->[0]: $theirs->[$k]";
					push @still, $left[$k];
				}
				$r{alone}{ $peer->[0] } += @still;
				@left = @still;
			}
			for my $k (@left) {
				my $what = "$q[$k][0] $q[$k][1], $label";
				my ($why) = grep { $what =~ $_->[0] && (!$_->[2] || $_->[2]->($q[$k], $ours->[$k], @{ $said[$k] })) }
					@{ $o{except} // [] };
				if ($why) {
					$r{excepted}{ $why->[1] }++;
				} else {
					push @{ $r{differ} }, "$what\nours: $ours->[$k]" . join '', @{ $said[$k] };
				}
			}
			%cache = ();
		}
	}
	return \%r;
}

# For except: over plain UDP, 512 octets don't hold all addresses of the name
# servers, and everybody leaves out others of those that may be left out. True when
# that is the only difference, nothing is there that TCP would not give, and of a
# referral's in-domain glue nothing is missing (RFC 9471 section 3.1).
sub fewer_addresses {
	my ($port, $question, $ours, @theirs) = @_;
	my ($head, $more) = split /^additional\n/m, $ours;
	return 0 unless grep { s/^\w+: //r =~ /\A\Q$head\E(additional\n|\z)/ } @theirs;
	my $full = DNS::decode(DNS::ask_tcp('127.0.0.1', $port, [ DNS::query(@$question) ])->[0] // return 0);
	my %here = map { s/^  //r => 1 } split /\n/, $more // '';
	my ($cut) = map { / IN NS / ? (split)[0] : () } @{ $full->{authority} };
	for (@{ $full->{additional} }) {
		next if delete $here{$_};
		return 0 if defined $cut && /^(\S+\.)?\Q$cut\E /;
	}
	return !%here;
}

# Owner => { type => 1 } of a zone file with one full record a line, as
# dnssec-signzone -O full writes it and as the root zone is published.
sub read_zone {
	my ($file) = @_;
	open my $f, '<', $file or die "$file: $!\n";
	my %z;
	while (<$f>) {
		my ($owner, $type) = /^([^\s;]+)\s+(?:\d+\s+)?(?:IN\s+)?([A-Z][A-Z0-9-]*)\s/ or next;
		$z{ lc $owner }{$type} = 1;
	}
	return \%z;
}

# A name beside every one that is neither there nor above one that is.
sub beside {
	my ($zone) = @_;
	my @n;
	for my $owner (sort keys %$zone) {
		next if $owner eq '.';
		my ($first, $rest) = $owner =~ /^((?:\\.|[^.\\])+)\.(.*)\z/ or next;
		my $label = length $first < 60 ? "${first}-0" : substr($first, 0, 50) . '-0';
		$label =~ s/^\*/x/;
		my $n = "$label.$rest";
		push @n, $n unless $zone->{$n};
	}
	return @n;
}

1;
