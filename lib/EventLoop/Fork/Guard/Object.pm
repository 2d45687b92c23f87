package EventLoop::Fork::Guard::Object;

# Objects that know themselves what a child must not do: by a method DISOWN, or by the code given to guard.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

sub disown {
    my ($kind, $object) = @_;
    $object->DISOWN if blessed $object && $object->can('DISOWN');
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::Object - objects that know what a child must not do

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

Calls C<DISOWN> of the object in the child, if it has one.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
