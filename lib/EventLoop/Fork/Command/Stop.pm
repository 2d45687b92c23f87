package EventLoop::Fork::Command::Stop;

# evfork stop: asks the supervisor to end, and waits until it has.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Owner;

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'delay=s', 'fast', 'timeout=s' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    my $timeout = $self->timeout($options->{timeout});
    my $delay   = $self->number('--delay', $options->{delay} // 0, min => 0, max => 86_400);
    my $owner   = EventLoop::Fork::Command::Owner->new($wish);
    $owner->wait_until(sub { !$owner->is_running }, $delay);
    $owner->signal($options->{fast} ? 'QUIT' : 'TERM');
    $owner->wait_until_ended($timeout)
        or EventLoop::Fork::Command::fail(
        sprintf '%s still runs after %s s%s',
        $owner->who, $timeout, $options->{fast} ? '' : '; --fast stops it without waiting for requests'
        );
    EventLoop::Fork::Command::put($owner->who . " has stopped\n");
    return $self->OK;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Stop - evfork stop

=head1 SYNOPSIS

    evfork stop [FILE] [--delay SECONDS] [--fast] [--timeout SECONDS]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
