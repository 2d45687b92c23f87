package Bench::Measure;

# Both ends of one measurement. The outer end starts a fresh perl for one row and one contestant, so that singletons,
# signal handlers and memory of one never meet those of another. The inner end runs batches and writes its result, one
# line of JSON, to the pipe.

use strict;
use warnings;

use Bench::Contestants ();
use Bench::Rows        ();
use JSON::PP           ();
use POSIX              ();
use Time::HiRes        qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);

# A measurement goes on until it has both, or until enough time is gone.
use constant MIN_BATCHES => 3;
use constant MIN_SECONDS => 0.2;
use constant MAX_SECONDS => 0.5;

use constant KILLED_AFTER => 5;        # seconds; ours need a tenth of it
use constant DESCRIPTORS  => 4_096;    # wanted; what the system allows otherwise

# ---- The outer end ---------------------------------------------------------------------------------------------------

my $running_pid;

# For a handler of signals. An exit alone would wait for the measurement, because it closes the pipe first.
sub give_up {
    kill KILL => $running_pid if $running_pid;
    return;
}

# What these say would make a contestant something else than its default.
my @NEUTRAL = qw(IO_ASYNC_LOOP IO_ASYNC_WATCHDOG LIBEV_FLAGS EVENTLOOP_FORK_BACKEND EVENTLOOP_FORK_METHOD
    EVENT_NOEPOLL EVENT_NOPOLL EVENT_NOSELECT EVENT_SHOW_METHOD);

# The result as a hash; { error => 'why' } if there is none.
sub run {
    my ($what, $row, $contestant) = @_;
    delete local @ENV{@NEUTRAL};
    my @shell = ('/bin/sh', '-c', 'ulimit -S -n "$1" 2>/dev/null; shift; exec "$@"', 'sh', DESCRIPTORS);
    my @perl  = ($^X, map { "-I$_" } grep { !ref } @INC);
    my @inner = ('-MBench::Measure', '-e', 'Bench::Measure::inner(@ARGV)', '--', $what, $row, $contestant);
    $running_pid = open my $pipe, '-|', @shell, @perl, @inner or die "cannot start $^X: $!\n";
    my $output = do { local $/; <$pipe> };
    close $pipe;
    undef $running_pid;
    return { error => _how_it_ended($?) } if $?;
    my $result = eval { JSON::PP::decode_json($output) };
    return $result || { error => "unexpected output: $output" };
}

sub _how_it_ended {
    my ($wait_status) = @_;
    my $signal = $wait_status & 127;
    return 'exit ' . ($wait_status >> 8) unless $signal;
    return $signal == 14 ? 'took more than ' . KILLED_AFTER . ' seconds' : "killed by signal $signal";
}

# ---- The inner end ---------------------------------------------------------------------------------------------------

sub inner {
    my ($what, @names) = @_;
    alarm KILLED_AFTER;
    POSIX::close($_) for 3 .. 255;    # what the caller left open: forks and poll would pay for it
    my $result = eval { $what eq 'look' ? _look(@names) : _measure(@names) };
    if (!$result) {
        $result = { error => _reason("$@") };
    }
    print JSON::PP->new->canonical->encode($result), "\n";
    return;
}

# An exception in one short line.
sub _reason {
    my ($error) = @_;
    if (my ($file) = $error =~ /\ACan't locate (\S+)\.pm in \@INC/) {
        (my $module = $file) =~ s{/}{::}g;
        my $is_ours = $module =~ /\AEventLoop::Fork\b|\AIO::Async::Loop::Libev/;
        return "$module is not " . ($is_ours ? 'built; ./dev build does it' : 'installed');
    }
    $error =~ s/\n.*//s;
    return $error;
}

# Is it installed, and what exactly?
sub _look {
    my (undef, $name) = @_;
    my $contestant = Bench::Contestants::named($name);
    my $loop       = Bench::Contestants::start($contestant);
    my $method     = $contestant->{make} && $loop->can('method') ? $loop->method : undef;
    return { versions => Bench::Contestants::versions($contestant), method => $method };
}

sub _measure {
    my ($row_name, $contestant_name) = @_;
    my $row   = Bench::Rows::named($row_name);
    my $loop  = Bench::Contestants::start(Bench::Contestants::named($contestant_name));
    my $batch = $row->{prepare}->($loop);
    my $count = $row->{count};

    $batch->($count / 10) unless $row->{measures_count};    # memory is there, files are loaded

    my (@wall, @processor, @own);
    my $start    = clock_gettime(CLOCK_MONOTONIC);
    my $now      = $start;
    my $children = _children();
    while ($now - $start < MAX_SECONDS && (@wall < MIN_BATCHES || $now - $start < MIN_SECONDS)) {
        my ($before, $before_processor) = ($now, clock_gettime(CLOCK_PROCESS_CPUTIME_ID));
        my $measured = $batch->($count);
        $now = clock_gettime(CLOCK_MONOTONIC);
        push @own, $measured if $row->{measures_count};
        push @wall, $now - $before;
        push @processor, clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $before_processor;
    }
    return { $row->{clock} => median(@own), batches => scalar @own } if @own;
    $children = (_children() - $children) / @wall;
    return {
        wall      => median(@wall) / $count,
        processor => (median(@processor) + $children) / $count,
        batches   => scalar @wall,
    };
}

# Seconds of processor time that the children have used which were waited for.
sub _children {
    my (undef, undef, $user, $system) = times;
    return $user + $system;
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return @sorted % 2 ? $sorted[ $#sorted / 2 ] : ($sorted[ @sorted / 2 - 1 ] + $sorted[ @sorted / 2 ]) / 2;
}

1;
