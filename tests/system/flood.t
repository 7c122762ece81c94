#!/usr/bin/perl
# 20,000 TCP clients at once, from hundreds of addresses: some say nothing, some half
# a query, some an octet now and then, some read nothing. Meanwhile UDP and new TCP
# clients are served promptly, and the memory of encdns-dns does not grow. Twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Socket;
use Lab;

use constant {
	CLIENTS => 20_000, CHILDREN => 5, EACH => 40, # of an address
	GREEDY => 25, # one of so many reads nothing: the kernel keeps its answers, and memory is dear
	UDP => 0.02, TCP => 0.05, # seconds: 99 of 100 are faster
	GROWTH => 2048, # KiB that the second wave may add to the first: which worker gets whom differs
};

sub from_address { # the n-th client's
	my ($n) = @_;
	$n = int $n / EACH;
	return pack 'C4', 127, 10 + $n / 62500, 1 + $n / 250 % 250, 1 + $n % 250;
}
sub tcp_query { my $q = DNS::query(@_); pack 'n/a', $q }

# A child: opens clients number FIRST .. LAST, says so, plays on until its input ends.
if (@ARGV && $ARGV[0] eq 'clients') {
	my (undef, $port, $first, $last) = @ARGV;
	my $to = pack_sockaddr_in($port, inet_aton('127.0.0.1'));
	my $big = tcp_query('much.big.example', 'A') x 8;
	my $half = substr tcp_query('ns.big.example', 'A'), 0, 20;
	my (@all, @slow);
	$SIG{PIPE} = 'IGNORE';
	for my $n ($first .. $last) {
		socket my $s, AF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
		setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096;
		bind $s, pack_sockaddr_in(0, from_address($n)) or die "bind: $!\n";
		connect $s, $to or die "connect: $!\n";
		push @all, $s;
		if ($n % GREEDY == 0) { syswrite $s, $big }
		elsif ($n % 3 == 1) { syswrite $s, $half }
		elsif ($n % 3 == 2) { push @slow, [$s, 0] }
	}
	$| = 1;
	print "open\n";
	my @octet = split //, tcp_query(('a' x 60 . '.') x 4 . 'big.example', 'A');
	until (DNS::readable(\*STDIN, 0.02)) {
		for (1 .. 50) { # each of them about every second
			my $o = shift @slow;
			syswrite $o->[0], $octet[ $o->[1]++ ] if $o->[1] < @octet;
			push @slow, $o;
		}
	}
	exit 0;
}

my $limit = qx(bash -c 'ulimit -Hn');
chomp $limit;
my $need = CLIENTS / CHILDREN + 100;
plan skip_all => "the limit of open files (ulimit -Hn) is $limit, $need are needed" if $limit ne 'unlimited' && $limit < $need;

my $dir = tempdir('encdns-flood-XXXXXX', TMPDIR => 1, CLEANUP => 1);
Lab::spurt("$dir/zone", "\$ORIGIN big.example.\n\$TTL 300\n\@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n"
	. join('', map { sprintf "much A 10.0.%d.%d\n", $_ / 250, $_ % 250 } 0 .. 2999));
my $lab = Lab->new(zones => { 'big.example.' => "$dir/zone" },
	set => ['workers=2', 'rrl=off', 'tcp-connections=' . (CLIENTS / 2), 'tcp-per-client=' . EACH, 'tcp-idle=600']);
my $port = $lab->port;
my ($dns) = $lab->pids('node1', 'encdns-dns');
sub dirty { Lab::slurp("/proc/$dns/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m ? $1 : die "encdns-dns is gone\n" }
sub status { ($lab->status('node1') // die "no status\n")->{queries} }
my ($room) = Lab::slurp($lab->dir . '/node1/log') =~ /tcp-connections is (\d+)/;
$room = 2 * ($room // CLIENTS / 2);

sub wave {
	my @child;
	for my $i (0 .. CHILDREN - 1) {
		my $n = CLIENTS / CHILDREN;
		my $pid = open my $out, '-|';
		if (!$pid) { # reads our end of a pipe, which closes when we are gone
			open STDIN, '<', "$dir/hold" or die;
			exec 'sh', '-c', 'ulimit -n "$1"; shift; exec "$@"', 'sh', $need, $^X, $0, 'clients', $port, $i * $n, $i * $n + $n - 1;
		}
		push @child, [$pid, $out];
	}
	open my $hold, '>', "$dir/hold" or die;
	my $ready = grep { my $f = $_->[1]; (readline($f) // '') eq "open\n" } @child;
	return ($ready, sub {
		close $hold;
		close $_->[1] for @child; # waits
	});
}
sub ninety_nine { my @t = sort { $a <=> $b } @_; $t[ int(@t * 0.99) ] }
sub bar {
	my ($bar, $what, @took) = @_;
	my $t = ninety_nine(@took);
	cmp_ok($t, '<', 5 * $bar, sprintf '%s: 99 of 100 within %.4f s (bar %.3f s), median %.4f s', $what, $t, $bar, (sort { $a <=> $b } @took)[ @took / 2 ]);
}
sub times_of {
	my (%o) = @_;
	return map {
		my $from = DNS::now();
		my $m = $lab->ask('ns.big.example', 'A', wait => 2, tries => 1, %o);
		$m && @{ $m->{answer} } == 1 ? DNS::now() - $from : 99;
	} 1 .. 300;
}

POSIX::mkfifo("$dir/hold", 0600) or die "mkfifo: $!\n";
bar(UDP, 'UDP before', times_of());
bar(TCP, 'TCP before', times_of(tcp => 1));
my @dirty;
for my $n (1, 2) {
	my $from = DNS::now();
	my ($ready, $end) = wave();
	is($ready, CHILDREN, sprintf 'wave %d: %d clients in %.1f s', $n, CLIENTS, DNS::now() - $from);
	bar(UDP, "wave $n: UDP", times_of());
	bar(TCP, "wave $n: new TCP clients", times_of(tcp => 1));
	cmp_ok(status()->{tcp_open}, '>', 0.9 * ($room < CLIENTS ? $room : CLIENTS), "wave $n: " . status()->{tcp_open} . ' connections are open, there is room for ' . $room);
	push @dirty, dirty();
	$end->();
	bar(UDP, "wave $n: UDP while they go", times_of());
	ok(Lab::wait_for(20, sub { status()->{tcp_open} == 0 }), "wave $n: all are gone");
}
cmp_ok($dirty[1] - $dirty[0], '<', GROWTH, "private memory: $dirty[0] KiB in the first wave, $dirty[1] in the second");
is(($lab->pids('node1', 'encdns-dns'))[0], $dns, 'the same process');
$lab->down;
done_testing;
