package EventLoop::Fork::Command::Snapshot;

# How a supervisor and its workers are, as plain data, out of the scoreboard alone. Changes nothing, asks no process.

use strict;
use warnings;

use EventLoop::Fork::Command::StatusFile;
use EventLoop::Fork::Recorder;
use EventLoop::Fork::Scoreboard;
use JSON::PP    ();
use List::Util  qw(sum0);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

sub new {
    my ($class, $path) = @_;
    return bless { path => $path, board => EventLoop::Fork::Command::StatusFile::open_board($path) }, $class;
}

sub pid    { return $_[0]{board}->owner }
sub header { return $_[0]{board}->header }

# ---- The supervisor -------------------------------------------------------------------------------------------------

# After a hot restart the name is that of another file.
sub _follow {
    my ($self) = @_;
    local ($@, $!);
    my $board = eval { EventLoop::Fork::Scoreboard->open($self->{path}) } or return;
    my $pid   = $board->owner;
    $self->{board} = $board if $pid && $pid != $self->pid;
    return;
}

sub take {
    my ($self) = @_;
    $self->_follow;
    my $pid    = $self->pid;
    my $header = $self->{board}->header;
    my $info   = eval { JSON::PP->new->decode($header->{info}) };
    $info = {} unless ref $info eq 'HASH';
    my $now     = clock_gettime(CLOCK_MONOTONIC);
    my $state   = EventLoop::Fork::Scoreboard::pool_state_name($header->{pool_state});
    my $is_over = $state eq 'stopped' || $state eq 'halted';
    my $data    = {
        file    => $self->{path},
        name    => defined $info->{name} ? $info->{name} : EventLoop::Fork::Command::StatusFile::name_of($self->{path}),
        running => $pid                  ? JSON::PP::true : JSON::PP::false,
        state   => $pid || $is_over      ? $state         : 'dead',
        pid            => $header->{supervisor_pid} + 0,
        started        => $header->{started_epoch},
        uptime         => $pid ? _seconds($now - $header->{started}) : undef,
        generation     => $header->{generation},
        workers_wanted => $header->{workers},
        breaker_open   => $header->{breaker_is_open} ? JSON::PP::true       : JSON::PP::false,
        exit_code      => $is_over                   ? $header->{exit_code} : undef,
        starts         => _starts($header),
        listeners      => ref $info->{listeners} eq 'ARRAY' ? $info->{listeners} : [],
        (map { $_ => $info->{$_} } qw(program app perl version loop start_method)),
    };
    $data->{has_fallen_back} =
        ($info->{start_wanted} // '') ne ($info->{start_method} // '') ? JSON::PP::true : JSON::PP::false;
    $data->{app}           = $info->{worker} unless defined $data->{app};
    $data->{skipped_hooks} = ref $info->{skipped} eq 'ARRAY' ? $info->{skipped}              : [];
    $data->{died}          = $data->{state} eq 'dead'        ? _died($self->{board}->record) : undef;
    $data->{deaths}        = [ $self->{board}->deaths ];
    my @slots = slots($self->{board}, $header);
    $data->{workers}              = [ map { _of_slot($_, $header, $pid, $now) } @slots ];
    $data->{workers_ready}        = () = grep { $_->{state} eq 'ready' } @{ $data->{workers} };
    @$data{qw(requests counters)} = _totals($header, map { @$_[ 1, 2 ] } @slots);
    return $data;
}

# Where the supervisor was, if that was not its loop. Nobody knows its status any more.
sub _died {
    my ($record) = @_;
    my $where = EventLoop::Fork::Recorder::last_place($record);
    return length $where ? $where : undef;
}

# A clock of another boot is another clock.
sub _positive { return $_[0] > 0 ? $_[0] : 0 }

sub _seconds { return sprintf('%.0f', 1000 * _positive($_[0])) / 1000 }

sub _starts {
    my ($header) = @_;
    my $number = 0;
    my %starts;
    for my $count (@{ $header->{starts} }) {
        my $word = EventLoop::Fork::Scoreboard::cause_word($number++);
        $starts{$word} = $count if $count && defined $word && length $word;
    }
    return \%starts;
}

# Of all time: those of workers that are gone, and what is in the rows.
sub _totals {
    my ($header, @rows) = @_;
    my @names = @{ $header->{counter_names} };
    my %counters;
    for my $index (grep { length $names[$_] } 0 .. $#names) {
        $counters{ $names[$index] } = sum0($header->{past_counters}[$index], map { $_->{counters}[$index] } @rows);
    }
    return (sum0($header->{past_requests}, map { $_->{requests_done} } @rows), \%counters);
}

# ---- Workers --------------------------------------------------------------------------------------------------------

# Lists of slot and its two rows. Slots are used from 0 on, so the first pair that never was used is the end.
sub slots {
    my ($board, $header) = @_;
    my @slots;
    for my $slot (0 .. $header->{rows} / 2 - 1) {
        my @rows = map { $board->row($_) } 2 * $slot, 2 * $slot + 1;
        last if $slot >= $header->{workers} && !grep { $_->{spawned} || $_->{exited} || $_->{pid} } @rows;
        push @slots, [ $slot, @rows ];
    }
    return @slots;
}

# Its workers: none, one, or the one that leaves and the one that comes.
sub _of_slot {
    my ($slot, $header, $pid, $now) = @_;
    my ($number, @rows) = @$slot;
    my @shown = grep { $_->{pid} } @rows;
    @shown = (grep { _state($_) ne 'empty' } @rows)[0] || () unless @shown;
    my ($last) = sort { $b->{exited} <=> $a->{exited} } @rows;
    return map { _worker($number, $_, $last, $header->{counter_names}, $pid, $now) }
        sort { $a->{spawned} <=> $b->{spawned} } @shown;
}

sub _state { return EventLoop::Fork::Scoreboard::state_name($_[0]{state}) }

sub _worker {
    my ($slot, $row, $last, $names, $supervisor, $now) = @_;
    my $pid        = $row->{pid}   || undef;
    my $since      = $row->{ready} || $row->{spawned};
    my $age        = $pid && $row->{spawned}    ? _seconds($now - $row->{spawned})    : undef;
    my $busy       = $pid && $row->{busy_since} ? _seconds($now - $row->{busy_since}) : 0;
    my $is_serving = $pid && $row->{is_ready};
    my %counters;
    for my $index (0 .. $#$names) {
        $counters{ $names->[$index] } = $row->{counters}[$index] if length $names->[$index];
    }
    return {
        slot                => $slot,
        pid                 => $pid,
        state               => _state($row),
        generation          => $row->{generation},
        age                 => $age,
        requests            => $row->{requests_done},
        in_flight           => _positive($row->{requests_started} - $row->{requests_done}),
        requests_per_second => $is_serving && $now > $since ? _seconds($row->{requests_done} / ($now - $since)) : undef,
        memory              => $pid                         ? _memory($row, $supervisor)                        : undef,
        heartbeat           => !$is_serving                 ? undef : $row->{busy_since} ? 'busy' : 'idle',
        busy_for            => $busy,
        turns               => $row->{turns},
        stuck_at            => $row->{has_place} && length $row->{place} ? $row->{place}                    : undef,
        error               => length $row->{error}                      ? $row->{error}                    : undef,
        last_exit           => length $last->{reason}                    ? $last->{reason}                  : undef,
        last_exit_age       => $last->{exited}                           ? _seconds($now - $last->{exited}) : undef,
        counters            => \%counters,
    };
}

# Private memory, where the kernel tells it; else what the supervisor's last sample said.
sub _memory {
    my ($row, $is_running)   = @_;
    my ($resident, $private) = $is_running ? EventLoop::Fork::Scoreboard::memory($row->{pid}) : ();
    return $private || $resident || $row->{rss_bytes} || undef;
}

# Requests since the snapshot before, for each process: a rate instead of an average.
sub set_rates {
    my ($data, $before, $seconds) = @_;
    return if $seconds <= 0;
    my %before = map { $_->{pid} => $_->{requests} } grep { $_->{pid} } @{ $before->{workers} };
    for my $worker (grep { $_->{pid} } @{ $data->{workers} }) {
        my $count = $before{ $worker->{pid} };
        $worker->{requests_per_second} = _positive($worker->{requests} - $count) / $seconds if defined $count;
    }
    return;
}

sub total_rate {
    return sum0(map { $_->{requests_per_second} || 0 } @{ $_[0]{workers} });
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Snapshot - how a supervisor is, as data

=head1 SYNOPSIS

    use EventLoop::Fork::Command::Snapshot;

    my $snapshot = EventLoop::Fork::Command::Snapshot->new('/run/app.status');
    my $data     = $snapshot->take;
    print "$data->{name}: $data->{state}\n";

=head1 DESCRIPTION

What C<evfork status>, C<top> and C<metrics> show. The keys are those of C<evfork status --json>, see L<evfork>.

=head1 METHODS

=head2 new

=head2 take

The data, now.

=head2 pid, header

Of the supervisor; 0 when it has ended.

=head1 FUNCTIONS

=head2 set_rates

    set_rates($data, $data_before, $seconds);

Turns C<requests_per_second> from the average of a worker's life into the rate since then.

=head2 total_rate

=head2 slots

    my ($slot, @two_rows) = @$_ for slots($board, $board->header);

=head1 SEE ALSO

L<evfork>, L<EventLoop::Fork::Scoreboard>

=cut
