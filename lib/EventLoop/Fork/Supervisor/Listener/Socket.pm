package EventLoop::Fork::Supervisor::Listener::Socket;

# Questions to a socket whatever its family, and what every listener's socket becomes.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::Listener::Address qw(host_and_port unix_path);
use Exporter                                       qw(import);
use Fcntl                                          qw(F_GETFD F_SETFD FD_CLOEXEC);
use IO::Socket                                     ();
use Scalar::Util                                   qw(blessed);
use Socket                                         qw(
    AF_INET AF_INET6 AF_UNIX IPPROTO_IPV6 IPV6_V6ONLY SOCK_STREAM SOL_SOCKET SO_ACCEPTCONN SO_TYPE sockaddr_family
);

our $VERSION = '0.001';

our @EXPORT_OK =
    qw(can_reuseport close_on_exec is_dual is_listening make_ours only_holds start_listening why_not_bound);

use constant BACKLOG => 1024;

sub make_ours {
    my ($handle) = @_;
    _as_object($handle);
    close_on_exec($handle);
    $handle->blocking(0);
    return;
}

# What a user gave as an object keeps its class.
sub _as_object {
    my ($handle) = @_;
    return if blessed $handle && $handle->isa('IO::Socket');
    my $family = sockaddr_family(getsockname $handle);
    bless $handle, _class_for($family);
    ${*$handle}{io_socket_domain} = $family;
    ${*$handle}{io_socket_type}   = SOCK_STREAM;
    ${*$handle}{io_socket_proto}  = $family == AF_UNIX ? 0 : Socket::IPPROTO_TCP();
    return;
}

sub _class_for {
    my ($family) = @_;
    local ($@, $!);
    if ($family == AF_UNIX) {
        require IO::Socket::UNIX;
        return 'IO::Socket::UNIX';
    }
    return 'IO::Socket::IP' if eval { require IO::Socket::IP; 1 };    # since perl 5.20
    return 'IO::Socket'     if $family != AF_INET;
    require IO::Socket::INET;
    return 'IO::Socket::INET';
}

sub close_on_exec {
    my ($handle) = @_;
    my $flags = fcntl $handle, F_GETFD, 0;
    fcntl $handle, F_SETFD, $flags | FD_CLOEXEC if defined $flags;
    return;
}

sub start_listening {
    my ($handle, $backlog) = @_;
    return listen $handle, defined $backlog ? $backlog : BACKLOG;
}

sub _option {
    my ($handle, $level, $name) = @_;
    my $packed = getsockopt $handle, $level, $name;
    return defined $packed ? unpack 'i', $packed : undef;
}

sub is_listening {
    my ($handle) = @_;
    return _option($handle, SOL_SOCKET, SO_ACCEPTCONN);
}

# Takes IPv4 as well.
sub is_dual {
    my ($handle) = @_;
    my $is_v6_only = _option($handle, IPPROTO_IPV6, IPV6_V6ONLY);
    return defined $is_v6_only && !$is_v6_only;
}

sub can_reuseport {
    return $^O eq 'linux' && defined eval { Socket::SO_REUSEPORT() };
}

sub only_holds {
    my ($handle) = @_;
    return
           can_reuseport()
        && _option($handle, SOL_SOCKET, Socket::SO_REUSEPORT())
        && sockaddr_family(getsockname $handle) != AF_UNIX
        && !is_listening($handle);
}

sub why_not_bound {
    my ($handle) = @_;
    my $packed = getsockname $handle;
    return 'is not a socket' if !defined $packed;
    my $family = sockaddr_family($packed);
    return 'is a socket of another kind than TCP and Unix' if !grep { $family == $_ } AF_INET, AF_INET6, AF_UNIX;
    my $type = _option($handle, SOL_SOCKET, SO_TYPE);
    return 'is not a stream socket' if !defined $type || $type != SOCK_STREAM;
    return                          if is_listening($handle);
    return 'is a connection'        if defined getpeername $handle;
    my $has_address = $family == AF_UNIX ? unix_path($packed) ne '' : (host_and_port($packed))[1];
    return 'is a socket without an address' if !$has_address;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Socket - questions to a socket

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener::Socket qw(why_not_bound);

    my $problem = why_not_bound($handle);
    die "descriptor 3 $problem\n" if defined $problem;

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>. Nothing here throws.

=head1 FUNCTIONS

=head2 make_ours($handle)

Makes it an object of a class of L<IO::Socket>, if it is none, close-on-exec and non-blocking.

=head2 close_on_exec($handle)

=head2 start_listening($handle, $backlog)

True, or false and C<$!>. Without C<$backlog> it is 1024.

=head2 is_listening($handle)

=head2 is_dual($handle)

Whether an IPv6 socket takes IPv4 as well.

=head2 can_reuseport

Whether this system spreads connections over sockets of one port.

=head2 only_holds($handle)

Whether this is such a socket, and does not listen.

=head2 why_not_bound($handle)

The rest of a sentence, or C<undef> for what is a stream socket, bound or listening.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>

=cut
