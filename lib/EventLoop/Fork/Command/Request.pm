package EventLoop::Fork::Command::Request;

# What evfork reload and evfork restart have in common: a signal to the supervisor, and with --wait a look at what comes
# of it. A class has verb, the name of its signal, and request_and_wait.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Owner;

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'wait', 'timeout=s' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    $self->refuse('--timeout is for --wait') if defined $options->{timeout} && !$options->{wait};
    my $timeout = $self->timeout($options->{timeout});
    my $owner   = EventLoop::Fork::Command::Owner->new($wish);
    $owner->refuse_while_stopping($self->verb);
    my $outcome;

    if ($options->{wait}) {
        $outcome = $self->request_and_wait($owner, $timeout);
    }
    else {
        $owner->signal($self->signal);
        $outcome = 'is asked to ' . $self->verb;
    }
    EventLoop::Fork::Command::put($owner->who . " $outcome\n");
    return $self->OK;
}

sub fail_late {
    my ($self, $owner, $timeout) = @_;
    return EventLoop::Fork::Command::fail(
        sprintf '%s has not finished its %s after %s s', $owner->who, $self->verb,
        $timeout
    );
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Request - what evfork reload and evfork restart have in common

=head1 SYNOPSIS

    package EventLoop::Fork::Command::Reload;
    use parent 'EventLoop::Fork::Command::Request';

    use constant { verb => 'reload', signal => 'HUP' };

    sub request_and_wait {
        my ($self, $owner, $timeout) = @_;
        $owner->signal($self->signal);
        ...
        return 'has reloaded';
    }

=head1 DESCRIPTION

The commands are explained in L<evfork>.

=head1 METHODS

=head2 run

=head2 request_and_wait

    my $outcome = $self->request_and_wait($owner, $timeout);

Of the class: sends the signal, waits, and returns what is to be said of the L<EventLoop::Fork::Command::Owner>, or fails.

=head2 fail_late

    $self->fail_late($owner, $timeout);

=cut
