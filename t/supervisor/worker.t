# What a worker sees of itself, and what it may ask for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

# One worker tells what the code finds, as the reason of its end.
sub told {
    my ($code, %options) = @_;
    my $supervisor = SupervisorTest->start(
        workers     => 1,
        crash_limit => 1,
        worker      => sub {
            my ($worker) = @_;
            die join('|', map { defined $_ ? $_ : 'undef' } $code->($worker)) . "\n";
        },
        %options,
    );
    my $exited = $supervisor->wait_for('worker_exited');
    $supervisor->exit_code;
    my ($told) = ($exited->{reason} // '') =~ /\Aexception: (.*)\z/s;
    return $told;
}

is(
    told(sub { my ($worker) = @_; $worker->slot, $worker->generation, $worker->pid == $$, $worker->stopping }),
    '0|1|1|0', 'slot, generation, pid, stopping'
);
is(told(sub { ref $_[0]->loop, $_[0]->loop == $_[0]->loop }), 'EventLoop::Fork::Loop|1', 'a loop, always the same');
is(
    told(
        sub {
            map { ref $_ eq 'IO::Socket::IP' || ref $_, $_->sockport > 0 } $_[0]->listeners;
        },
        listen => [ '127.0.0.1:0', '127.0.0.1:0' ]
    ),
    '1|1|1|1',
    'listeners in their order'
);
is(told(sub { $SIG{INT}, $SIG{PIPE}, ref $SIG{TERM} }), 'IGNORE|IGNORE|CODE', 'signals');
is(
    told(sub {
        eval { $_[0]->extend_deadline('soon') };
        ref $@, $@->message;
    }),
    q(EventLoop::Fork::Error|not a number of seconds: 'soon'),
    'extend_deadline with nonsense'
);
is(
    told(sub {
        eval { $_[0]->on_stop('nothing') };
        $@->message;
    }),
    q('code' is not code: 'nothing'),
    'on_stop without code'
);
is(told(sub { $0 }, name => 'shop'), 'shop: worker 0', 'the title of its process');
is(
    told(sub {
        eval { $_[0]->counter('x' x 32) };
        $@->message;
    }),
    q(a counter's name has 1 to 31 bytes, not ') . 'x' x 32 . q('),
    'a counter with a name that is too long'
);

subtest 'counters and requests' => sub {
    require EventLoop::Fork::Scoreboard;
    my $folder     = File::Temp->newdir;
    my $supervisor = SupervisorTest->start(
        workers     => 2,
        status_file => "$folder/status",
        worker      => sub {
            my ($worker) = @_;
            $worker->counter('hits')->add(2)->add;
            $worker->counter($worker->slot ? 'odd' : 'even')->add(-1);
            $worker->request_started for 1 .. 3;
            $worker->request_done;
            $worker->ready;
            $worker->loop->run;
            return 0;
        },
    );
    my @ready = $supervisor->wait_for_count(worker_ready => 2);
    my $board = EventLoop::Fork::Scoreboard->open("$folder/status");
    is($board->owner, $supervisor->pid, 'the file tells whose it is');
    my @names = @{ $board->header->{counter_names} };
    is([ sort @names ], [qw(even hits odd)], 'names');
    my ($first, $second) = map { $board->row(2 * $_) } 0, 1;
    my %sum;
    for my $row ($first, $second) { $sum{ $names[$_] } += $row->{counters}[$_] for 0 .. $#names }
    is(\%sum, { hits => 6, even => -1, odd => -1 }, 'numbers');
    is([ @$first{qw(requests_started requests_done slot state is_ready)} ], [ 3, 1, 0, 2, 1 ], 'requests');
    kill KILL => $ready[0]{pid};
    $supervisor->wait_for('worker_ready');
    is($board->header->{past_requests}, 1, 'what is over is kept');
    is($supervisor->finish, 0, 'exit code');
    ok(!-e "$folder/status", 'the file is gone');
};

subtest 'a stop before ready' => sub {
    my $folder = File::Temp->newdir;
    pipe my $reader, my $writer or die "pipe: $!";
    my $supervisor = SupervisorTest->start(
        workers => 1,
        worker  => sub {
            my ($worker) = @_;
            $worker->on_stop(sub {
                open my $file, '>', "$folder/stopped";
                $worker->loop->stop;
            });
            syswrite $writer, 'is starting';
            select undef, undef, undef, 0.01 until $worker->stopping;    # a long start
            $worker->ready;
            $worker->loop->run;
            return 0;
        },
    );
    sysread $reader, my $text, 100;
    is($supervisor->finish, 0, 'exit code');
    ok(-e "$folder/stopped", 'on_stop was called when the start was over');
    is([ grep { $_->{event} eq 'worker_killed' } $supervisor->events ], [], 'nobody was killed');
};

subtest 'as somebody else' => sub {
    my ($user) = grep { my @entry = getpwnam $_; @entry && $entry[2] > 0 } qw(nobody daemon);
    is(told(sub { $<, $> }, user => $user), join('|', (scalar getpwnam $user) x 2), 'the worker is that user');
    my $counts = sub {
        my ($worker) = @_;
        local @INC;    # as if that user could read none of it
        return $worker->counter('answers')->add->name;
    };
    is(told($counts, user => $user), 'answers', 'and needs nothing more of the disk');
    }
    if $> == 0;

done_testing;
