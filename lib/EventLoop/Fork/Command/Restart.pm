package EventLoop::Fork::Command::Restart;

# evfork restart: asks for a new supervisor in place of this one, and with --wait tells whether there is one.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Owner;
use EventLoop::Fork::Command::StatusFile;
use JSON::PP ();

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'wait', 'timeout=s' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    $self->refuse('--timeout is for --wait') if defined $options->{timeout} && !$options->{wait};
    my $timeout = $self->timeout($options->{timeout});
    my $owner   = EventLoop::Fork::Command::Owner->new($wish);
    $self->_refuse_while_stopping($owner);
    my $failures = _restart_info($owner)->{failed};
    $owner->signal('USR2');
    return $self->_wait($owner, $failures, $timeout) if $options->{wait};
    EventLoop::Fork::Command::put(sprintf "%s (pid %d) is asked to restart\n", $owner->name, $owner->pid);
    return $self->OK;
}

sub _refuse_while_stopping {
    my ($self, $owner) = @_;
    return if $owner->state =~ /\A(?:running|reloading)\z/;
    return EventLoop::Fork::Command::fail(
        sprintf '%s (pid %d) does not restart: it is %s', $owner->name, $owner->pid,
        $owner->state
    );
}

# Of one that is under way already the end is waited for: there is no second one beside it.
sub _wait {
    my ($self, $owner, $failures, $timeout) = @_;
    my ($pid, $info) = (0);
    $owner->wait_until(
        sub {
            $pid  = EventLoop::Fork::Command::StatusFile::owner_of($owner->path) || 0;
            $info = _restart_info($owner);
            return $pid != $owner->pid || $info->{failed} != $failures;
        },
        $timeout
        )
        or EventLoop::Fork::Command::fail(
        sprintf '%s (pid %d) has not finished its restart after %s s', $owner->name,
        $owner->pid, $timeout
        );
    my $who = sprintf '%s (pid %d)', $owner->name, $owner->pid;
    EventLoop::Fork::Command::fail("restart of $who failed: $info->{reason}; it goes on") if $pid == $owner->pid;
    EventLoop::Fork::Command::fail("$who has ended before it had restarted")              if !$pid;
    EventLoop::Fork::Command::put("$who has restarted: pid $pid has taken over\n");
    return $self->OK;
}

# While it is written it may be unreadable.
sub _restart_info {
    my ($owner) = @_;
    my $info;
    $owner->wait_until(
        sub {
            $info = eval { JSON::PP->new->decode($owner->header->{info}) }
        },
        1
    );
    my $restart = ref $info eq 'HASH' && ref $info->{restart} eq 'HASH' ? $info->{restart} : {};
    return { failed => 0, reason => 'no reason is known', %$restart };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Restart - evfork restart

=head1 SYNOPSIS

    evfork restart [FILE] [--wait] [--timeout SECONDS]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
