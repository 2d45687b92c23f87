# A child may fork, and its child, and so on: each generation has a loop of its own and hears of its own children only.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

# What a process of the given depth tells of itself and of the processes below it.
sub generation {
    my ($loop, $new, $depth) = @_;
    my ($signals, $below) = (0);
    $loop->watch_signal(USR1 => sub { $signals++ });
    my $fired = 0;
    $loop->watch_time(after => 0.001, code => sub { $fired++ });
    # From a callback, as a server would.
    my $done = !$depth;
    $loop->later(sub {
        my $status;
        ($below, $status) = in_child($loop, sub { generation($new->(), $new, $depth - 1) });
        $done = 1;
    }) if $depth;
    wait_until($loop, sub { $done && $fired });
    kill USR1 => $$;
    wait_until($loop, sub { $signals });
    $loop->unwatch_signal('USR1');
    return {
        depth  => $depth, signals => $signals, fired => $fired, method => $loop->method, pid => $$,
        parent => getppid, below  => $below
    };
}

each_loop sub {
    my ($new, $kind) = @_;
    my $top = generation($new->(), $new, 3);
    my ($count, @pids) = (0);
    for (my $at = $top; $at; $at = $at->{below}) {
        is [ @$at{qw(depth signals fired method)} ], [ 3 - $count, 1, 1, $kind->{method} ], "generation $count";
        is $at->{parent}, $pids[-1], 'is a child of the one before' if @pids;
        push @pids, $at->{pid};
        $count++;
    }
    is $count, 4, 'three generations below this process';
};

# The loop that each makes without an opinion is of the same kind, down to the last.
each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    my $deep;
    $deep = sub {
        my ($in_child, $depth) = @_;
        return [ ref $in_child, $in_child->backend, $in_child->method ] unless $depth;
        return (in_child($in_child, sub { $deep->($kind->{any}->(), $depth - 1) }))[0];
    };
    my $seen = $deep->($loop, 3);
    undef $deep;
    is $seen, [ @$kind{qw(class backend method)} ], 'the kind of loop is passed on';
};

# Generations that perl's own fork and ours make in turn.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my ($ours, $status) = in_child(
        $loop,
        sub {
            my $in_child = $new->();
            my $fired    = 0;
            $in_child->watch_time(after => 0.001, code => sub { $fired++ });
            my ($raw) = in_raw_child(sub {
                # Goes on with the loop of its parent.
                wait_until($in_child, sub { $fired });
                my ($below) = in_child(
                    $in_child,
                    sub {
                        my $last = $new->();
                        my $done;
                        $last->later(sub { $done = 1 });
                        $last->loop_once(0);
                        $done;
                    }
                );
                return [ $fired, $below ];
            });
            wait_until($in_child, sub { $fired });
            return [ $fired, $raw ];
        }
    );
    is [ $ours, $status ], [ [ 1, [ 1, 1 ] ], 0 ], 'ours, perl\'s, ours';
};

# Every process of a tree hears of each child once.
each_loop sub {
    my ($new) = @_;
    my $tree;
    $tree = sub {
        my ($loop, $depth) = @_;
        return 1 unless $depth;
        my ($sum, %ended) = (1);
        for (1 .. 3) {
            $loop->fork(
                code => sub { alarm 2 * BOUND; $tree->($new->(), $depth - 1) },
                on_exit => sub { my ($pid, $status) = @_; $ended{$pid}++; $sum += $status >> 8 },
            );
        }
        wait_until($loop, sub { 3 == keys %ended });
        $loop->loop_once(0);
        return grep({ $_ != 1 } values %ended) ? 99 : $sum;
    };
    my $sum = $tree->($new->(), 3);
    undef $tree;
    is $sum, 1 + 3 + 9 + 27, 'a tree of 40 processes';
};

done_testing;
