# A child has the signal mask of its parent, and so has what it executes: whatever the loop watches, no signal is blocked
# that the program did not block itself.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX qw(SIG_BLOCK SIG_SETMASK);
use Test2::V0;

signal_state() or skip_all 'the system does not tell the signal mask of a process';

my $sees = sub {
    +{ itself => signal_state()->{blocked}, executed => signal_state(scalar `cat /proc/self/status`)->{blocked} };
};

# Runs the code with signals blocked.
sub with_blocked {
    my ($signals, $code) = @_;
    my $old = POSIX::SigSet->new;
    POSIX::sigprocmask(SIG_BLOCK, POSIX::SigSet->new(@$signals), $old);
    my $error = eval { $code->(); 1 } ? undef : $@;
    POSIX::sigprocmask(SIG_SETMASK, $old);
    die $error if defined $error;
    return;
}

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    $loop->watch_signal($_ => sub { }) for qw(TERM USR1);

    my ($seen) = in_child($loop, $sees);
    is $seen, { itself => [], executed => [] }, 'no signal is blocked in a child, and in what it executes';
    is signal_state()->{blocked}, [], 'nor in the parent';

    with_blocked(
        [ POSIX::SIGUSR2, POSIX::SIGHUP ],
        sub {
            my ($seen) = in_child($loop, $sees);
            is $seen, { itself => [qw(HUP USR2)], executed => [qw(HUP USR2)] }, 'what the program has blocked stays so';
            is signal_state()->{blocked}, [qw(HUP USR2)], 'in the parent, too';
        }
    );

    my $from_callback;
    $loop->watch_signal(USR1 => sub { ($from_callback) = in_child($loop, $sees) });
    kill USR1 => $$;
    wait_until($loop, sub { $from_callback });
    is $from_callback, { itself => [], executed => [] },
        'none is blocked in a child forked by the callback of a signal';

    # perl blocks a signal while its handler runs. The child never leaves that handler.
    my $from_handler;
    local $SIG{USR2} = sub { ($from_handler) = in_child($loop, $sees) };
    kill USR2 => $$;
    wait_until($loop, sub { $from_handler });
    is $from_handler, { itself => [], executed => [] }, 'none is blocked in a child forked by a handler of %SIG';
    is signal_state()->{blocked}, [], 'nor in the parent afterwards';

    $loop->unwatch_signal($_) for qw(TERM USR1);
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    $loop->watch_signal(TERM => sub { });
    pipe my $reader, my $writer or die "pipe: $!";
    my $status;
    my $pid = $loop->fork(
        code    => sub { alarm 2 * BOUND; close $writer; sysread $reader, my $byte, 1; 0 },
        on_exit => sub { $status = $_[1] },
    );
    kill TERM => $pid;
    wait_until($loop, sub { defined $status });
    is $status, POSIX::SIGTERM, 'TERM ends a child of a parent that watches TERM';
    $loop->unwatch_signal('TERM');
};

control 'a child of IO::Async::Loop::Epoll, and what it executes, never gets a signal that the loop watches',
    ['IO::Async::Loop::Epoll'], qr/\Achild: TERM\nexecuted: TERM\n\z/, <<'EOP';
use strict;
use ForkTest;
use IO::Async::Loop::Epoll;
$| = 1;
my $loop = IO::Async::Loop::Epoll->new;
$loop->watch_signal(TERM => sub { });
$loop->fork(
    code => sub {
        print "child: @{ signal_state()->{blocked} }\n";
        print "executed: @{ signal_state(scalar `cat /proc/self/status`)->{blocked} }\n";
        0;
    },
    on_exit => sub { $loop->stop },
);
$loop->run;
EOP

done_testing;
