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
