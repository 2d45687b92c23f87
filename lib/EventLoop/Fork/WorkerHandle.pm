package EventLoop::Fork::WorkerHandle;

# What the supervisor knows of one worker. It lives in the supervisor's process only.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Child;
use EventLoop::Fork::Scoreboard;
use Time::HiRes ();

sub _new {
    my ($class, %fields) = @_;
    return bless {%fields}, $class;
}

sub pid        { return $_[0]{child}->pid }
sub slot       { return $_[0]{slot} }
sub generation { return $_[0]{generation} }
sub is_ready   { return $_[0]{is_ready}                          ? 1                             : 0 }
sub is_running { return $_[0]{child} && $_[0]{child}->is_running ? 1                             : 0 }
sub kill       { my ($self, $signal) = @_; return $self->{child} ? $self->{child}->kill($signal) : 0 }

sub age { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) - $_[0]{spawned} }

# Private memory where the kernel tells it: pages that are shared with the parent cost nothing.
sub memory {
    my ($self) = @_;
    my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($self->pid);
    return $private || $rss || 0;
}

sub _row {
    my ($self) = @_;
    return $self->{last_row} if $self->{last_row};
    my $board = $self->{shared}{board} or return {};
    return $board->row($self->{berth});
}

sub requests { return $_[0]->_row->{requests_done} }

sub place {
    my ($self) = @_;
    my $row = $self->_row;
    return $row->{has_place} ? $row->{place} : undef;
}

# When it was examined.
sub activity { return $_[0]{activity} }

# The row is the next worker's, soon.
sub _read_last_words {
    my ($self) = @_;
    $self->{last_row}    = $self->_row;
    $self->{last_record} = $self->{shared}{board}->record($self->{berth}) if $self->{shared}{board};
    return;
}

sub exit_reason {
    my ($self) = @_;
    my $child = $self->{child};
    return $child->exit_reason if $child->is_running || !$self->{last_record};
    return EventLoop::Fork::Recorder::report($child->wait_status, $self->{last_record}, $child->{ended});
}

sub status {
    my ($self) = @_;
    my $row = $self->_row;
    return {
        slot       => $self->slot,
        pid        => $self->pid,
        generation => $self->generation,
        state      => EventLoop::Fork::Scoreboard::state_name($row->{state}),
        age        => $self->age,
        requests   => $row->{requests_done},
        in_flight  => $row->{requests_started} - $row->{requests_done},
        busy_since => $row->{busy_since},
    };
}

1;

__END__

=head1 NAME

EventLoop::Fork::WorkerHandle - what the supervisor knows of one worker

=head1 SYNOPSIS

    for my $handle ($supervisor->workers) {
        print join(' ', $handle->slot, $handle->pid, $handle->requests), "\n";
    }

=head1 METHODS

=head2 pid, slot, generation, is_ready, is_running

=head2 age

Seconds since its start.

=head2 requests

Done so far.

=head2 memory

Bytes: private ones where the kernel tells, else the resident size; 0 where it tells nothing.

=head2 place

Where it stood when it was examined: C<FILE line N>, or C<undef>.

=head2 activity

What it did when it was examined: C<running>, or C<in system call read>. C<undef> where the system does not tell.

=head2 exit_reason

How it ended: the status in words, the text of its exception, and the hook or the step of the fork in which it was.

=head2 kill

    $handle->kill('USR1');

Never reaches a process that has ended.

=head2 status

All of it as a hash.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>

=cut
