package EventLoop::Fork::Test::Loop::Signal;

# Watched signals, and handlers in %SIG.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use POSIX        ();
use Scalar::Util qw(reftype);

contract signal => watch => 'a watched signal calls back, in a turn and only then' => sub {
    my %called = (USR1 => 0, USR2 => 0);
    for my $name (qw(USR1 USR2)) {
        $loop->watch_signal($name => sub { $called{$name}++ });
    }
    turns();
    is_list([ @called{qw(USR1 USR2)} ], [ 0, 0 ], 'not before');
    kill USR1 => $$;
    is($called{USR1}, 0, 'not outside of a turn');
    ok(wait_until { $called{USR1} }, 'called in a turn');
    turns();
    is_list([ @called{qw(USR1 USR2)} ], [ 1, 0 ], 'once, and no other');
    kill USR1 => $$;
    kill USR2 => $$;
    ok(wait_until { $called{USR1} > 1 && $called{USR2} }, 'both');
    $loop->watch_signal(USR1 => sub { $called{replaced}++ });
    kill USR1 => $$;
    ok(wait_until { $called{replaced} }, 'a second callback');
    is($called{USR1}, 2, 'replaces the first');
    $loop->unwatch_signal($_) for qw(USR1 USR2);
};

contract signal => merged => 'deliveries between two turns are one call' => sub {
    my $called = 0;
    $loop->watch_signal(USR1 => sub { $called++ });
    kill USR1 => $$ for 1 .. 5;
    ok(wait_until { $called }, 'called');
    turns();
    is($called, 1, 'once');
    $loop->unwatch_signal('USR1');
};

contract signal => in_callback => 'a signal that arrives in a callback is delivered in the next turn' => sub {
    my $called = 0;
    my $inside = 'not run';
    $loop->watch_signal(USR1 => sub { $called++ });
    $loop->later(sub { kill USR1 => $$; $inside = $called });
    $loop->loop_once(EVENT_BOUND);
    is($inside, 0, 'not while the callback runs');
    ok(wait_until { $called }, 'but soon');
    $loop->unwatch_signal('USR1');
};

contract signal => visible => 'a watched signal is a code ref in %SIG' => sub {
    local $SIG{USR1} = 'DEFAULT';
    $loop->watch_signal(USR1 => sub { });
    is(reftype($SIG{USR1}) || 'none', 'CODE', 'watched');
    $loop->unwatch_signal('USR1');
    ok(!ref $SIG{USR1}, 'unwatched');
};

sub named_handler { return }

contract signal => restored => 'unwatch_signal restores what %SIG held' => sub {
    my $called  = 0;
    my $handler = sub { $called++ };
    local $SIG{USR1};
    for my $held ('DEFAULT', 'IGNORE', $handler, __PACKAGE__ . '::named_handler') {
        $SIG{USR1} = $held;
        $loop->watch_signal(USR1 => sub { });
        $loop->unwatch_signal('USR1');
        is(defined $SIG{USR1} ? "$SIG{USR1}" : 'DEFAULT', "$held", ref $held ? 'a code ref' : $held);
    }
    $SIG{USR1} = $handler;
    $loop->watch_signal(USR1 => sub { });
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    is($called, 1, 'the handler that was there works again');
    $SIG{USR1} = 'IGNORE';
    $loop->watch_signal(USR1 => sub { $called++ });
    kill USR1 => $$;
    ok(wait_until { $called == 2 }, 'a signal that was ignored is watched');
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    ok(1, 'and ignored again');
};

contract signal => dance => 'a program that saves, ignores and restores %SIG around a fork loses nothing' => sub {
    my $called = 0;
    local $SIG{INT} = 'IGNORE';
    $loop->watch_signal(INT => sub { $called++ });
    for my $round (1 .. 3) {
        my $saved = $SIG{INT};
        $SIG{INT} = 'IGNORE';
        my @words = in_child { return $SIG{INT} };
        is_list(\@words, ['IGNORE'], "round $round: the child ignores it");
        $SIG{INT} = $saved;
        kill INT => $$;
        ok(wait_until { $called >= $round }, "round $round: the parent watches on");
        {
            local $SIG{INT} = 'IGNORE';
            kill INT => $$;
        }
        turns();
        is($called, $round, "round $round: ignored for a while");
    }
    $loop->unwatch_signal('INT');
    is($SIG{INT}, 'IGNORE', 'and what was there before is restored');
};

contract signal => replaced => 'a handler that somebody installs later is his' => sub {
    my ($watched, $his) = (0, 0);
    local $SIG{USR1} = 'DEFAULT';
    $loop->watch_signal(USR1 => sub { $watched++ });
    {
        local $SIG{USR1} = sub { $his++ };
        kill USR1 => $$;
        turns();
        is_list([ $watched, $his ], [ 0, 1 ], 'it gets the signal');
    }
    kill USR1 => $$;
    ok(wait_until { $watched }, 'the watcher gets it again afterwards');
    $loop->unwatch_signal('USR1');
};

contract signal => two_loops => 'two loops may watch one signal' => sub {
    local $SIG{USR1} = 'IGNORE';
    my $other  = new_loop();
    my %called = (one => 0, other => 0);
    $loop->watch_signal(USR1 => sub { $called{one}++ });
    $other->watch_signal(USR1 => sub { $called{other}++ });
    kill USR1 => $$;
    ok(wait_until { $called{one} }, 'the first is called');
    ok((wait_until { $called{other} } $other), 'the second, too');
    is_list([ @called{qw(one other)} ], [ 1, 1 ], 'once each');
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    ok((wait_until { $called{other} == 2 } $other), 'one unwatched, the other watches on');
    is($called{one}, 1, 'alone');
    $other->unwatch_signal('USR1');
    is($SIG{USR1}, 'IGNORE', 'when both are gone, what was there before is restored');
};

# Another process sends signals, each as soon as the one before has been answered. What has to be answered is long done
# when the loop waits again, or it is late: then the sender goes on without.
sub prompt_ok {
    my ($name, $rounds, $delay, $watch) = @_;
    my ($reader, $writer) = pipe_pair();
    my $parent  = $$;
    my $called  = 0;
    my $unwatch = $watch->(sub { $called++; give($writer) });
    my ($pid, $handle) = fork_here();
    if (!$pid) {
        my $late = 0;
        for (1 .. $rounds) {
            pause($delay) if $delay;
            kill $name => $parent;
            vec(my $wanted = '', fileno $reader, 1) = 1;
            my $answered = select $wanted, undef, undef, PROMPT_BOUND;
            if   ($answered > 0) { sysread $reader, my $byte, 1 }
            else                 { $late++; last }
        }
        leave($handle, "late $late");
    }
    my $ended = 0;
    $loop->watch_io(
        handle        => $handle,
        on_read_ready => sub { $ended++; $loop->unwatch_io(handle => $handle, on_read_ready => 1) }
    );
    my $deadline = now() + EVENT_BOUND;
    $loop->loop_once(EVENT_BOUND) until $ended || now() > $deadline;
    is_list([ words_of($pid, $handle) ], ['late 0'], 'no call is late');
    is($called, $rounds, 'each signal is a call');
    $unwatch->();
    return;
}

sub watched_signal {
    my ($code) = @_;
    $loop->watch_signal(USR1 => $code);
    return sub { $loop->unwatch_signal('USR1') };
}

sub handled_signal {
    my ($code) = @_;
    my $held = $SIG{USR1};
    $SIG{USR1} = $code;
    return sub { $SIG{USR1} = defined $held ? $held : 'DEFAULT' };
}

contract signal => prompt => 'a watched signal ends a wait at once' =>
    sub { prompt_ok('USR1', 3, 0.01, \&watched_signal) };

contract signal => handler_is_prompt => 'a %SIG handler of the program runs at once while the loop waits' =>
    sub { prompt_ok('USR1', 3, 0.01, \&handled_signal) };

contract signal => none_lost => 'no watched signal gets lost between two turns' =>
    sub { prompt_ok('USR1', 150, 0, \&watched_signal) };

contract signal => none_late => 'no %SIG handler waits until the loop has something to do' =>
    sub { prompt_ok('USR1', 150, 0, \&handled_signal) };

contract signal => interrupted_wait => 'an interrupted wait is no error' => sub {
    my $called = 0;
    my $parent = $$;
    local $SIG{USR1} = sub { $called++ };
    local $SIG{USR2} = 'IGNORE';
    my ($one, $other) = pair();
    my $read = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $read++ });
    my ($pid, $handle) = fork_here();

    if (!$pid) {
        for (1 .. 20) {
            kill $_ => $parent for qw(USR1 USR2);
            pause(0.001);
        }
        kill STOP => $parent;
        kill CONT => $parent;
        give($other);
        leave($handle, 'done');
    }
    my $done = eval {
        wait_until { $read }
    };
    ok($done, 'the wait goes on to its event') or diag($@);
    ok($called, 'the handler has run');
    is_list([ words_of($pid, $handle) ], ['done'], 'the sender is content');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
};

contract signal => not_blocked => 'a watched signal is blocked nowhere, in a program that is run neither' => sub {
    local $SIG{TERM} = 'DEFAULT';
    $loop->watch_signal(TERM => sub { });
    turns();
    is_list([ blocked() ], [], 'not here');
    is_list([ in_child { return blocked() } ], [], 'not in a child');
    my $status = system 'sh', '-c', 'kill -TERM $$; exit 3';
    is($status & 127, POSIX::SIGTERM(), 'not in a program');
    $loop->unwatch_signal('TERM');
};

contract signal => freed => 'unwatch_signal lets go of the callback' => sub {
    my $gone = 0;
    $loop->watch_signal(USR1 => counting_code(\$gone));
    is($gone, 0, 'held while watched');
    $loop->unwatch_signal('USR1');
    is($gone, 1, 'freed when unwatched');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Signal - tests of a loop: watched signals, and handlers in %SIG

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'signal');

=head1 DESCRIPTION

The suite C<signal> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 signal

Watched signals, and handlers in C<%SIG>.

=over 4

=item signal.watch

A watched signal calls back, in a turn and only then.

=item signal.merged

Deliveries between two turns are one call.

=item signal.in_callback

A signal that arrives in a callback is delivered in the next turn.

=item signal.visible

A watched signal is a code ref in %SIG.

=item signal.restored

C<unwatch_signal> restores what %SIG held.

=item signal.dance

A program that saves, ignores and restores %SIG around a fork loses nothing.

=item signal.replaced

A handler that somebody installs later is his.

=item signal.two_loops

Two loops may watch one signal.

=item signal.prompt

A watched signal ends a wait at once.

=item signal.handler_is_prompt

A %SIG handler of the program runs at once while the loop waits.

=item signal.none_lost

No watched signal gets lost between two turns.

=item signal.none_late

No %SIG handler waits until the loop has something to do.

=item signal.interrupted_wait

An interrupted wait is no error.

=item signal.not_blocked

A watched signal is blocked nowhere, in a program that is run neither.

=item signal.freed

C<unwatch_signal> lets go of the callback.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
