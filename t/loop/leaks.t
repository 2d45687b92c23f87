# Nothing is left behind in memory: no scalar by whatever way a watcher, a callback or a loop comes to its end, and no
# growth by doing it often.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;

BEGIN {
    skip_all 'Test::LeakTrace is not installed' unless eval { require Test::LeakTrace; 1 };
}
use Test::LeakTrace;

use EventLoop::Fork::Loop;
use POSIX ();

my ($loop, $new);    # of the loop under test
my $object = bless {}, 'Some::Exception';

sub forget_io_async {
    no warnings 'once';
    undef $IO::Async::Loop::ONE_TRUE_LOOP;
    return;
}

sub fresh_loop {
    my $fresh = $new->();
    forget_io_async();
    return $fresh;
}

# What is made once and kept is made by the first call.
sub no_leak {
    my ($name, $code) = @_;
    $code->();
    return no_leaks_ok { $code->() } $name;
}

sub child {
    my ($exit) = @_;
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    POSIX::_exit($exit) if !$pid;
    return $pid;
}

# ---- Watchers -------------------------------------------------------------------------------------------------------

# For each kind: starts a watcher that is ready, and returns what stops it.
my %kinds = (
    io => sub {
        my ($code) = @_;
        my ($one, $other) = make_pair();
        syswrite $other, 'x';
        $loop->watch_io(handle => $one, on_read_ready => $code, on_hangup => sub { });
        return sub { $other = undef; $loop->unwatch_io(handle => $one, on_read_ready => 1, on_hangup => 1) };
    },
    time => sub {
        my ($code) = @_;
        my $id = $loop->watch_time(after => 0, code => $code);
        return sub { $loop->unwatch_time($id) };
    },
    idle => sub {
        my ($code) = @_;
        my $id = $loop->watch_idle(when => 'later', code => $code);
        return sub { $loop->unwatch_idle($id) };
    },
    signal => sub {
        my ($code) = @_;
        $loop->watch_signal(USR1 => $code);
        kill USR1 => $$;
        return sub { $loop->unwatch_signal('USR1') };
    },
    process => sub {
        my ($code) = @_;
        my $pid = child(3);
        $loop->watch_process($pid => $code);
        return sub { $loop->unwatch_process($pid); waitpid $pid, 0 };
    },
);

sub watchers_ok {
    for my $kind (sort keys %kinds) {
        my $start = $kinds{$kind};
        no_leak(
            "$kind: watched and unwatched",
            sub {
                $start->(sub { })->();
            }
        );
        no_leak(
            "$kind: called, then unwatched",
            sub {
                my $called = 0;
                my $stop   = $start->(sub { $called++ });
                wait_until($loop, sub { $called });
                $stop->();
            }
        );
        no_leak(
            "$kind: unwatched in its callback",
            sub {
                my ($stop, $called);
                $stop = $start->(sub { $stop->(); undef $stop; $called++ });
                wait_until($loop, sub { $called });
            }
        );
        for my $exception ('a string', $object, ['an array']) {
            my $what = ref $exception || 'string';
            no_leak(
                "$kind: exception, $what",
                sub {
                    my $stop = $start->(sub { die $exception });
                    local $@;
                    eval {
                        wait_until($loop, sub { 0 });
                    };
                    $stop->();
                }
            );
        }
        no_leak(
            "$kind: a turn in a callback",
            sub {
                my ($stop, $called);
                $stop = $start->(sub { $stop->(); $loop->loop_once(0); undef $stop; $called++ });
                wait_until($loop, sub { $called });
            }
        );
        no_leak(
            "$kind: left to the end of the loop",
            sub {
                my $kept = $loop;
                $loop = fresh_loop();
                my $stop = $start->(sub { });
                my $end  = $loop;
                undef $loop;
                undef $end;
                $loop = $kept;
                undef $stop;
                1 while waitpid(-1, 0) > 0;
            }
        );
    }
    return;
}

sub others_ok {
    no_leak('a loop', sub { fresh_loop() });
    no_leak('a loop that was used', sub { my $used = fresh_loop(); $used->loop_once(0); $used->loop_once(0.001) });
    no_leak(
        'callbacks replaced',
        sub {
            my ($one, $other) = make_pair();
            $loop->watch_io(handle => $one, on_read_ready => sub { }, on_write_ready => sub { }) for 1 .. 3;
            $loop->unwatch_io(handle => $one, on_read_ready  => 1);
            $loop->unwatch_io(handle => $one, on_write_ready => 1);
            $loop->watch_signal(USR1 => sub { }) for 1 .. 3;
            $loop->unwatch_signal('USR1');
        }
    );
    no_leak(
        'a handle that is closed while it is watched',
        sub {
            my ($one, $other) = make_pair();
            $loop->watch_io(handle => $one, on_read_ready => sub { });
            close $one;
            $loop->loop_once(0) for 1 .. 3;
            $loop->unwatch_io(handle => $one, on_read_ready => 1);
        }
    );
    no_leak(
        'run and its results',
        sub {
            $loop->later(sub {
                $loop->later(sub { $loop->stop('inner') });
                $loop->stop($loop->run, 'outer');
            });
            my @results = $loop->run;
        }
    );
    no_leak(
        'bad input',
        sub {
            local $@;
            my ($one, $other) = make_pair();
            eval { $loop->watch_io(handle => $one, on_read_ready => 'code') };
            eval {
                $loop->watch_io(handle => 'handle', on_read_ready => sub { });
            };
            eval {
                $loop->watch_time(after => 'soon', code => sub { });
            };
            eval {
                $loop->watch_time(after => 1, at => 1, code => sub { });
            };
            eval {
                $loop->watch_idle(when => 'now', code => sub { });
            };
            eval {
                $loop->watch_signal(NOPE => sub { });
            };
            eval {
                $loop->watch_signal(KILL => sub { });
            };
            eval {
                $loop->watch_process($$ => sub { });
            };
            eval { $loop->fork(code => 'code') };
        }
    );
    no_leak(
        'a %SIG handler in a turn, and its exception',
        sub {
            local $@;
            for my $handler (sub { }, sub { die "reason\n" }) {
                local $SIG{USR2} = $handler;
                $loop->later(sub { kill USR2 => $$ });
                eval { $loop->loop_once(0) for 1 .. 3 };
            }
        }
    );
    no_leak(
        'a child of the loop',
        sub {
            my $ended;
            $loop->fork(code => sub { return 3 }, on_exit => sub { $ended = $_[1] }, name => 'leaks');
            wait_until($loop, sub { defined $ended });
        }
    );
    no_leak(
        'a child of a raw fork, which uses and destroys the loop',
        sub {
            my ($one, $other) = make_pair();
            $loop->watch_io(handle => $one, on_read_ready => sub { });
            my $pid = fork;
            die "fork: $!" unless defined $pid;
            if (!$pid) {
                eval { $loop->loop_once(0) };
                undef $loop;
                POSIX::_exit(0);
            }
            waitpid $pid, 0;
            $loop->unwatch_io(handle => $one, on_read_ready => 1);
        }
    );
    no_leak('post_fork', sub { $loop->post_fork; $loop->loop_once(0) });
    in_a_child_ok();
    return;
}

# The same where the loop is an inherited one.
sub in_a_child_ok {
    pipe my $reader, my $writer or die "pipe: $!";
    my ($one, $other) = make_pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { });
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        alarm 4 * BOUND;
        my $count = eval {
            my $use = sub {
                $loop->watch_time(after => 0, code => sub { });
                $loop->later(sub { });
                $loop->loop_once(0) for 1 .. 3;
                $kinds{io}->(sub { })->();
                $kinds{signal}->(sub { })->();
            };
            $use->();
            leaked_count { $use->() };
        };
        syswrite $writer, defined $count ? $count : "died: $@";
        POSIX::_exit(0);
    }
    close $writer;
    is(join('', <$reader>), 0, 'nothing leaks in a child of a raw fork');
    waitpid $pid, 0;
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    return;
}

# ---- Memory of the C side -------------------------------------------------------------------------------------------

sub resident_kilobytes {
    open my $status, '<', '/proc/self/status' or return;
    my ($line) = grep { /\AVmRSS:/ } <$status>;
    return defined $line && $line =~ /([0-9]+)/ ? $1 : undef;
}

sub no_growth_ok {
    my ($one, $other)    = make_pair();
    my ($second, $third) = make_pair();
    my %often = (
        io => sub {
            $loop->watch_io(handle => $one, on_read_ready => sub { }, on_write_ready => sub { });
            $loop->unwatch_io(handle => $one, on_read_ready => 1, on_write_ready => 1);
        },
        time => sub {
            $loop->unwatch_time($loop->watch_time(after => 1, code => sub { }));
        },
        fired => sub {
            $loop->watch_time(after => 0, code => sub { });
            $loop->loop_once(0);
        },
        idle => sub {
            $loop->later(sub { });
            $loop->loop_once(0);
        },
        signal => sub {
            $loop->watch_signal(USR1 => sub { });
            $loop->unwatch_signal('USR1');
        },
        errors => sub {
            local $@;
            eval {
                $loop->watch_signal(NOPE => sub { });
            }
        },
        loops => sub { fresh_loop() },
    );
    for my $what (sort keys %often) {
        my $code  = $often{$what};
        my $count = $what =~ /loops|errors/ ? 500 : 5_000;
        my $least;
        # Memory comes in pages, and some of it late: one round without growth shows it.
        for my $round (1 .. 8) {
            my $before = resident_kilobytes();
            $code->() for 1 .. $count;
            my $growth = resident_kilobytes() - $before;
            $least = $growth if !defined $least || $growth < $least;
            last if $least < 8;
        }
        # The smallest thing that could be lost each time takes 32 bytes.
        ok($least * 1024 < $count * 16, "$what: no growth") or diag("$least kB in $count rounds");
    }
    return;
}

# ---- Each loop ------------------------------------------------------------------------------------------------------

my @loops;
my $backends = EventLoop::Fork::Loop->backends;
for my $backend (sort keys %$backends) {
    for my $method (@{ $backends->{$backend} }) {
        push @loops,
            [ "$backend $method" => sub { EventLoop::Fork::Loop->new(backend => $backend, method => $method) } ];
    }
    next if $backend eq 'poll' || !eval { require IO::Async::Loop; 1 };
    my $class = 'IO::Async::Loop::' . ucfirst $backend;
    (my $file = "$class.pm") =~ s{::}{/}g;
    require $file;
    push @loops, [ $class => sub { $class->new } ];
}

for my $entry (@loops) {
    (my $name, $new) = @$entry;
    subtest $name => sub {
        fresh_loop()->loop_once(0);
        my $fds = nothing_left();
        $loop = fresh_loop();
        $loop->loop_once(0);
        watchers_ok();
        others_ok();
        undef $loop;
        nothing_left($fds);
    };
}

subtest 'without process descriptors' => sub {
    ($new) = map { $_->[1] } $loops[0];
    EventLoop::Fork::Loop::_use_pidfd(0);
    $loop  = fresh_loop();
    %kinds = (process => $kinds{process}, io => $kinds{io}, signal => $kinds{signal});
    watchers_ok();
    undef $loop;
    EventLoop::Fork::Loop::_use_pidfd(1);
};

subtest 'memory of the library' => sub {
    skip_all 'the size of the process is not told here' unless resident_kilobytes();
    skip_all 'a memory checker gives nothing back at once' if SLOW;
    for my $entry (grep { $_->[0] !~ /IO::Async/ } @loops) {
        (my $name, $new) = @$entry;
        subtest $name => sub {
            $loop = fresh_loop();
            no_growth_ok();
            undef $loop;
        };
    }
};

done_testing;
