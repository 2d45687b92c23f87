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

__END__

=head1 NAME

EventLoop::Fork::Worker::Counter - a number of a worker that others can see

=head1 SYNOPSIS

    my $hits = $worker->counter('hits');
    $hits->add;
    $hits->add(10);

=head1 METHODS

=head2 add

=head2 name

=head1 SEE ALSO

L<EventLoop::Fork::Worker>

=cut
