#!/usr/bin/perl
# Zones with wildcards, empty non-terminals, all kinds of delegations, CNAME and
# DNAME chains; unsigned, and signed by BIND's tools with NSEC, NSEC3 and NSEC3
# with opt-out: every answer as NSD's or Knot's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Compare;
use Lab;
use Peers;
use Signed;

my $lab;

# Where we differ from both, and why we are right.
my @except = (
	[qr/, UDP$/, 'RFC 2181 section 9: not TC for want of extra addresses', sub { Compare::fewer_addresses($lab->port, @_) }],
);

my $dir = tempdir('encdns-signed-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zones = Signed::zones($dir) or plan skip_all => 'needs package bind9-utils';
my @peers = grep { defined $_->[1] } map { [$_, Peers::start($_, %$zones)] } qw(nsd knot);
plan skip_all => 'needs package nsd or knot' unless @peers;

$lab = Lab->new(zones => $zones, set => ["rrl=off"]);
for my $origin (sort keys %$zones) {
	my @questions = Signed::questions(Compare::read_zone($zones->{$origin}), $origin);
	my $r = Compare::compare(port => $lab->port, peers => \@peers, questions => \@questions, except => \@except);
	is(scalar @{ $r->{differ} }, 0, "$origin: $r->{asked} answers agree with a peer's");
	diag($_) for grep { defined } @{ $r->{differ} }[0 .. 4];
	note("$_: $r->{excepted}{$_}") for sort keys %{ $r->{excepted} };
	note("not as $_: $r->{alone}{$_}") for sort keys %{ $r->{alone} };
}

# What peers differ about by design.
my $any = $lab->ask('nsec.example', 'ANY', tcp => 1);
my %types = map { (split)[3] => 1 } @{ $any->{answer} };
is(keys %types, 1, 'ANY: one RRset (RFC 8482)');
for (['AXFR', 'REFUSED', 'AXFR'], ['IXFR', 'REFUSED', 'IXFR'], ['NOTIFY', 'REFUSED', 'SOA', 4],
	['UPDATE', 'REFUSED', 'SOA', 5], ['STATUS', 'NOTIMP', 'SOA', 2], ['IQUERY', 'NOTIMP', 'A', 1]) {
	my ($what, $rcode, $type, $opcode) = @$_;
	for my $tcp (0, 1) {
		my $m = $lab->ask('nsec.example', $type, opcode => $opcode, tcp => $tcp, edns => 1232);
		is($m && $m->{rcode}, $rcode, "$what over " . ($tcp ? 'TCP' : 'UDP'));
		is(scalar @{ $m ? $m->{answer} : [1] }, 0, 'nothing in it');
		ok($m && $m->{opt}, 'EDNS is answered by EDNS');
	}
}
my $v = $lab->ask('nsec.example', 'SOA', edns => 1232);
ok($v->{opt} && $v->{opt}{version} == 0, 'EDNS is answered by EDNS');
is($v->{opt}{size}, 1232, 'our size is 1232');
my $q = DNS::query('nsec.example', 'SOA', edns => 1232);
substr $q, -5, 1, chr 1; # version 1
my $bad = DNS::decode(DNS::ask_udp('127.0.0.1', $lab->port, [$q])->[0]);
is($bad->{rcode}, 'BADVERS', 'EDNS version 1');

# A referral at every size: all in-domain glue is there, or TC (RFC 9471).
my $wrong = 0;
for (my $size = 512; $size <= 4096; $size += 16) {
	my $m = $lab->ask('x.many.nsec.example', 'A', edns => $size, do => 1);
	my $glue = grep { /^ns\d\d\.many\.nsec\.example\. .* (A|AAAA) / } @{ $m->{additional} };
	$wrong++ unless $m->{tc} || $glue == 26;
}
is($wrong, 0, 'glue is whole or TC at all sizes from 512 to 4096');
my $full = $lab->ask('x.many.nsec.example', 'A', tcp => 1);
is(scalar @{ $full->{additional} }, 26, 'whole over TCP');
done_testing();
