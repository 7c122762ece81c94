#!/usr/bin/perl
# A node whose store is a raw partition, a loop device: it loads, answers, takes
# updates, and is there again after a stop and after a kill.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

my $work = tempdir('encdns-partition-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my ($device, $me) = ('', $$);
END { system 'losetup', '-d', $device if $device && $$ == $me }
truncate Lab::spurt("$work/disk", ''), 256 << 20 or die;
chomp($device = `losetup -f --show $work/disk 2>/dev/null`) if $> == 0;
plan skip_all => 'no loop devices here' unless $device;

sub zone {
	my ($serial) = @_;
	return Lab::spurt("$work/zone", "\$TTL 60\n\@ SOA ns hostmaster $serial 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n" .
		join '', map { "name$_ A 192.0.2.$serial\n" } 1 .. 20_000);
}
my $lab = Lab->new(zones => { 'disk.example' => zone(1) }, set => [ 'rrl=off', 'workers=1', "store=$device" ]);

sub all_are {
	my ($serial, $when) = @_;
	my $wrong = 0;
	for (1 .. 20) {
		my $r = DNS::ask_udp('127.0.0.1', $lab->port, [ map { DNS::query("name$_.disk.example", 'A') } map { 1 + int rand 20_000 } 1 .. 100 ]);
		for (@$r) {
			$wrong++ unless defined $_ && index($_, pack 'C4', 192, 0, 2, $serial) > 0;
		}
	}
	is($wrong, 0, "$when: 2,000 answers are right");
}
all_are(1, 'loaded');
ok(!-e $lab->dir . '/node1/store', 'and no file took its place');
for my $serial (2 .. 8) {
	Lab::run($Lab::lab, 'update', $lab->dir, 'disk.example=' . zone($serial))->{status} == 0 or die "update\n";
}
all_are(8, 'after seven updates');
like(Lab::run($Lab::lab, 'restart', $lab->dir)->{out}, qr/^ready/m, 'stopped and started');
all_are(8, 'then');
like(Lab::run($Lab::lab, 'restart', $lab->dir, '--kill')->{out}, qr/^ready/m, 'killed and started');
all_are(8, 'then');
undef $lab;
done_testing;
