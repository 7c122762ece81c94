#!/usr/bin/perl
# Names that are not in memory: the real encdns-dns hears the truth about it from the
# kernel, behind its filter, and has them brought in. (That others don't wait:
# tests/test_cold.c.)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

use constant NAMES => 120_000;
my %fadvise = (x86_64 => 221, aarch64 => 223, riscv64 => 223);
my $call = $fadvise{ (POSIX::uname())[4] } or plan skip_all => 'no number for fadvise64';
my $dir = tempdir('encdns-cold-XXXXXX', TMPDIR => 1, CLEANUP => 1);
Lab::spurt("$dir/zone", "\$ORIGIN cold.example.\n\$TTL 300\n\@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n" .
	join '', map { sprintf "name%d A 192.0.2.%d\n", $_, $_ % 250 } 1 .. NAMES);
my $lab = Lab->new(zones => { 'cold.example.' => "$dir/zone" }, set => ['workers=2', 'rrl=off']);

# What is mapped stays, and what lies in one folio with it: not every start will do.
sub evict {
	my $r = Lab::run({ limit => 60 }, $Lab::lab, 'restart', $lab->dir);
	die $r->{err} if $r->{status};
	open my $f, '<', $lab->dir . '/node1/store' or die;
	system 'sync', $lab->dir . '/node1/store';
	syscall($call, fileno $f, 0, 0, 4) == 0 or die "fadvise: $!";
	return $lab->status('node1')->{queries};
}
my ($bad, $asked, $before, $q) = (0, 0);
for my $try (1 .. 5) {
	$before = evict();
	for (my $i = $try; $i <= NAMES; $i += 397) {
		my $m = $lab->ask("name$i.cold.example", 'A');
		$bad++ unless $m && $m->{aa} && @{ $m->{answer} // [] } == 1;
		$asked++;
	}
	$q = $lab->status('node1')->{queries};
	last if $q->{parked} > $before->{parked};
}
is($bad, 0, "$asked names are answered");
is($q->{parked_now}, 0, 'nobody waits any more');
is($q->{$_} - $before->{$_}, 0, "no $_") for qw(servfail damaged dropped parked_full);
SKIP: {
	my $fs = Lab::run('stat', '-f', '-c', '%T', $dir)->{out} // '';
	skip "on $fs all is in memory", 2 if $fs =~ /tmpfs|ramfs|overlay/;
	cmp_ok($q->{parked} - $before->{parked}, '>', 0, 'some had to wait');
	cmp_ok($q->{fetched} - $before->{fetched}, '>=', $q->{parked} - $before->{parked}, 'for what was brought in');
}
unlike(Lab::slurp($lab->dir . '/node1/log'), qr/makes others wait/, 'the kernel tells encdns-dns what is in memory');
$lab->down;
done_testing;
