#!/usr/bin/perl
# kill -9 at random moments while transactions arrive: what was acknowledged is never
# lost, what is answered is the hub's zone at the sequence reported, and a dead
# control or dns comes back by itself. KILLS (20; with LONG 200) of each kind.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use File::Temp 'tempdir';
use Lab;

my $kills = $ENV{KILLS} // ($ENV{LONG} ? 200 : 20);
use constant ZONES => 50;

my $seed = $ENV{SEED} // time;
srand $seed;
note("SEED=$seed");
my $dir = tempdir('encdns-kill-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @origin = map { "zone$_.example." } 1 .. ZONES;

# A zone is a function of its serial: every name tells it, some are there for odd ones only.
sub names_of {
	my ($serial) = @_;
	return map { "name$_" } 0 .. 4, map { 10 * ($serial % 7) + $_ } 5 .. 8;
}
sub write_zones {
	my ($serial) = @_;
	my $text = "\$TTL 60\n\@ SOA ns hostmaster $serial 3600 900 604800 300\n\@ NS ns\nns A 192.0.2.1\n" .
		join '', map { "$_ TXT \"$serial\"\n" } names_of($serial);
	Lab::spurt("$dir/zone", $text);
}
write_zones(1);
my $list = Lab::spurt("$dir/list", join '', map { "$_=$dir/zone\n" } @origin);
my $lab = Lab->new(list => $list);

# The writer: loads all zones with serial after serial until told to stop. Each
# line of its log is a transaction that the hub has acknowledged.
my $writer = fork // die;
if (!$writer) {
	my $stop = 0;
	$SIG{TERM} = sub { $stop = 1 };
	open my $log, '>', "$dir/acks" or die;
	my $serial = 1;
	until ($stop) {
		write_zones(++$serial);
		open my $load, '-|', "exec '$Lab::bin/encdns-hub' load --dir '$lab->{dir}/hub1' --list '$list' 2>>'$dir/writer.err'" or die;
		while (<$load>) {
			syswrite $log, "$1 $2 $3\n" if /^(\S+) serial (\d+) sequence (\d+)$/;
		}
		close $load;
		DNS::pause(0.04); # a thousand a second are enough
	}
	POSIX::_exit(0);
}

# All of it, as far as it is written: the last sequence, and origin => serial.
{
	my ($at, $sequence, %serial) = (0, 0);

	sub acknowledged {
		open my $f, '<', "$dir/acks" or return (0, {});
		seek $f, $at, 0;
		while (<$f>) {
			last unless /^(\S+) (\d+) (\d+)\n/;
			$serial{$1} = $2;
			$sequence = $3 if $3 > $sequence;
			$at += length;
		}
		return ($sequence, \%serial);
	}
}
sub hub { $lab->status('hub1') // {} }
sub node { $lab->status('node1') // {} }
sub acked_by_node { my $n = (hub()->{nodes} // [])->[0]; $n ? $n->{acknowledged} // 0 : 0 }
sub answers { my $m = eval { DNS::ask('127.0.0.1', $lab->port, $origin[0], 'SOA', wait => 0.02, tries => 1) }; $m && $m->{aa} }

sub killed {
	my ($what, $kill, $start) = @_;
	my ($lost, $silent, $longest, $lag) = (0, 0, 0, 0);
	for (1 .. $kills) {
		DNS::pause(rand 0.3);
		my ($hub_had) = acknowledged();
		my $node_had = acked_by_node();
		my $from = DNS::now();
		$kill->();
		$start->() if $start;
		Lab::wait_for(20, \&answers) or $silent++;
		my $took = DNS::now() - $from;
		$longest = $took if $took > $longest;
		my ($n, $h);
		Lab::wait_for(20, sub { defined($n = node()->{sequence}) && defined($h = hub()->{sequence}) }) or $silent++, next;
		$lost++, diag("node at $n, had acknowledged $node_had") if $n < $node_had;
		$lost++, diag("hub at $h, had acknowledged $hub_had") if $h < $hub_had;
		# and it goes on: something newer than all before arrives
		Lab::wait_for(20, sub { (node()->{sequence} // 0) > $hub_had }) or $lag++, diag("$what $_: the node stays at " . (node()->{sequence} // 'nothing'));
	}
	is($lost, 0, "$kills times $what: nothing acknowledged was lost");
	is($silent, 0, "$what: it came back");
	is($lag, 0, "$what: later transactions arrive");
	note(sprintf '%s: the longest without an answer %.3f s', $what, $longest);
}

ok(Lab::wait_for(20, sub { (acknowledged())[0] > ZONES }), 'transactions arrive');
my ($super) = $lab->pids('node1', 'encdns-super');
for my $comm (qw(encdns-control encdns-dns)) {
	killed($comm, sub { kill 'KILL', $lab->pids('node1', $comm) or diag("no $comm to kill") });
}
is(($lab->pids('node1', 'encdns-super'))[0], $super, 'no person was needed for control and dns');
killed('the whole node', sub { kill 'KILL', $lab->pids('node1') },
	sub { my $r = $lab->cmd('restart', '--kill'); $r->{status} and diag($r->{err}) });
killed('the hub', sub { kill 'KILL', $lab->pids('hub1') },
	sub { my $r = $lab->cmd('restart', '--hub', '--kill'); $r->{status} and diag($r->{err}) });

kill 'TERM', $writer;
waitpid $writer, 0;
my ($sequence, $serial) = acknowledged();
ok(Lab::wait_for(30, sub { my ($n, $h) = (node(), hub()); defined $n->{sequence} && $n->{sequence} == $h->{sequence} && $n->{chain} eq $h->{chain} }),
	'hub and node end at the same sequence and chain hash');
cmp_ok(hub()->{sequence}, '>=', $sequence, "not before the last acknowledged, $sequence");

# Every name of every zone, and those that other serials have.
my $soa = DNS::ask_udp('127.0.0.1', $lab->port, [ map { DNS::query($_, 'SOA') } @origin ]);
my @at = map { DNS::soa_serial($_ // '') // 0 } @$soa;
is(scalar(grep { $at[$_] < $serial->{ $origin[$_] } } 0 .. $#origin), 0, 'no zone is older than its last acknowledged serial');
my (@question, @right);
for my $i (0 .. $#origin) {
	my %here = map { $_ => 1 } names_of($at[$i]);
	for my $name (map { "name$_" } 0 .. 4, map { my $x = $_; map { 10 * $x + $_ } 5 .. 8 } 0 .. 6) {
		push @question, DNS::query("$name.$origin[$i]", 'TXT');
		push @right, $here{$name} ? unpack 'H*', pack 'C/a*', $at[$i] : 'NXDOMAIN';
	}
}
my $r = DNS::ask_udp('127.0.0.1', $lab->port, \@question);
my $wrong = 0;
for my $i (0 .. $#question) {
	my $m = defined $r->[$i] ? DNS::decode($r->[$i]) : { rcode => 'no answer', answer => [] };
	my $have = @{ $m->{answer} } ? $m->{answer}[0] =~ s/.* //r : $m->{rcode};
	$wrong++ if $have ne $right[$i];
}
is($wrong, 0, @question . " answers equal the hub's zones");
my $acks = () = Lab::slurp("$dir/acks") =~ /\n/g;
cmp_ok($acks, '>', 1000, "$acks transactions were acknowledged meanwhile");
note($_) for grep { /\S/ } grep { defined } (split /\n/, Lab::slurp("$dir/writer.err"))[0 .. 2];
done_testing();
