package EventLoop::Fork::Guard::Kind;

# What each kind of guarded thing can do, and the answers that fit most.

use strict;
use warnings;

our $VERSION = '0.001';

sub accepts     { return 0 }
sub anchor      { return $_[1] }
sub prepare     { return }
sub release     { return }
sub unwatch     { return }
sub descriptors { return }

sub disown {
    my ($kind, $anchor) = @_;
    EventLoop::Fork::Guard->poison($anchor);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::Kind - how one kind of thing is guarded

=head1 SYNOPSIS

    package My::Guard::Redis;
    use parent 'EventLoop::Fork::Guard::Kind';
    use Scalar::Util qw(blessed);

    sub accepts     { my ($kind, $thing) = @_; return blessed $thing && $thing->isa('Some::Redis') }
    sub descriptors { my ($kind, $redis) = @_; return fileno $redis->{socket} }
    sub disown {
        my ($kind, $redis) = @_;
        EventLoop::Fork::Guard->disown($redis->{socket});
        EventLoop::Fork::Guard->poison($redis);
        return;
    }

    EventLoop::Fork::Guard->register('My::Guard::Redis');

=head1 DESCRIPTION

For classes of others; one's own have a method C<DISOWN>, see L<EventLoop::Fork::Guard>. All methods are class methods. The
ones below have the answers that fit most; only C<accepts> must be written.

In the child a step is taken for all guarded things before the next step begins: C<unwatch>, C<descriptors>, C<disown>, then
the code that was given to C<guard>.

=head1 METHODS

=head2 accepts

True if the thing is of this kind. It gets anything but C<undef>.

=head2 anchor

What the guard follows, if that is not the thing itself: a reference to what lives as long as the connection does.

=head2 prepare

In the parent, when the guard is made. What it returns is given to C<release>.

=head2 release

In the parent, when the guard is cancelled: takes back what C<prepare> did.

=head2 unwatch

In the child: stops what loops do for the thing, without any event.

=head2 descriptors

In the child: the numbers that it speaks on. They are made to lead nowhere.

=head2 disown

In the child: quiets the library, and what is inside. By default the thing is poisoned.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
