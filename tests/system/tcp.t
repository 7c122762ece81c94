#!/usr/bin/perl
# TCP: pipelined queries are all answered, in whole and in pieces; edns-tcp-keepalive;
# limits of one client and of all; who is slow, either way, is closed; and clients
# that ask for much and read nothing don't keep UDP waiting.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Time::HiRes qw(time sleep);
use Lab;

use constant BAR => 0.02; # a UDP answer's median while TCP is busy

my $dir = tempdir('encdns-tcp-XXXXXX', TMPDIR => 1, CLEANUP => 1);
Lab::spurt("$dir/zone", "\$ORIGIN big.example.\n\$TTL 300\n\@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n"
	. join('', map { sprintf "much A 10.0.%d.%d\n", $_ / 250, $_ % 250 } 0 .. 2999));
my $lab = Lab->new(zones => { 'big.example.' => "$dir/zone" }, set => ['workers=1']);
my $port = $lab->port;

sub query {
	my ($id, $name, $options) = @_; # options: an OPT with these octets
	my $q = pack('n6', $id, 0, 1, 0, 0, defined $options) . join('', map { pack 'C/a', $_ } split /\./, $name) . pack('xnn', 1, 1);
	$q .= pack 'xnnNn/a', 41, 1232, 0, $options if defined $options;
	return pack 'n/a', $q;
}
sub tcp {
	my ($from) = @_;
	IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5, ($from ? (LocalAddr => $from) : ()))
		or die "connect: $!";
}
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

# Seconds until the server has closed, what was read thrown away; undef: it has not.
sub closed_within {
	my ($s, $limit) = @_;
	my $from = time;
	while ((my $left = $from + $limit - time) > 0) {
		return time - $from if DNS::readable($s, $left) && !sysread $s, my $x, 65536;
	}
	return;
}
sub alive {
	my ($s) = @_;
	syswrite $s, query(5, 'ns.big.example');
	my @a = answers($s, 1);
	return "@a" eq '5:1';
}

# In a network namespace: see the end.
if (@ARGV && $ARGV[0] eq 'v6') {
	$lab->down;
	$lab = Lab->new(zones => { 'big.example.' => "$dir/zone" }, set => ['workers=1', 'tcp-per-client=4']);
	my $to = Socket::pack_sockaddr_in6($lab->port, Socket::inet_pton(Socket::AF_INET6, '::1'));
	my @all;
	my $open = sub {
		socket my $s, Socket::AF_INET6, Socket::SOCK_STREAM, 0 or die $!;
		bind $s, Socket::pack_sockaddr_in6(0, Socket::inet_pton(Socket::AF_INET6, $_[0])) or die $!;
		connect $s, $to or die $!;
		push @all, $s;
		alive($s) or die "no answer at $_[0]\n";
		return join ' ', grep { DNS::readable($all[$_ - 1], 0.1) } 1 .. @all;
	};
	my @closed = map { $open->("2001:db8:1:$_") } qw(1::1 1::1 2::1 2::1 2::1 100::1);
	print "@closed[0 .. 3]" =~ /\d/ ? 'some closed' : 'all open', '; one of the same /56: ', $closed[4] eq '1' ? 'the first is closed' : "closed: $closed[4]",
		'; one of another: ', $closed[5] eq $closed[4] ? 'none' : "closed: $closed[5]", "\n";
	exit;
}

local $SIG{PIPE} = 'IGNORE';
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

srand(my $seed = $ENV{SEED} // time);
note("SEED=$seed");
my $wrong = 0;
for my $round (1 .. 20) {
	my @want = map { [$_, rand() < 0.1 ? 'much' : 'ns'] } 1 .. 60;
	my $bytes = join '', map { query($_->[0], "$_->[1].big.example") } @want;
	$s = tcp();
	setsockopt $s, 6, 1, 1; # each piece a segment
	while (length $bytes) {
		syswrite $s, substr $bytes, 0, 1 + rand 300, '';
		sleep 0.0005;
	}
	my @got = answers($s, 60);
	$wrong++ if "@got" ne join ' ', map { "$_->[0]:" . ($_->[1] eq 'ns' ? 1 : 3000) } @want;
}
is($wrong, 0, 'many queries in a segment, one in many: 20 times 60 queries cut anywhere');

$s = tcp();
syswrite $s, join '', map { query($_, 'much.big.example') } 1 .. 20;
shutdown $s, 1;
sleep 0.3;
is_deeply([answers($s, 20)], [map { "$_:3000" } 1 .. 20], 'who sends no more still gets all his answers');
ok(defined closed_within($s, 3), 'and then the end');
ok(Lab::wait_for(3, sub { ($lab->status('node1') // return 0)->{queries}{tcp_open} == 0 }), 'and the connection is gone at once');

for (['a response', pack 'n/a', pack 'n6', 1, 0x8000, 0, 0, 0, 0], ['less than a header', pack 'n/a', 'x' x 11],
	['nothing', "\0\0"], ['the length of a longer query', pack 'n', 5000]) {
	$s = tcp();
	syswrite $s, $_->[1];
	ok(defined closed_within($s, 3), "$_->[0]: closed");
	$s = tcp();
	syswrite $s, query(1, 'ns.big.example') . query(2, 'much.big.example') . $_->[1] . query(3, 'ns.big.example');
	is_deeply([answers($s, 3)], ['1:1', '2:3000'], "$_->[0] behind two queries: these are answered");
}

# edns-tcp-keepalive, RFC 7828
sub keepalive {
	my ($s, $options) = @_;
	syswrite $s, query(3, 'ns.big.example', $options);
	my $m = DNS::decode(octets($s, unpack 'n', octets($s, 2)));
	return $m->{rcode} . ' ' . ($m->{opt} ? unpack('H*', $m->{opt}{options}{11} // '') : 'no OPT');
}
$s = tcp();
is(keepalive($s, pack 'nn', 11, 0), 'NOERROR 0064', 'keepalive asked for: 10 s');
is(keepalive($s, ''), 'NOERROR ', 'not asked for: not told');
is(keepalive($s, pack 'nnn', 11, 2, 5), 'FORMERR ', 'a client that tells a time: FORMERR');
is(keepalive($s, pack 'nnnnn', 11, 0, 11, 2, 5), 'FORMERR ', 'beside a good one too');
my $u = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
for (pack('nn', 11, 0), pack('nnn', 11, 2, 5)) {
	send $u, substr(query(4, 'ns.big.example', $_), 2), 0;
	recv $u, my $m, 4096, 0;
	$m = DNS::decode($m);
	ok($m->{rcode} eq 'NOERROR' && $m->{opt} && !%{ $m->{opt}{options} }, 'over UDP it means nothing');
}
alarm 0;

# Thirty who ask for megabytes and never read.
my @greedy = map { my $g = tcp(); syswrite $g, join '', map { query($_, 'much.big.example') } 1 .. 100; $g } 1 .. 30;
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

# Room for 16, four of each client.
@greedy = ();
$lab = Lab->new(zones => { 'big.example.' => "$dir/zone" },
	set => ['workers=1', 'tcp-connections=16', 'tcp-per-client=4', 'tcp-idle=60']);
$port = $lab->port;
alarm 60;
my @mine = map { tcp('127.1.0.1') } 1 .. 4;
my $other = tcp('127.1.0.2');
ok(!(grep { !alive($_) } @mine, $other), 'four connections of one client and one of another');
ok(alive($mine[0]), 'the first is used again');
push @mine, tcp('127.1.0.1');
ok(alive($mine[4]), 'the fifth is answered');
ok(defined closed_within($mine[1], 3), 'the longest idle one made room');
ok(!(grep { !alive($_) } @mine[ 0, 2, 3, 4 ], $other), "and no other");
is(keepalive($other, pack 'nn', 11, 0), 'NOERROR 0258', 'keepalive: 60 s');
my @full = map { my $k = $_; map { tcp("127.1.1.$k") } 1 .. 4 } 1 .. 3; # 5 + 12, and there is room for 16
ok(!(grep { !alive($_) } @full), 'all places taken');
ok(defined closed_within($mine[0], 3), 'by the longest idle of all');
is(keepalive($full[11], pack 'nn', 11, 0), 'NOERROR 0000', 'keepalive with no room left: go');
my $late = tcp('127.1.2.1');
ok(alive($late), 'a newcomer is answered when all places are taken');
my $q = ($lab->status('node1') // {})->{queries};
is($q->{tcp_open}, 16, 'the count of connections') or diag(explain($q));
alarm 0;
$lab->down;

$lab = Lab->new(zones => { 'big.example.' => "$dir/zone" }, set => ['workers=1', 'tcp-idle=1']);
$port = $lab->port;
sub closes { # of a client that does something every 20 ms
	my ($what, $s, $do) = @_;
	my $from = time;
	my $end;
	until ($end || time > $from + 15) {
		sleep 0.02;
		$end = time - $from if !$do->();
	}
	cmp_ok($end // 99, '<', 5 * 1.2, sprintf '%s: closed after %.2f s (bar 1.2 s)', $what, $end // 99);
	cmp_ok($end // 0, '>', 0.8, 'and not before its time');
}
$s = tcp();
closes('who sends nothing', $s, sub { !DNS::readable($s, 0) });
$s = tcp();
my @drop = split //, query(1, ('a' x 60 . '.') x 4 . 'example');
closes('who sends an octet at a time', $s, sub { syswrite($s, shift @drop // die) && !DNS::readable($s, 0) });
$s = tcp();
my $kept = grep { sleep 0.1; alive($s) } 1 .. 15;
is($kept, 15, 'who sends a query now and then keeps his connection');
closes('and when he stops', $s, sub { !DNS::readable($s, 0) });
for my $reads (0, 1) {
	$s = IO::Socket::INET->new(Proto => 'tcp') or die;
	setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096;
	connect $s, Socket::pack_sockaddr_in($port, Socket::inet_aton('127.0.0.1')) or die $!;
	syswrite $s, join '', map { query($_, 'much.big.example') } 1 .. 80;
	closes($reads ? 'who reads an octet at a time' : 'who reads nothing', $s, sub {
		my $open = ($lab->status('node1') // return 1)->{queries}{tcp_open};
		sysread $s, my $x, 1 if $reads && $open;
		return $open;
	});
	like(join(' ', map { my $n = sysread $s, my $x, 1 << 20; defined $n ? $n ? 'more' : 'end' : $!{ECONNRESET} ? 'reset' : "$!" } 1 .. 50),
		qr/reset/, 'with a reset: nothing is kept for it');
}
$s = tcp();
syswrite $s, join '', map { query($_, 'much.big.example') } 1 .. 6;
shutdown $s, 1;
closes('who sends no more and reads nothing', $s, sub { ($lab->status('node1') // return 1)->{queries}{tcp_open} });
$lab->down;

# IPv6: a client is a /56. That takes more than one address, so a network of its own.
SKIP: {
	my @in = ('unshare', '-rn', 'sh', '-c', 'ip link set lo up && for a in 1::1 2::1 100::1; do ip -6 addr add "2001:db8:1:$a/128" dev lo || exit 1; done; exec "$@"', 'sh');
	skip 'no network namespace with IPv6 here', 1 if Lab::run({ limit => 10 }, @in, 'true')->{status};
	my $r = Lab::run({ limit => 60 }, @in, $^X, $0, 'v6');
	is($r->{out}, "all open; one of the same /56: the first is closed; one of another: none\n", 'the limit of a client over IPv6') or diag($r->{err});
}
done_testing;
