# Hundreds of children at once: the status of each arrives once, whatever tells that it has ended.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# As many as the limits of this process allow.
sub count_of {
    my ($wanted)    = @_;
    my $descriptors = POSIX::sysconf(POSIX::_SC_OPEN_MAX())  || 256;
    my $processes   = POSIX::sysconf(POSIX::_SC_CHILD_MAX()) || $wanted;
    for my $most ($descriptors - open_fds() - 20, $processes > 0 ? $processes / 2 : $wanted) {
        $wanted = int $most if $most < $wanted;
    }
    return $wanted;
}

# All of them live when the last one is forked; then they end, all at once.
sub burst {
    my ($loop, $count) = @_;
    my (%statuses, %calls);
    my $calls = 0;
    pipe my $gate, my $door or die "pipe: $!";
    my $wrong = 0;
    for my $number (1 .. $count) {
        my $pid = $loop->fork(
            code    => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; return $number % 251 },
            on_exit => sub {
                my ($pid, $status) = @_;
                $wrong++ if $status != $statuses{$pid} << 8;
                $calls{$pid}++;
                $calls++;
            },
        );
        $statuses{$pid} = $number % 251;
    }
    $loop->loop_once(0);
    my $early = $calls;
    close $door;
    wait_until($loop, sub { $calls >= $count });
    $loop->loop_once(0) for 1 .. 3;
    return {
        early  => $early,
        calls  => $calls,
        pids   => scalar(keys %calls),
        wrong  => $wrong,
        others => scalar(grep { !exists $statuses{$_} } keys %calls),
    };
}

each_loop sub {
    my ($new, $kind) = @_;
    my $is_native_best = $kind->{is_best} && !$kind->{is_io_async};
    for my $use_pidfd (1, 0) {
        my $count = count_of($is_native_best && ($use_pidfd || $kind->{backend} eq 'poll') ? 500 : 60);
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        my $seen = burst($new->(), $count);
        EventLoop::Fork::Loop::_use_pidfd(1);
        is $seen, { early => 0, calls => $count, pids => $count, wrong => 0, others => 0 },
            "$count children at once" . ($use_pidfd ? '' : ', without pidfds');
    }
};

# Without a limit on how long each lives: they end while others are forked.
each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    for my $use_pidfd (1, 0) {
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        my ($forked, $ended, $most, $sum) = (0, 0, 0, 0);
        my $fork;
        $fork = sub {
            my $number = ++$forked;
            $loop->fork(
                code => sub { alarm 2 * BOUND; $number % 200 },
                on_exit => sub { $sum += $_[1] >> 8; $ended++; $fork->() if $forked < 60 },
            );
        };
        $fork->() for 1 .. 15;
        wait_until($loop, sub { $ended == 60 });
        EventLoop::Fork::Loop::_use_pidfd(1);
        undef $fork;
        is [ $forked, $ended, $sum ], [ 60, 60, 1830 ],
            'each on_exit forks the next one' . ($use_pidfd ? '' : ', without pidfds');
    }
};

# Some by pidfd, some not, in one loop; and two loops in one process.
each_loop sub {
    my ($new) = @_;
    my ($loop, $second) = ($new->(), EventLoop::Fork::Loop->new(backend => 'poll'));
    my %ended = (first => {}, second => {});
    for my $number (1 .. 40) {
        EventLoop::Fork::Loop::_use_pidfd($number % 2);
        my ($name, $on) = $number % 3 ? (first => $loop) : (second => $second);
        $on->fork(code => sub { alarm 2 * BOUND; $number }, on_exit => sub { $ended{$name}{ $_[1] >> 8 }++ });
    }
    EventLoop::Fork::Loop::_use_pidfd(1);
    wait_until($loop, sub { $second->loop_once(0); 40 == keys(%{ $ended{first} }) + keys %{ $ended{second} } });
    is \%ended,
        {
        first  => { map { $_ => 1 } grep { $_ % 3 } 1 .. 40 },
        second => { map { $_ => 1 } grep { !($_ % 3) } 1 .. 40 }
        },
        'each loop hears of its own children';
};

done_testing;
