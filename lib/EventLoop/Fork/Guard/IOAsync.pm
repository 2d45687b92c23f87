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

sub unwatch {
    my ($kind, $notifier) = @_;
    # What refuses to go as a whole goes one by one.
    eval { $notifier->remove_from_parent; 1 } and return;
    for my $each (reverse _with_children($notifier)) {
        eval { $each->__set_loop(undef) };
    }
    return;
}

sub descriptors {
    my ($kind, $notifier) = @_;
    return map { my $handle = $_; eval { $handle->fileno } } _handles($notifier);
}

sub disown {
    my ($kind, $notifier) = @_;
    EventLoop::Fork::Guard::_disown_handles(_handles($notifier));
    EventLoop::Fork::Guard->poison($_) for _with_children($notifier);
    return;
}

1;
