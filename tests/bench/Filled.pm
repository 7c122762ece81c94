package Filled;
# A lab whose node's store was filled with very many names of the zone tld. behind
# its back: what a hub would have sent, without the hub's share of the disk.
use strict;
use warnings;
use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use Lab;
use List::Util 'sum';
use POSIX ();

use constant POSIX_FADV_DONTNEED => 4;
my $fadvise = { x86_64 => 221, aarch64 => 223, riscv64 => 223 }->{ (POSIX::uname())[4] };

# Filled::lab(NAMES, SET...): its node is up. What "large build" says goes to standard error.
sub lab {
	my ($names, @set) = @_;
	system('make', '--no-print-directory', '-C', $Lab::tree, 'build/tests/bench/large') == 0 or die "make\n";
	my $dir = File::Temp::tempdir('encdns-zone-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $zone = Lab::spurt("$dir/zone", "\$ORIGIN tld.\n\$TTL 86400\n\@ SOA ns1.nic h 1 1800 900 604800 900\n\@ NS ns1.nic\nns1.nic A 192.0.2.1\n");
	my $lab = Lab->new(zones => { tld => $zone }, set => [ 'workers=1', 'rrl=off', @set ]);
	stop($lab);
	system("$Lab::tree/build/tests/bench/large", 'build', store($lab), $names, $lab->dir . '/operator/node1.key') == 0 or die "no store\n";
	start($lab);
	return $lab;
}

sub store { return $_[0]->dir . '/node1/store' }

sub stop {
	my ($lab) = @_;
	kill 'TERM', $lab->pids('node1', 'encdns-super');
	Lab::wait_for(120, sub { !$lab->pids('node1') }) or die "the node does not stop\n";
}

# In a shell, behind `before` and by way of `with`. Seconds to the first answer.
sub start {
	my ($lab, $before, @with) = @_;
	my $r = Lab::run({ limit => 600 }, 'sh', '-c', join ' ', $before // '', 'exec', @with, $Lab::lab, 'restart', $lab->dir);
	die "restart: $r->{err}" if $r->{status};
	return $r->{out} =~ /ready ([\d.]+)/ ? $1 : die $r->{out};
}

# Nothing of the stopped node's store stays in memory.
sub forget {
	my ($lab) = @_;
	system 'sync', store($lab);
	open my $f, '<', store($lab) or die;
	$fadvise && syscall($fadvise, fileno $f, 0, 0, POSIX_FADV_DONTNEED) == 0 or die "the page cache can't be emptied\n";
}

# All of it is read into memory.
sub remember {
	my ($lab) = @_;
	open my $f, '<', store($lab) or die;
	my $b;
	1 while sysread $f, $b, 1 << 20;
}

# Processor time of the process that answers, in seconds: to the nanosecond where the
# kernel keeps account of it, or else to its clock's tick.
sub cpu {
	my ($dns) = $_[0]->pids('node1', 'encdns-dns') or return 0;
	my @ns = map { (split ' ', Lab::slurp($_))[0] } glob "/proc/$dns/task/*/schedstat";
	return sum(@ns) / 1e9 if @ns;
	my @f = split ' ', Lab::slurp("/proc/$dns/stat") =~ s/.*\) //sr;
	return (($f[11] // 0) + ($f[12] // 0)) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# A program of this folder's, made in a folder.
sub tool {
	my ($dir, $name) = @_;
	my $r = Lab::run('cc', '-D_GNU_SOURCE', '-O2', '-o', "$dir/$name", "$FindBin::Bin/$name.c", '-lm');
	die $r->{err} if $r->{status};
	return "$dir/$name";
}
1;
