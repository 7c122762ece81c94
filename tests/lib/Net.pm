package Net;
# Networks for a test: namespaces with veth pairs between them, and routing daemons
# in them as neighbours of a node. Linux, root only.
#
# The namespaces have no names: they live as long as a descriptor or a process of
# theirs, so nothing stays behind however a test ends. The perl process itself
# steps into one by within() and out again; what it starts there stays there.
# Daemons run in the foreground as our children and are killed at the end.
use strict;
use warnings;
use DNS;
use Lab;
use File::Temp 'tempdir';
use JSON::PP ();
use POSIX ();

# x86-64 and the generic table of system calls, as arm64 has it.
my %call = (POSIX::uname())[4] eq 'x86_64' ? (setns => 308, unshare => 272, prctl => 157)
	: (setns => 268, unshare => 97, prctl => 167);
use constant { CLONE_NEWNET => 0x40000000, PR_SET_PDEATHSIG => 1 };

my %owned; # pid => the test's own: daemons to be killed

# Undef, or why there can be no networks.
sub missing {
	my (@packages) = @_;
	return 'needs root for network namespaces' if $>;
	return 'needs ip of iproute2' unless grep { -x "$_/ip" } qw(/sbin /usr/sbin /bin /usr/bin);
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		POSIX::_exit(syscall($call{unshare}, CLONE_NEWNET) == 0 ? 0 : 1);
	}
	waitpid $pid, 0;
	return 'needs network namespaces, which this system refuses' if $?;
	my %program = (bird2 => '/usr/sbin/bird', frr => '/usr/lib/frr/bgpd', gobgpd => '/usr/bin/gobgpd', exabgp => '/usr/sbin/exabgp',
		openbgpd => '/usr/sbin/bgpd', dnsperf => '/usr/bin/dnsperf');
	my @absent = grep { !-x $program{$_} } @packages;
	return @absent ? "needs package @absent" : undef;
}

sub new {
	my ($class) = @_;
	my $dir = tempdir('encdns-net-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	chmod 0755, $dir; # daemons that drop root read here
	open my $home, '<', '/proc/self/ns/net' or die "network namespace: $!\n";
	return bless { dir => $dir, home => $home, ns => {}, nth => 0, peers => [] }, $class;
}

sub enter {
	my ($fh) = @_;
	syscall($call{setns}, fileno $fh, CLONE_NEWNET) == 0 or die "setns: $!\n";
}

# Runs code inside a namespace.
sub within {
	my ($self, $ns, $code) = @_;
	enter($self->{ns}{$ns} // die "no namespace $ns\n");
	my @r = eval { wantarray ? $code->() : scalar $code->() };
	my $e = $@;
	enter($self->{home});
	die $e if $e;
	return wantarray ? @r : $r[0];
}

# Runs code in a process of its own, inside a namespace; what it returns can be read
# from the descriptor.
sub aside {
	my ($self, $ns, $code) = @_;
	pipe my $r, my $w or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	return $r if $pid;
	close $r;
	syswrite $w, eval { enter($self->{ns}{$ns}); $code->() } // '';
	POSIX::_exit(0);
}

sub must {
	my $r = Lab::run({ limit => 30 }, @_);
	die "@_: $r->{err}$r->{out}" if $r->{status};
	return $r->{out};
}

sub sysctl {
	my ($name, $value) = @_;
	Lab::spurt('/proc/sys/' . ($name =~ tr,.,/,r), "$value\n");
}

# New namespaces, their loopback up. All of them forward.
sub add {
	my ($self, @names) = @_;
	for my $name (@names) {
		syscall($call{unshare}, CLONE_NEWNET) == 0 or die "unshare: $!\n";
		open $self->{ns}{$name}, '<', '/proc/self/ns/net' or die "network namespace: $!\n";
		must(qw(ip link set lo up));
		sysctl('net.ipv4.ip_forward', 1);
		sysctl('net.ipv6.conf.all.forwarding', 1);
		enter($self->{home});
	}
}

sub ip {
	my ($self, $ns, @words) = @_;
	return $self->within($ns, sub { must('ip', map { split } @words) });
}

# A link between two namespaces, with one or more addresses (ADDRESS/BITS) at each
# end. Its interfaces are named after what is at the other end.
sub link {
	my ($self, $a, $at_a, $b, $at_b) = @_;
	my $path = "/proc/$$/fd/" . fileno $self->{ns}{$b};
	$self->ip($a, "link add to_$b type veth peer name to_$a netns $path");
	for ([$a, "to_$b", $at_a], [$b, "to_$a", $at_b]) {
		my ($ns, $dev, $addresses) = @$_;
		$self->address($ns, $dev, ref $addresses ? @$addresses : $addresses);
		$self->ip($ns, "link set $dev up");
	}
}

sub address {
	my ($self, $ns, $dev, @addresses) = @_;
	$self->ip($ns, "addr add $_ dev $dev" . (/:/ ? ' nodad' : '')) for @addresses;
}

# ---- daemons ----

# Starts a program in a namespace; its output goes to DIR/NAME.log.
sub start {
	my ($self, $ns, $name, @command) = @_;
	my $log = "$self->{dir}/$name.log";
	my %env = ref $command[-1] eq 'HASH' ? %{ pop @command } : ();
	my $parent = $$;
	my $pid = $self->within($ns, sub {
		my $pid = fork // die "fork: $!\n";
		return $pid if $pid;
		syscall($call{prctl}, PR_SET_PDEATHSIG, 9, 0, 0, 0);
		POSIX::_exit(1) if getppid != $parent;
		setpgrp;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log;
		open STDERR, '>>', $log;
		%ENV = (%ENV, %env);
		exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
		POSIX::_exit(127);
	});
	$owned{$pid} = $$;
	return $pid;
}

sub stop {
	my ($self, @pids) = @_;
	for (grep { delete $owned{$_} } @pids) {
		kill 'KILL', -$_;
		waitpid $_, 0;
	}
}

sub log { Lab::slurp("$_[0]{dir}/$_[1].log") }

END {
	local $?;
	for (grep { $owned{$_} == $$ } keys %owned) {
		kill 'KILL', -$_;
		waitpid $_, 0;
	}
}

# ---- neighbours ----
#
# Each constructor starts a daemon in a namespace and returns an object with
#   routes($neighbour)  { "PREFIX" => words about it } that this neighbour, a
#                       protocol's name or an address as below, has told and that
#                       the daemon uses
#   state($neighbour)   true when Established
#   stop()

# BIRD with this configuration; neighbours are named as its protocols.
sub bird {
	my ($self, $ns, $name, $text) = @_;
	my $dir = "$self->{dir}/$name";
	mkdir $dir;
	my $conf = Lab::spurt("$dir/conf", $text);
	my $pid = $self->start($ns, $name, '/usr/sbin/bird', '-f', '-c', $conf, '-s', "$dir/ctl");
	return bless { net => $self, ns => $ns, name => $name, dir => $dir, pids => [$pid] }, 'Net::Bird';
}

# FRR: zebra, bgpd (with these options), bfdd if there is BFD in the text; neighbours are named by address.
# FRR drops root, so its folder is its own.
sub frr {
	my ($self, $ns, $name, $text, @bgpd) = @_;
	my $dir = "$self->{dir}/$name";
	mkdir $dir;
	my ($uid, $gid) = (getpwnam 'frr')[ 2, 3 ];
	chown $uid, $gid, $dir;
	my $conf = Lab::spurt("$dir/conf", $text);
	my @pids;
	for my $d ('zebra', $text =~ /\bbfd\b/ ? 'bfdd' : (), 'bgpd') {
		push @pids, $self->start($ns, "$name.$d", "/usr/lib/frr/$d", '-f', $conf, '-i', "$dir/$d.pid", '-z', "$dir/zserv.api",
			'--vty_socket', $dir, '-P', 0, '--log', 'stdout', 
			($d eq 'bfdd' ? ('--bfdctl', "$dir/bfdd.sock") : $d eq 'bgpd' ? @bgpd : ()));
		Lab::wait_for(5, sub { -S "$dir/zserv.api" && -S "$dir/zebra.vty" }) if $d eq 'zebra';
	}
	return bless { net => $self, ns => $ns, name => $name, dir => $dir, pids => \@pids }, 'Net::Frr';
}

sub gobgp {
	my ($self, $ns, $name, $text) = @_;
	my $conf = Lab::spurt("$self->{dir}/$name.toml", $text);
	my $pid = $self->start($ns, $name, '/usr/bin/gobgpd', '-f', $conf, '--api-hosts', '127.0.0.1:50051', '--pprof-disable');
	return bless { net => $self, ns => $ns, name => $name, pids => [$pid] }, 'Net::Gobgp';
}

# ExaBGP keeps no table: what it receives goes, as JSON, through a process to a file.
sub exabgp {
	my ($self, $ns, $name, $text) = @_;
	my $received = "$self->{dir}/$name.received";
	my $script = Lab::spurt("$self->{dir}/$name.sh", "#!/bin/sh\ncat >>$received\n"); # the shell keeps stdout: without, it is started again
	Lab::spurt($received, '');
	chmod 0755, $script;
	chmod 0666, $received; # whoever the process runs as
	my $conf = Lab::spurt("$self->{dir}/$name.conf", "process received { run $script; encoder json; }\n$text");
	my $pid = $self->start($ns, $name, '/usr/sbin/exabgp', $conf, { 'exabgp.daemon.user' => 'root', 'exabgp.api.cli' => 'false',
		'exabgp.daemon.drop' => 'false', 'exabgp.tcp.bind' => '', 'exabgp.log.destination' => 'stdout' });
	return bless { net => $self, ns => $ns, name => $name, file => $received, pids => [$pid] }, 'Net::Exabgp';
}

sub openbgp {
	my ($self, $ns, $name, $text) = @_;
	my $socket = "$self->{dir}/$name.sock";
	my $conf = Lab::spurt("$self->{dir}/$name.conf", "socket \"$socket\"\n$text");
	chmod 0600, $conf;
	my $jail = (getpwnam '_openbgpd')[7];
	mkdir $jail if $jail; # as its service does
	my $pid = $self->start($ns, $name, '/usr/sbin/bgpd', '-d', '-f', $conf);
	return bless { net => $self, ns => $ns, name => $name, socket => $socket, pids => [$pid] }, 'Net::Openbgp';
}

{
	package Net::Peer;

	sub stop { $_[0]{net}->stop(@{ $_[0]{pids} }) }

	# A command of the daemon's; its output, or '' when it failed.
	sub ask {
		my ($self, @command) = @_;
		my $r = $self->{net}->within($self->{ns}, sub { Lab::run({ limit => 10 }, @command) });
		return $r->{status} ? '' : $r->{out};
	}

	sub ask_json {
		my $text = ask(@_);
		return eval { JSON::PP::decode_json($text) };
	}

	sub has {
		my ($self, $neighbour, @prefixes) = @_;
		my $routes = $self->routes($neighbour);
		return !grep { !$routes->{$_} } @prefixes;
	}
}

{
	package Net::Bird;
	our @ISA = 'Net::Peer';
	use Socket ();

	# birdc starts in 10 ms, too slow for a stopwatch: its protocol is spoken here,
	# lines that begin with a code, which a space ends on the last of them.
	sub birdc {
		my ($self, $command) = @_;
		my $s = $self->{ctl};
		if (!$s) {
			socket $s, Socket::AF_UNIX, Socket::SOCK_STREAM, 0 or return '';
			connect $s, Socket::sockaddr_un("$self->{dir}/ctl") or return '';
			$self->{ctl} = $s;
			reply($s) or return '';
		}
		local $SIG{PIPE} = 'IGNORE';
		syswrite $s, "$command\n" or return '';
		return reply($s);
	}

	sub reply {
		my ($s) = @_;
		my $text = '';
		until ($text =~ /^\d{4} .*\n\z/m) {
			sysread $s, $text, 65536, length $text or return '';
		}
		return $text =~ s/^(?:\d{4}[- ]| )//mgr;
	}

	sub routes {
		my ($self, $neighbour) = @_;
		my %r;
		for (split /\n/, $self->birdc("show route protocol $neighbour all")) {
			$r{'.'} = $1 if m{^([0-9a-f:.]+/\d+)\s};
			$r{ $r{'.'} } .= "$_\n" if $r{'.'};
		}
		delete $r{'.'};
		return \%r;
	}

	sub state {
		my ($self, $neighbour) = @_;
		return $self->birdc("show protocols $neighbour") =~ /^\Q$neighbour\E .*\bEstablished\b/m;
	}
}

{
	package Net::Frr;
	our @ISA = 'Net::Peer';

	sub vtysh { my $self = shift; $self->ask('/usr/bin/vtysh', '--vty_socket', $self->{dir}, map { ('-c', $_) } @_) }

	sub json { eval { JSON::PP::decode_json(vtysh(@_)) } // {} }

	# Only routes that are valid, next hop included.
	sub routes {
		my ($self, $neighbour) = @_;
		my %r;
		for my $family (qw(ipv4 ipv6)) {
			my $j = $self->json("show bgp $family unicast neighbors $neighbour routes json");
			for my $prefix (keys %{ $j->{routes} // {} }) {
				$r{$prefix} = JSON::PP->new->canonical->encode($_) for grep { $_->{valid} } @{ $j->{routes}{$prefix} };
			}
		}
		return \%r;
	}

	sub state {
		my ($self, $neighbour) = @_;
		my $j = $self->json("show bgp neighbors $neighbour json")->{$neighbour} or return;
		return $j->{bgpState} eq 'Established';
	}
}

{
	package Net::Gobgp;
	our @ISA = 'Net::Peer';

	sub routes {
		my ($self, $neighbour) = @_;
		my %r;
		for my $family (qw(ipv4 ipv6)) {
			my $j = $self->ask_json(qw(gobgp -j neighbor), $neighbour, qw(adj-in -a), $family) or next;
			my %all = ref $j eq 'HASH' ? %$j : map { %$_ } @$j;
			$r{$_} = JSON::PP->new->canonical->encode($all{$_}) for keys %all;
		}
		return \%r;
	}

	sub state {
		my ($self, $neighbour) = @_;
		return $self->ask(qw(gobgp neighbor), $neighbour) =~ /BGP state = ESTABLISHED/i;
	}
}

{
	package Net::Exabgp;
	our @ISA = 'Net::Peer';

	# The table that follows from what was received so far.
	sub replay {
		my ($self) = @_;
		my (%r, $up);
		for (split /\n/, Lab::slurp($self->{file})) {
			my $n = (eval { JSON::PP::decode_json($_) } // next)->{neighbor} // next;
			if (defined $n->{state}) {
				$up = $n->{state} eq 'up' ? 1 : $n->{state} eq 'down' ? 0 : $up;
				%r = () unless $up;
			}
			my $u = ($n->{message} // {})->{update} // next;
			for my $family (values %{ $u->{announce} // {} }) {
				for my $hop (keys %$family) {
					next unless ref $family->{$hop} eq 'ARRAY';
					$r{ $_->{nlri} } = "$hop " . JSON::PP->new->canonical->encode($u->{attribute}) for @{ $family->{$hop} };
				}
			}
			for my $family (values %{ $u->{withdraw} // {} }) {
				delete $r{ $_->{nlri} } for @$family;
			}
		}
		return ($up, \%r);
	}

	sub routes { ($_[0]->replay)[1] }
	sub state { ($_[0]->replay)[0] }
}

{
	package Net::Openbgp;
	our @ISA = 'Net::Peer';

	sub bgpctl { my $self = shift; $self->ask_json('/usr/sbin/bgpctl', '-j', '-s', $self->{socket}, @_) }

	sub routes {
		my ($self, $neighbour) = @_;
		my $j = $self->bgpctl(qw(show rib neighbor), $neighbour) or return {};
		return { map { $_->{prefix} => JSON::PP->new->canonical->encode($_) } grep { $_->{valid} } @{ $j->{rib} // [] } };
	}

	sub state {
		my ($self, $neighbour) = @_;
		my $j = $self->bgpctl('show', 'neighbor', $neighbour) or return;
		return ($j->{neighbors} // [{}])->[0]{state} // '' eq 'Established';
	}
}

1;
