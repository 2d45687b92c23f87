# A signal that has reached the parent, and waits there for its handler or its callback, is not the child's.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX qw(SIG_BLOCK SIG_SETMASK SIGUSR1);
use Test2::V0;

my $ran = 0;

# perl runs handlers between some of its operations. Unblocking a signal and forking, with a call of C each, leaves no
# room: the handler has still to run when the process forks.
for my $keep_signals (0, 1) {
    each_loop sub {
        my ($new) = @_;
        my $loop = $new->();
        pipe my $reader, my $writer or die "pipe: $!";
        my ($status, $ran_before);
        my @options = (
            code         => sub { $ran_before = $ran; 1 for 1 .. 10; syswrite $writer, "$ran_before $ran"; 0 },
            on_exit      => sub { $status     = $_[1] },
            keep_signals => $keep_signals,
        );
        $ran = 0;
        local $SIG{USR1} = sub { $ran++ };
        my $old = POSIX::SigSet->new;
        POSIX::sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1), $old);
        kill USR1 => $$;
        # The method of both families of loop, without what the one does before.
        my $pid = (POSIX::sigprocmask(SIG_SETMASK, $old), EventLoop::Fork::Loop::fork($loop, @options))[-1];
        close $writer;
        wait_until($loop, sub { defined $status });
        is [ slurp($reader), $status ], [ '0 0', 0 ],
            'the child does not run what was left to do in the parent' . ($keep_signals ? ', with keep_signals' : '');
        is $ran, 1, 'and the parent runs it once';
    };
}

each_loop sub {
    my ($new)  = @_;
    my $loop   = $new->();
    my %called = (USR1 => 0, USR2 => 0);
    $loop->watch_signal(
        $_ => do {
            my $name = $_;
            sub { $called{$name}++ }
        }
    ) for qw(USR1 USR2);

    my $child = sub {
        my $in_child = $new->();
        my $called   = 0;
        $in_child->watch_signal($_ => sub { $called++ }) for qw(USR1 USR2);
        $in_child->loop_once(0) for 1 .. 3;
        return $called;
    };

    kill $_ => $$ for qw(USR1 USR2);    # has raised them; no turn since
    my ($seen) = in_child($loop, $child);
    is $seen, 0, 'what waits for the next turn of the parent is not seen by a loop of the child';
    wait_until($loop, sub { $called{USR1} && $called{USR2} });
    is \%called, { USR1 => 1, USR2 => 1 }, 'and by the parent once';

    # Both are due in one turn; the first one forks.
    my ($from_callback, $status);
    my $other = 0;
    $loop->watch_signal(
        $_ => sub {
            $other++;
            return if defined $from_callback;
            ($from_callback, $status) = in_child($loop, $child);
        }
    ) for qw(USR1 USR2);
    kill $_ => $$ for qw(USR1 USR2);
    wait_until($loop, sub { $other == 2 });
    is [ $from_callback, $status, $other ], [ 0, 0, 2 ], 'a callback that forks between two signals';
    $loop->unwatch_signal($_) for qw(USR1 USR2);
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    $ran = 0;
    my ($seen, $status);
    local $SIG{USR1} = sub {
        $ran++;
        kill USR1 => $$;    # again: waits until this handler has returned
        ($seen, $status) = in_child($loop, sub { 1 for 1 .. 10; $ran }) unless defined $status;
        $SIG{USR1} = sub { $ran++ };
    };
    kill USR1 => $$;
    wait_until($loop, sub { $ran == 2 });
    is [ $seen, $status, $ran ], [ 1, 0, 2 ], 'a handler that forks with its signal pending';
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    local $SIG{USR1} = sub { $ran++ };
    $ran = 0;
    my $old = POSIX::SigSet->new;
    POSIX::sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1), $old);
    kill USR1 => $$;
    my ($seen, $status) = in_child(
        $loop,
        sub { POSIX::sigprocmask(SIG_SETMASK, POSIX::SigSet->new); 1 for 1 .. 10; $ran },
        keep_signals => 1
    );
    POSIX::sigprocmask(SIG_SETMASK, $old);
    is [ $seen, $status ], [ 0, 0 ], 'a signal that the parent has blocked is not pending in the child';
    is $ran, 1, 'and the parent gets it';
};

done_testing;
