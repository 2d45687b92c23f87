package EventLoop::Fork::Supervisor::Listener::Complaint;

# Why a listener cannot have its address, in words: which address, who is in the way, and what to do about it.

use strict;
use warnings;

use Errno qw(
    EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN ENOENT ENOTDIR EPERM EROFS
);
use EventLoop::Fork::Supervisor::Listener::Address qw(host_and_port read_packed);
use EventLoop::Fork::Supervisor::SocketOwner       ();
use Exporter                                       qw(import);
use File::Basename                                 ();

our $VERSION = '0.001';

our @EXPORT_OK = qw(cannot cannot_make_file refuse socket_stays);

sub refuse {
    my ($listener, $message) = @_;
    return EventLoop::Fork::Supervisor::Listener::_fail($listener->spec, $message, 'EVF_ESYSTEM');
}

sub cannot {
    my ($listener, $errno, $packed) = @_;
    $packed = $listener->{packed} if !defined $packed;
    my %address = defined $packed        ? read_packed($packed) : ();
    my $name    = defined $address{name} ? $address{name}       : $listener->name;
    return refuse(
        $listener,
          $errno == EADDRINUSE    ? _in_use($listener, $name, $packed)
        : $errno == EADDRNOTAVAIL ? "$name is not an address of this machine; `ip address` lists those that are"
        : $errno == EAFNOSUPPORT  ? "$name: this system has no IPv6"
        : $errno == EACCES        ? _not_permitted($listener, $name, $packed)
        :                           "$name: " . _words($errno)
    );
}

sub _words {
    my ($errno) = @_;
    local $! = $errno;
    return "$!";
}

sub _in_use {
    my ($listener, $name, $packed) = @_;
    my $is_unix = $listener->is_unix;
    my $owner =
        $is_unix
        ? EventLoop::Fork::Supervisor::SocketOwner::of_unix($listener->path)
        : EventLoop::Fork::Supervisor::SocketOwner::of_tcp(host_and_port($packed));
    if (defined $owner && $owner eq 'this process itself') {
        return "$name is in use by this process itself; is it in the list twice?";
    }
    my $by = defined $owner ? " by $owner" : '';
    return "$name is in use$by; stop it, or choose another " . ($is_unix ? 'path' : 'port');
}

sub _not_permitted {
    my ($listener, $name, $packed) = @_;
    my $port = $listener->is_unix ? undef : (host_and_port($packed))[1];
    return "$name: " . _words(EACCES) if !$port || $port >= 1024;
    return
        "$name: ports below 1024 are for root; start as root with --user, give perl CAP_NET_BIND_SERVICE, lower sysctl "
        . 'net.ipv4.ip_unprivileged_port_start, or choose a port from 1024 on';
}

# ---- Socket files ---------------------------------------------------------------------------------------------------

sub cannot_make_file {
    my ($listener, $errno) = @_;
    return cannot($listener, $errno) if $errno == EADDRINUSE;
    my $path   = $listener->path;
    my $folder = File::Basename::dirname($path);
    my $user   = getpwuid $>;
    $user = $> if !defined $user;
    return refuse(
        $listener,
        $errno == ENOENT    ? "there is no folder $folder; make it, or choose another path"
        : $errno == ENOTDIR ? "$folder is not a folder; choose another path"
        : $errno == EACCES
            || $errno == EPERM ? "user $user may not make files in $folder; allow it, or choose another path"
        : $errno == EROFS ? "$folder is on a read-only file system; choose another path"
        :                   "unix:$path: " . _words($errno)
    );
}

sub socket_stays {
    my ($listener, $errno) = @_;
    my $path = $listener->path;
    # Connected, or its queue is full.
    my $is_alive = $errno == 0 || $errno == EAGAIN;
    return cannot($listener, EADDRINUSE)
        if $is_alive || defined EventLoop::Fork::Supervisor::SocketOwner::of_unix($path);
    return refuse(
        $listener,
        "$path is a socket, and whether somebody listens there cannot be told: "
            . _words($errno)
            . '; remove it, or choose another path'
    );
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Complaint - why a listener cannot have its address

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener::Complaint qw(cannot);

    bind $socket, $packed or cannot($listener, $! + 0, $packed);

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>. Every function throws, as the listener itself does.

=head1 FUNCTIONS

=head2 refuse($listener, $message)

Throws C<EVF_ESYSTEM> with these words.

=head2 cannot($listener, $errno, $packed)

Says why the system does not give the address, which is the listener's own if none is named.

=head2 cannot_make_file($listener, $errno)

The same for a socket file that cannot be made: what is wrong with its folder.

=head2 socket_stays($listener, $errno)

The same for a socket file that is there and may be somebody's: C<$errno> is what a connection to it gave, or 0.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::SocketOwner>

=cut
