#!/usr/bin/perl
# What is built: two static PIEs with full RELRO and no interpreter; the node is
# small and has nothing in it that sends or lists zones.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

plan skip_all => 'a build for finding faults' if $ENV{ENCDNS_BUILD};
plan skip_all => 'needs package binutils' unless Lab::run('readelf', '--version')->{status} == 0;

for my $name (qw(encdns encdns-hub)) {
	my $file = "$Lab::bin/$name";
	my $r = Lab::run('readelf', '-W', '-h', '-l', '-d', '-S', $file);
	is($r->{status}, 0, "$name: readelf");
	like($r->{out}, qr/Type:\s+DYN/, "$name: DYN");
	unlike($r->{out}, qr/\bINTERP\b/, "$name: no interpreter");
	unlike($r->{out}, qr/\(NEEDED\)/, "$name: no shared library");
	like($r->{out}, qr/GNU_RELRO/, "$name: RELRO");
	like($r->{out}, qr/BIND_NOW|Flags:.*\bNOW\b/, "$name: all bound at start");
	like($r->{out}, qr/GNU_STACK.*\sRW\s/, "$name: no executable stack");
	unlike($r->{out}, qr/TEXTREL/, "$name: no relocation in the text");
	unlike($r->{out}, qr/LOAD.*\sRWE\s/, "$name: nothing both writable and executable");
	is(Lab::run($file, '--version')->{status}, 0, "$name --version");
	is(Lab::run($file, '--help')->{status}, 0, "$name --help");
}

my $dir = tempdir('encdns-strip-XXXXXX', TMPDIR => 1, CLEANUP => 1);
is(Lab::run('strip', '-o', "$dir/encdns", "$Lab::bin/encdns")->{status}, 0, 'strip');
cmp_ok(-s "$dir/encdns", '<=', 600 << 10, sprintf 'the node, stripped: %.0f KiB of 600', (-s _) / 1024);

my $map = Lab::slurp("$Lab::tree/build/encdns.map");
like($map, qr/main\.o/, 'the link map');
my ($linked) = $map =~ /Linker script and memory map(.*)/s;
$linked //= '';
my @hub = $linked =~ m{(\S*\bhub/\S+\.o)}g;
is("@hub", '', 'no object of hub/ in the node');

# Functions and data of hub/ are not there under any other object either.
my $names = sub { my %n = map { $_ => 1 } Lab::run('nm', '--defined-only', @_)->{out} =~ /^[0-9a-f]+ [TDBR] (\S+)$/gm; \%n };
my $node = $names->("$Lab::bin/encdns");
my %of_hub;
for my $o (glob "$Lab::tree/build/hub/*.o") {
	next if $o =~ m{/hub/main\.o$};
	$of_hub{$_} = $o for keys %{ $names->($o) };
}
ok(keys %of_hub > 10, scalar(keys %of_hub) . ' names in hub/');
my @both = grep { $of_hub{$_} } sort keys %$node;
is("@both", '', 'none of them in the node');
my @bad = grep { /master_|_walk|walk_|axfr|ixfr|dump|zone_load_text|snapshot_(send|write|make)|journal_send/ } sort keys %$node;
is("@bad", '', 'no master file, walk, dump or transfer');

# What the node's command line offers is what there is.
my $help = Lab::run("$Lab::bin/encdns", '--help')->{out};
unlike($help, qr/axfr|dump|export|\bbgp\b|cluster/i, 'nothing in --help that is not there');
done_testing();
