package BoardTest;

# A scoreboard with made-up contents, for what reads scoreboards.

use strict;
use warnings;

use EventLoop::Fork::Scoreboard;
use JSON::PP    ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# Three slots: one busy, which is this very process; one idle; one that waits for its next start.
sub fill {
    my ($board) = @_;
    my $now = now();
    $board->counter_index($_) for 'hits', 'misses';
    my $number = 0;
    my %causes = map { $_ => $number++ } map { EventLoop::Fork::Scoreboard::cause_word($_) } 0 .. 12;
    my @starts = (0) x 13;
    @starts[ @causes{qw(start died reload)} ] = (3, 2, 1);
    $board->set_header(
        workers         => 3,
        generation      => 7,
        breaker_is_open => 1,
        starts          => \@starts,
        info            => JSON::PP->new->canonical->encode({
            name      => 'made-up app',
            program   => 'evfork',
            worker    => 'app.pl',
            version   => '0.001',
            perl      => '5.36.0',
            loop      => 'EventLoop::Fork',
            listeners => [ '127.0.0.1:8080', qq(unix:/tmp/"q\\uote"\na socket) ],
        }),
    );
    $board->set_row(
        0,
        pid              => $$,
        slot             => 0,
        state            => 2,
        generation       => 7,
        spawned          => $now - 120.5,
        ready            => $now - 120,
        is_ready         => 1,
        busy_since       => $now - 1.2,
        turns            => 4000,
        requests_started => 1202,
        requests_done    => 1200,
        counters         => [ 10, 0 ],
    );
    $board->set_row(
        2,
        pid           => 1,
        slot          => 1,
        state         => 2,
        generation    => 6,
        spawned       => $now - 60,
        ready         => $now - 60,
        is_ready      => 1,
        rss_bytes     => 12_345_678,
        requests_done => 5,
        counters      => [ 7, 0 ],
    );
    $board->set_row(4, slot => 2, pid => 1, requests_done => 100, counters => [ 3, 1 ]);
    $board->clear_row(4);    # which makes that past
    $board->set_row(
        4, slot => 2, state => 5, generation => 7, exited => $now - 5,
        reason  => "exit 255: no \e[31m\ndatabase"
    );
    return $board;
}

# What a supervisor leaves that is killed; its pid.
sub leave_stale {
    my ($path) = @_;
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        my $board = fill(EventLoop::Fork::Scoreboard->new(path => $path, rows => 8));
        kill KILL => $$;
    }
    waitpid $pid, 0;
    return $pid;
}

1;
