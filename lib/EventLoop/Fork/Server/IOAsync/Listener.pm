package EventLoop::Fork::Server::IOAsync::Listener;

# An IO::Async::Listener that waits when a connection cannot be accepted. IO::Async's own throws that out of the loop, and
# the connection would be reported as ready for ever.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'IO::Async::Listener';

use Errno qw(EMFILE ENFILE ENOBUFS ENOMEM);
use Future;
use Scalar::Util qw(weaken);

use constant PAUSE => 0.1;    # seconds

my %IS_FULL = map { $_ => 1 } EMFILE, ENFILE, ENOBUFS, ENOMEM;

sub new {
    my ($class, %how) = @_;
    return $class->SUPER::new(acceptor => 'accept_or_wait', %how);
}

# Other errors are about one connection that is gone already, or that another worker has taken.
sub accept_or_wait {
    my ($self, $socket, %given) = @_;
    my $accepted = $socket->accept;
    if (!defined $accepted) {
        $self->_wait("$!") if $IS_FULL{ $! + 0 };
        return Future->done;
    }
    $accepted->blocking(0);
    my $handle = $given{handle} or return Future->done($accepted);
    $handle->set_handle($accepted);
    return Future->done($handle);
}

sub _wait {
    my ($self, $error) = @_;
    $self->_tell($error);
    $self->want_readready(0);
    weaken(my $weak = $self);
    $self->loop->watch_time(
        after => PAUSE,
        code  => sub { $weak->want_readready(1) if $weak && $weak->loop },
    );
    return;
}

# Once while it lasts.
sub _tell {
    my ($self, $error) = @_;
    my $now     = $self->loop->time;
    my $is_told = defined $self->{full_at} && $now - $self->{full_at} < 10 * PAUSE;
    $self->{full_at} = $now;
    print {*STDERR} "EventLoop::Fork: accept (pid $$): $error; trying again every ${\ PAUSE} s\n" unless $is_told;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::IOAsync::Listener - a listener that survives a full descriptor table

=head1 DESCRIPTION

An L<IO::Async::Listener>. When C<accept> fails for want of descriptors or memory, it says so, and accepts nothing for a
tenth of a second. All else goes on.

=head1 METHODS

=head2 new

=head2 accept_or_wait

The C<acceptor>, as L<IO::Async::Listener> calls it.

=head1 SEE ALSO

L<EventLoop::Fork::Server::IOAsync>

=cut
