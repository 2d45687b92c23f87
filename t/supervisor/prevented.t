# What the supervisor decides to start while forks are prevented is started when they are not any more, and nothing has
# failed.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use ProcessTest qw(BOUND now wait_until write_file);
use SupervisorTest;
use Test2::V0;

# In the supervisor's process: a section with the loop in it, until all workers have died and that is dealt with.
sub turn_inside {
    my ($supervisor) = @_;
    my $adapter      = $supervisor->_adapter;
    my $deadline     = now() + BOUND;
    EventLoop::Fork->prevent_fork(sub {
        $_->kill('KILL') for $supervisor->workers;
        my $timer;
        my $look;
        $look = sub {
            return $adapter->stop if !$supervisor->workers || now() > $deadline;
            $timer = $adapter->watch_time(0.005, $look);
        };
        $timer = $adapter->watch_time(0, $look);
        $adapter->run;
        undef $look;
    });
    return;
}

for my $family (grep { $_->[0] =~ /\A(?:EventLoop::Fork::Loop|IO::Async::Loop::Libev|EV)\z/ }
    SupervisorTest::families())
{
    my ($name, $loop_of) = @$family;
    subtest $name => sub {
        my $stderr     = File::Temp->new;
        my $supervisor = SupervisorTest->start(
            workers       => 2,
            respawn_delay => 0,
            loop_of       => $loop_of,
            stderr        => "$stderr",
            worker        => \&SupervisorTest::serve,
            once_made     => sub {
                my ($made) = @_;
                # In a callback of the loop: the signal may come while the supervisor tells of a worker.
                $SIG{WINCH} = sub {
                    $made->_adapter->watch_time(0, sub { turn_inside($made) });
                };
            },
        );
        my @ready = $supervisor->wait_for_count(worker_ready => 2);
        $supervisor->signal('WINCH');
        my @exited = $supervisor->wait_for_count(worker_exited => 2);
        my @again  = $supervisor->wait_for_count(worker_ready  => 2);
        is([ sort map { $_->{slot} } @again ], [ 0, 1 ], 'both slots are filled again');
        is([ grep { $_->{event} =~ /failed|backoff|breaker/ } $supervisor->events ], [], 'nothing has failed');
        $supervisor->signal('WINCH');
        is(scalar(() = $supervisor->wait_for_count(worker_ready => 2)), 2, 'and once more');
        is($supervisor->finish, 0, 'exit code');
        ok($supervisor->is_gone, 'no process is left');
        my $log = do { local (@ARGV, $/) = "$stderr"; <> };
        like(
            $log, qr/the start of a worker in slot [01] waits for the end of prevent_fork at \Q$0\E line \d+$/m,
            'it is logged'
        );
    };
}

# Not a real one: that would execute this test again.
subtest 'a restart' => sub {
    my $folder     = File::Temp->newdir;
    my $begun      = "$folder/begun";
    my $supervisor = SupervisorTest->start(
        workers   => 1,
        stderr    => "$folder/stderr",
        worker    => \&SupervisorTest::serve,
        once_made => sub {
            my ($made) = @_;
            require EventLoop::Fork::Supervisor::Restart;
            no warnings qw(once redefine);
            *EventLoop::Fork::Supervisor::Restart::begin =
                sub { write_file($begun, EventLoop::Fork::Section->is_open ? 'inside' : 'outside') };
            $SIG{WINCH} = sub {
                EventLoop::Fork->prevent_fork(sub { $made->restart; write_file("$folder/within", -e $begun ? 1 : 0) });
            };
        },
    );
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('WINCH');
    wait_until(sub { -e $begun });
    is([ map { text_of($_) } "$folder/within", $begun ], [ 0, 'outside' ], 'waits for the end of the section, too');
    is($supervisor->finish, 0, 'exit code');
    like(text_of("$folder/stderr"), qr/the restart waits for the end of prevent_fork at/, 'it is logged');
};

sub text_of { local (@ARGV, $/) = @_; return scalar <> }

done_testing;
