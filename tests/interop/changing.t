#!/usr/bin/perl
# A signed zone changes all the time, and the way it denies with it (NSEC, NSEC3,
# opt-out, salts, iterations), while it is asked: each answer, octet by octet, is
# one that a node at rest gives for the version that the answer says it is from
# (RFC 9660). LONG=1: more versions. SEED repeats.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use DNS;
use Lab;
use POSIX ();
use Signed;
use Storable ();

my $versions = $ENV{LONG} ? 40 : 10;
srand(my $seed = $ENV{SEED} // time);
note("SEED=$seed");
my $zone = 'changing.example.';
my @how = ([], ['-3', '-', '-H', '0'], ['-3', '-', '-H', '0', '-A'], ['-3', 'ab', '-H', '0'], ['-3', 'ab', '-H', '2']);
my $dir = tempdir('encdns-changing-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# ---- versions -----------------------------------------------------------------

sub version {
	my ($n) = @_;
	my $text = "\$ORIGIN $zone\n\$TTL 300\n@ SOA ns h $n 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n*.w TXT \"wild $n\"\na.b.ent TXT e\n";
	# half of the names are there, others each time: links and leaves of the trees change
	for (0 .. 199) {
		next if int rand 2;
		$text .= $_ % 4 ? "n$_ A 192.0.2.$n\n" : "n$_ NS ns.n$_\nns.n$_ A 192.0.2.$_\n" . ($_ % 8 ? '' : "n$_ DS 1 13 2 $Signed::ds\n");
	}
	$text .= "* TXT top\n" if int rand 2;
	return Signed::sign($dir, $zone, Lab::spurt("$dir/v$n", $text), $how[ rand @how ]);
}
my @file;
for my $n (1 .. $versions) {
	$file[$n] = version($n) // plan skip_all => 'needs package bind9-utils';
	unlink glob "$dir/K*"; # the next has keys of its own
}

# ---- questions ----------------------------------------------------------------

my @question;
for my $n (0 .. 199) {
	push @question, ["n$n", 'A'], ["n$n", 'DS'], ["x.n$n", 'A'], ["n$n", 'MX'];
}
push @question, ["x$_", 'A'], ["y.x$_.w", 'TXT'], ["x$_.w", 'A'] for 0 .. 49;
push @question, ['ent', 'A'], ['b.ent', 'A'], ['*', 'A'], ['*', 'TXT'], ['w', 'TXT'];
my @packet = map { DNS::query("$_->[0].$zone", $_->[1], do => 1, edns => 1232, options => [ [19, ''] ]) }
	@question;

sub serial { # that an answer is from
	my $m = eval { DNS::decode($_[0]) } or return;
	my $v = $m->{opt}{options}{19} // return;
	return unpack 'x2 N', $v;
}
sub without_id { substr $_[0], 2 }

# ---- a node at rest -------------------------------------------------------------

my $lab = Lab->new(zones => { $zone => $file[1] }, set => ['rrl=off']);
my @right;
for my $n (1 .. $versions) {
	$lab->cmd('update', "$zone=$file[$n]") if $n > 1;
	my $r = DNS::ask_udp('127.0.0.1', $lab->port, \@packet);
	$right[$n] = [ map { defined && (serial($_) // 0) == $n ? without_id($_) : undef } @$r ];
}
is(scalar(grep { !defined } map { @$_ } @right[ 1 .. $versions ]), 0, 'at rest: every answer is from the version loaded last');
$lab->down;

# ---- one that changes -------------------------------------------------------------

$lab = Lab->new(zones => { $zone => $file[1] }, set => ['rrl=off', 'workers=2']);
my ($stop, $found) = ("$dir/stop", "$dir/found");
my @asker = map {
	my $k = $_;
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		my %f = (asked => 0, wrong => 0, mute => 0, seen => {}, text => []);
		srand $seed + $k;
		until (-e $stop) {
			my @i = map { int rand @packet } 1 .. 500;
			my $r = DNS::ask_udp('127.0.0.1', $lab->port, [ @packet[@i] ]);
			for (0 .. $#i) {
				my $a = $r->[$_];
				$f{mute}++, next if !defined $a;
				$f{asked}++;
				my $n = serial($a) // 0;
				$f{seen}{$n}++;
				next if $right[$n] && without_id($a) eq $right[$n][ $i[$_] ];
				$f{wrong}++;
				push @{ $f{text} }, "version $n: " . DNS::text(DNS::decode($a)) if @{ $f{text} } < 3;
			}
		}
		Storable::store(\%f, "$found$k");
		POSIX::_exit(0);
	}
	$pid;
} 1 .. 2;
for my $n (2 .. $versions) {
	my $r = $lab->cmd('update', "$zone=$file[$n]");
	die "update: $r->{err}" if $r->{status};
	DNS::pause(0.2);
}
Lab::spurt($stop, '');
waitpid $_, 0 for @asker;
my @f = map { Storable::retrieve("$found$_") } 1 .. 2;
my %seen;
for my $f (@f) {
	$seen{$_} += $f->{seen}{$_} for keys %{ $f->{seen} };
	diag($_) for @{ $f->{text} };
}
note("versions and answers: @{[ map { \"$_:$seen{$_}\" } sort { $a <=> $b } keys %seen ]}");
cmp_ok(scalar(keys %seen), '>=', 3, 'they were asked while they changed');
is($f[0]{mute} + $f[1]{mute}, 0, 'all questions were answered');
is($f[0]{wrong} + $f[1]{wrong}, 0, 'each answer is right for its version, octet by octet');
$lab->down;
done_testing;
