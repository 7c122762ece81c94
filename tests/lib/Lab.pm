package Lab;
# A lab for a test: tests/lab in a temporary folder, gone at the end.
use strict;
use warnings;
use Cwd 'realpath';
use DNS;
use File::Temp 'tempdir';
use JSON::PP ();
use POSIX ();

our $tree = realpath(__FILE__) =~ s,/tests/lib/[^/]*\z,,r;
our $bin = realpath($ENV{ENCDNS_BUILD} // $tree);
our $lab = "$tree/tests/lab";
my %live; # folder => 1, brought down at the end

# A port that is free on 127.0.0.1 to 127.0.0.3, UDP and TCP.
sub free_port {
	require IO::Socket::INET;
	for (1 .. 200) {
		my $p = 10000 + int rand 10000;
		my @s = map { my $h = $_; map { IO::Socket::INET->new(LocalAddr => $h, LocalPort => $p, Proto => $_,
			($_ eq 'tcp' ? (Listen => 1) : ())) } qw(udp tcp) } map { "127.0.0.$_" } 1 .. 3;
		return $p unless grep { !$_ } @s[ 0 .. 5 ];
	}
	die "no free port\n";
}

# Runs a command with a limit of time: { status, out, err, seconds }; status is the
# exit status, or 128 and the signal. Options: limit, input, env.
sub run {
	my %o = ref $_[0] eq 'HASH' ? %{ +shift } : ();
	my @command = @_;
	my $dir = tempdir('encdns-out-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $from = DNS::now();
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		open STDIN, '<', $o{input} // '/dev/null';
		open STDOUT, '>', "$dir/out";
		open STDERR, '>', "$dir/err";
		%ENV = (%ENV, %{ $o{env} // {} });
		setpgrp;
		exec { $command[0] } @command or print STDERR "$command[0]: $!\n";
		POSIX::_exit(127);
	}
	my $late;
	local $SIG{ALRM} = sub { $late = 1; kill 'KILL', -$pid };
	alarm($o{limit} // 120);
	1 while waitpid($pid, 0) == -1 && $!{EINTR};
	alarm 0;
	my %r = (status => $? & 127 ? 128 + ($? & 127) : $? >> 8, seconds => DNS::now() - $from);
	$r{$_} = slurp("$dir/$_") for qw(out err);
	$r{err} .= "(killed: too late)\n" if $late;
	unlink "$dir/out", "$dir/err";
	rmdir $dir;
	return \%r;
}

sub slurp {
	open my $f, '<', $_[0] or return '';
	binmode $f;
	local $/;
	return <$f> // '';
}

sub spurt {
	my ($path, $text) = @_;
	open my $f, '>', $path or die "$path: $!\n";
	binmode $f;
	print $f $text;
	close $f or die "$path: $!\n";
	return $path;
}

# Lab->new(zones => { origin => file }, list => file, nodes => n, set => [...],
# may_fail => 1): a lab that is up. $lab->{up} is what run() said of it.
sub new {
	my ($class, %o) = @_;
	my $base = tempdir('encdns-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $self = bless { base => $base, dir => "$base/lab", port => $o{port} // free_port() }, $class;
	$live{ $self->{dir} } = $$;
	my @args = ('--port', $self->{port}, ($o{nodes} ? ('--nodes', $o{nodes}) : ()),
		(map { ('--set', $_) } @{ $o{set} // [] }), ($o{list} ? ('--zones', $o{list}) : ()),
		map { "$_=$o{zones}{$_}" } sort keys %{ $o{zones} // {} });
	$self->{up} = run({ limit => $o{limit} // 120 }, $lab, 'up', $self->{dir}, @args);
	if ($self->{up}{status} && !$o{may_fail}) {
		my $logs = join '', map { "--- $_\n" . slurp($_) } glob "$self->{dir}/*/log";
		die "tests/lab up: $self->{up}{err}$logs";
	}
	return $self;
}

sub port { $_[0]{port} }
sub dir { $_[0]{dir} }

# A zone's file, below a folder that is gone at the end.
sub file {
	my ($self, $name, $text) = @_;
	return spurt("$self->{base}/$name", $text);
}

# $lab->cmd('update', 'example.org=file')
sub cmd {
	my ($self, $verb, @args) = @_;
	return run($lab, $verb, $self->{dir}, @args);
}

sub status {
	my ($self, $who) = @_;
	my $r = run({ limit => 10 }, $bin . ($who =~ /^hub/ ? '/encdns-hub' : '/encdns'), 'status', '--json', '--dir', "$self->{dir}/$who");
	return if $r->{status};
	return eval { JSON::PP::decode_json($r->{out}) };
}

sub ask {
	my ($self, $name, $type, %o) = @_;
	return DNS::ask($o{host} // '127.0.0.1', $self->{port}, $name, $type, %o);
}

# pids of a server's session by name (comm): encdns-super, encdns-control ...
sub pids {
	my ($self, $who, $comm) = @_;
	my ($leader) = slurp("$self->{dir}/$who.pid") =~ /^(\d+)/ or return;
	my @p;
	for my $s (glob '/proc/[0-9]*/stat') {
		my ($pid, $name, $rest) = slurp($s) =~ /^(\d+) \((.*)\) (.*)/s or next;
		my ($state, $session, $threads) = (split ' ', $rest)[ 0, 3, 17 ];
		# a zombie with another thread still on its way out holds its ports
		push @p, $pid if $session == $leader && ($state ne 'Z' || $threads > 1) && (!defined $comm || $name eq $comm);
	}
	return @p;
}

# Starts a server as our own child, by descriptors and without its port: its exit
# status is ours to see. More files: descriptor => path. Returns its pid.
sub by_hand {
	my ($self, $who, %file) = @_;
	my $base = $self->{dir};
	my ($role, $exe) = $who =~ /^hub/ ? ('hub', 'encdns-hub') : ('node', 'encdns');
	my $conf = slurp("$base/$who/conf");
	%file = (%file, 3 => "$base/operator/$who.key", 11 => "$base/operator/ca/issued/$role-$who.pem");
	$conf =~ s/bundle:credentials/fd:11/;
	$file{12} = "$base/operator/cookie-secret" if $conf =~ s/bundle:cookie-secret/fd:12/;
	spurt("$base/$who/conf.fd", $conf);
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$base/$who/log";
		open STDERR, '>&', \*STDOUT;
		my %fd = map { my $f = POSIX::open($file{$_}, POSIX::O_RDONLY()) // die "$file{$_}: $!"; ($_ => $f) } keys %file;
		POSIX::dup2($fd{$_}, $_ + 100) for keys %fd;
		POSIX::dup2($_ + 100, $_) for keys %fd;
		POSIX::close($_) for grep { !$fd{$_} } 3 .. 255;
		exec "$bin/$exe", 'run', '--dir', "$base/$who", '--conf', "$base/$who/conf.fd", '--key', 'fd:3' or POSIX::_exit(127);
	}
	spurt("$base/$who.pid", "$pid\n");
	return $pid;
}

# Starts a node that waits for its operator, as our own child; its pid.
sub waiting {
	my ($self, $who, %o) = @_;
	my $base = $self->{dir};
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$base/$who/log";
		open STDERR, '>&', \*STDOUT;
		my $exe = $o{exe} // "$bin/encdns";
		exec $exe, 'run', '--dir', "$base/$who" or POSIX::_exit(127);
	}
	spurt("$base/$who.pid", "$pid\n");
	my ($start) = slurp("/proc/$pid/stat") =~ /^.*\) (?:\S+ ){19}(\d+)/s;
	spurt("$base/operator/$who.start", "$pid $start\n"); # tests/lab knows it by that
	my $gone;
	wait_for(20, sub { $gone = waitpid($pid, POSIX::WNOHANG()); $gone || (($self->status($who) // {})->{run_level} // 0) == 1 });
	return $gone ? undef : $pid;
}

# Stops a server that is our own child (or the lab's): its exit status, if it is ours.
sub halt {
	my ($self, $who, $signal) = @_;
	my ($pid) = slurp("$self->{dir}/$who.pid") =~ /^(\d+)/ or return;
	kill $signal // 'TERM', $pid;
	my $status;
	wait_for(20, sub { $status = $? if waitpid($pid, POSIX::WNOHANG()) == $pid; !$self->pids($who) });
	return $status;
}

# encdns-hub with the lab's station; a hash: limit, input (text, for the questions).
sub hub {
	my ($self, @args) = @_;
	my %o = ref $args[-1] ? %{ pop @args } : ();
	$o{input} = spurt("$self->{base}/answer", $o{input}) if defined $o{input};
	return run({ limit => 60, %o }, "$bin/encdns-hub", @args, '--station', "$self->{dir}/operator");
}

# Where a node waits: (address, port).
sub port_of {
	my ($self, $who) = @_;
	return slurp("$self->{dir}/$who/boot") =~ /^unlock (\S+)\@(\d+)$/m;
}

sub down {
	my ($self) = @_;
	delete $live{ $self->{dir} };
	return run($lab, 'down', $self->{dir});
}

# Waits until a test is true; false when it took too long.
sub wait_for {
	my ($seconds, $test) = @_;
	my $end = DNS::now() + $seconds;
	until ($test->()) {
		return 0 if DNS::now() > $end;
		DNS::pause(0.01);
	}
	return 1;
}

END {
	local $?;
	for (grep { $live{$_} == $$ } keys %live) {
		system $lab, 'down', $_;
	}
}

1;
