#!/usr/bin/perl
# 10,000 tiny zones, some the parent of others, in one lab.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

use constant { COUNT => 10_000, UP => 20, UPDATE => 0.1 };

# Clocks are watched, but only five times the bar is a failure.
sub bar {
	my ($took, $bar, $what) = @_;
	cmp_ok($took, '<', 5 * $bar, sprintf '%s: %.3f s (bar %.3f s)', $what, $took, $bar);
	diag(sprintf '%s: %.3f s is over the bar of %.3f s', $what, $took, $bar) if $took > $bar;
}

my $dir = tempdir('encdns-many-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @origin = map { $_ % 10 ? sprintf('z%05d.example.', $_) : sprintf('child%d.z%05d.example.', $_, $_ - 1) } 1 .. COUNT - 1;
push @origin, 'example.';
sub zone {
	my ($origin, $serial) = @_;
	my $z = "\$ORIGIN $origin\n\$TTL 300\n\@ SOA ns hostmaster $serial 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\nwww TXT \"$origin\"\n";
	if ($origin =~ /^z0*(\d+9)\./ && $1 + 1 < COUNT) {
		my $child = 'child' . ($1 + 1); # delegated, and served here too
		$z .= "$child NS ns.$child\nns.$child A 192.0.2.2\n";
	}
	return $z;
}
my $list = '';
for my $i (0 .. $#origin) {
	Lab::spurt("$dir/$i", zone($origin[$i], 1));
	$list .= "$origin[$i]=$dir/$i\n";
}
Lab::spurt("$dir/list", $list);

my $lab = Lab->new(list => "$dir/list", limit => 5 * UP + 60);
bar($lab->{up}{seconds}, UP, COUNT . ' zones up');

my $r = DNS::ask_udp('127.0.0.1', $lab->port, [ map { DNS::query("www.$_", 'TXT') } @origin ]);
my $right = 0;
for my $i (0 .. $#origin) {
	next unless defined $r->[$i];
	my $text = unpack 'H*', chr(length $origin[$i]) . $origin[$i];
	my $m = DNS::decode($r->[$i]);
	$right++ if $m->{aa} && @{ $m->{answer} } == 1 && $m->{answer}[0] =~ /\bTXT $text\z/;
}
is($right, scalar @origin, 'every zone is answered, children before their parents');
is(scalar @{ ($lab->status('node1') // {})->{zones} // [] }, scalar @origin, 'and in the status');

my @took;
for my $serial (2 .. 6) {
	my $i = int rand @origin;
	Lab::spurt("$dir/$i", zone($origin[$i], $serial));
	my $u = $lab->cmd('update', "$origin[$i]=$dir/$i");
	is($u->{status}, 0, "update of $origin[$i]") or diag($u->{err});
	push @took, $u->{seconds};
	my $m = $lab->ask($origin[$i], 'SOA');
	like("@{ $m->{answer} }", qr/ $serial 3600 /, "serial $serial");
}
bar((sort { $a <=> $b } @took)[ @took / 2 ], UPDATE, 'one update answered, the median'); # a machine may stand still once
my $again = $lab->cmd('restart');
like($again->{out}, qr/^ready ([0-9.]+)$/m, 'restart');
note($again->{out});
is($lab->down->{status}, 0, 'down');
done_testing();
