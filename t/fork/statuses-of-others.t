# The loop takes the statuses of the children that it watches, and of no other. Where somebody else takes those, the
# callback comes all the same.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# What a callback is told of a child whose status somebody else took: Linux tells it through the pidfd.
my $told_by_pidfd = kernel_has_exit_info() ? 7 << 8 : -1;

# Both ways to hear of processes.
sub each_way {
    my ($code) = @_;
    for my $use_pidfd (1, 0) {
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        $code->($use_pidfd, $use_pidfd ? '' : ', without pidfds');
        EventLoop::Fork::Loop::_use_pidfd(1);
    }
    return;
}

# A child that ends when it is told to.
sub gated_child {
    my ($loop, $on_exit) = @_;
    pipe my $gate, my $door or die "pipe: $!";
    my $pid =
        $loop->fork(code => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; 7 }, on_exit => $on_exit);
    return ($pid, $door);
}

# Programs that a program runs and waits for itself, while children of the loop end.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    each_way(sub {
        my ($use_pidfd, $how) = @_;
        my ($ended, @wrong)   = (0);
        $loop->watch_signal(USR1 => sub { });
        for my $round (1 .. 5) {
            my $pid = $loop->fork(
                code    => sub { $round },
                on_exit => sub { $ended++; push @wrong, "own $_[1]" if $_[1] != $round << 8 }
            );
            my $status = system 'sh', '-c', 'exit 3';
            push @wrong, "system $status $?" if $status != 3 << 8 || $? != 3 << 8;
            my $output = `echo output; exit 4`;
            push @wrong, "backticks '$output' $?" if $output ne "output\n" || $? != 4 << 8;
            open my $from, '-|', 'sh', '-c', 'echo piped; exit 5' or die "open: $!";
            my $line = readline $from;
            $loop->loop_once(0);
            close $from;
            push @wrong, "pipe '$line' $?" if $line ne "piped\n" || $? != 5 << 8;
            my $own = fork;
            defined $own or die "fork: $!";
            POSIX::_exit(6) unless $own;
            $loop->loop_once(0) for 1 .. 3;
            my $waited = waitpid $own, 0;
            push @wrong, "waitpid $waited $?" if $waited != $own || $? != 6 << 8;
        }
        wait_until($loop, sub { $ended == 5 });
        is [ $ended, @wrong ], [5], "system, backticks, pipes and waitpid get their statuses$how";
        $loop->unwatch_signal('USR1');
    });
};

# Children that end while the loop waits, and are waited for later.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    each_way(sub {
        my ($use_pidfd, $how) = @_;
        my @others = map {
            my $code = $_;
            my $pid  = fork;
            defined $pid or die "fork: $!";
            POSIX::_exit($code) unless $pid;
            $pid;
        } 1 .. 4;
        my $ended = 0;
        $loop->fork(code => sub { 0 }, on_exit => sub { $ended++ }) for 1 .. 4;
        wait_until($loop, sub { $ended == 4 });
        is [ map { waitpid($_, 0) == $_ ? $? >> 8 : 'gone' } @others ], [ 1 .. 4 ],
            "children of others keep their statuses$how";
    });
};

# watch_process on children that the program has forked, ended or not, and given back.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    each_way(sub {
        my ($use_pidfd, $how) = @_;
        my $pid = fork;
        defined $pid or die "fork: $!";
        POSIX::_exit(8) unless $pid;
        is_zombie($pid);
        my $status;
        $loop->watch_process($pid => sub { $status = $_[1] });
        wait_until($loop, sub { defined $status });
        is $status, 8 << 8, "a child that has ended before it is watched$how";

        my $called = 0;
        ($pid, my $door) = gated_child($loop, sub { $called++ });
        $loop->unwatch_process($pid);
        close $door;
        is [ waitpid($pid, 0), $? ], [ $pid, 7 << 8 ], "a child that is watched no more is its owner's$how";
        $loop->loop_once(0) for 1 .. 3;
        is $called, 0, 'and the callback is not called';
    });
};

# Somebody takes the status of a child that the loop watches.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    each_way(sub {
        my ($use_pidfd, $how) = @_;
        my $expected = $use_pidfd ? $told_by_pidfd : -1;
        my @got;
        my ($pid, $door) = gated_child($loop, sub { push @got, @_ });
        close $door;
        is [ waitpid($pid, 0), $? ], [ $pid, 7 << 8 ], 'a program takes the status of a child by waitpid';
        wait_until($loop, sub { @got });
        is \@got, [ $pid, $expected ], "the callback comes$how";

        @got = ();
        my @pids = map {
            $loop->fork(code => sub { 7 }, on_exit => sub { push @got, $_[1] })
        } 1 .. 5;
        my $taken = 0;
        $taken++ while $taken < 5 && waitpid(-1, 0) > 0;
        wait_until($loop, sub { @got == 5 });
        is [ $taken, @got ], [ 5, ($expected) x 5 ], "waitpid(-1) takes several, and each callback comes$how";
    });
};

# Children of other loops in one process; those loops wait for any child.
for my $class ('IO::Async::Loop::Poll', 'IO::Async::Loop::Epoll', 'EV') {
SKIP: {
        has_module($class) or skip "$class is not installed", 1;
        each_loop sub {
            my ($new) = @_;
            my ($run_other, $stop_other, $watch_other) = other_loop($class);
            my $loop = $new->();
            each_way(sub {
                my ($use_pidfd, $how) = @_;
                my (@ours, @theirs);
                my @doors;
                for (1 .. 3) {
                    my ($pid, $door) = gated_child($loop, sub { push @ours, $_[1] });
                    push @doors, $door;
                }
                my @pids;
                for my $code (1 .. 3) {
                    my $pid = fork;
                    defined $pid or die "fork: $!";
                    POSIX::_exit($code) unless $pid;
                    push @pids, $pid;
                    $watch_other->($pid, sub { push @theirs, $_[0] >> 8 });
                }
                @doors = ();
                my $deadline = now() + BOUND;
                while ((@ours < 3 || @theirs < 3) && now() < $deadline) {
                    $run_other->();
                    $loop->loop_once(0.01);
                }
                is [ sort { $a <=> $b } @theirs ], [ 1 .. 3 ], "$class gets the statuses of its children$how";
                is scalar(@ours), 3, 'our callbacks come';
                my $expected = $use_pidfd ? $told_by_pidfd : -1;
                is [ grep { $_ != 7 << 8 && $_ != $expected } @ours ], [],
                    'with the status, or with -1 where it was taken';
            });
            $stop_other->();
        }, best => 1;
    }
}

# To turn another loop once, to stop it, and to watch a process with it.
sub other_loop {
    my ($class) = @_;
    if ($class eq 'EV') {
        my @watchers;
        return (
            sub { EV::run(EV::RUN_NOWAIT()) },
            sub { @watchers = () },
            sub {
                my ($pid, $code) = @_;
                push @watchers, EV::child($pid, 0, sub { $code->($_[0]->rstatus) });
            },
        );
    }
    no warnings 'once';
    local $IO::Async::Loop::ONE_TRUE_LOOP;
    my $other = $class->new;
    return (
        sub { $other->loop_once(0.005) },    # signals come only while Loop::Epoll waits
        sub { undef $other; $SIG{CHLD} = 'DEFAULT' },
        sub {
            my ($pid, $code) = @_;
            $other->watch_process($pid => sub { $code->($_[1]) });
        },
    );
}

control 'IO::Async::Loop::Poll takes the status of a child that it does not watch', ['IO::Async::Loop::Poll'],
    qr/\Awaitpid -1\n\z/, <<'EOP';
use strict;
use ForkTest qw(is_zombie);
use IO::Async::Loop::Poll;
use POSIX;
my $loop = IO::Async::Loop::Poll->new;
pipe my $gate, my $door;
my $ended;
$loop->fork(code => sub { close $door; sysread $gate, my $byte, 1; 0 }, on_exit => sub { $ended = 1 });
my $other = fork;
POSIX::_exit(3) unless $other;
is_zombie($other);    # is there to be taken when its own ends
close $door;
$loop->loop_once(1) until $ended;
print 'waitpid ', waitpid($other, 0), "\n";
EOP

control 'EV takes the status of a child that it does not watch', ['EV'], qr/\Awaitpid -1\n\z/, <<'EOP';
use strict;
use EV;
use ForkTest qw(is_zombie);
use POSIX;
my $other = fork;
POSIX::_exit(3) unless $other;
is_zombie($other);    # its signal has come by then
EV::run(EV::RUN_NOWAIT) for 1 .. 3;
print 'waitpid ', waitpid($other, 0), "\n";
EOP

done_testing;
