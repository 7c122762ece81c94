#!/usr/bin/perl
# TCP beside UDP: pipelined queries are all answered, in whole and in pieces, and
# clients that ask for much and read nothing don't keep UDP waiting.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use IO::Socket::INET;
use Time::HiRes qw(time sleep);
use Lab;

use constant BAR => 0.02; # a UDP answer's median while TCP is busy

my $dir = tempdir('encdns-tcp-XXXXXX', TMPDIR => 1, CLEANUP => 1);
Lab::spurt("$dir/zone", "\$ORIGIN big.example.\n\$TTL 300\n\@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n"
	. join('', map { sprintf "much A 10.0.%d.%d\n", $_ / 250, $_ % 250 } 0 .. 2999));
my $lab = Lab->new(zones => { 'big.example.' => "$dir/zone" }, set => ['workers=1']);
my $port = $lab->port;

sub query {
	my ($id, $name) = @_;
	my $q = pack('n6', $id, 0, 1, 0, 0, 0) . join('', map { pack 'C/a', $_ } split /\./, $name) . pack('xnn', 1, 1);
	return pack 'n/a', $q;
}
sub tcp { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5) or die "connect: $!" }
sub octets {
	my ($s, $n) = @_;
	my $buf = '';
	while (length $buf < $n) {
		sysread($s, $buf, $n - length $buf, length $buf) or return;
	}
	return $buf;
}
sub answers {
	my ($s, $n) = @_;
	my @ids;
	while ($n--) {
		my $len = octets($s, 2) // last;
		my $m = octets($s, unpack 'n', $len) // last;
		push @ids, unpack('n', $m) . ':' . unpack('x6n', $m);
	}
	return @ids;
}

local $SIG{ALRM} = sub { die "no answer for 30 s\n" };
alarm 30;
my $s = tcp();
print {$s} join '', map { query($_, 'ns.big.example') } 1 .. 100;
$s->flush;
is_deeply([answers($s, 100)], [map { "$_:1" } 1 .. 100], '100 queries in one segment, 100 answers in order');

$s = tcp();
$s->blocking(1);
for my $o (split //, query(7, 'ns.big.example')) {
	syswrite $s, $o;
	sleep 0.001;
}
is_deeply([answers($s, 1)], ['7:1'], 'one query, an octet at a time');

$s = tcp();
print {$s} join '', map { query($_, 'much.big.example') } 1 .. 40;
$s->flush;
is_deeply([answers($s, 40)], [map { "$_:3000" } 1 .. 40], '40 answers of 48 KB on one connection, whole and in order');
alarm 0;

# Thirty who ask for megabytes and never read.
my @greedy = map { my $g = tcp(); syswrite $g, join '', map { query($_, 'much.big.example') } 1 .. 100; $g } 1 .. 30;
my $u = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
my @took;
for my $i (1 .. 200) {
	my $t = time;
	send $u, substr(query($i, 'ns.big.example'), 2), 0;
	my $in = '';
	vec($in, fileno $u, 1) = 1;
	my $got = select($in, undef, undef, 5) && defined recv($u, my $m, 4096, 0);
	push @took, $got ? time - $t : 5;
	my $g = tcp(); # and newcomers of their kind
	syswrite $g, join '', map { query($_, 'much.big.example') } 1 .. 60;
	push @greedy, $g;
	shift(@greedy)->close if @greedy > 60;
}
@took = sort { $a <=> $b } @took;
cmp_ok($took[100], '<', 5 * BAR, sprintf 'UDP beside greedy TCP clients: median %.4f s (bar %.3f s)', $took[100], BAR);
cmp_ok($took[-1], '<', 5, 'every UDP query was answered');
alarm 30;
$s = tcp();
print {$s} query(9, 'ns.big.example');
$s->flush;
is_deeply([answers($s, 1)], ['9:1'], 'a newcomer over TCP is answered');
alarm 0;
$lab->down;
done_testing;
