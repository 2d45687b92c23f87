# Where SIGCHLD is ignored nobody keeps the status of a child. The callback comes all the same.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

each_loop sub {
    my ($new) = @_;
    for my $use_pidfd (1, 0) {
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        my $how = $use_pidfd ? '' : ', without pidfds';
        # Linux still tells it through a pidfd that was there in time.
        my $expected = $use_pidfd && kernel_has_exit_info() ? 7 << 8 : -1;
        local $SIG{CHLD} = 'IGNORE';
        my $loop = $new->();
        pipe my $gate, my $door or die "pipe: $!";
        my @got;
        my $pid = $loop->fork(
            code    => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; 7 },
            on_exit => sub { push @got, @_ },
        );
        $loop->loop_once(0);
        is \@got, [], 'it does not come early';
        close $door;
        my $start = now();
        wait_until($loop, sub { @got });
        is \@got, [ $pid, $expected ], "a child that ends while it is watched$how";
        cmp_ok now() - $start, '<', PROMPT, 'and at once';

        @got = ();
        $pid = $loop->fork(code => sub { 7 }, on_exit => sub { push @got, @_ });
        wait_until($loop, sub { @got });
        is $got[0], $pid, "one that ends at once$how";
        like $got[1], qr/\A(?:-1|1792)\z/, 'has its status, or -1';

        # As when the child has ended before it is watched, and is gone.
        @got = ();
        $pid = fork;
        defined $pid or die "fork: $!";
        POSIX::_exit(7) unless $pid;
        waitpid $pid, 0;
        $loop->watch_process($pid => sub { push @got, @_ });
        wait_until($loop, sub { @got });
        is \@got, [ $pid, -1 ], "one that is gone$how";

        ok !eval {
            $loop->watch_process($$ => sub { });
            1;
        }, 'a process that is no child is refused still';
        is $SIG{CHLD}, 'IGNORE', 'SIGCHLD stays ignored';
        if (my $state = signal_state()) {
            ok scalar(grep { $_ eq 'CHLD' } @{ $state->{ignored} }), 'for the kernel, too';
        }

        my ($seen, $status);
        pipe my $reader, my $writer or die "pipe: $!";
        $loop->fork(
            code => sub {
                alarm 2 * BOUND;
                my $in_child = $new->();
                my $below;
                $in_child->fork(code => sub { 3 }, on_exit => sub { $below = 'came' });
                wait_until($in_child, sub { $below });
                syswrite $writer, "$SIG{CHLD} $below";
                0;
            },
            on_exit => sub { $status = 1 },
        );
        close $writer;
        wait_until($loop, sub { $status });
        is slurp($reader), 'IGNORE came', "it stays so in a child, and callbacks come there$how";
        EventLoop::Fork::Loop::_use_pidfd(1);
    }
    },
    best => 1;

# A program that has its own handler for SIGCHLD.
each_loop sub {
    my ($new) = @_;
    for my $use_pidfd (1, 0) {
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        my $handled = 0;
        local $SIG{CHLD} = sub { $handled++ };
        my $handler = $SIG{CHLD};
        my $loop    = $new->();
        my $status;
        my $start = now();
        $loop->fork(code => sub { 7 }, on_exit => sub { $status = $_[1] });
        wait_until($loop, sub { defined $status && $handled });
        is [ $status, $handled ], [ 7 << 8, 1 ],
            'a handler of the program is called, too' . ($use_pidfd ? '' : ', without pidfds');
        cmp_ok now() - $start, '<', PROMPT, 'both at once';
        ref_is $SIG{CHLD}, $handler, 'and stays';

        # One that takes all there is, as many programs do.
        my @taken;
        $SIG{CHLD} = sub {
            while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) { push @taken, $? }
        };
        undef $status;
        $loop->fork(code => sub { 7 }, on_exit => sub { $status = $_[1] });
        wait_until($loop, sub { defined $status });
        like $status, qr/\A(?:-1|1792)\z/, 'one that takes every status does not keep the callback away';

        # A watch of the signal.
        $SIG{CHLD} = 'DEFAULT';
        my $watched = 0;
        $loop->watch_signal(CHLD => sub { $watched++ });
        undef $status;
        $loop->fork(code => sub { 7 }, on_exit => sub { $status = $_[1] });
        wait_until($loop, sub { defined $status && $watched });
        is [ $status, $watched ], [ 7 << 8, 1 ], 'nor does a watch of the signal';
        $loop->unwatch_signal('CHLD');
        is $SIG{CHLD}, 'DEFAULT', 'which leaves nothing behind';
        EventLoop::Fork::Loop::_use_pidfd(1);
    }
};

done_testing;
