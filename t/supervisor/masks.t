# Workers have no signal blocked but those that their own loop blocks for itself: not what the parent's loop had blocked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

sub blocked {
    my $mask = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask);
    return
        grep { $mask->ismember(EventLoop::Fork::Worker::signal_number($_)) }
        qw(HUP INT QUIT TERM USR1 USR2 CHLD TTIN TTOU WINCH);
}

for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    subtest $name => sub {
        my $supervisor = SupervisorTest->start(
            loop_of => sub {
                my $loop = $loop_of->();
                # By the loop's own means: some block what they watch.
                if (ref $loop && $loop->can('watch_signal')) {
                    $loop->watch_signal($_ => sub { }) for qw(CHLD TERM WINCH);
                }
                return $loop;
            },
            workers     => 1,
            crash_limit => 1,
            worker      => sub { die 'blocked: ', join(' ', blocked()), "\n" },
        );
        my $exited = $supervisor->wait_for('worker_exited');
        is($exited->{reason}, 'exception: blocked:', 'nothing is blocked in a worker');
        $supervisor->exit_code;
    };
}

# Also when whoever starts the supervisor has them blocked: a worker that cannot be asked to stop could only be killed.
subtest 'what the parent has blocked' => sub {
    my $supervisor = SupervisorTest->start(
        before => sub {
            my $mask = POSIX::SigSet->new(POSIX::SIGTERM(), POSIX::SIGUSR2());
            POSIX::sigprocmask(POSIX::SIG_BLOCK(), $mask);
        },
        workers     => 1,
        crash_limit => 1,
        worker      => sub { die 'blocked: ', join(' ', blocked()), "\n" },
    );
    my $exited = $supervisor->wait_for('worker_exited');
    is($exited->{reason}, 'exception: blocked: USR2', 'what a worker follows is let in, and nothing else');
    $supervisor->exit_code;
};

done_testing;
