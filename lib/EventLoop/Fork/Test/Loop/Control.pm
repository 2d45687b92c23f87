package EventLoop::Fork::Test::Loop::Control;

# Turns, run and stop, and the life of a loop.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use Time::HiRes ();

contract control => run => 'run returns what stop was given' => sub {
    $loop->later(sub { $loop->stop(1, 'two', 3) });
    is_list([ $loop->run ], [ 1, 'two', 3 ], 'a list');
    $loop->later(sub { $loop->stop('first', 'second') });
    is(scalar $loop->run, 'first', 'the first in scalar context');
    $loop->later(sub { $loop->stop });
    is_list([ $loop->run ], [], 'nothing');
    $loop->stop('outside');
    my $later = 0;
    $loop->watch_time(after => 0.005, code => sub { $later++; $loop->stop('inside') });
    is_list([ $loop->run, $later ], [ 'inside', 1 ], 'a stop outside of run does not end the next one');
};

contract control => stop_by_handler => 'a %SIG handler may stop the loop, at any moment' => sub {
    guarded(sub {
        for my $delay (0.02, 0.01, map { $_ / 100_000 } 1 .. 60) {
            local $SIG{ALRM} = sub { $loop->stop('stopped') };
            $loop->later(sub { Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), $delay) });
            my $result = $loop->run;
            return ok(0, "after $delay s") unless defined $result && $result eq 'stopped';
        }
        ok(1, 'after 0.01 to 20 ms');
    });
};

contract control => nested_run => 'runs may be nested, each with its own result' => sub {
    my @inner;
    $loop->later(sub {
        $loop->watch_time(after => 0.001, code => sub { $loop->stop('inner') });
        @inner = $loop->run;
        $loop->watch_time(after => 0.001, code => sub { $loop->stop(@inner, 'outer') });
    });
    is_list([ $loop->run ], [qw(inner outer)], 'two deep');

    my $depth = 0;
    my $down;
    $down = sub {
        my $level = ++$depth;
        if ($level < 30) {
            $loop->later($down);
            my @result = $loop->run;
            $loop->stop(@result, $level);
        }
        else {
            $loop->stop($level);
        }
    };
    $loop->later($down);
    my @levels = $loop->run;
    is_list(\@levels, [ reverse 1 .. 30 ], 'thirty deep');
    undef $down;
};

contract control => is_running => 'is_running is true inside of run' => sub {
    ok(!$loop->is_running, 'not before');
    my $inside;
    $loop->later(sub { $inside = $loop->is_running; $loop->stop });
    $loop->run;
    ok($inside, 'inside');
    ok(!$loop->is_running, 'not after');
};

contract control => idle_wait => 'an idle loop_once does not come back early' => sub {
    my $start = now();
    my $count = $loop->loop_once(0.3);
    my $took  = now() - $start;
    ok($took >= 0.299, 'without any watcher')  or diag("after $took s");
    ok($took < 0.3 + PROMPT_BOUND, 'nor late') or diag("after $took s");
    ok(!$count, 'nothing was called');

    my ($one, $other)   = pair();
    my ($pid, $release) = waiting_child(0);
    $loop->watch_io(handle => $one, on_read_ready => sub { });
    $loop->watch_signal(USR1 => sub { });
    $loop->watch_process($pid => sub { });
    my $id = $loop->watch_time(after => 1000, code => sub { });
    $loop->unwatch_time($loop->watch_time(after => 0.01, code => sub { }));
    $start = now();
    $loop->loop_once(0.1);
    $took = now() - $start;
    ok($took >= 0.099, 'with a watcher of each kind') or diag("after $took s");
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
    $loop->unwatch_process($pid);
    $loop->unwatch_time($id);
    give($release);
    reap($pid);
};

contract control => no_wait => 'loop_once(0) does not wait' => sub {
    my $start = now();
    $loop->loop_once(0) for 1 .. 20;
    ok(now() - $start < PROMPT_BOUND, 'without any watcher');
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    $start = now();
    $loop->loop_once(0) for 1 .. 20;
    ok(now() - $start < PROMPT_BOUND, 'with a watcher that is not ready');
    give($other);
    $loop->loop_once(0);
    is($called, 1, 'but delivers what is ready');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
};

contract control => endless_wait => 'loop_once without a timeout waits until something happens' => sub {
    my $called = 0;
    my $start  = now();
    $loop->watch_time(after => 0.03, code => sub { $called++ });
    $loop->loop_once until $called || now() - $start > EVENT_BOUND;
    ok($called && now() - $start >= 0.03, 'a timer');
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    my ($pid, $handle) = fork_here();

    if (!$pid) {
        pause(0.01);
        give($other);
        leave($handle);
    }
    $loop->loop_once until $called > 1 || now() - $start > EVENT_BOUND;
    is($called, 2, 'another process');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    words_of($pid, $handle);
};

contract control => count => 'loop_once returns the number of callbacks it called' => sub {
    $loop->later(sub { }) for 1 .. 3;
    $loop->watch_time(after => 0, code => sub { }) for 1 .. 2;
    my $count = 0;
    $count += $loop->loop_once(0) || 0 for 1 .. 5;
    is($count, 5, 'idle and time');
    is($loop->loop_once(0) || 0, 0, 'nothing');
};

contract control => post_fork => 'post_fork in the same process changes nothing' => sub {
    my ($one, $other) = pair();
    my %called = map { $_ => 0 } qw(io time idle signal process);
    my ($pid, $release) = waiting_child(0);
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $called{io}++ });
    $loop->watch_time(after => 0.001, code => sub { $called{time}++ });
    $loop->later(sub { $called{idle}++ });
    $loop->watch_signal(USR1 => sub { $called{signal}++ });
    $loop->watch_process($pid => sub { $called{process}++ });
    $loop->post_fork;
    give($other);
    give($release);
    kill USR1 => $$;
    ok(
        wait_until {
            !grep { !$_ } values %called
        },
        'all watchers are called'
    );
    turns();
    is_list([ map { "$_=$called{$_}" } sort keys %called ], [qw(idle=1 io=1 process=1 signal=1 time=1)], 'once each');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

contract control => undisturbed_variables => 'callbacks leave $@ and $_ of the program alone' => sub {
    my $called = 0;
    eval { die "mine\n" };
    for my $value ('kept') {
        local $_ = $value;
        $loop->later(sub {
            $called++;
            eval { die "not mine\n" }
        });
        $loop->watch_time(
            after => 0,
            code  => sub {
                $called++;
                eval { 1 }
            }
        );
        $loop->loop_once(0) for 1 .. 3;
        is($_, 'kept', '$_');
    }
    is($called, 2, 'called');
    is($@, "mine\n", '$@');
};

contract control => two_loops => 'a callback of one loop may run another loop' => sub {
    my $other = new_loop();
    my @called;
    $other->watch_time(after => 0.005, code => sub { push @called, 'other'; $other->stop('inner') });
    $loop->later(sub { push @called, 'one'; push @called, $other->run; $loop->stop('outer') });
    is_list([ $loop->run ], ['outer'], 'the outer one goes on');
    is_list(\@called, [qw(one other inner)], 'the inner one has run');
};

contract control => many_loops => 'loops come and go without leaving anything' => sub {
    my $before = keys %{ descriptors() };
    for (1 .. 20) {
        my $other = new_loop();
        my ($one, $peer) = pair();
        $other->watch_io(handle => $one, on_read_ready => sub { });
        $other->watch_signal(USR2 => sub { });
        $other->watch_time(after => 10, code => sub { });
        $other->loop_once(0);
    }
    is(scalar keys %{ descriptors() }, $before, 'descriptors');
    ok(!ref $SIG{USR2}, 'no signal is left watched');
};

contract control => destroyed => 'a loop that goes frees its callbacks and leaves the children' => sub {
    my $other = new_loop();
    my ($one, $peer)    = pair();
    my ($gone, $called) = (0, 0);
    my $pid = ended_child(4);
    for my $number (1 .. 5) {
        my $code = counting_code(\$gone, \$called);
        $other->watch_io(handle => $one, on_read_ready => $code) if $number == 1;
        $other->watch_time(after => 10, code => $code)           if $number == 2;
        $other->later($code)                                     if $number == 3;
        $other->watch_signal(USR2 => $code)                      if $number == 4;
        $other->watch_process($pid => $code)                     if $number == 5;
    }
    is($gone, 0, 'held by the loop');
    undef $other;
    is($gone, 5, 'freed with it');
    is($called, 0, 'without a call');
    is(reap($pid), 4 << 8, 'the child is left to its owner');
    ok(!ref $SIG{USR2}, 'the signal, too');
};

contract control => destroyed_in_callback => 'a loop may go inside a callback of its own' => sub {
    for my $kind (@kinds) {
        my ($pid, $handle) = fork_here();
        if (!$pid) {
            my $called = 0;
            eval {
                my $watcher;
                $watcher = make_ready($kind, sub { $watcher->{calm}->(); undef $watcher; $called++; undef $loop });
                for (1 .. 5) { $loop->loop_once(0) if $loop }
            };
            leave($handle, "called $called");
        }
        is_list([ words_of($pid, $handle) ], ['called 1'], "$kind, in loop_once");

        ($pid, $handle) = fork_here();
        if (!$pid) {
            my $called = 0;
            my $watcher;
            eval {
                $watcher = make_ready($kind, sub { $watcher->{calm}->(); $called++; $loop->stop; undef $loop });
                $loop->run;
            };
            leave($handle, "called $called");
        }
        is_list([ words_of($pid, $handle) ], ['called 1'], "$kind, in run");
    }
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Control - tests of a loop: turns, run and stop

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'control');

=head1 DESCRIPTION

The suite C<control> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 control

Turns, C<run> and C<stop>, and the life of a loop.

=over 4

=item control.run

C<run> returns what stop was given.

=item control.stop_by_handler

A %SIG handler may stop the loop, at any moment.

=item control.nested_run

Runs may be nested, each with its own result.

=item control.is_running

C<is_running> is true inside of run.

=item control.idle_wait

An idle loop_once does not come back early.

=item control.no_wait

C<loop_once>(0) does not wait.

=item control.endless_wait

C<loop_once> without a timeout waits until something happens.

=item control.count

C<loop_once> returns the number of callbacks it called.

=item control.post_fork

C<post_fork> in the same process changes nothing.

=item control.undisturbed_variables

Callbacks leave $@ and $_ of the program alone.

=item control.two_loops

A callback of one loop may run another loop.

=item control.many_loops

Loops come and go without leaving anything.

=item control.destroyed

A loop that goes frees its callbacks and leaves the children.

=item control.destroyed_in_callback

A loop may go inside a callback of its own.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
