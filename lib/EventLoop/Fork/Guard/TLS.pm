package EventLoop::Fork::Guard::TLS;

# IO::Socket::SSL: no close_notify from the child, and no record under a number that the parent uses, too.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Handle';
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && $thing->isa('IO::Socket::SSL');
}

# The library's memory stays as it is: what has a class that does nothing is not freed by the library either.
sub disown {
    my ($kind, $socket) = @_;
    my $fields = *$socket{HASH};
    my $ssl    = $fields ? $fields->{_SSL_object} : undef;
    eval { Net::SSLeay::set_quiet_shutdown($ssl, 1) } if $ssl;
    return $kind->SUPER::disown($socket);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::TLS - IO::Socket::SSL in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with an L<IO::Socket::SSL> that its parent guards: as with every handle, and the session is told not to say
good-bye.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 accepts

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
