package EventLoop::Fork::Test::Loop::Turn;

# What a callback may do, for every kind of watcher beside every other kind.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;

contract turn => unwatch => 'an unwatched callback is not called, though it was ready in this turn' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (@called, @watchers);
        @watchers = map {
            my $number = $_;
            make_ready(
                ($one, $other)[$number],
                sub { push @called, $number; $watchers[ 1 - $number ]{stop}->(); $watchers[$number]{calm}->() },
                ('USR1', 'USR2')[$number]
            );
        } 0, 1;
        ok(wait_until { @called }, "$one and $other: one is called");
        turns();
        is(scalar @called, 1, "$one and $other: the other is not");
        my $spared = $watchers[ 1 - $called[0] ];
        is(reap($spared->{pid}), 5 << 8, "$one and $other: the child is left to its owner") if $spared->{pid};
        stop_all_ready(@watchers);
    });
};

contract turn => unwatch_before => 'an unwatched callback is not called, though it was ready before the turn' => sub {
    for my $kind (@kinds) {
        my $called  = 0;
        my $watcher = make_ready($kind, sub { $called++ }, 'URG');    # a signal that nobody minds
        $watcher->{stop}->();
        turns();
        is($called, 0, $kind);
        stop_all_ready($watcher);
    }
};

contract turn => start => 'a watcher that is started in a turn is looked at in the next' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (@watchers, $started_in, $called_in);
        my $turn = 0;
        $watchers[0] = make_ready(
            $one,
            sub {
                return if $watchers[1];
                $watchers[0]{calm}->();
                $started_in = $turn;
                $watchers[1] = make_ready($other, sub { $called_in = $turn; $watchers[1]{calm}->() }, 'USR2');
            }
        );
        for (1 .. 20) {
            $turn++;
            $loop->loop_once(1);
            last if defined $called_in;
        }
        is(defined $called_in ? $called_in - $started_in : 'never', 1, "$one starts $other: turns until it is called");
        stop_all_ready(@watchers);
    });
};

contract turn => restart => 'unwatched and watched again in a turn, it is looked at in the next' => sub {
    my (@pairs, @old, @new);
    for my $number (0, 1) {
        my @pair = pair();
        give($pair[1]);
        push @pairs, \@pair;
    }
    for my $number (0, 1) {
        $loop->watch_io(
            handle        => $pairs[$number][0],
            on_read_ready => sub {
                push @old, $number;
                my $handle = $pairs[ 1 - $number ][0];
                $loop->unwatch_io(handle => $handle, on_read_ready => 1);
                $loop->watch_io(handle => $handle, on_read_ready => sub { push @new, 1 - $number });
                take($pairs[$number][0]);
            }
        );
    }
    $loop->loop_once(1);
    is(scalar @old, 1, 'one of two is called');
    is_list(\@new, [], 'the other is looked at in the next turn');
    $loop->loop_once(1);
    is_list(\@new, [ 1 - $old[0] ], 'then it is called');
    $loop->unwatch_io(handle => $_->[0], on_read_ready => 1) for @pairs;
};

contract turn => free_itself => 'a callback may end its own watcher, and goes on to its end' => sub {
    for my $kind (@kinds) {
        my ($gone, $reached) = (0, 0);
        my $watcher;
        my $sentinel = sentinel(\$gone);
        my $code     = sub {
            $watcher->{stop}->() if $watcher;
            undef $watcher;
            $reached++ if ref $sentinel;    # what it holds is still there
        };
        $watcher = make_ready($kind, $code);
        undef $code;
        my $pid = $watcher->{pid};
        ok(wait_until { $reached }, "$kind: called to the end");
        turns();
        is($reached, 1, "$kind: once");
        undef $sentinel;
        is($gone, 1, "$kind: freed") if $kind ne 'io';
        waitpid $pid, 0              if $pid;
    }
};

contract turn => nested => 'a callback may run a turn of its own: each event is delivered once' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (%called, %watchers, $depth, $deepest);
        $depth = $deepest = 0;
        for my $number (0, 1) {
            $watchers{$number} = make_ready(
                ($one, $other)[$number],
                sub {
                    $watchers{$number}{calm}->();
                    $called{$number}++;
                    $deepest = $depth if ++$depth > $deepest;
                    $loop->loop_once(0) for 1 .. 3;
                    $depth--;
                },
                ('USR1', 'USR2')[$number]
            );
        }
        ok(wait_until { 2 == keys %called }, "$one and $other: both are called");
        turns();
        is_list([ map { $called{$_} } 0, 1 ], [ 1, 1 ], "$one and $other: once each");
        stop_all_ready(values %watchers);
    });
};

contract turn => stop => 'a callback may stop the loop' => sub {
    for my $kind (@kinds) {
        my $watcher;
        $watcher = make_ready($kind, sub { $watcher->{calm}->(); $loop->stop("by $kind") });
        is(scalar $loop->run, "by $kind", $kind);
        stop_all_ready($watcher);
    }
};

contract turn => fork => 'a callback may fork, and both processes go on' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my ($pid, $handle, @watchers, %called);
        my $main = $$;
        $watchers[0] = make_ready(
            $one,
            sub {
                $watchers[0]{calm}->();
                $called{0}++;
                ($pid, $handle) = fork_here() unless defined $pid;
            }
        );
        $watchers[1] = make_ready($other, sub { $watchers[1]{stop}->() if $other eq 'io'; $called{1}++ }, 'USR2');
        # What was pending in the parent stays there; what the kernel tells, it tells both.
        my $done = eval {
            wait_until { $called{0} && ($called{1} || $$ != $main && $other =~ /\A(?:signal|process)\z/) }
        };
        my $error = $@;
        if ($$ != $main) {
            my $time = 0;
            $loop->watch_time(after => 0, code => sub { $time++ });
            $done = eval {
                wait_until { $time }
            } if $done;
            leave($handle, $done ? 'went on' : "stuck $error$@");
        }
        ok($done, "$one, before $other: the parent goes on") or diag($error);
        is_list([ words_of($pid, $handle) ], ['went on'], "$one, before $other: the child goes on");
        is_list([ map { $called{$_} } 0, 1 ], [ 1, 1 ], "$one, before $other: each is called once");
        stop_all_ready(@watchers);
    });
};

contract turn => random => 'random starts and stops in callbacks: nothing that was stopped is ever called' => sub {
    start_draws();
    my (@pairs, %io, %timers, %idles, @violations);
    my ($called, $serial) = (0, 0);
    @pairs = map { [ pair() ] } 1 .. 12;

    my $act;
    my @actions = (
        sub {    # watch
            my $number = draw(scalar @pairs);
            my $event  = (qw(on_read_ready on_write_ready))[ draw(2) ];
            my $mark   = ++$serial;
            $io{"$number $event"} = $mark;
            $loop->watch_io(
                handle => $pairs[$number][0],
                $event => sub {
                    my $wanted = $io{"$number $event"};
                    push @violations, "$event of $number" unless defined $wanted && $wanted == $mark;
                    $called++;
                    take($pairs[$number][0]) if draw(2);
                    $act->() for 1 .. 3;
                }
            );
        },
        sub {    # unwatch
            my $number = draw(scalar @pairs);
            my $event  = (qw(on_read_ready on_write_ready))[ draw(2) ];
            $loop->unwatch_io(handle => $pairs[$number][0], $event => 1) if delete $io{"$number $event"};
        },
        sub { my $number = draw(scalar @pairs); give($pairs[$number][1]) },
        sub {    # another file takes the number
            my $number = draw(scalar @pairs);
            my @events = grep { delete $io{"$number $_"} } qw(on_read_ready on_write_ready);
            $loop->unwatch_io(handle => $pairs[$number][0], map { $_ => 1 } @events) if @events;
            $pairs[$number] = [ pair() ];
        },
        sub {
            my $mark = ++$serial;
            $timers{$mark} = $loop->watch_time(
                after => draw(3) / 1000,
                code  => sub { push @violations, 'timer' unless delete $timers{$mark}; $called++; $act->() }
            );
        },
        sub { my ($mark) = sort keys %timers; $loop->unwatch_time(delete $timers{$mark}) if $mark },
        sub {
            my $mark = ++$serial;
            $idles{$mark} = $loop->watch_idle(
                when => 'later',
                code => sub { push @violations, 'idle' unless delete $idles{$mark}; $called++; $act->() }
            );
        },
        sub { my ($mark) = sort keys %idles; $loop->unwatch_idle(delete $idles{$mark}) if $mark },
    );
    $act = sub { $actions[ draw(scalar @actions) ]->() };

    $act->() for 1 .. 40;
    for (1 .. 150) {
        $loop->loop_once(0.001);
        $act->();
    }
    is_list(\@violations, [], 'nothing is called after it was stopped');
    ok($called > 100, "enough is called ($called)");

    for my $key (keys %io) {
        my ($number, $event) = split / /, $key;
        $loop->unwatch_io(handle => $pairs[$number][0], $event => 1);
    }
    $loop->unwatch_time($_) for values %timers;
    $loop->unwatch_idle($_) for values %idles;
    (%io, %timers, %idles) = ();
    $called = 0;
    turns();
    is($called, 0, 'nothing is called when all is stopped');
    undef $act;
    @actions = ();
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Turn - tests of a loop: what a callback may do

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'turn');

=head1 DESCRIPTION

The suite C<turn> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 turn

What a callback may do, for every kind of watcher beside every other kind.

=over 4

=item turn.unwatch

An unwatched callback is not called, though it was ready in this turn.

=item turn.unwatch_before

An unwatched callback is not called, though it was ready before the turn.

=item turn.start

A watcher that is started in a turn is looked at in the next.

=item turn.restart

Unwatched and watched again in a turn, it is looked at in the next.

=item turn.free_itself

A callback may end its own watcher, and goes on to its end.

=item turn.nested

A callback may run a turn of its own: each event is delivered once.

=item turn.stop

A callback may stop the loop.

=item turn.fork

A callback may fork, and both processes go on.

=item turn.random

Random starts and stops in callbacks: nothing that was stopped is ever called.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
