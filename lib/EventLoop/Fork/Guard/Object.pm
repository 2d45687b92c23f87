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
