package EventLoop::Fork::Guard::IOAsync;

# Notifiers of IO::Async with all their children. No event of theirs fires in the child, not even on_closed.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use Scalar::Util qw(blessed refaddr);

our $VERSION = '0.001';

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && $thing->isa('IO::Async::Notifier');
}

sub _with_children {
    my ($notifier) = @_;
    return ($notifier, map { _with_children($_) } $notifier->children);
}

sub _handles {
    my ($notifier) = @_;
    my %handles;
    for my $each (_with_children($notifier)) {
        for my $handle (grep { ref } @$each{qw(read_handle write_handle)}) {
            $handles{ refaddr $handle } = $handle;
        }
    }
    return values %handles;
}

# One of the parent's, which runs no more: it has nothing to forget.
sub _is_abandoned {
    my ($loop) = @_;
    local $@;
    return !eval {
        $loop->unwatch_time($loop->watch_time(after => 0, code => sub { }));
        1;
    };
}

sub unwatch {
    my ($kind, $notifier) = @_;
    my $loop = $notifier->loop;
    return if !$loop || $loop->isa('EventLoop::Fork::Loop::IOAsync') && _is_abandoned($loop);
    # What refuses to go as a whole goes one by one.
    eval { $notifier->remove_from_parent; 1 } and return;
    for my $each (reverse _with_children($notifier)) {
        eval { $each->__set_loop(undef) };
    }
    return;
}

sub descriptors {
    my ($kind, $notifier) = @_;
    return map {
        my $handle = $_;
        eval { $handle->fileno }
    } _handles($notifier);
}

sub disown {
    my ($kind, $notifier) = @_;
    EventLoop::Fork::Guard::_disown_handles(_handles($notifier));
    EventLoop::Fork::Guard->poison($_) for _with_children($notifier);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::IOAsync - notifiers of IO::Async in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with an L<IO::Async::Notifier> that its parent guards: it leaves its loop and its parent notifier without
an event, the handles of it and of its children are disowned, and all of them are poisoned.

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
