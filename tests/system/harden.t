#!/usr/bin/perl
# What the processes have given up, and where keys are not: no rights by exec, few
# capabilities, a filter of system calls, no dumps, no look from outside; no key,
# round key or certificate's key in a file, an argument, or readable memory.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Digest::SHA 'hmac_sha256';
use File::Copy 'copy';
use File::Find;
use File::Temp 'tempdir';
use Lab;
use MIME::Base64 'decode_base64';
no warnings 'portable'; # addresses of 64 bits

plan skip_all => 'sanitizers do what no filter allows' if $Lab::bin =~ /asan|tsan/;
# Large enough for the thread that writes a store's log.
my $work = tempdir('encdns-harden-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $large = Lab::spurt("$work/large", "\$TTL 60\n\@ SOA ns hostmaster 1 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n" .
	join '', map { sprintf "name%d TXT \"%s\"\n", $_, 'x' x 200 } 1 .. 30000);
my $lab = Lab->new(zones => { 'large.example.' => $large, 'example.org.' => "$Lab::tree/tests/zones/example.org.zone" },
	set => ['workers=2', 'store-reserve=64M', 'bgp-as=65001', 'bgp-prefix=127.0.0.0/8', 'bgp-port=0', 'bgp-peer=127.0.0.9 as 65009']);

sub proc { Lab::slurp("/proc/$_[0]/$_[1]") }
sub field { proc($_[0], 'status') =~ /^$_[1]:\s*(\S+)/m ? $1 : '' }
my %pid = map { my ($who, $comm) = @$_; ($comm => $lab->pids($who, $comm)) } ['hub1', 'encdns-hub'],
	map { ['node1', "encdns-$_"] } qw(super control dns route);

# ---- what is given up ----

# Of what we have: lock memory; change priorities; read files of others.
my %cap = ('encdns-super' => 1 << 14 | 1 << 23, 'encdns-control' => 1 << 14, 'encdns-dns' => 1 << 14,
	'encdns-route' => 0, 'encdns-hub' => 1 << 14 | 1 << 2);
my $mine = hex field($$, 'CapEff');
sub given_up {
	my ($pid, $comm, $cap) = @_;
	is(field($pid, 'Name'), $comm, "$comm runs") or return;
	for my $task (glob "/proc/$pid/task/*") {
		my $t = $task =~ s,^/proc/,,r;
		is(join(' ', map { field($t, $_) } qw(NoNewPrivs Seccomp)), '1 2', 'its threads: no rights by exec, a filter');
		is(hex field($t, $_), $cap & $mine, "$_") for qw(CapEff CapPrm);
		is(hex field($t, $_), 0, "$_") for qw(CapInh CapAmb);
	}
	like(proc($pid, 'limits'), qr/^Max core file size +0 +0 /m, 'no core file');
	cmp_ok(field($pid, 'VmLck'), '>', 0, 'it has memory locked');
}
for my $comm (sort keys %pid) {
	given_up($pid{$comm}, $comm, $cap{$comm});
	my @tasks = glob "/proc/$pid{$comm}/task/*";
	cmp_ok(scalar @tasks, '>', 1, 'it has threads') if $comm =~ /-(dns|control|hub)$/;
}

# ---- keys ----

sub hkdf { my ($key, $label) = @_; hmac_sha256("$label\x01", hmac_sha256($key, '')) }

# Round keys of AES-256 (FIPS 197 section 5.2) behind the key's own octets.
my @sbox;
{
	my ($p, $q) = (1, 1);
	do {
		$p ^= ($p << 1) & 255 ^ ($p & 128 ? 27 : 0);
		$q ^= $q << $_ & 255 for 1, 2, 4;
		$q ^= 9 if $q & 128;
		my $rotate = sub { ($q << $_[0] | $q >> 8 - $_[0]) & 255 };
		$sbox[$p] = $q ^ $rotate->(1) ^ $rotate->(2) ^ $rotate->(3) ^ $rotate->(4) ^ 99;
	} while $p != 1;
	$sbox[0] = 99;
}
sub round_keys {
	my @w = unpack '(a4)8', $_[0];
	my $rcon = 1;
	for my $i (8 .. 59) {
		my $t = $w[ $i - 1 ];
		$t = pack 'C4', map { $sbox[$_] } unpack 'C4', $i % 8 ? $t : substr($t, 1) . substr($t, 0, 1) if $i % 4 == 0;
		($t, $rcon) = ($t ^ pack('CCCC', $rcon, 0, 0, 0), $rcon << 1) if $i % 8 == 0;
		$w[$i] = $w[ $i - 8 ] ^ $t;
	}
	return map { join '', @w[ $_ * 4 .. $_ * 4 + 3 ] } 2 .. 14;
}
is(unpack('H*', (round_keys(pack 'C*', 0 .. 31))[12]), '24fc79ccbf0979e9371ac23c6d68de36', 'round keys as in FIPS 197, C.3');

my %window; # octets => what they are
for my $file (glob $lab->dir . '/operator/*.key') {
	my $key = pack 'H*', Lab::slurp($file) =~ s/\s//gr;
	my $who = $file =~ s{.*/}{}r;
	next unless $who =~ /^(node1|hub1)/;
	my $super = hkdf($key, 'super');
	$window{$key} = $who;
	$window{ unpack 'H*', $key } = "$who in hex";
	$window{$super} = "the superblocks' key of $who";
	$window{ substr hkdf($key, 'index'), 0, 16 } = "the index key of $who";
	$window{$_} = "a round key of $who" for round_keys($super);
}
for my $file (glob $lab->dir . '/operator/ca/issued/*.pem') {
	my ($text) = Lab::slurp($file) =~ /-----BEGIN (?:EC )?PRIVATE KEY-----\n(.*?)-----END/s or next;
	my ($scalar) = decode_base64($text) =~ /\x02\x01\x01\x04\x20(.{32})/s or next;
	$window{$scalar} = "the private key in $file";
	$window{ scalar reverse $scalar } = "the private key in $file, little end first";
	$window{ (split /\n/, $text)[0] } = "the text of $file";
}
cmp_ok(scalar(grep { /private/ } values %window), '>=', 4, scalar(keys %window) . ' keys to be looked for');
# The index key alone may lie outside the pool, locked: look-ups need it at once.
my $any = join '|', map { quotemeta } keys %window;
my $outside = join '|', map { quotemeta } grep { $window{$_} !~ /index/ } keys %window;
sub found { my ($data, $any) = @_; $data =~ /($any)/ ? $window{$1} : '' }

my ($files, @found) = (0);
find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1, return if $_ eq $lab->dir . '/operator';
	return unless -f;
	$files++;
	my $hit = found(Lab::slurp($_), $any);
	push @found, "$_: $hit" if $hit;
} }, $lab->dir);
cmp_ok($files, '>=', 6, "$files files");
is("@found", '', 'no key in them');
is(found(join('', map { Lab::slurp($_) } glob $lab->dir . '/operator/*.key'), $any) ne '', 1, 'where keys are, they are found');
is(found(join("\0", map { proc($pid{$_}, 'cmdline'), proc($pid{$_}, 'environ') } keys %pid), $any), '', 'nor in arguments or environment');

# ---- memory, as root sees it ----

# Flags, size and octets of each mapping that can be read.
sub mappings {
	my ($pid) = @_;
	open my $mem, '<:raw', "/proc/$pid/mem" or return;
	my (@all, $m);
	for (split /\n/, proc($pid, 'smaps')) {
		push @all, $m = { from => hex $1, size => hex($2) - hex $1, rights => $3, name => $4 } if /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)/;
		$m->{flags} = " $1 " if /^VmFlags: (.*\S)/;
		$m->{locked} = $1 if /^Locked:\s*(\d+)/;
	}
	for (@all) {
		$_->{octets} = '';
		next if $_->{rights} !~ /^r/ || $_->{name} =~ /^\[v/;
		for (my $at = 0; $at < $_->{size}; $at += 1 << 20) {
			sysseek $mem, $_->{from} + $at, 0 or last;
			my $left = $_->{size} - $at;
			sysread $mem, $_->{octets}, $left < 1 << 20 ? $left : 1 << 20, length $_->{octets} or last;
		}
	}
	return @all;
}

SKIP: {
	skip 'only root may look', 1 if $> != 0 || !grep { length $_->{octets} } mappings($$);
	ok(scalar(grep { found($_->{octets}, $outside) } mappings($$)), 'keys in memory are found: in our own');
	for my $comm (sort keys %pid) {
		my @m = mappings($pid{$comm});
		my @secret = grep { $_->{name} =~ m{^/secretmem} } @m;
		my @pool = @secret ? @secret : grep { $_->{flags} =~ / lo / && $_->{flags} =~ / dc / && $_->{flags} =~ / dd / } @m;
		ok(scalar @pool, "$comm: a pool, " . (@secret ? 'of secret memory' : 'locked'));
		is(scalar(grep { $_->{flags} !~ / lo / || $_->{flags} !~ / dc / || $_->{flags} !~ / dd / } @pool), 0,
			'locked, in no dump, in no child');
		is(join('', map { $_->{octets} } @secret), '', 'not to be read from outside') if @secret;
		my @hits = map { my $m = $_; my $hit = (grep { $_ == $m } @pool) ? '' : found($m->{octets}, $outside); $hit ? "$hit in $m->{name}" : () } @m;
		is("@hits", '', 'no key outside of it');
		my @dumped = grep { $_->{flags} !~ / dd / && found($_->{octets}, $any) } @m;
		is(scalar @dumped, 0, 'nothing of keys in what a dump has');
		is(scalar(grep { $_->{flags} =~ / gd / && $_->{flags} =~ / lo / && $_->{flags} =~ / dd / } @m) > 0, 1, 'a stack that is locked and in no dump');
	}
}
SKIP: {
	skip 'no gcore', 2 if $> != 0 || Lab::run('sh', '-c', 'command -v gcore')->{status};
	for my $comm ('encdns-super', 'encdns-control') {
		my $core = $lab->dir . '/core';
		Lab::run({ limit => 60 }, 'gcore', '-o', $core, $pid{$comm});
		my $data = Lab::slurp("$core.$pid{$comm}");
		unlink "$core.$pid{$comm}";
		is(length $data > 10_000 ? found($data, $any) : 'nothing', '', "no key in a core of $comm made by root");
	}
}

# ---- an end by the filter is told ----
kill 'SYS', $pid{'encdns-dns'};
ok(Lab::wait_for(10, sub { my ($p) = $lab->pids('node1', 'encdns-dns'); $p && $p != $pid{'encdns-dns'} && $lab->ask('www.example.org', 'A') }),
	'encdns-dns is started again');
like(Lab::slurp($lab->dir . '/node1/log'), qr/encdns-dns was ended by signal \d+ \(a system call that it may not make\)/, 'the log says why it ended');

# ---- run level 1 ----
$lab->halt('node1');
ok($lab->waiting('node1'), 'a node waits for its operator');
my ($waits) = $lab->pids('node1', 'encdns-control');
given_up($waits, 'encdns-control', 1 << 14);
$lab->down;

# ---- without root: from outside, by the same user ----

# The ad-hoc pipe as another user, with these limits; its pid.
my $dir = tempdir('encdns-harden-XXXXXX', TMPDIR => 1, CLEANUP => 1);
copy("$Lab::bin/$_", "$dir/$_") && chmod 0755, "$dir/$_" for qw(encdns encdns-hub);
copy("$Lab::tree/tests/zones/example.org.zone", "$dir/zone");
my $uid = $> || 65534;
chown $uid, -1, $dir if $> == 0;
sub as_user {
	my ($code) = @_;
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	($(, $)) = (65534, '65534 65534') if $> == 0;
	POSIX::setuid($uid) if $> == 0;
	chdir $dir;
	$code->();
	POSIX::_exit(127);
}
sub ad_hoc {
	my ($limits) = @_;
	my $port = Lab::free_port();
	my $pid = as_user(sub { exec 'sh', '-c', "$limits; rm -f pipe; mkfifo pipe; ./encdns-hub stream example.org=zone >pipe & exec ./encdns run --ad-hoc --port $port <pipe 2>log" });
	my $up = Lab::wait_for(10, sub { my $m = DNS::ask('127.0.0.1', $port, 'www.example.org', 'A'); $m && $m->{aa} });
	return ($pid, $up);
}

my ($super, $up) = ad_hoc('ulimit -c unlimited; ulimit -l 64');
ok($up, 'a node of another user answers, with little memory to be locked') or diag(Lab::slurp("$dir/log"));
like(Lab::slurp("$dir/log"), qr/encdns-super\[\d+\]: warning: this can't be locked in memory and may be swapped out: keys/, 'it says that keys are not');
for my $what (qw(mem maps environ fd)) {
	waitpid as_user(sub { POSIX::_exit((opendir my $d, "/proc/$super/$what") || (open my $f, '<', "/proc/$super/$what") ? 0 : 1) }), 0;
	isnt($?, 0, "its user can't read /proc/PID/$what");
}
is((stat "/proc/$super/fd")[4], 0, 'its descriptors are root\'s to see');
my $control = as_user(sub { exec 'sh', '-c', 'ulimit -c unlimited; kill -SEGV $$' });
waitpid $control, 0;
SKIP: {
	skip 'no cores are made here', 2 unless $? & 128;
	kill 'SEGV', $super;
	waitpid $super, 0;
	is($? & 127, 11, 'it crashes');
	is($? & 128, 0, 'and leaves no core');
}
kill 'KILL', $super;
waitpid $super, 0;
done_testing();
