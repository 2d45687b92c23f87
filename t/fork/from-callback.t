# A fork may happen in any callback, at any depth of run. The child never comes back into the parent's loop; the parent
# goes on with what else was due.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# In the child: a loop of its own, and a child of that.
sub child_code {
    my ($new) = @_;
    return sub {
        my $in_child = $new->();
        my ($fired, $status);
        $in_child->watch_time(after => 0, code => sub { $fired = 1 });
        $in_child->watch_signal(
            USR1 => sub {
                $in_child->fork(code => sub { 5 }, on_exit => sub { $status = $_[1] });
            }
        );
        kill USR1 => $$;
        wait_until($in_child, sub { $fired && defined $status });
        return $fired && $status == 5 << 8 ? 'works' : 'failed';
    };
}

# For each kind of callback, how to have the code called back once.
my %callers = (
    io => sub {
        my ($loop, $code) = @_;
        pipe my $reader, my $writer or die "pipe: $!";
        syswrite $writer, 'x';
        $loop->watch_io(
            handle        => $reader,
            on_read_ready => sub { $loop->unwatch_io(handle => $reader, on_read_ready => 1); $code->() }
        );
        return $writer;
    },
    'io that stays ready' => sub {
        my ($loop, $code) = @_;
        my $called = 0;
        pipe my $reader, my $writer or die "pipe: $!";
        syswrite $writer, 'x';
        # Called again by the nested turns that wait for the child.
        $loop->watch_io(
            handle        => $reader,
            on_read_ready => sub {
                return if $called++;
                $code->();
                $loop->unwatch_io(handle => $reader, on_read_ready => 1);
            }
        );
        return $writer;
    },
    write => sub {
        my ($loop, $code) = @_;
        pipe my $reader, my $writer or die "pipe: $!";
        $loop->watch_io(
            handle         => $writer,
            on_write_ready => sub { $loop->unwatch_io(handle => $writer, on_write_ready => 1); $code->() }
        );
        return $reader;
    },
    timer  => sub { my ($loop, $code) = @_; $loop->watch_time(after => 0.001, code => $code);  return },
    idle   => sub { my ($loop, $code) = @_; $loop->watch_idle(when => 'later', code => $code); return },
    signal => sub {
        my ($loop, $code) = @_;
        $loop->watch_signal(USR1 => sub { $code->(); $loop->unwatch_signal('USR1') });
        kill USR1 => $$;
        return;
    },
    'handler of %SIG' => sub {
        my ($loop, $code) = @_;
        my $old = $SIG{USR2};
        $SIG{USR2} = sub { $SIG{USR2} = $old || 'DEFAULT'; $code->() };
        kill USR2 => $$;
        return;
    },
    process => sub {
        my ($loop, $code) = @_;
        $loop->fork(code => sub { 0 }, on_exit => $code);
        return;
    },
    'process without a pidfd' => sub {
        my ($loop, $code) = @_;
        EventLoop::Fork::Loop::_use_pidfd(0);
        $loop->fork(code => sub { 0 }, on_exit => $code);
        EventLoop::Fork::Loop::_use_pidfd(1);
        return;
    },
);

each_loop sub {
    my ($new)  = @_;
    my $loop   = $new->();
    my $parent = $$;
    for my $caller (sort keys %callers) {
        my ($seen, $status, $others, $strangers);
        pipe my $from_strangers, my $stranger or die "pipe: $!";
        my $keep = $callers{$caller}->(
            $loop,
            sub {
                # Due in the same turn as what follows: the child must not see them.
                $loop->watch_time(
                    after => 0,
                    code  => sub { $$ == $parent ? $others++ : syswrite $stranger, "timer\n" }
                );
                $loop->later(sub { $$ == $parent ? $others++ : syswrite $stranger, "idle\n" });
                ($seen, $status) = in_child($loop, child_code($new));
                syswrite $stranger, "rest of the callback\n" if $$ != $parent;
            }
        );
        wait_until($loop, sub { defined $status && ($others || 0) == 2 });
        syswrite $stranger, "rest of the program\n" if $$ != $parent;
        close $stranger;
        is [ $seen, $status, $others ], [ 'works', 0, 2 ], "from $caller";
        is slurp($from_strangers), '', 'nothing of the parent ran in the child';
    }
};

# Several callbacks are due in one turn; each forks, and each child sees itself only.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my %statuses;
    my $count = 0;
    my $fork  = sub {
        my ($code) = @_;
        return sub {
            $loop->fork(code => sub { alarm 2 * BOUND; $code }, on_exit => sub { $statuses{ $_[1] >> 8 }++; $count++ });
        };
    };
    my @keep = map { [ pair($_) ] } 1 .. 3;

    sub pair {
        my ($byte) = @_;
        pipe my $reader, my $writer or die "pipe: $!";
        syswrite $writer, $byte;
        return ($reader, $writer);
    }
    for my $number (0 .. 2) {
        my ($reader) = @{ $keep[$number] };
        my $io = $fork->($number);
        $loop->watch_io(handle => $reader, on_read_ready => sub { sysread $reader, my $byte, 1; $io->() });
        $loop->watch_time(after => 0, code => $fork->(10 + $number));
        $loop->later($fork->(20 + $number));
    }
    $loop->watch_signal(USR1 => $fork->(30));
    kill USR1 => $$;
    wait_until($loop, sub { $count == 10 });
    is \%statuses, { map { $_ => 1 } 0 .. 2, 10 .. 12, 20 .. 22, 30 }, 'ten callbacks of one turn fork';
    $loop->unwatch_io(handle => $_->[0], on_read_ready => 1) for @keep;
    $loop->unwatch_signal('USR1');
};

# Runs inside of runs.
each_loop sub {
    my ($new)  = @_;
    my $loop   = $new->();
    my $parent = $$;
    pipe my $from_strangers, my $stranger or die "pipe: $!";
    my @results;
    my $nest;
    $nest = sub {
        my ($depth) = @_;
        if ($depth) {
            $loop->later(sub { $nest->($depth - 1); $loop->stop($depth) });
            push @results, scalar $loop->run;
        }
        else {
            push @results, in_child($loop, child_code($new));
        }
        syswrite $stranger, "rest at depth $depth\n" if $$ != $parent;
    };
    $nest->(4);
    undef $nest;
    close $stranger;
    is \@results, [ 'works', 0, 1 .. 4 ], 'four runs deep';
    is slurp($from_strangers), '', 'the child leaves none of them';
    ok !$loop->is_running, 'the loop is left';

    # The child runs a loop while its parent's is running, as seen from inside.
    my ($seen, $status);
    $loop->later(sub {
        ($seen, $status) = in_child(
            $loop,
            sub {
                my $in_child = $new->();
                $in_child->later(sub {
                    $in_child->later(sub { $in_child->stop('inner') });
                    $in_child->stop($in_child->run, 'outer');
                });
                return join ' ', $in_child->is_running ? 'running' : 'not running', $in_child->run;
            }
        );
        $loop->stop;
    });
    $loop->run;
    is [ $seen, $status ], [ 'not running inner outer', 0 ], 'nested runs in the child';
};

# An exception of a callback that has forked.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my $status;
    $loop->later(sub {
        $loop->fork(code => sub { 6 }, on_exit => sub { $status = $_[1]; die "from on_exit\n" });
        die "after the fork\n";
    });
    is dies { $loop->run }, "after the fork\n", 'a callback that forks and dies';
    is dies { $loop->run }, "from on_exit\n", 'an on_exit that dies';
    is $status, 6 << 8, 'the status has arrived';
};

done_testing;
