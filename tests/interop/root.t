#!/usr/bin/perl
# The root zone: every RRset, and a name that does not exist beside every one
# that does, over UDP and TCP, with and without DO, answered as NSD or Knot does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Compare;
use Peers;
use Lab;

my $file = $ENV{ROOT_ZONE} // "$FindBin::Bin/../../../shared/zones/root.zone";
plan skip_all => 'no root zone here; name one by ROOT_ZONE' unless -r $file;

my $lab;

# Where we differ from both, and why we are right.
my @except = (
	[qr/, UDP$/, 'RFC 2181 section 9: not TC for want of extra addresses', sub { Compare::fewer_addresses($lab->port, @_) }],
);

my $zone = Compare::read_zone($file);
my @questions = map { my $n = $_; map { [$n, $_] } sort keys %{ $zone->{$n} } } sort keys %$zone;
push @questions, map { [$_, 'A'] } Compare::beside($zone);
ok(@questions > 1000, @questions . ' questions from ' . keys(%$zone) . ' names');

my @peers = grep { defined $_->[1] } map { [$_, Peers::start($_, '.' => $file)] } qw(nsd knot);
plan skip_all => 'needs package nsd or knot' unless @peers;

$lab = Lab->new(zones => { '.' => $file }, set => ['rrl=off']);
my $r = Compare::compare(port => $lab->port, peers => \@peers, questions => \@questions, except => \@except);
is(scalar @{ $r->{differ} }, 0, "$r->{asked} answers agree with a peer's");
diag($_) for grep { defined } @{ $r->{differ} }[0 .. 9];
note("$_: $r->{excepted}{$_}") for sort keys %{ $r->{excepted} };
note("not as $_: $r->{alone}{$_}") for sort keys %{ $r->{alone} };
done_testing();
