package Example::HTTP::Listener;

# Binds one address: "host:port", "[::1]:port", ":port" or "unix:/path".
# The parent binds once; every worker accepts on the same socket.

use strict;
use warnings;

use Socket qw(
    AF_INET6 AF_UNIX AI_NUMERICSERV AI_PASSIVE IPPROTO_IPV6 IPV6_V6ONLY NI_NUMERICHOST NI_NUMERICSERV
    SOCK_STREAM SOL_SOCKET SOMAXCONN SO_REUSEADDR getaddrinfo getnameinfo pack_sockaddr_un
);

# Dies with one line, without "at FILE line N", when the address cannot be bound.
sub bind_to {
    my ($class, $address) = @_;
    return $address =~ /\Aunix:(.*)\z/s ? $class->_bind_unix($1) : $class->_bind_tcp($address);
}

# One that somebody else has bound, and looks after.
sub from_socket {
    my ($class, $socket) = @_;
    my $is_unix = $socket->isa('IO::Socket::UNIX');
    return bless { handle => $socket, name => 'inherited', ($is_unix ? (path => $socket->hostpath) : ()) }, $class;
}

sub handle { return $_[0]{handle} }
sub name   { return $_[0]{name} }
sub is_tcp { return !defined $_[0]{path} }

# Parent and worker each close their own copy of the descriptor.
sub release {
    my ($self) = @_;
    close delete $self->{handle} if $self->{handle};
    return;
}

# Only the parent calls this, and only for the socket file it made itself.
sub remove_file {
    my ($self) = @_;
    return               if !defined $self->{path};
    unlink $self->{path} if _file_id($self->{path}) eq $self->{file_id};
    return;
}

sub _bind_tcp {
    my ($class, $address) = @_;
    my ($host, $port)     = $address =~ /\A(?|\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]\s]*)):([0-9]{1,5})\z/
        or die "not an address: '$address' (host:port, [ipv6]:port or unix:/path)\n";
    die "port $port of '$address' is above 65535\n" if $port > 65_535;

    my ($error, @found) = getaddrinfo(
        $host eq '' || $host eq '*' ? undef : $host,
        $port, { socktype => SOCK_STREAM, flags => AI_PASSIVE | AI_NUMERICSERV }
    );
    die "cannot resolve '$address': $error\n" if $error;

    my $reason;
    for my $candidate (@found) {
        my $self = eval { $class->_listen_tcp($candidate) };
        return $self if $self;
        chomp($reason = $@);
    }
    die "cannot listen on '$address': $reason\n";
}

sub _listen_tcp {
    my ($class, $candidate) = @_;
    my $family = $candidate->{family};
    socket my $socket, $family, SOCK_STREAM, $candidate->{protocol} or die "$!\n";
    setsockopt $socket, SOL_SOCKET, SO_REUSEADDR, 1                 or die "$!\n";
    if ($family == AF_INET6) {
        setsockopt $socket, IPPROTO_IPV6, IPV6_V6ONLY, 1 or die "$!\n";
    }
    bind $socket, $candidate->{addr} or die "$!\n";
    listen $socket, SOMAXCONN        or die "$!\n";
    my ($error, $host, $port) = getnameinfo(getsockname $socket, NI_NUMERICHOST | NI_NUMERICSERV);
    die "$error\n"    if $error;
    $host = "[$host]" if $family == AF_INET6;
    return bless { handle => $socket, name => "http://$host:$port/" }, $class;
}

sub _bind_unix {
    my ($class, $path) = @_;
    die "no path in 'unix:$path'\n"                                   if $path eq '';
    die "path of 'unix:$path' is too long for a socket (107 bytes)\n" if length $path > 107;
    _remove_stale($path);

    socket my $socket, AF_UNIX, SOCK_STREAM, 0 or die "cannot listen on 'unix:$path': $!\n";
    my $umask = umask 0177;                              # nobody else may connect, at no moment
    my $bound = bind $socket, pack_sockaddr_un($path);
    my $error = $!;
    umask $umask;
    die "cannot listen on 'unix:$path': $error\n" if !$bound;
    listen $socket, SOMAXCONN or die "cannot listen on 'unix:$path': $!\n";
    return bless { handle => $socket, name => "unix:$path", path => $path, file_id => _file_id($path) }, $class;
}

# A socket file that nobody listens on is a leftover; anything else stays.
sub _remove_stale {
    my ($path) = @_;
    return                                                                     if !-e $path && !-l $path;
    die "cannot listen on 'unix:$path': the path exists and is not a socket\n" if !-S $path;
    socket my $probe, AF_UNIX, SOCK_STREAM, 0 or die "cannot listen on 'unix:$path': $!\n";
    die "cannot listen on 'unix:$path': another server listens there\n" if connect $probe, pack_sockaddr_un($path);
    die "cannot listen on 'unix:$path': $!\n"                           if !$!{ECONNREFUSED};
    unlink $path or die "cannot remove the stale socket '$path': $!\n";
    return;
}

sub _file_id { return join ':', (lstat $_[0])[ 0, 1 ] }

1;
