#!/usr/bin/perl
# Neighbours and strangers that misbehave, all at once: the session with a good neighbour
# stays, whose hold time is 3 s, DNS is answered, and a fault withdraws the
# route within a second.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use BGP;
use IO::Select;
use IO::Socket::INET;
use Lab;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);

my $prefix = '127.0.0.0/8';
my $zone = "$FindBin::Bin/../zones/example.org.zone";
my $seconds = 12;

my $good = BGP->new(host => '127.0.0.9', as => 65009, hold => 3, every => 0.8);
my $port = Lab::free_port();
my $from = DNS::now();
my @bad = map { '127.0.0.' . (20 + $_) } 0 .. 7;
my $lab = Lab->new(zones => { 'example.org' => $zone }, set => [ 'workers=2', 'bgp-as=65001', 'bgp-id=10.0.0.100', "bgp-prefix=$prefix", "bgp-port=$port",
	'bgp-peer=127.0.0.9 as 65009 retry 1 hold 3 mode dial source 127.0.0.1 port ' . $good->port,
	map { "bgp-peer=$_ as 65002 mode listen retry 1 source 127.0.0.1" } @bad ]);
ok($good->announced($from, $prefix), 'announced') or BAIL_OUT('no announcement');

sub call {
	my ($who, %o) = @_;
	my $s = IO::Socket::INET->new(LocalAddr => $who, PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 2, %o);
	return $s;
}
# Octets as fast as the node takes them, until it closes; how many.
sub pour {
	my ($s, $what, $end) = @_;
	my $n = 0;
	$s->blocking(0);
	while (DNS::now() < $end) {
		my $w = syswrite $s, $what;
		if (defined $w) {
			$n += $w;
			next;
		}
		last unless $!{EAGAIN};
		1 while sysread $s, my $in, 65536; # it must not wait for us
		select undef, undef, undef, 0.001;
	}
	return $n;
}
sub establish {
	my ($who) = @_;
	my $s = call($who) or return;
	syswrite $s, BGP::open_message(as => 65002, id => 0x0a000000 + unpack('N', Socket::inet_aton($who)) % 256) . BGP::message(4, '');
	IO::Select->new($s)->can_read(2);
	return $s;
}
sub attribute { my ($flags, $type, $v) = @_; pack 'CC n/a*', $flags | 0x10, $type, $v }
sub update_message { my ($attributes, $nlri) = @_; BGP::message(2, pack 'n n/a* a*', 0, $attributes, $nlri) }

my $refresh = BGP::message(5, pack 'nCC', 1, 0, 1) x 200;
my $giant = update_message(attribute(0x40, 1, "\0") . attribute(0x40, 2, pack 'CCN', 2, 1, 65002) . attribute(0x40, 3, "\x7f\0\0\1") .
	attribute(0xc0, 99, 'x' x 4020), "\x18\xc0\0\2");
$giant x= 16;
my $padding = BGP::message(4, '') x 1000;

# Again and again; the sum of what that returns.
sub again {
	my ($end, $do) = @_;
	my $n = 0;
	$n += $do->() while DNS::now() < $end;
	return $n;
}
# The same with each session that comes up.
sub sessions {
	my ($who, $end, $do) = @_;
	return again($end, sub { my $s = establish($who); $s ? $do->($s) : 0 });
}
sub dribble {
	my ($s, $what, $end) = @_;
	for (split //, $what) {
		(syswrite $s, $_) // last;
		DNS::pause(0.05);
		last if DNS::now() > $end;
	}
	return 1;
}
sub read_nothing {
	my ($s, $end) = @_;
	my $n = 0;
	setsockopt $s, SOL_SOCKET, SO_RCVBUF, pack 'i', 2048;
	$s->blocking(0);
	while (DNS::now() < $end && $s->connected) {
		$n += (syswrite $s, $refresh) // 0;
		DNS::pause(0.005);
	}
	return $n;
}

# Each of them until the end; what it returns is how often or how much.
my @evil = (
	[ 'calls and says nothing', sub {
		my ($who, $end) = @_;
		my @s;
		again($end, sub { push @s, call($who) // (); shift @s if @s > 20; DNS::pause(0.05); 1 });
	} ],
	[ 'calls and hangs up', sub {
		my ($who, $end) = @_;
		again($end, sub { my $s = call($who); setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0 if $s; 1 });
	} ],
	[ 'sends its OPEN octet by octet', sub {
		my ($who, $end) = @_;
		again($end, sub { my $s = call($who); $s ? dribble($s, BGP::open_message(as => 65002), $end) : 0 });
	} ],
	[ 'sends garbage for ever', sub {
		my ($who, $end) = @_;
		again($end, sub { my $s = call($who); $s ? pour($s, "\0" x 65536, $end) : 0 });
	} ],
	[ 'asks for all routes for ever', sub { my ($who, $end) = @_; sessions($who, $end, sub { pour($_[0], $refresh, $end) }) } ],
	[ 'sends the largest UPDATEs for ever', sub { my ($who, $end) = @_; sessions($who, $end, sub { pour($_[0], $giant, $end) }) } ],
	[ 'asks for all routes and reads nothing', sub { my ($who, $end) = @_; sessions($who, $end, sub { read_nothing($_[0], $end) }) } ],
	[ 'sends KEEPALIVEs for ever', sub { my ($who, $end) = @_; sessions($who, $end, sub { pour($_[0], $padding, $end) }) } ],
	[ 'is a stranger who calls for ever', sub { my (undef, $end) = @_; again($end, sub { call('127.0.0.99'); 1 }) } ],
);
$from = DNS::now();
my @running = map {
	my ($what, $do) = @{ $evil[$_] };
	my $who = $bad[ $_ % @bad ];
	pipe my $r, my $w or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		$SIG{PIPE} = 'IGNORE';
		syswrite $w, eval { $do->($who, DNS::now() + $seconds) } // "failed: $@";
		POSIX::_exit(0);
	}
	close $w;
	[ $pid, $r ];
} 0 .. $#evil;

my ($asked, $answered) = (0, 0);
while (DNS::now() < $from + $seconds - 3) {
	my $m = eval { $lab->ask('example.org', 'SOA', wait => 0.5, tries => 1) };
	$asked++;
	$answered++ if $m && $m->{aa};
	DNS::pause(0.05);
}
my @heard = $good->events($from);
sub cpu { my ($pid) = $lab->pids('node1', $_[0]); my @f = split ' ', Lab::slurp("/proc/$pid/stat") =~ s/.*\) //sr; ($f[11] + $f[12]) / 100 }
note(sprintf 'processor time: encdns-route %.1f s, encdns-dns %.1f s of %.1f s', cpu('encdns-route'), cpu('encdns-dns'), DNS::now() - $from);
is(scalar(grep { $_->{what} =~ /^(?:closed|connected|notification)$/ } @heard), 0, 'the session with the good neighbour stays');
is(scalar(grep { @{ $_->{withdrawn} // [] } } @heard), 0, '... and so does the route') or diag(Lab::slurp($lab->dir . '/node1/log'));
cmp_ok($answered, '>=', 0.95 * $asked, "DNS is answered ($answered of $asked)");
my $stop = DNS::now();
kill 'KILL', $lab->pids('node1', 'encdns-dns');
my $gone = $good->withdrawn($stop, $prefix, 5);
ok($gone, 'encdns-dns is killed meanwhile: the route is withdrawn') and note(sprintf 'after %.0f ms (bar 1000 ms)', 1000 * ($gone->{at} - $stop));
for my $i (0 .. $#running) {
	my $n = readline $running[$i][1];
	waitpid $running[$i][0], 0;
	like($n, qr/^[1-9]/, "a neighbour that $evil[$i][0] ($n)");
}
my $log = Lab::slurp($lab->dir . '/node1/log');
cmp_ok(scalar(() = $log =~ /\n/g), '<', 300, 'the log stays short');

# ---- a neighbour that starts anew while its old connection says nothing ----
# The old one, whose end was never heard of, is in OpenSent.
DNS::pause(2);
my $who = '127.0.0.27';
my $old;
ok(Lab::wait_for(20, sub { $old = call($who); $old && IO::Select->new($old)->can_read(1) && sysread $old, my $in, 19 }), 'a connection that says nothing');
my ($s, $came);
ok(Lab::wait_for(30, sub {
	$s = establish($who) or return;
	my $in = '';
	my $end = DNS::now() + 1;
	while (DNS::now() < $end && IO::Select->new($s)->can_read(0.5)) {
		sysread $s, $in, 65536, length $in or last;
	}
	return $came = $in =~ /^\xff{16}..\x01/s && $in =~ /\xff{16}\0\x13\x04/;
}), '... gives way to the neighbour\'s new ones');
$lab->down;
done_testing;
