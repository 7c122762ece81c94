package BGP;
# A scripted BGP neighbour for tests: listens, or calls, and writes down what it
# hears. As little of a speaker as that takes: it keeps the session up and says nothing.
use strict;
use warnings;
use DNS;
use File::Temp 'tempdir';
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use Socket ();

my %type = (1 => 'open', 2 => 'update', 3 => 'notification', 4 => 'keepalive', 5 => 'refresh');
my %live;

sub message { my ($t, $body) = @_; ("\xff" x 16) . pack('nC', 19 + length $body, $t) . $body }

sub open_message {
	my (%o) = @_;
	my $caps = join '', map { pack 'CC/a', $_->[0], $_->[1] } [1, pack('nCC', 1, 0, 1)], [1, pack('nCC', 2, 0, 1)], [2, ''],
		[65, pack 'N', $o{as}];
	return message(1, pack('CnnN', 4, $o{as} > 65535 ? 23456 : $o{as}, $o{hold} // 30, $o{id} // 0x0a000001) .
		pack('C/a', pack 'CC/a', 2, $caps));
}

sub prefixes {
	my ($b, $v6) = @_;
	my @p;
	while (length $b) {
		my $bits = ord substr $b, 0, 1, '';
		my $raw = substr $b, 0, ($bits + 7) >> 3, '';
		$raw .= "\0" x (($v6 ? 16 : 4) - length $raw);
		push @p, ($v6 ? Socket::inet_ntop(Socket::AF_INET6(), $raw) : join '.', unpack 'C4', $raw) . "/$bits";
	}
	return @p;
}

sub update {
	my ($b) = @_;
	my ($gone, $attrs, $rest) = unpack 'n/a n/a a*', $b;
	my %u = (withdrawn => [prefixes($gone)], announced => [prefixes($rest)], path => [], communities => []);
	while (length $attrs) {
		my ($flags, $t) = unpack 'CC', substr $attrs, 0, 2, '';
		my $len = $flags & 0x10 ? unpack 'n', substr $attrs, 0, 2, '' : ord substr $attrs, 0, 1, '';
		my $v = substr $attrs, 0, $len, '';
		$u{path} = [unpack 'x2 N*', $v] if $t == 2 && $len;
		$u{next_hop} = join '.', unpack 'C4', $v if $t == 3;
		$u{med} = unpack 'N', $v if $t == 4;
		$u{communities} = [map { sprintf '%d:%d', $_ >> 16, $_ & 65535 } unpack 'N*', $v] if $t == 8;
		if ($t == 14) {
			my ($afi, undef, $hop, undef, $p) = unpack 'n C C/a C a*', $v;
			push @{ $u{announced} }, prefixes($p, $afi == 2);
		}
		push @{ $u{withdrawn} }, prefixes(substr($v, 3), unpack('n', $v) == 2) if $t == 15;
	}
	return \%u;
}

sub serve {
	my ($s, $say, %o) = @_;
	my $in = '';
	$say->(what => 'connected', port => $s->peerport);
	if ($o{hang_up}) { # Cease, Administrative Shutdown
		syswrite $s, message(3, pack 'CC C/a', 6, 2, $o{hang_up});
		return close $s;
	}
	syswrite $s, open_message(%o);
	my $every = $o{every} // 3;
	my $next = DNS::now() + $every;
	while (1) {
		if (IO::Select->new($s)->can_read(0.5 < $every ? 0.5 : $every / 2)) {
			sysread $s, $in, 65536, length $in or last;
		}
		while (length $in >= 19) {
			my $n = unpack 'n', substr $in, 16, 2;
			last if length $in < $n;
			my $m = substr $in, 0, $n, '';
			my ($t, $body) = (ord substr($m, 18, 1), substr $m, 19);
			syswrite $s, message(4, '') if $t == 1;
			my %more = $t == 2 ? %{ update($body) } : $t == 3 ? (code => ord $body, subcode => ord(substr $body, 1, 1),
				text => substr $body, 3) : ();
			$say->(what => $type{$t} // $t, %more) if $t != 4;
		}
		if (DNS::now() > $next) {
			syswrite $s, message(4, '') or last;
			$next = DNS::now() + $every;
		}
	}
	$say->(what => 'closed');
	close $s;
}

# BGP->new(host => ..., port => ..., as => ..., call => 0|1, hold => ..., every => s between KEEPALIVEs): a process that
# listens there, or calls there from `source` as long as it lives. hang_up: ends each
# connection at once, with this reason.
sub new {
	my ($class, %o) = @_;
	my $dir = tempdir('encdns-bgp-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $listener;
	unless ($o{call}) {
		$listener = IO::Socket::INET->new(LocalAddr => $o{host}, LocalPort => $o{port} // 0, Listen => 5, ReuseAddr => 1) or die "listen: $!\n";
		$o{port} = $listener->sockport;
	}
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		$SIG{PIPE} = 'IGNORE';
		open my $log, '>', "$dir/log" or POSIX::_exit(1);
		my $say = sub { syswrite $log, JSON::PP->new->canonical->encode({ at => DNS::now(), @_ }) . "\n" };
		my $parent = getppid;
		while (getppid == $parent) {
			my $s = $o{call} ? IO::Socket::INET->new(LocalAddr => $o{source}, PeerAddr => $o{host}, PeerPort => $o{port}, Timeout => 1)
				: IO::Select->new($listener)->can_read(1) ? $listener->accept : undef;
			$s ? serve($s, $say, %o) : DNS::pause($o{call} ? 0.2 : 0);
		}
		POSIX::_exit(0);
	}
	$live{$pid} = $$;
	return bless { pid => $pid, log => "$dir/log", port => $o{port} }, $class;
}

sub port { $_[0]{port} }

sub stop {
	my ($self) = @_;
	delete $live{ $self->{pid} } or return;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

# What it has heard since a moment; the first of a kind.
sub events {
	my ($self, $since) = @_;
	open my $f, '<', $self->{log} or return;
	return grep { $_->{at} >= ($since // 0) } map { eval { JSON::PP::decode_json($_) } // () } <$f>;
}
sub heard {
	my ($self, $since, $which, $seconds) = @_;
	my $end = DNS::now() + ($seconds // 10);
	while (1) {
		for ($self->events($since)) { return $_ if $which->($_) }
		return if DNS::now() > $end;
		DNS::pause(0.01);
	}
}
sub announced { my ($self, $since, $prefix, $s) = @_; $self->heard($since, sub { grep { $_ eq $prefix } @{ $_[0]{announced} // [] } }, $s) }
sub withdrawn { my ($self, $since, $prefix, $s) = @_; $self->heard($since, sub { grep { $_ eq $prefix } @{ $_[0]{withdrawn} // [] } }, $s) }

END {
	local $?;
	kill 'KILL', $_ for grep { $live{$_} == $$ } keys %live;
}

1;
