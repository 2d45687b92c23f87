package EventLoop::Fork::Server::Twiggy::Listening;

# A Twiggy::Server on sockets that are listening already. Its own one for that goes on accepting when it is told to leave.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'Twiggy::Server';

use AnyEvent;
use AnyEvent::Socket ();
use AnyEvent::Util   ();
use Errno            qw(EMFILE ENFILE ENOBUFS ENOMEM);
use Socket           qw(AF_UNIX sockaddr_family);

use constant PAUSE => 0.1;    # seconds without accepting, when there is no descriptor for a connection

my %IS_FULL = map { $_ => 1 } EMFILE, ENFILE, ENOBUFS, ENOMEM;

sub start_listen {
    my ($self, $app) = @_;
    $self->{accepting} = [ map { $self->_accept_on($_, $app) } @{ $self->{sockets} } ];
    return;
}

# The watcher, in a scalar whose end is its end.
sub _accept_on {
    my ($self, $socket, $app) = @_;
    my $is_tcp = sockaddr_family(getsockname $socket) != AF_UNIX;
    my ($host, $port) = $is_tcp ? ($socket->sockhost, $socket->sockport) : ('unix/', $socket->hostpath);
    my $take    = $self->_accept_handler($app, $is_tcp, \$host, \$port);
    my $watcher = {};
    $watcher->{start} = sub {
        $watcher->{io} = AE::io $socket, 0, sub {
            while ($watcher->{io} and my $peer = accept my $connection, $socket) {
                AnyEvent::Util::fh_nonblocking($connection, 1);
                my ($peer_port, $peer_host) = $is_tcp ? AnyEvent::Socket::unpack_sockaddr($peer) : ('', 'unix/');
                $take->(
                    $connection, ref $peer_host ? $peer_host : AnyEvent::Socket::format_address($peer_host),
                    $peer_port
                );
            }
            _pause($watcher) if $IS_FULL{ $! + 0 };
        };
    };
    $watcher->{start}->();
    return $watcher;
}

sub _pause {
    my ($watcher) = @_;
    delete $watcher->{io};
    $watcher->{timer} = AE::timer PAUSE, 0, $watcher->{start};
    return;
}

# What is under way ends as it would.
sub leave {
    my ($self) = @_;
    %$_ = () for splice @{ $self->{accepting} };
    $self->{exit_guard}->end;
    return;
}

sub wait_for_end { my ($self) = @_; $self->{exit_guard}->recv; return }

1;

__END__

=head1 NAME

EventLoop::Fork::Server::Twiggy::Listening - Twiggy on sockets that are listening already

=head1 METHODS

=head2 start_listen

=head2 leave

=head2 wait_for_end

=head1 SEE ALSO

L<EventLoop::Fork::Server::Twiggy>

=cut
