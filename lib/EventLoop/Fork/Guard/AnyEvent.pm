package EventLoop::Fork::Guard::AnyEvent;

# AnyEvent::Handle. Its destructor would write what the parent has not yet written; a disowned one has none.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && $thing->isa('AnyEvent::Handle');
}

# Its watchers are the fields with these names: of reading, writing and the three timeouts.
sub unwatch {
    my ($kind, $handle) = @_;
    delete @$handle{qw(_rw _ww _tw _rtw _wtw _connect)};
    return;
}

sub descriptors {
    my ($kind, $handle) = @_;
    return $handle->{fh} ? fileno $handle->{fh} : ();
}

sub disown {
    my ($kind, $handle) = @_;
    EventLoop::Fork::Guard::_disown_handles($handle->{fh});
    EventLoop::Fork::Guard->poison($handle);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::AnyEvent - AnyEvent::Handle in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with an L<AnyEvent::Handle> that its parent guards: the watchers go, and the handle inside is disowned.
What waits to be written is not.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 accepts

=head2 unwatch

=head2 descriptors

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
