#!/usr/bin/perl
# Abuse: response rate limiting, cookies beside it, one cookie secret for two
# nodes, zone versions, and the admin address, at which nothing shows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Errno qw(ECONNREFUSED);
use File::Temp 'tempdir';
use Socket qw(MSG_DONTWAIT SOCK_STREAM);
use Lab;

# (no answer | answer | refused) of UDP and TCP at an address.
sub knock {
	my ($host, $port) = @_;
	my $s = DNS::udp_socket($host, $port);
	my $udp = 'silent';
	for (1 .. 3) {
		if (!defined send $s, DNS::query('abuse.example', 'SOA'), 0) {
			$udp = $! == ECONNREFUSED ? 'refused' : "$!";
			last;
		}
		next unless DNS::readable($s, 0.3);
		$udp = defined recv($s, my $m, 4096, 0) ? 'answer' : $! == ECONNREFUSED ? 'refused' : "$!";
		last;
	}
	my ($family, $to) = DNS::sockaddr($host, $port);
	socket my $t, $family, SOCK_STREAM, 0 or die "socket: $!\n";
	local $SIG{ALRM} = sub { };
	alarm 5;
	my $tcp = connect($t, $to) ? 'open' : $! == ECONNREFUSED ? 'refused' : "$!";
	alarm 0;
	return "$udp $tcp";
}

if ($ENV{KNOCK}) { # we are the client of the last test
	print knock(split ' ', $ENV{KNOCK});
	exit;
}

my $dir = tempdir('encdns-abuse-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $zone = Lab::spurt("$dir/zone", "\$ORIGIN abuse.example.\n\$TTL 300\n\@ SOA ns h 77 2 3 4 5\n NS ns\nns A 192.0.2.1\n"
	. "www A 192.0.2.2\nother A 192.0.2.3\nthird A 192.0.2.4\n*.wild A 192.0.2.5\nkid NS ns.kid\nns.kid A 192.0.2.6\nd DNAME far.example.\n"
	. join('', map { "name$_ A 192.0.2.7\n" } 1 .. 400));
my @up = (zones => { 'abuse.example' => $zone });

sub cookie_of { my $m = shift; $m && $m->{opt} ? $m->{opt}{options}{10} // '' : '' }

# Sends a list of queries as fast as they go; how many came back whole, as TC and
# nothing else, as BADCOOKIE, not at all.
sub flood {
	my ($lab, $queries, %o) = @_;
	my $s = DNS::udp_socket($o{host} // '127.0.0.1', $lab->port);
	my %r = (whole => 0, tc => 0, badcookie => 0, none => scalar @$queries);
	my $take = sub {
		while (defined recv $s, my $m, 4096, MSG_DONTWAIT) {
			last if $m eq '';
			my $d = DNS::decode($m);
			my $kind = $d->{rcode} eq 'BADCOOKIE' ? 'badcookie' : $d->{tc} ? 'tc' : 'whole';
			$r{odd}++ if $kind ne 'whole' && grep { @{ $d->{$_} } } qw(answer authority additional);
			$r{longest} = length $m if $kind ne 'whole' && length $m > ($r{longest} // 0);
			$r{$kind}++;
			$r{none}--;
		}
	};
	for my $i (0 .. $#$queries) {
		substr $queries->[$i], 0, 2, pack 'n', $i & 0xffff;
		send $s, $queries->[$i], 0;
		$take->() if $i % 32 == 31;
	}
	$take->() while DNS::readable($s, 0.3);
	return \%r;
}
sub same { my ($n, @q) = @_; my $q = DNS::query(@q); return [ ($q) x $n ] }

subtest 'a flood' => sub {
	my $lab = Lab->new(@up, set => ['workers=1', 'rrl=on']);
	my %before = %{ $lab->status('node1')->{queries} };
	my $from = DNS::now();
	my $r = flood($lab, same(4000, 'www.abuse.example', 'A'));
	my $most = 205 + 200 * (DNS::now() - $from);
	cmp_ok($r->{whole}, '>=', 150, "$r->{whole} of 4000 answered");
	cmp_ok($r->{whole}, '<=', $most, sprintf 'at 200 a second and 200 at once: %d at most', $most);
	cmp_ok($r->{tc}, '>', 0.4 * (4000 - $r->{whole}), "$r->{tc} times TC");
	cmp_ok($r->{none}, '>', 0.4 * (4000 - $r->{whole}), "$r->{none} dropped");
	is($r->{odd} // 0, 0, 'with TC comes nothing else');
	is($r->{longest}, length DNS::query('www.abuse.example', 'A'), 'and it is no longer than the query');
	my $m = $lab->ask('www.abuse.example', 'A', tcp => 1);
	is(scalar @{ $m->{answer} }, 1, 'TCP is answered');
	is(flood($lab, same(100, 'other.abuse.example', 'A'))->{whole}, 100, 'another name is answered');
	is(flood($lab, [ map { DNS::query("name$_.abuse.example", 'A') } 1 .. 400 ])->{whole}, 400, '400 names at once are answered');
	is(flood($lab, [ map { DNS::query("no$_.abuse.example", 'A') } 1 .. 400 ])->{whole}, 400, '400 names that are not there, too');
	my $after = $lab->status('node1')->{queries};
	is($after->{rrl_slipped} - $before{rrl_slipped}, $r->{tc}, 'status counts the slipped');
	is($after->{rrl_dropped} - $before{rrl_dropped}, $r->{none}, 'and the dropped');
	is($after->{truncated} - $before{truncated}, $r->{tc}, 'TC is TC');
	like(Lab::run("$Lab::bin/encdns", 'status', '--dir', $lab->dir . '/node1')->{out}, qr/rrl_dropped \d+ rrl_slipped \d+/, 'status in words');
	DNS::pause(1.1);
	is(flood($lab, same(150, 'www.abuse.example', 'A'))->{whole}, 150, 'a second later the name is answered again');
	# what has as many names as anybody can think of is counted together
	for (['NXDOMAIN', 'no%d.abuse.example'], ['a wildcard', 'x%d.wild.abuse.example'], ['a DNAME', 'x%d.d.abuse.example'], ['REFUSED', 'x%d.elsewhere.example']) {
		my ($what, $name) = @$_;
		DNS::pause(0.6);
		$r = flood($lab, [ map { DNS::query(sprintf($name, $_), 'A') } 1 .. 4000 ]);
		cmp_ok($r->{whole}, '<', 3500, "$what: $r->{whole} of 4000 different names");
		cmp_ok($r->{whole}, '>', 700, 'a second\'s worth at once');
	}
	$r = flood($lab, [ map { DNS::query("x$_.kid.abuse.example", 'A') } 1 .. 4000 ]);
	cmp_ok($r->{whole}, '<', 1500, "referrals: $r->{whole} of 4000 different names below a cut");
	$lab->down;
};

subtest 'settings' => sub {
	my $off = Lab->new(@up, set => ['workers=1', 'rrl=off']);
	is(flood($off, same(2000, 'www.abuse.example', 'A'))->{whole}, 2000, 'rrl off: all answered');
	$off->down;
	$off = Lab->new(@up, set => ['workers=1']);
	is(flood($off, same(2000, 'www.abuse.example', 'A'))->{whole}, 2000, 'by default the loopback is not limited');
	$off->down;
	my $lab = Lab->new(@up, set => ['workers=1', 'rrl=on', 'rrl-rate=50', 'rrl-slip=1', 'rrl-allow=127.0.0.0/8', 'rrl-allow=2001:db8::/32']);
	is(flood($lab, same(2000, 'www.abuse.example', 'A'))->{whole}, 2000, 'rrl-allow: all answered');
	SKIP: {
		skip 'no IPv6 loopback', 2 unless Lab::slurp('/proc/net/if_inet6') =~ /^0{31}1 /m;
		my $r = flood($lab, same(2000, 'www.abuse.example', 'A'), host => '::1');
		cmp_ok($r->{whole}, '<', 500, "IPv6, rate 50: $r->{whole} of 2000");
		is($r->{whole} + $r->{tc}, 2000, 'rrl-slip 1: the rest gets TC');
	}
	$lab->down;
	$lab = Lab->new(@up, set => ['workers=1', 'rrl=on', 'rrl-total-rate=100', 'rrl-slip=0']);
	my $r = flood($lab, [ map { DNS::query("name$_.abuse.example", 'A') } 1 .. 400 ]);
	cmp_ok($r->{whole}, '<', 300, "rrl-total-rate 100: $r->{whole} of 400 names");
	is($r->{tc}, 0, 'rrl-slip 0: no TC');
	$lab->down;
};

subtest 'cookies' => sub {
	my $lab = Lab->new(@up, nodes => 2, set => ['workers=1', 'rrl=on']);
	my $mine = 'clientck';
	my $r = flood($lab, same(2000, 'www.abuse.example', 'A', cookie => $mine));
	cmp_ok($r->{whole}, '<', 1000, "a client's cookie alone: $r->{whole} of 2000");
	cmp_ok($r->{badcookie}, '>', 0, "$r->{badcookie} times BADCOOKIE");
	is($r->{tc}, 0, 'never TC');
	is($r->{odd} // 0, 0, 'with BADCOOKIE comes nothing else');
	my $m = $lab->ask('third.abuse.example', 'A', cookie => $mine);
	my $cookie = cookie_of($m);
	is(length $cookie, 24, 'a cookie is given');
	is(substr($cookie, 0, 8), $mine, 'to the client that asked');
	is(flood($lab, same(2000, 'www.abuse.example', 'A', cookie => $cookie))->{whole}, 2000, 'with it, all 2000 are answered');
	$m = DNS::decode(DNS::ask_udp('127.0.0.1', $lab->port, [ pack('n6', 0, 0, 0, 0, 0, 1) . DNS::opt(1232, 0, [10, $mine]) ])->[0]);
	is("$m->{rcode} $m->{question}", 'NOERROR ', 'no question, only a cookie: answered');
	is(length cookie_of($m), 24, 'by a cookie');
	my $bad = $cookie;
	substr $bad, 20, 1, chr(1 ^ ord substr $bad, 20, 1);
	$r = flood($lab, same(1000, 'www.abuse.example', 'A', cookie => $bad));
	cmp_ok($r->{badcookie}, '>', 0, 'a changed one is a bad one');
	cmp_ok($r->{whole}, '<', 500, 'and is limited');
	$r = flood($lab, same(2000, 'www.abuse.example', 'A', cookie => $cookie), host => '127.0.0.2');
	is($r->{whole}, 2000, "node 1's cookie is good at node 2");
	is($lab->cmd('restart')->{status}, 0, 'restart');
	is(flood($lab, same(1000, 'www.abuse.example', 'A', cookie => $cookie))->{whole}, 1000, 'and after a restart');
	my $secret = Lab::slurp($lab->dir . '/operator/cookie-secret');
	chomp $secret;
	like($secret, qr/^[0-9a-f]{32}\z/, "the lab's secret");
	is(Lab::run('grep', '-rl', $secret, glob $lab->dir . '/{hub,node}[0-9]*')->{out}, '', 'is with the operator only');
	$lab->down;

	$lab = Lab->new(@up, set => ['workers=1', 'rrl=on', 'cookie-required=on']);
	is($lab->ask('www.abuse.example', 'A', cookie => $mine)->{rcode}, 'BADCOOKIE', 'cookie-required: BADCOOKIE at first');
	is($lab->ask('www.abuse.example', 'A')->{rcode}, 'NOERROR', 'not without a cookie');
	is($lab->ask('www.abuse.example', 'A', cookie => $mine, tcp => 1)->{rcode}, 'NOERROR', 'not over TCP');
	SKIP: {
		skip 'needs package bind9-dnsutils', 2 if Lab::run('dig', '-v')->{status};
		my @dig = ('dig', '@127.0.0.1', '-p', $lab->port, 'www.abuse.example', 'A', '+norec', '+tries=1');
		my $d = Lab::run({ limit => 20 }, @dig, '+cookie', '+nobadcookie')->{out};
		like($d, qr/status: BADCOOKIE.*COOKIE: [0-9a-f]{48} \(good\)/s, 'dig sees BADCOOKIE and a cookie for it') or diag($d);
		$d = Lab::run({ limit => 20 }, @dig, '+cookie', '+badcookie')->{out};
		like($d, qr/status: NOERROR.*192\.0\.2\.2/s, 'dig comes back with the cookie and is answered') or diag($d);
	}
	SKIP: {
		skip 'needs package knot-dnsutils', 1 if Lab::run('kdig', '-V')->{status};
		my $d = Lab::run({ limit => 20 }, 'kdig', '@127.0.0.1', '-p', $lab->port, 'www.abuse.example', 'A', '+cookie', '+badcookie')->{out};
		like($d, qr/status: NOERROR.*192\.0\.2\.2/s, 'and so does kdig') or diag($d);
	}
	$lab->down;
};

subtest 'versions and errors' => sub {
	my $lab = Lab->new(@up);
	my $m = $lab->ask('www.abuse.example', 'A', options => [[19, '']]);
	is(unpack('H*', $m->{opt}{options}{19} // ''), '02000000004d', 'ZONEVERSION: two labels, SOA serial 77');
	$m = $lab->ask('x.kid.abuse.example', 'A', options => [[19, '']], tcp => 1);
	is(unpack('H*', $m->{opt}{options}{19} // ''), '02000000004d', 'in a referral over TCP');
	$m = $lab->ask('x.elsewhere.example', 'A', options => [[19, '']]);
	ok(!exists $m->{opt}{options}{19}, 'not in REFUSED');
	is(unpack('n', $m->{opt}{options}{15}), 20, 'which is Not Authoritative');
	$m = $lab->ask('www.abuse.example', 'A', options => [[19, "\0"]]);
	is($m->{rcode}, 'FORMERR', 'a query that tells a version');
	$m = $lab->ask('www.abuse.example', 'A', class => 4, options => []);
	is($m->{rcode}, 'REFUSED', 'class HS');
	$lab->down;
};

subtest 'the admin address' => sub {
	my $lab = Lab->new(@up, set => ['admin=127.0.0.77', 'identity=somebody']);
	is(knock('127.0.0.1', $lab->port), 'answer open', 'the service address answers');
	is(knock('127.0.0.78', $lab->port), 'refused refused', 'an address that nobody has: ICMP, as it is');
	is(knock('127.0.0.77', $lab->port), 'silent refused', 'the admin address: silence and RST');
	my $m = $lab->ask('abuse.example', 'SOA', options => [[3, '']]);
	is($m->{opt}{options}{3}, 'somebody', 'NSID tells the identity');
	$m = DNS::decode(DNS::ask_udp('127.0.0.1', $lab->port, [ DNS::query('id.server', 'TXT', class => 3) ])->[0]);
	unlike("@{ $m->{answer} }", qr/127\.0\.0\.77|3132372e302e302e3737/, 'and none the admin address');
	my $again = Lab->new(@up, may_fail => 1, set => ['admin=127.0.0.1']);
	is($again->{up}{status}, 1, 'service and admin at one address');
	like($again->{up}{err}, qr/127\.0\.0\.1 can't be both/, 'is refused');
	$lab->down;
};

# Two hosts: what comes over a wire, not over the loopback.
subtest 'the admin address from outside' => sub {
	plan skip_all => 'needs root' if $>;
	my ($node, $client) = map { "encdns-$_-$$" } 'n', 'c';
	my ($near, $far) = map { substr "ve$_$$", 0, 15 } 'n', 'c';
	my @made;
	my $ip = sub { !Lab::run('ip', @_)->{status} };
	my $good = 1;
	for ($node, $client) {
		$good &&= $ip->('netns', 'add', $_) and push @made, $_;
	}
	$good &&= $ip->('link', 'add', $near, 'netns', $node, 'type', 'veth', 'peer', 'name', $far, 'netns', $client);
	for ([$node, $near, '192.0.2.1/24', '192.0.2.53/24'], [$client, $far, '192.0.2.9/24']) {
		my ($ns, $if, @address) = @$_;
		$good &&= $ip->('-n', $ns, 'addr', 'add', $_, 'dev', $if) for @address;
		$good &&= $ip->('-n', $ns, 'link', 'set', $_, 'up') for 'lo', $if;
	}
	SKIP: {
		skip 'no network namespaces here', 4 unless $good;
		my $port = Lab::free_port();
		my @in = ('ip', 'netns', 'exec');
		my $up = Lab::run({ limit => 60 }, @in, $node, $Lab::lab, 'up', "$dir/outside", '--port', $port,
			'--set', "service=192.0.2.53\@$port", '--set', 'admin=192.0.2.1', "abuse.example=$zone");
		is($up->{status}, 0, 'a node with two addresses') or diag($up->{err});
		my $knock = sub { Lab::run({ limit => 20, env => { KNOCK => "$_[0] $port" } }, @in, $client, $^X, $0)->{out} };
		is($knock->('192.0.2.53'), 'answer open', 'the service address answers');
		is($knock->('192.0.2.1'), 'silent refused', 'the admin address: silence and RST');
		is(Lab::run(@in, $node, $Lab::lab, 'down', "$dir/outside")->{status}, 0, 'down');
	}
	$ip->('netns', 'del', $_) for @made;
};
done_testing();
