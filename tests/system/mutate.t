#!/usr/bin/perl
# Broken messages by the thousand, over UDP and TCP, against a running node: bits
# turned, ends cut, lengths and counts that lie, garbage. It goes on answering
# right, with the same processes, a short log, and no more memory than after the
# first seconds. 15 s; with LONG 10 minutes; SECONDS overrides, SEED repeats.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Socket;
use Lab;

use constant {
	WARM_UP => 4,     # seconds, before memory is looked at
	GROWTH => 512,    # KiB of private memory from there on
	LINES => 10,      # of the node's log
	RATE => 4000,     # datagrams a second at most: others use this machine
	STREAMS => 300,   # connections a second
};
my $seconds = $ENV{SECONDS} // ($ENV{LONG} ? 600 : 15);
srand(my $seed = $ENV{SEED} // time);
note("SEED=$seed");

my $dir = tempdir('encdns-mutate-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $big = Lab::spurt("$dir/zone", "\$ORIGIN big.example.\n\$TTL 300\n\@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n"
	. "* TXT wild\nsub NS ns.sub\nns.sub A 192.0.2.2\nd DNAME e\nc CNAME www.example.org.\n"
	. join('', map { sprintf "much A 10.0.%d.%d\n", $_ / 250, $_ % 250 } 0 .. 999));
my $lab = Lab->new(zones => { 'big.example.' => $big, 'example.org.' => "$Lab::tree/tests/zones/example.org.zone" },
	set => ['workers=2', 'rrl=off', 'identity=mutated', 'tcp-idle=2']);
my $port = $lab->port;

# ---- what is sent -----------------------------------------------------------

sub option { my ($code, $value) = @_; pack 'nn/a', $code, $value }
sub with_opt { # a query with an OPT of these octets
	my ($q, $rdata, $flags, $size) = @_;
	substr $q, 10, 2, pack 'n', 1;
	return $q . pack('CnnNn/a', 0, 41, $size // 1232, $flags // 0, $rdata);
}
my @model = map { DNS::query(@$_) } map { my $t = $_; map { [$_, $t, do => int rand 2] }
	qw(example.org www.example.org ns.big.example much.big.example a.b.sub.big.example x.d.big.example c.big.example none.of.them.example .) }
	qw(A ANY SOA NS TXT DS DNSKEY AXFR IXFR TYPE65280);
my $plain = DNS::query('much.big.example', 'A');
push @model, with_opt($plain, option(3, '') . option(10, 'abcdefgh') . option(11, '')),
	with_opt($plain, option(10, 'abcdefgh' x 3), 0x8000), with_opt($plain, option(65001, 'x' x 500), 0, 65535),
	with_opt($plain, '', 0x10000), DNS::query('id.server', 'TXT', class => 3), DNS::query('example.org', 'SOA', opcode => 4),
	DNS::query('example.org', 'SOA', opcode => 5);
{
	my $tsig = $plain . "\3key\0" . pack 'nnNn/a', 250, 255, 0, "\x0bhmac-sha256\0" . pack('nNnn/ann', 0, 1, 300, 'm' x 32, 7, 0) . "\0\0";
	substr $tsig, 10, 2, pack 'n', 1;
	push @model, $tsig;
}

sub noise { join '', map { chr int rand 256 } 1 .. shift }
sub any { $_[ rand @_ ] }
sub mutated {
	my $q = any(@model);
	substr $q, 0, 2, pack 'n', rand 65536;
	for (1 .. any(1, 1, 2, 5)) {
		return noise(rand 64) if length $q < 4;
		my $at = int rand(length($q) - 2);
		my $how = int rand 10;
		if ($how < 3) { vec($q, rand 8 * length $q, 1) ^= 1 }
		elsif ($how == 3) { $q = substr $q, 0, rand length $q }
		elsif ($how == 4) { substr $q, $at, 2, pack 'n', any(0, 1, 0xffff, 0xc000 | rand 64, rand 65536) } # a length, a pointer
		elsif ($how == 5) { substr $q, 4 + 2 * int rand 4, 2, pack 'n', any(0, 1, 2, 17, 65535) if length $q >= 12 } # a count
		elsif ($how == 6) { substr $q, $at, 0, noise(rand 30) }
		elsif ($how == 7) { substr $q, $at, 1 + rand 10, '' }
		elsif ($how == 8) { $q .= any(substr(any(@model), 12), noise(rand 600)) }
		else { substr $q, $at, 1, chr any(0, 63, 64, 128, 191, 192, 255) }
	}
	return $q;
}

# Is it what a server may say?  Whatever was asked: well formed, a response, of some size.
sub sound { my $m = eval { DNS::decode($_[0]) }; $m && $m->{qr} && !$m->{ra} }

sub paced { # calls do() so many times a second, until the end
	my ($rate, $end, $do) = @_;
	my ($n, $from) = (0, DNS::now());
	while (DNS::now() < $end) {
		$n += $do->();
		my $ahead = $n / $rate - (DNS::now() - $from);
		DNS::pause($ahead) if $ahead > 0;
	}
	return $n;
}
sub over_udp {
	my ($end, $bad) = @_;
	my ($s, $answers) = (DNS::udp_socket('127.0.0.1', $port), 0);
	my $n = paced(RATE, $end, sub {
		for (1 .. 50) {
			send $s, rand() < 0.1 ? noise(rand 1500) : mutated(), 0;
			while (defined recv $s, my $m, 65535, Socket::MSG_DONTWAIT()) {
				$answers++;
				$bad->($m) if $answers % 8 == 0 && !sound($m);
			}
		}
		return 50;
	});
	return ($n, $answers);
}
sub over_tcp {
	my ($end, $bad) = @_;
	my ($answers, $refused) = (0, 0);
	$SIG{PIPE} = 'IGNORE';
	my @open; # some stay for a while, with half a message
	my $n = paced(STREAMS, $end, sub {
		my $s = eval { DNS::tcp_socket('127.0.0.1', $port) } or return ++$refused;
		my $out = '';
		for (1 .. any(1, 1, 3, 60)) {
			my $m = rand() < 0.2 ? any(@model) : mutated();
			my $how = int rand 12;
			$out .= $how == 0 ? pack('n', rand 65536) . $m : $how == 1 ? pack('n', length($m) + any(-3, -1, 1, 5)) . $m : $how == 2 ? noise(rand 300) : pack 'n/a', $m;
		}
		while (length $out) {
			(syswrite $s, substr $out, 0, any(1, 2, 7, 1000, 100000), '') // last;
		}
		my $in = '';
		if (rand() < 0.7) {
			1 while DNS::readable($s, 0.005) && sysread $s, $in, 65536, length $in;
		}
		while (length $in >= 2 && length $in >= 2 + unpack 'n', $in) {
			my $m = substr $in, 0, 2 + unpack('n', $in), '';
			$answers++;
			$bad->($m) if !sound(substr $m, 2);
		}
		push @open, $s;
		shift @open if @open > 100 || rand() < 0.5;
		return 1;
	});
	return ($n, $answers, $refused);
}

# ---- while they do ----------------------------------------------------------

sub dirty { my ($dns) = $lab->pids('node1', 'encdns-dns'); Lab::slurp("/proc/$dns/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m ? $1 : -1 }
sub pids { join ' ', sort { $a <=> $b } $lab->pids('node1') }
sub lines { scalar(() = Lab::slurp($lab->dir . '/node1/log') =~ /\n/g) }
my ($pids, $lines, $end) = (pids(), lines(), DNS::now() + $seconds + WARM_UP);
my @child;
for my $kind (\&over_udp, \&over_tcp) {
	srand($seed + 1 + @child);
	my $pid = open my $out, '-|';
	if (!$pid) {
		my ($bad, $example) = (0, '');
		my @n = $kind->($end, sub { $bad++; $example ||= unpack 'H*', $_[0] });
		print "$n[0] $n[1] $bad ", $n[2] // 0, " $example\n";
		close STDOUT;
		POSIX::_exit(0);
	}
	push @child, $out;
}
my @right = (['www.example.org', 'A', 'www.example.org. 3600 IN A 192.0.2.80'], ['ns.big.example', 'A', 'ns.big.example. 300 IN A 192.0.2.1'],
	['x.big.example', 'TXT', 'x.big.example. 300 IN TXT ' . unpack 'H*', "\4wild"]);
my ($asked, %wrong, $before) = (0);
while (DNS::now() < $end) {
	$before //= dirty() if DNS::now() > $end - $seconds;
	my $r = $right[ $asked++ % @right ];
	my $tcp = $asked % 2;
	my $m = $lab->ask($r->[0], $r->[1], tcp => $tcp);
	my $got = $m ? join ' / ', @{ $m->{answer} } : 'no answer';
	$wrong{ ($tcp ? 'TCP' : 'UDP') . " $r->[0]: $got" }++ if $got ne $r->[2];
	DNS::pause(0.05);
}
for (['UDP', 'datagrams'], ['TCP', 'streams']) {
	my ($n, $answers, $bad, $refused, $example) = split ' ', readline(shift @child) // '0 0 1 0', 5;
	cmp_ok($n, '>', 100 * ($seconds + WARM_UP) / ($_->[0] eq 'TCP' ? 20 : 1), "$n broken $_->[1]");
	cmp_ok($answers, '>', $n / 20, "$answers answers to them");
	is($bad, 0, 'all well formed') or diag($example);
	is($refused, 0, 'no connection refused') if $_->[0] eq 'TCP';
}
is_deeply(\%wrong, {}, "$asked good questions meanwhile, all answered right");
is(pids(), $pids, 'the same processes');
my $more = lines() - $lines;
cmp_ok($more, '<=', LINES, "$more lines of log");
my $after = dirty();
cmp_ok($after - $before, '<=', GROWTH, "private memory: $before KiB after the first seconds, $after at the end");
my $q = ($lab->status('node1') // {})->{queries};
note(join ' ', map { "$_ $q->{$_}" } grep { $q->{$_} } sort keys %$q);
is($q->{servfail}, 0, 'no SERVFAIL');
ok(Lab::wait_for(10, sub { my $s = $lab->status('node1'); $s && $s->{queries}{tcp_open} == 0 }), 'no connection is left');
$lab->down;
done_testing;
