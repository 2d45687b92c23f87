package EventLoop::Fork::Command::Restart;

# evfork restart: asks for a new supervisor in place of this one, and with --wait tells whether there is one.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command::Request';

use EventLoop::Fork::Command::StatusFile;
use JSON::PP ();

our $VERSION = '0.001';

use constant { verb => 'restart', signal => 'USR2' };

# Of one that is under way already the end is waited for: there is no second one beside it.
sub request_and_wait {
    my ($self, $owner, $timeout) = @_;
    my $failures = _restart_info($owner)->{failed};
    $owner->signal($self->signal);
    my ($pid, $info) = (0);
    my $is_over = sub {
        $pid  = EventLoop::Fork::Command::StatusFile::owner_of($owner->path) || 0;
        $info = _restart_info($owner);
        return $pid != $owner->pid || $info->{failed} != $failures;
    };
    $owner->wait_until($is_over, $timeout) or $self->fail_late($owner, $timeout);
    my $who = $owner->who;
    EventLoop::Fork::Command::fail("restart of $who failed: $info->{reason}; it goes on") if $pid == $owner->pid;
    EventLoop::Fork::Command::fail("$who has ended before it had restarted")              if !$pid;
    return "has restarted: pid $pid has taken over";
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

=head2 verb, signal, request_and_wait

Those of L<EventLoop::Fork::Command::Request>.

=cut
