package Bench::Respawn;

# A worker dies: how long until its replacement serves. From outside, as a client sees it, for everybody; from inside, as
# the events of our supervisor tell it, less what a plain fork takes.

use strict;
use warnings;

use Bench::Measure ();
use Bench::Servers ();
use JSON::PP       ();
use POSIX          ();
use Time::HiRes    qw(CLOCK_MONOTONIC clock_gettime);

# Seconds of each death.
sub outside {
    my ($contestant, $count) = @_;
    my $server = Bench::Servers->start($contestant, 1);
    my $worker = $server->answering;
    my @seconds;
    for (1 .. $count) {
        my $began = clock_gettime(CLOCK_MONOTONIC);
        kill KILL => $worker or die "worker $worker is not there: $!\n";
        $worker = $server->answering($worker);
        push @seconds, clock_gettime(CLOCK_MONOTONIC) - $began;
    }
    $server->stop;
    return \@seconds;
}

# The same in a perl of its own: { respawn => [ seconds ], fork => [ seconds ] }.
sub inside {
    my ($count) = @_;
    my @command = (Bench::Servers::perl(), '-MBench::Respawn', '-e', 'Bench::Respawn::inner(@ARGV)', '--', $count);
    open my $pipe, '-|', @command or die "cannot start $^X: $!\n";
    my $text = do { local $/; <$pipe> };
    close $pipe;
    die 'it ends with status ' . $? . "\n" if $?;
    return JSON::PP::decode_json($text);
}

sub inner {
    my ($count) = @_;
    require EventLoop::Fork::Supervisor;
    alarm 120;
    my (@respawn, @fork, $exited);
    my $supervisor;
    $supervisor = EventLoop::Fork::Supervisor->new(
        workers       => 1,
        respawn_delay => 0,
        crash_limit   => 0,
        worker        => sub { my ($worker) = @_; my $loop = $worker->loop; $worker->ready; $loop->run; return 0 },
        on_event      => sub {
            my ($event, $worker) = @_;
            my $now = clock_gettime(CLOCK_MONOTONIC);
            $exited = $now if $event->{event} eq 'worker_exited';
            return unless $event->{event} eq 'worker_ready';
            push @respawn, $now - $exited if defined $exited;
            push @fork, _plain_fork();    # in a process of the same size, at the same time
            return $supervisor->stop if @respawn == $count;
            kill KILL => $event->{pid};
        },
    );
    $supervisor->run;
    print JSON::PP->new->canonical->encode({ respawn => \@respawn, fork => \@fork }), "\n";
    return;
}

# Until the child says that it runs.
sub _plain_fork {
    pipe my $reader, my $writer or die "pipe: $!\n";
    my $began = clock_gettime(CLOCK_MONOTONIC);
    my $pid   = CORE::fork;
    die "fork: $!\n" unless defined $pid;
    if (!$pid) {
        syswrite $writer, '.';
        POSIX::_exit(0);
    }
    sysread $reader, my $byte, 1;
    my $took = clock_gettime(CLOCK_MONOTONIC) - $began;
    waitpid $pid, 0;
    return $took;
}

# Of nineteen in twenty.
sub percentile_95 {
    my @sorted = sort { $a <=> $b } @_;
    my $index  = int(0.95 * @sorted);
    return $sorted[ $index > $#sorted ? $#sorted : $index ];
}

1;
