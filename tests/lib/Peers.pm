package Peers;
# Starts NSD and Knot on zone files, as the references to compare with.
use strict;
use warnings;
use DNS;
use File::Temp 'tempdir';
use IO::Socket::INET;

my %running; # pid => folder
my %pid_at;  # port => pid

sub free_port {
	for (1 .. 200) {
		my $p = 10000 + int rand 10000;
		my @s = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $p, Proto => $_,
			($_ eq 'tcp' ? (Listen => 1) : ())) } qw(udp tcp);
		return $p if $s[0] && $s[1];
	}
	die "no free port\n";
}

sub program {
	for (map { "$_/$_[0]" } split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin') {
		return $_ if -x;
	}
	return;
}

my %conf = (
	nsd => sub {
		my ($set, $dir, $port, %zones) = @_;
		my $c = <<"";
server:
  ip-address: 127.0.0.1\@$port
  server-count: 1
  database: ""
  pidfile: $dir/pid
  zonesdir: ""
  xfrdfile: $dir/xfrd
  zonelistfile: $dir/zones
  cookie-secret-file: $dir/cookies
  username: ""
  rrl-ratelimit: 0
  minimal-responses: yes
  tcp-count: 100
  ipv4-edns-size: $set->{udp_size}
  identity: "$set->{identity}"
  nsid: "ascii_$set->{identity}"
  version: "$set->{version}"
remote-control:
  control-enable: no

		$c =~ s/^.*cookie-secret.*\n//m; # newer ones only
		$c .= "zone:\n  name: \"$_\"\n  zonefile: \"$zones{$_}\"\n" for sort keys %zones;
		return ($c, 'nsd', '-d', '-c');
	},
	knot => sub {
		my ($set, $dir, $port, %zones) = @_;
		my $c = <<"";
server:
    udp-max-payload: $set->{udp_size}
    identity: "$set->{identity}"
    nsid: "$set->{identity}"
    version: "$set->{version}"
    listen: 127.0.0.1\@$port
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: $dir
    automatic-acl: off
database:
    storage: $dir
control:
    listen: $dir/sock
log:
  - target: stderr
    any: warning
template:
  - id: default
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:

		$c .= "  - domain: \"$_\"\n    file: \"$zones{$_}\"\n" for sort keys %zones;
		return ($c, 'knotd', '-c');
	});

# start('nsd' or 'knot', { settings }, origin => file...): the port it answers at,
# all zones loaded; undef when it is not installed. Settings, if any: limit (seconds),
# udp_size, identity (NSID as well) and version.
sub start {
	my $name = shift;
	my %o = (udp_size => 1232, identity => 'peer', version => 'none', ref $_[0] ? %{ +shift } : ());
	my %zones = @_;
	my $dir = tempdir('encdns-peer-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $port = free_port();
	my ($text, $exe, @args) = $conf{$name}->(\%o, $dir, $port, %zones);
	my $path = program($exe) or return;
	open my $f, '>', "$dir/conf" or die "$dir/conf: $!\n";
	print $f $text;
	close $f;
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/log";
		open STDERR, '>&', \*STDOUT;
		exec $path, @args, "$dir/conf" or POSIX::_exit(127);
	}
	$running{$pid} = $dir;
	$pid_at{$port} = $pid;
	my $end = DNS::now() + ($o{limit} // 60);
	for my $zone (sort keys %zones) {
		while (1) {
			my $r = eval { DNS::ask('127.0.0.1', $port, $zone, 'SOA', wait => 0.1, tries => 1) };
			last if $r && $r->{aa} && $r->{rcode} eq 'NOERROR';
			if (waitpid($pid, 1) || DNS::now() > $end) {
				open my $log, '<', "$dir/log";
				die "$name does not answer $zone: ", join '', <$log>;
			}
			DNS::pause(0.05);
		}
	}
	return $port;
}

# The process that start() made for a port.
sub pid { $pid_at{ $_[0] } }

# SIGTERM lets NSD take its children along; one that is stuck is killed.
sub stop {
	local $?;
	kill 'TERM', keys %running;
	my $end = DNS::now() + 5;
	while (%running) {
		for (keys %running) {
			delete $running{$_} if waitpid $_, 1;
		}
		kill 'KILL', keys %running if DNS::now() > $end;
		DNS::pause(0.02) if %running;
	}
}
my $owner = $$;
END { stop() if $$ == $owner }

1;
