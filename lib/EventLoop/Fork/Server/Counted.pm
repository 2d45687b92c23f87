package EventLoop::Fork::Server::Counted;

# A request under way, for as long as this object lives. A copy of it in a child of the worker is none.

use strict;
use warnings;

our $VERSION = '0.001';

sub new {
    my ($class, $worker) = @_;
    $worker->request_started;
    return bless { worker => $worker }, $class;
}

sub DESTROY {
    my ($self) = @_;
    $self->{worker}->request_done if $$ == $self->{worker}->pid;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::Counted - a request under way

=head1 DESCRIPTION

For servers of L<EventLoop::Fork::Server> that do not tell when a request is answered: the object counts as a request of the
worker until it is gone.

=head1 METHODS

=head2 new($worker)

=cut
