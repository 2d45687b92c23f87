package EventLoop::Fork::Scoreboard;

# What supervisor and workers know of each other: the core's scoreboard for Perl. All but the look at a process's memory
# is in xs/board.xsi and xs/glue_board.c.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Loop ();    # loads the object

# A thread has no view of its own.
sub CLONE_SKIP { return 1 }

# Bytes: resident, and of them those that nobody shares, where the kernel tells.
sub memory {
    my ($pid) = @_;
    local $!;
    my @sizes = _rollup($pid);
    return @sizes if @sizes;
    CORE::open my $file, '<', "/proc/$pid/statm" or return (undef, undef);
    my $line = readline $file;
    my ($pages) = defined $line ? $line =~ /\A\d+ (\d+)/ : ();
    return (defined $pages ? $pages * _page_size() : undef, undef);
}

sub _rollup {
    my ($pid) = @_;
    CORE::open my $file, '<', "/proc/$pid/smaps_rollup" or return;
    my ($rss, $private);
    while (defined(my $line = readline $file)) {
        my ($name, $kilobytes) = $line =~ /\A(\w+):\s+(\d+) kB/ or next;
        $rss = $kilobytes * 1024 if $name eq 'Rss';
        $private += $kilobytes * 1024 if $name =~ /\APrivate_(?:Clean|Dirty|Hugetlb)\z/;
    }
    return defined $rss ? ($rss, $private) : ();
}

my $page_size;

sub _page_size {
    require POSIX;
    return $page_size ||= POSIX::sysconf(POSIX::_SC_PAGESIZE());
}

1;

__END__

=encoding utf8

=head1 NAME

EventLoop::Fork::Scoreboard - what a supervisor and its workers know of each other

=head1 SYNOPSIS

    use EventLoop::Fork::Scoreboard;

    # The supervisor, before it forks.
    my $board = EventLoop::Fork::Scoreboard->new(path => '/run/app.status', rows => 8);
    $board->set_header(workers => 4);

    # A worker.
    $board->attach(3);
    $board->ready;
    $board->request_started;
    $board->add_counter($board->counter_index('hits'));
    $board->request_done;

    # Another process.
    my $view = EventLoop::Fork::Scoreboard->open('/run/app.status');
    my $row  = $view->row(3);
    print "$row->{pid} has answered $row->{requests_done}\n" if $view->owner;

=head1 DESCRIPTION

One piece of memory that a supervisor shares with its workers: a header, and a row for each place of a worker. With a
path it is a file that other processes read, and that stays readable when its writers were killed. Nobody locks
anything to write: a reader may see a row in the middle of a change, but no number that was never there.

Times are seconds of the monotonic clock, as C<Time::HiRes::clock_gettime(CLOCK_MONOTONIC)> has them, unless a name says
C<epoch>; 0 is none. Texts are characters. What is longer than a field is cut. Every exception is an
L<EventLoop::Fork::Error> whose operation is C<scoreboard>.

=head1 CLASS METHODS

=head2 new

    my $board = EventLoop::Fork::Scoreboard->new(path => $path, rows => $rows);

Makes one, of up to 2048 rows, all empty. Without a path it is memory that children inherit. A file has mode 0600, and is
complete when it gets its name; the scoreboard of a process that has ended is replaced. C<EVF_EBUSY>: its process runs.
C<EVF_ESYSTEM>: the file cannot be made, or there is another file of that name, which is left alone. The file is removed
with the object, by the process that made it only. There is a bell, too: see L</bell_fds>.

=head2 open

    my $view = EventLoop::Fork::Scoreboard->open($path, writable => 1);

That of another process, for reading only by default. C<EVF_EINVAL>: not a scoreboard, or of another version.

=head1 METHODS

=head2 header

    my $header = $board->header;

A hash with a copy of everything about the whole:

=over 4

=item version, header_bytes, row_bytes, rows

The layout. It cannot be set.

=item supervisor_pid, started, started_epoch

Set by C<new>.

=item beat

When the supervisor looked around last.

=item due

When it means to do so again; 0: when something happens.

=item pool_state

A number; L</pool_state_name> has the word.

=item workers, generation, breaker_is_open, exit_code

As the supervisor has them.

=item wanted_workers

What somebody else wishes for: the supervisor looks at it when it gets SIGTTIN. 0 is no wish.

=item starts

An array: how many workers were started, by cause. L</cause_word> has the words.

=item counter_names

An array of up to 16 names, as L</counter_index> made them.

=item deaths

How many workers have ended without being asked to.

=item past_requests, past_counters

What workers counted whose rows were cleared since: add the rows, and it is all there ever was.

=item info

A text for people, of up to 4095 bytes.

=back

=head2 set_header

    $board->set_header(beat => $now, workers => 5);

Sets some of them. An array is set as a whole. An unknown name, or a value that is none, is C<EVF_EINVAL>; then nothing is
set.

=head2 rename

    $board->rename($path, $pid);

In the process that made it: its file gets another name, at most as long as the one it has, and replaces a scoreboard of
that name whose owner has ended or is C<$pid>. C<EVF_EBUSY>: another process owns that.

=head2 rows

How many there are.

=head2 row

    my $row = $board->row($number);

A hash with a copy of a row:

=over 4

=item pid, slot, generation, state, is_stopping, spawned, ready, requests_max, rss_bytes

Of the worker, by the supervisor. C<state> is a number; L</state_name> has the word.

=item exited, reason

When and how the worker before ended, by the supervisor.

=item busy_since, turns, extension

The heartbeat, by the worker. C<busy_since> is 0 while it waits.

=item requests_started, requests_done, counters

By the worker; C<counters> is an array of 16 numbers.

=item is_ready

By the worker.

=item has_place, place

By the worker when it was examined, or had a fault: where its Perl code stood, as C<FILE line N (OPERATION)>.

=item error

The exception that ended the worker.

=back

=head2 set_row

    $board->set_row($number, state => 2, ready => $now);

Sets some of them, as C<set_header> does.

=head2 clear_row

    $board->clear_row($number);

For the next worker; C<exited> and C<reason> stay.

=head2 add_death

    $board->add_death($slot, $generation, $pid, $reason);

A worker has ended without being asked to.

=head2 deaths

    my @deaths = $board->deaths;

The last 16 of them, the oldest first, as hashes: C<time> (of the day), C<slot>, C<generation>, C<pid>, C<reason>. The header
has C<deaths>, the number of all.

=head2 attach_record

    $board->attach_record;
    $board->attach_record($number);

This process, its hooks at forks and its faults, is recorded from now on: in the header as the supervisor, whose faults are
told on STDERR, too, or in that row. A forked worker needs no call.

=head2 record

    my $record = $board->record($number);

What was recorded in that row, without a number of the supervisor: a hash, see L<EventLoop::Fork::Recorder>.

=head2 owner

The pid of the process that made it, 0 when that has ended.

=head1 THE BELL

Workers ring it for what the supervisor should see at once: it is readable then.

=head2 bell_fds

    my ($reading, $writing) = $board->bell_fds;

The descriptors, which belong to the object, and may be one and the same. Nothing where there is no bell. A loop watches
the first one for reading, as a duplicate: C<< open my $handle, '<&', $reading >>. Both are closed on exec.

=head2 set_bell

    $board->set_bell($fd);

For a worker that was started by exec, and has inherited the writing descriptor.

=head2 ring

Rings.

=head2 answer

    look_at_the_rows() if $board->answer;

True when it has rung since the last time. Then it is not readable any more.

=head1 IN A WORKER

These are for the process that has called C<attach>. In any other process, also in children of that one, they do nothing.

=head2 attach

    $board->attach($number);

This process is the worker of that row. Every L<EventLoop::Fork::Loop>, and every loop of L<IO::Async::Loop::Libev> and
L<IO::Async::Loop::Libevent>, stamps it from now on: C<busy_since> is the end of its last wait.

=head2 detach

It is no more.

=head2 ready

Sets C<is_ready>, and rings.

=head2 busy

=head2 idle

The stamps for a loop of another family: after it has waited, and before it waits.

=head2 request_started

=head2 request_done

Count. In a worker that has no loop they are the heartbeat, too: it is busy from the start of the first request under way
to the end of the last.

=head2 extend

    $board->extend(60);

The work under way may take so many seconds more than others. Over with the next turn of the loop.

=head2 add_counter

    $board->add_counter($index);
    $board->add_counter($index, $count);

=head2 counter_index

    my $index = $board->counter_index('hits');

The counter of that name; it is made if there is none. A name has up to 31 bytes, and there are up to 16.

=head2 pulse

    my ($is_ready, $has_place, $requests_done, $busy_since, $extension) = $board->pulse($number);

Of a row, quickly.

=head1 FUNCTIONS

None is exported.

=head2 memory

    my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($pid);

Resident bytes of a process, and how many of them no other process shares. C<undef> is what the system does not tell.

=head2 state_name

=head2 pool_state_name

=head2 cause_word

    my $word = EventLoop::Fork::Scoreboard::state_name($row->{state});

The words for numbers: C<ready>, C<running>, C<max requests>.

=head1 SEE ALSO

L<EventLoop::Fork>, L<EventLoop::Fork::Loop>

=cut
