package EventLoop::Fork::Command::Replay;

# evfork replay: the events of a trace through the machine, and what it decided at each. Touches no process.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Loop ();    # loads the object

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([], @arguments);
    my ($path, @rest) = @{ $options->{''} };
    $self->refuse('which trace? evfork replay FILE') unless defined $path;
    $self->refuse("unexpected argument '$rest[0]'") if @rest;
    open my $file, '<', $path or EventLoop::Fork::Command::fail("cannot read '$path': $!");
    my $first   = readline $file;
    my $machine = defined $first ? EventLoop::Fork::Supervisor::Machine->new_from_trace($first) : undef;
    EventLoop::Fork::Command::fail("'$path' is no trace of a supervisor: line 1 has no options") unless $machine;

    while (defined(my $line = readline $file)) {
        my $actions = $machine->replay($line);
        EventLoop::Fork::Command::fail("'$path' line $.: not an event that this machine can take") unless $actions;
        EventLoop::Fork::Command::put($line);
        EventLoop::Fork::Command::put('    ', _text($_), "\n") for @$actions;
    }
    return $self->OK;
}

# One that says nothing is left out.
sub _text {
    my ($action) = @_;
    my @values   = map { "$_=$action->{$_}" }
        grep { $_ ne 'type' && defined $action->{$_} && length $action->{$_} && $action->{$_} ne '0' }
        sort keys %$action;
    return join ' ', lc $action->{type}, @values;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Replay - evfork replay

=head1 SYNOPSIS

    evfork run --trace-file /tmp/app.trace app.pl
    evfork replay /tmp/app.trace

=head1 DESCRIPTION

Reads what a supervisor with C<--trace-file> wrote, gives each event to the same machine again, and prints it with the
actions that were its answer. Nothing is started or signalled.

=head1 METHODS

=head2 run

=head1 SEE ALSO

L<evfork>

=cut
