package EventLoop::Fork::Supervisor::Listener::Bound;

# Listens on what somebody else has bound: a descriptor of which only the number is known, or a handle.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::Listener::Inherited qw(adopt asked_for_before);
use EventLoop::Fork::Supervisor::Listener::Socket    qw(only_holds why_not_bound);
use Exporter                                         qw(import);
use Scalar::Util                                     qw(blessed);

our $VERSION = '0.001';

our @EXPORT_OK = qw(open_fd open_handle);

sub _fail {
    my ($listener, $message) = @_;
    return EventLoop::Fork::Supervisor::Listener::_fail($listener->spec, $message, 'EVF_EBADF');
}

sub open_fd {
    my ($listener, $options) = @_;
    my $number = $listener->{number};
    my @before = asked_for_before($listener, $options);    # the number was another one there
    return @before if @before;
    my ($inherited) = grep { ($_->fd // -1) == $number } @{ $options->{inherited} };
    return adopt($listener, $inherited, $options) if $inherited;
    # A handle of its own: bless would change what another one of the program is.
    open my $handle, '+<&=', $number or _fail($listener, "descriptor $number is not open");
    return _take($listener, $handle, $options, "descriptor $number");
}

sub open_handle {
    my ($listener, $options) = @_;
    my $handle = $listener->spec;
    if (!blessed $handle || !$handle->isa('IO::Socket')) {
        my $number = fileno $handle;
        defined $number && $number >= 0 or _fail($listener, 'the handle has no descriptor');
        # Closing one of two handles on a descriptor leaves it open for the other one.
        undef $handle;
        open $handle, '+<&=', $number or _fail($listener, "the handle: $!");
    }
    return _take($listener, $handle, $options, 'the handle');
}

sub _take {
    my ($listener, $handle, $options, $what) = @_;
    my $problem = why_not_bound($handle);
    _fail($listener, "$what $problem; wanted is a stream socket that is bound to an address") if defined $problem;
    $listener->{is_held} = 1 if $options->{reuseport} && only_holds($handle);
    return $listener->_take($handle, $options->{backlog});
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Bound - listens on what is bound already

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener::Bound qw(open_fd);

    open_fd($listener, { inherited => \@inherited });

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>. Each function returns the listener, or an inherited one, and throws.

=head1 FUNCTIONS

=head2 open_fd($listener, \%options)

=head2 open_handle($listener, \%options)

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>

=cut
