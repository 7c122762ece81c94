#!/usr/bin/perl
# What encdns-dns shares with the other processes: it reads the store, its root,
# and writes nothing but one page for each worker. Workers keep to the processors
# the node was given.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Lab;
no warnings "portable"; # addresses of 64 bits

use constant WORKERS => 3;
my $lab = Lab->new(zones => { 'example.org.' => "$Lab::tree/tests/zones/example.org.zone" }, set => ['workers=' . WORKERS]);

sub shared {
	my ($comm) = @_;
	my ($pid) = $lab->pids('node1', $comm);
	# memfd_secret's are shared in name only: a descriptor for them is nowhere
	return grep { $_->[1] =~ /s$/ && ($_->[5] // '') !~ m{^/secretmem } } map { [split ' ', $_, 6] } split /\n/, Lab::slurp("/proc/$pid/maps");
}
# "r--s 16 MiB name" of each mapping, for a failure.
sub text { join ', ', map { my ($from, $to) = map { hex } split /-/, $_->[0]; sprintf '%s %d KiB %s', $_->[1], ($to - $from) / 1024, $_->[5] // '' } @_ }

for my $again ('', ' after a restart of encdns-dns') {
	my @maps = shared('encdns-dns');
	my @written = grep { $_->[1] =~ /w/ } @maps;
	my @read = grep { $_->[1] eq 'r--s' } @maps;
	is(scalar @written, WORKERS, 'a writable shared mapping for each worker' . $again) or diag(text(@maps));
	is(scalar(grep { my ($from, $to) = map { hex } split /-/, $_->[0]; $to - $from == POSIX::sysconf(POSIX::_SC_PAGESIZE()) } @written),
		WORKERS, 'each is a page');
	is(scalar keys %{ { map { $_->[2] => 1 } @written } }, WORKERS, 'of its own');
	is(@read + @written, @maps, 'all else is read only') or diag(text(@maps));
	ok((grep { ($_->[5] // '') =~ m{/store$} } @read) == 1, 'the store among it');
	is(scalar(grep { $_->[1] =~ /w/ && ($_->[5] // '') =~ /encdns-workers/ } shared('encdns-control')), 0,
		'encdns-control does not write to the pages');
	ok((grep { ($_->[5] // '') =~ /encdns-workers/ } shared('encdns-super')) == 1, 'the supervisor reads them');
	my $before = ($lab->status('node1') // {})->{queries}{udp4};
	my $n = grep { my $m = $lab->ask('www.example.org', 'A'); $m && $m->{aa} } 1 .. 20;
	my $after = ($lab->status('node1') // {})->{queries}{udp4};
	is($n, 20, 'answers');
	cmp_ok($after - $before, '>=', 20, 'are counted, by whichever worker');
	last if $again;
	my ($dns) = $lab->pids('node1', 'encdns-dns');
	kill 'KILL', $dns;
	ok(Lab::wait_for(10, sub { my ($p) = $lab->pids('node1', 'encdns-dns'); $p && $p != $dns && $lab->ask('www.example.org', 'A') }), 'back');
}
$lab->down;

# Threads that answer; the others bring in what is not in memory.
sub threads { grep { Lab::slurp("$_/comm") !~ /^encdns-fetch/ } glob "/proc/$_[0]/task/*" }

# Which processors may a thread use?
sub allowed { my ($t) = @_; Lab::slurp("$t/status") =~ /^Cpus_allowed_list:\s*(\S+)/m ? $1 : '' }
my $mine = allowed('/proc/self');
my @cpu = map { /(\d+)-(\d+)/ ? ($1 .. $2) : $_ } split /,/, $mine;
SKIP: {
	skip 'one processor only', 5 if @cpu < 2;
	for my $pin ('off', 'on') {
		$lab = Lab->new(zones => { 'example.org.' => "$Lab::tree/tests/zones/example.org.zone" }, set => ['workers=2', "pin=$pin"]);
		my ($dns) = $lab->pids('node1', 'encdns-dns');
		my %at;
		for my $t (threads($dns)) {
			push @{ $at{ $t =~ m{/$dns$} ? 'main' : 'worker' } }, allowed($t);
		}
		is("@{ $at{main} }", $mine, "pin $pin: what was inherited, but for the workers");
		is_deeply([sort { $a cmp $b } @{ $at{worker} }], $pin eq 'on' ? [sort { $a cmp $b } @cpu[0, 1]] : [$mine, $mine], "workers with pin $pin");
		$lab->down;
	}
	$lab = Lab->new(zones => { 'example.org.' => "$Lab::tree/tests/zones/example.org.zone" }, set => ['workers=' . (@cpu + 1), 'pin=on']);
	my ($dns) = $lab->pids('node1', 'encdns-dns');
	is(scalar(grep { allowed($_) ne $mine } glob "/proc/$dns/task/*"), 0, 'with more workers than processors none is pinned');
	$lab->down;
}
done_testing;
