# A child has no loop until it makes one. The parent's is its parent's: it cannot be used, and letting it go does no
# harm. A new one is of the same kind, and works.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    # Best methods apart, a child would not find the parent's by itself.
    local @ENV{qw(EVENTLOOP_FORK_BACKEND EVENTLOOP_FORK_METHOD)} = ('poll', 'poll') if !$kind->{is_io_async};

    my ($seen) = in_child(
        $loop,
        sub {
            no warnings 'once';
            my $one      = $IO::Async::Loop::ONE_TRUE_LOOP;
            my $in_child = $kind->{any}->();
            my $again    = $kind->{any}->();
            return {
                one     => $one,
                class   => ref $in_child,
                backend => $in_child->backend,
                method  => $in_child->method,
                is_new  => $in_child != $loop,
                again   => $kind->{is_io_async} ? $in_child == $again : $in_child != $again,
            };
        }
    );
    is $seen,
        {
        one     => undef,
        class   => $kind->{class},
        backend => $kind->{backend},
        method  => $kind->{method},
        is_new  => T,
        again   => T,
        },
        'what the child makes without an opinion is of the kind of the parent';

    my ($other) =
        in_child($loop, sub { my $in_child = EventLoop::Fork::Loop->new(backend => 'poll'); $in_child->backend });
    is $other, 'poll', 'it may have an opinion';
    if ($kind->{is_io_async}) {
        no warnings 'once';
        ref_is $IO::Async::Loop::ONE_TRUE_LOOP, $loop, 'the one true loop of the parent is what it was';
        is $IO::Async::Loop::LOOP, undef, 'and its preference, too';
    }
};

# Every kind of watch, in a loop of the child.
each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    my ($seen) = in_child(
        $loop,
        sub {
            my $in_child = $kind->{any}->();
            my %got;
            pipe my $reader, my $writer or die "pipe: $!";
            syswrite $writer, 'x';
            $in_child->watch_io(
                handle        => $reader,
                on_read_ready =>
                    sub { sysread $reader, $got{io}, 1; $in_child->unwatch_io(handle => $reader, on_read_ready => 1) }
            );
            $in_child->watch_time(after => 0.001, code => sub { $got{timer} = 1 });
            $in_child->watch_idle(when => 'later', code => sub { $got{idle} = 1 });
            $in_child->watch_signal(USR1 => sub { $got{signal} = 1 });
            kill USR1 => $$;
            $in_child->fork(code => sub { 7 }, on_exit => sub { $got{fork} = $_[1] >> 8 });
            my $pid = fork;
            defined $pid or die "fork: $!";
            POSIX::_exit(8) unless $pid;
            $in_child->watch_process($pid => sub { $got{process} = $_[1] >> 8 });
            wait_until($in_child, sub { 6 == keys %got });
            return \%got;
        }
    );
    is $seen, { io => 'x', timer => 1, idle => 1, signal => 1, fork => 7, process => 8 }, 'a new loop works';
};

sub thrown_by {
    my ($code) = @_;
    return 'nothing' if eval { $code->(); 1 };
    return
        ref $@ eq 'EventLoop::Fork::Error'
        ? join(' ', $@->name, $@->operation, $@->file eq __FILE__ ? 'here' : $@->file)
        : "$@";
}

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my @called;
    $loop->watch_io(handle => $reader, on_read_ready => sub { push @called, 'io' });
    my $timer = $loop->watch_time(after => 3600, code => sub { push @called, 'timer' });
    my $due   = $loop->watch_time(after => 0, code    => sub { push @called, 'due timer' });
    my $idle  = $loop->watch_idle(when => 'later', code => sub { push @called, 'idle' });
    $loop->watch_signal(USR1 => sub { push @called, 'signal' });
    my $sibling = $loop->fork(
        code    => sub { alarm 2 * BOUND; sysread $reader, my $byte, 1; 0 },
        on_exit => sub { push @called, 'exit' }
    );

    my ($seen) = in_child(
        $loop,
        sub {
            my $pid = fork;
            defined $pid or die "fork: $!";
            POSIX::_exit(0) unless $pid;
            my %thrown = (
                watch_io => thrown_by(sub {
                    $loop->watch_io(handle => $writer, on_write_ready => sub { });
                }),
                watch_io_more => thrown_by(sub {
                    $loop->watch_io(handle => $reader, on_hangup => sub { });
                }),
                watch_time => thrown_by(sub {
                    $loop->watch_time(after => 0, code => sub { });
                }),
                watch_idle => thrown_by(sub {
                    $loop->watch_idle(when => 'later', code => sub { });
                }),
                later => thrown_by(sub {
                    $loop->later(sub { });
                }),
                watch_signal => thrown_by(sub {
                    $loop->watch_signal(USR2 => sub { });
                }),
                watch_again => thrown_by(sub {
                    $loop->watch_signal(USR1 => sub { });
                }),
                watch_process => thrown_by(sub {
                    $loop->watch_process($pid => sub { });
                }),
                fork => thrown_by(sub {
                    $loop->fork(code => sub { 0 });
                }),
                loop_once => thrown_by(sub { $loop->loop_once(0) }),
                run       => thrown_by(sub { $loop->run }),
                post_fork => thrown_by(sub { $loop->post_fork }),
            );
            my %silent = (
                unwatch_io      => thrown_by(sub { $loop->unwatch_io(handle => $reader, on_read_ready => 1) }),
                unwatch_time    => thrown_by(sub { $loop->unwatch_time($timer); $loop->unwatch_time($due) }),
                unwatch_idle    => thrown_by(sub { $loop->unwatch_idle($idle) }),
                unwatch_signal  => thrown_by(sub { $loop->unwatch_signal('USR1') }),
                unwatch_process => thrown_by(sub { $loop->unwatch_process($sibling) }),
                stop            => thrown_by(sub { $loop->stop }),
            );
            waitpid $pid, 0;
            return { thrown => \%thrown, silent => \%silent, called => \@called, signal => $SIG{USR1} };
        }
    );
    my $thrown = $seen->{thrown};
    is $thrown->{$_}, "EVF_EABANDONED $_ here", "$_ of the parent's loop throws in the child"
        for qw(watch_io watch_time watch_idle later watch_signal watch_process fork loop_once post_fork);
    is $thrown->{run}, 'EVF_EABANDONED loop_once here', 'and run, which is turn after turn';
    is $thrown->{watch_io_more}, 'EVF_EABANDONED watch_io here', 'watch_io for what the parent watches';
    is $thrown->{watch_again}, 'EVF_EABANDONED watch_signal here', 'watch_signal for what the parent watches';
    is $seen->{silent}{$_}, 'nothing', "$_ does nothing" for sort keys %{ $seen->{silent} };
    is [ $seen->{called}, $seen->{signal} ], [ [], 'DEFAULT' ], 'no callback of the parent runs';

    syswrite $writer, 'xx';
    kill USR1 => $$;
    wait_until(
        $loop,
        sub {
            5 <= keys %{ { map { $_ => 1 } @called } };
        }
    );
    is {
        map { $_ => 1 } @called
    }, { map { $_ => 1 } 'io', 'due timer', 'idle', 'signal', 'exit' },
        'in the parent all is as it was';
    $loop->unwatch_io(handle => $reader, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

# A child that lets go of everything of its parent's.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my ($read, $signals) = ('', 0);
    $loop->watch_io(handle => $reader, on_read_ready => sub { sysread $reader, $read, 10, length $read });
    $loop->watch_signal(USR1 => sub { $signals++ });
    my $status;
    $loop->fork(
        code => sub {
            alarm 2 * BOUND;
            no warnings 'once';
            undef $IO::Async::Loop::ONE_TRUE_LOOP;
            undef $loop;
            undef $reader;
            my $in_child = $new->();
            undef $in_child;
            return 0;
        },
        on_exit => sub { $status = $_[1] },
    );
    wait_until($loop, sub { defined $status });
    is $status, 0, 'a child that destroys the loop';
    syswrite $writer, 'x';
    kill USR1 => $$;
    wait_until($loop, sub { $read && $signals });
    is [ $read, $signals ], [ 'x', 1 ], 'and the parent goes on';
    ok $loop->_verify, 'with a sound backend' if $loop->can('_verify');
    $loop->unwatch_io(handle => $reader, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

# Several loops in one process.
each_loop sub {
    my ($new) = @_;
    my ($loop, $second) = ($new->(), EventLoop::Fork::Loop->new(backend => 'poll'));
    my $fired = 0;
    $second->watch_time(after => 0, code => sub { $fired++ });
    my ($seen) = in_child(
        $loop,
        sub { [
            map {
                my $one = $_;
                thrown_by(sub { $one->loop_once(0) })
            } $loop,
            $second
        ] }
    );
    is $seen, [ ('EVF_EABANDONED loop_once here') x 2 ], 'every loop of the parent is out of use in the child';
    $second->loop_once(0);
    is $fired, 1, 'but not in the parent';
};

# What is stopped in the child is stopped once; a second time there is nothing to stop.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my $status;
    my $pid = $loop->fork(code => sub { alarm 60; sleep 60 while 1 }, on_exit => sub { $status = $_[1] });
    $loop->watch_io(handle => $reader, on_read_ready => sub { }, on_hangup => sub { });
    $loop->watch_signal(USR2 => sub { });
    my $id = $loop->watch_time(after => 60, code => sub { });
    my ($value) = in_child(
        $loop,
        sub {
            for (1 .. 3) {
                $loop->unwatch_io(handle => $reader, on_read_ready => 1, on_hangup => 1);
                $loop->unwatch_process($pid);
                $loop->unwatch_signal('USR2');
                $loop->unwatch_time($id);
                my @garbage = map { 'x' x 200 } 1 .. 200;    # takes memory that was freed
            }
            return 'alive';
        }
    );
    is $value, 'alive', 'unwatched three times in the child';
    $loop->unwatch_io(handle => $reader, on_read_ready => 1, on_hangup => 1);
    $loop->unwatch_signal('USR2');
    $loop->unwatch_time($id);
    kill KILL => $pid;
    wait_until($loop, sub { defined $status });
    is $status, 9, 'the parent watches on';
};

done_testing;
