package EventLoop::Fork::Worker::Counter;

# A number of a worker's own that others can see: a column of the scoreboard. The worker adds, readers add up.

use strict;
use warnings;

our $VERSION = '0.001';

sub _new {
    my ($class, $board, $name) = @_;
    return bless { board => $board, name => $name, index => $board->counter_index($name) }, $class;
}

sub name { return $_[0]{name} }

sub add {
    my ($self, $amount) = @_;
    $self->{board}->add_counter($self->{index}, defined $amount ? $amount : 1);
    return $self;
}

1;
