package EventLoop::Fork::Test::Adapter;

# The contract of an adapter as tests, for any family of loops. It forks through EventLoop::Fork and by perl's own fork,
# and looks at both sides. EventLoop::Fork::Test::Loop exports run_adapter_tests, which is here.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                                  qw(croak);
use EventLoop::Fork                       ();
use EventLoop::Fork::Adapter              ();
use EventLoop::Fork::Test::Loop::Children qw(guarded leave reap say_words words_of);
use EventLoop::Fork::Test::Loop::Helpers  qw(EVENT_BOUND PROMPT_BOUND give is is_list now ok pause pipe_pair
    take);
use Exporter   qw(import);
use POSIX      ();
use Test::More ();

our @EXPORT    = qw(run_adapter_tests);
our @EXPORT_OK = qw(run_adapter_tests adapter_tests);

# Seconds. What is due must come within the bound; what must not come is given QUIET to do so.
our $bound = EVENT_BOUND;
use constant {
    QUIET => 0.1,
    STEP  => 0.02,
};

my @tests;
my ($make_loop, $adapter);    # of the run under way

sub contract {
    my ($name, $promise, $code) = @_;
    push @tests, { name => $name, promise => $promise, code => $code };
    return;
}

# ---- Turning the loop -----------------------------------------------------------------------------------------------

sub new_adapter { return EventLoop::Fork::Adapter::for_loop($_[0]) }

sub run_for {
    my ($seconds, $on) = @_;
    $on ||= $adapter;
    my $id = $on->watch_time($seconds, sub { $on->stop });
    $on->run;
    $on->unwatch_time($id);    # stopped by somebody else: it would stop the next run
    return;
}

# False: it did not come within the bound.
sub wait_until {
    my ($condition, $on) = @_;
    my $deadline = now() + $bound;
    until ($condition->()) {
        return 0 if now() > $deadline;
        run_for(STEP, $on);
    }
    return 1;
}

# A pipe that is watched: what came, and how to write and end it.
sub watched_pipe {
    my ($on) = @_;
    $on ||= $adapter;
    my ($reader, $writer) = pipe_pair();
    $reader->blocking(0);    # for a loop that calls back for nothing
    my %watched = (got => '', writer => $writer, reader => $reader);
    my $id      = $on->watch_io($reader, sub { $watched{got} .= take($reader); $watched{calls}++ });
    @watched{qw(id end)} = ($id, sub { $on->unwatch_io($id) });
    return \%watched;
}

# ---- Children -------------------------------------------------------------------------------------------------------

# A child of a fork through us: code gets the child's adapter, and returns words. The parent goes on in the loop, and
# may act when the child says that it is ready.
sub child_says {
    my ($code, %options)  = @_;
    my ($reader, $writer) = pipe_pair();
    my ($status, $calls)  = (undef, 0);
    my $meanwhile = delete $options{meanwhile};
    my $text      = '';
    my $child     = EventLoop::Fork->fork(
        loop => $adapter->loop,
        %options,
        code => sub {
            my ($self) = @_;
            alarm 3 * $bound;
            my @words;
            eval { @words = $code->(new_adapter($self->loop), $writer, $self); 1 } or @words = ("died: $@");
            say_words($writer, @words) if @words;
            return 0;
        },
        on_exit => sub { $status = $_[1]; $calls++ },
    );
    close $writer;
    # After the fork: a child that keeps its watchers would take its own words.
    my $id = $adapter->watch_io($reader, sub { $text .= take($reader) });
    if ($meanwhile) {
        wait_until(sub { $text =~ s/\Aready\n// }) or Test::More::diag('the child did not get ready');
        $meanwhile->();
    }
    my $has_ended = wait_until(sub { defined $status });
    ok($has_ended, 'the end of the child arrives') or $child->kill('KILL');
    $text .= take($reader) if $has_ended && _is_readable($reader);
    $adapter->unwatch_io($id);
    my @words = split /\n/, $text;
    push @words, "(wait status $status)"             if $status;
    push @words, "(on_exit was called $calls times)" if $calls > 1;
    return @words;
}

sub _is_readable {
    my ($handle) = @_;
    vec(my $bits = '', fileno $handle, 1) = 1;
    return select $bits, undef, undef, 0;
}

# The loop that a child has works.
sub works {
    my ($on)  = @_;
    my $pipe  = watched_pipe($on);
    my $fired = 0;
    $on->watch_time(0.001, sub { $fired++ });
    give($pipe->{writer}, 'w');
    my $is_well = wait_until(sub { $pipe->{got} eq 'w' && $fired == 1 }, $on);
    $pipe->{end}->();
    return $is_well ? 'works' : "got '$pipe->{got}', timers $fired";
}

# ---- The contract ---------------------------------------------------------------------------------------------------

contract class => 'for_loop answers with the adapter, which has every method' => sub {
    my $class = ref $adapter;
    ok($adapter->isa('EventLoop::Fork::Adapter'), "$class is an EventLoop::Fork::Adapter");
    my @missing = grep { !$adapter->can($_) } EventLoop::Fork::Adapter::contract();
    is_list(\@missing, [], 'no method is missing');
    ok(length $class->family, 'the family has a name');
    ok($class->is_loaded, 'its library is loaded');
    ok($class->accepts($adapter->loop), 'it accepts its loop');
    ok(!$class->accepts('No::Such::Loop'), 'it does not accept what is none');
    ok(!$class->accepts(bless {}, 'EventLoop::Fork::Test::Adapter::NoLoop'), 'nor an object of another class');
};

contract io => 'a readable handle calls back, and only a readable one' => sub {
    my ($one, $other) = map { watched_pipe() } 1, 2;
    run_for(QUIET);
    is($one->{calls}, undef, 'not before there is something to read');
    give($one->{writer}, 'a');
    ok(wait_until(sub { $one->{got} eq 'a' }), 'then it does');
    is($other->{calls}, undef, 'the other one does not');
    give($_->{writer}, 'b') for $one, $other;
    ok(wait_until(sub { $one->{got} eq 'ab' && $other->{got} eq 'b' }), 'again, and both');
    close $one->{writer};
    my $calls = $one->{calls};
    ok(wait_until(sub { $one->{calls} > $calls }), 'the end of a pipe is readable');
    $_->{end}->() for $one, $other;
};

contract unwatch_io => 'an unwatched handle does not call back' => sub {
    my $pipe = watched_pipe();
    $pipe->{end}->();
    give($pipe->{writer});
    run_for(QUIET);
    is($pipe->{calls}, undef, 'unwatched before');
    my ($reader, $writer) = pipe_pair();
    my ($calls, $id)      = (0);
    $id = $adapter->watch_io($reader, sub { $calls++; $adapter->unwatch_io($id) });
    give($writer);
    ok(wait_until(sub { $calls }), 'watched again, it does');
    run_for(QUIET);
    is($calls, 1, 'unwatched in its own callback');
};

contract held => 'a watch goes on when the adapter object goes' => sub {
    my $own   = new_adapter($adapter->loop);
    my $pipe  = watched_pipe($own);
    my $fired = 0;
    $own->watch_time(0.001, sub { $fired++ });
    my $id = $pipe->{id};
    $pipe->{end} = sub { $adapter->unwatch_io($id) };
    undef $own;
    give($pipe->{writer}, 'h');
    ok(wait_until(sub { $pipe->{got} eq 'h' && $fired }), 'both call back');
    $pipe->{end}->();
};

# What fires, by the code. Not every loop orders what is due at the same look, and a process that did not get the
# processor for a while finds all due: it then happens once more.
sub fired_in_order {
    my ($code, @expected) = @_;
    my @fired;
    for (1 .. 20) {
        @fired = ();
        $code->(\@fired);
        last if "@fired" eq "@expected";
    }
    return is_list(\@fired, \@expected, 'in order');
}

contract time => 'a timer fires once, not early, and in order' => sub {
    my @late;
    fired_in_order(
        sub {
            my ($fired) = @_;
            my $start = now();
            for my $after (0.06, 0.02, 0.04, 0) {
                $adapter->watch_time($after, sub { push @$fired, $after; push @late, now() - $start - $after });
            }
            ok(wait_until(sub { @$fired >= 4 }), 'all fire');
            run_for(QUIET);
            is_list([ sort { $a <=> $b } @$fired ], [ 0, 0.02, 0.04, 0.06 ], 'once');
        },
        0, 0.02, 0.04, 0.06
    );
    # Some loops count in milliseconds.
    is(scalar(grep { $_ < -0.002 } @late), 0, 'none is early');
};

contract unwatch_time => 'an unwatched timer does not fire' => sub {
    fired_in_order(
        sub {
            my ($fired) = @_;
            my $id = $adapter->watch_time(0.01, sub { push @$fired, 'unwatched' });
            my ($second, $first);
            $first  = $adapter->watch_time(0.02, sub { push @$fired, 'first'; $adapter->unwatch_time($second) });
            $second = $adapter->watch_time(0.03, sub { push @$fired, 'second' });
            $adapter->unwatch_time($id);
            run_for(QUIET);
            is(scalar(grep { $_ eq 'unwatched' } @$fired), 0, 'unwatched before');
        },
        'first'
    );
};

contract run => 'run blocks until stop, and may be run again' => sub {
    my $start = now();
    my $fired = 0;
    $adapter->watch_time(0.05, sub { $fired++; $adapter->stop });
    $adapter->run;
    is($fired, 1, 'it came back');
    ok(now() - $start >= 0.045, 'and not before stop');
    $adapter->watch_time(0, sub { $fired++; $adapter->stop });
    $adapter->run;
    is($fired, 2, 'a second run, too');
};

# Sends a signal to this process when it has had time to wait, and tells when. It ends when it is told, because its end
# would wake a loop.
sub sender {
    my ($signal) = @_;
    my ($release, $released) = pipe_pair();
    my ($reader, $writer)    = pipe_pair();
    my $parent = $$;
    my $pid    = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for $signal, 'ALRM';    ## no critic (LocalizedPunctuationVars)
        alarm 3 * $bound;
        close $released;
        pause(QUIET);
        give($writer, now() . "\n");
        kill $signal => $parent;
        sysread $release, my $byte, 1;
        POSIX::_exit(0);
    }
    close $_ for $release, $writer;
    return sub {
        my $sent = take($reader);
        close $released;
        reap($pid);
        return $sent;
    };
}

contract signal => 'a signal that is watched calls back at once, also in a loop that waits for nothing else' => sub {
    my $arrived;
    my $id     = $adapter->watch_signal(USR1 => sub { $arrived = now(); $adapter->stop });
    my $safety = $adapter->watch_time($bound, sub { $adapter->stop });
    my $lateness;
    # A busy machine may be late itself; a loop that is late is so each time.
    for (1 .. 5) {
        undef $arrived;
        my $end = sender('USR1');
        $adapter->run;
        my $sent = $end->();
        $lateness = defined $arrived ? $arrived - $sent : $bound;
        last if $lateness < PROMPT_BOUND / 8;
    }
    ok($lateness < PROMPT_BOUND / 8, "it was late by $lateness s");
    $adapter->unwatch_time($safety);
    my @called;
    my @ids = map {
        my $name = $_;
        $adapter->watch_signal(USR1 => sub { push @called, $name })
    } 'second', 'third';
    undef $arrived;
    kill USR1 => $$;
    ok(wait_until(sub { $arrived && @called >= 2 }), 'several watches of a signal are called');
    is_list(\@called, [qw(second third)], 'in their order');
    $adapter->unwatch_signal($_) for $id, @ids;
};

contract unwatch_signal => 'what a signal did before it was watched, it does afterwards' => sub {
    my ($before, $one, $other) = (0, 0, 0);
    my $handler = sub { $before++ };
    local $SIG{USR1} = $handler;
    my $first  = $adapter->watch_signal(USR1 => sub { $one++ });
    my $second = $adapter->watch_signal(USR1 => sub { $other++ });
    kill USR1 => $$;
    ok(wait_until(sub { $one && $other }), 'watched twice');
    $adapter->unwatch_signal($first);
    kill USR1 => $$;
    ok(wait_until(sub { $other == 2 }), 'watched once');
    $adapter->unwatch_signal($second);
    kill USR1 => $$;
    run_for(0);
    is("$before $one $other", '1 1 2', 'unwatched');
    ok(ref $SIG{USR1} && $SIG{USR1} == $handler, 'what was in %SIG is back');
    $adapter->unwatch_signal($second);
    ok(ref $SIG{USR1} && $SIG{USR1} == $handler, 'unwatched again it stays');
    local $SIG{USR2} = 'IGNORE';
    $adapter->unwatch_signal($adapter->watch_signal(USR2 => sub { }));
    is($SIG{USR2}, 'IGNORE', 'so does one that was ignored');

    for my $name ('NONE', 'KILL', undef) {
        my $error = eval {
            $adapter->watch_signal($name => sub { });
            1;
        } ? 'none' : $@;
        is(ref $error && $error->name, 'EVF_ESIGNAL', 'refused: ' . (defined $name ? $name : 'undef'));
    }
};

contract signal_in_child =>
    'a watch of a signal is not for a child, which may have its own; that of the parent goes on' => sub {
    my $called = 0;
    my $id     = $adapter->watch_signal(USR1 => sub { $called++ });
    my @words  = child_says(sub {
        my ($own) = @_;
        my $heard = 0;
        local $SIG{USR2} = sub { };
        my $own_id = $own->watch_signal(USR1 => sub { $heard++ });
        kill USR1 => $$;
        my $is_well = wait_until(sub { $heard }, $own);
        $own->unwatch_signal($own_id);
        local $SIG{USR1} = sub { $heard = 'late' };
        $adapter->unwatch_signal($id);
        kill USR1 => $$;
        run_for(0, $own);
        return ($is_well ? 'heard' : 'not heard', $heard, "parent's $called");
    });
    is_list(\@words, [ 'heard', 'late', "parent's 0" ], 'in the child');
    run_for(QUIET);
    is($called, 0, 'the parent does not hear of it');
    kill USR1 => $$;
    ok(wait_until(sub { $called }), 'the parent hears its own');
    $adapter->unwatch_signal($id);
    };

contract signal_kept => 'in a child of a raw fork a watch of a signal goes on; that of the parent, too' => sub {
    my $called = 0;
    my $id     = $adapter->watch_signal(USR1 => sub { $called++; $adapter->stop });
    run_for(0);
    my ($reader, $writer) = pipe_pair();
    my $pid = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        alarm 3 * $bound;
        my @words;
        eval {
            my $end = sender('USR1');
            $adapter->run;
            my $lateness = now() - $end->();
            @words = ("called $called", $lateness < $bound / 2 ? 'in time' : "late by $lateness");
            1;
        } or @words = ("died: $@");
        leave($writer, @words);
    }
    close $writer;
    is_list([ words_of($pid, $reader) ], [ 'called 1', 'in time' ], 'in the child');
    run_for(QUIET);
    is($called, 0, 'the parent does not hear of it');
    my $end = sender('USR1');
    $adapter->run;
    $end->();
    is($called, 1, 'the parent hears its own');
    $adapter->unwatch_signal($id);
};

contract fork => 'the end of a child arrives once, with its status, through the loop' => sub {
    my (@ends, @children);
    for my $code (0, 3, 'KILL') {
        push @children, EventLoop::Fork->fork(
            loop    => $adapter->loop,
            code    => sub { kill KILL => $$ if $code eq 'KILL'; return $code },
            on_exit => sub { my ($child, $status) = @_; push @ends, $child->pid . " $status" },
        );
    }
    ok(wait_until(sub { @ends >= 3 }), 'all arrive');
    run_for(QUIET);
    my @expected = map { $_->pid } @children;
    is_list([ sort @ends ], [ sort map { "$expected[$_] " . (0, 3 << 8, 9)[$_] } 0 .. 2 ], 'each its own');
};

contract child_loop => 'the loop of a child works, is new, and of the same family' => sub {
    my @words = child_says(sub {
        my ($own) = @_;
        return (ref $own, works($own));
    });
    is_list(\@words, [ ref $adapter, 'works' ], 'in the child');
    is(works($adapter), 'works', 'the one of the parent goes on');
};

contract renew => 'no inherited watcher fires in a child, whatever is ready; those of the parent go on' => sub {
    my ($ready, $later) = map { watched_pipe() } 1, 2;
    my $fired = 0;
    my $me    = $$;
    my $told;
    $adapter->watch_time(0.01, sub { $fired++; $told->("timer\n") if $$ != $me });
    give($ready->{writer}, 'r');    # is ready at the fork, and seen by nobody
    my @words = child_says(sub {
        my ($own, $writer) = @_;
        $told = sub { give($writer, @_) };
        run_for(2 * QUIET, $own);
        my @seen = ((map { $_->{got} } $ready, $later), works($own));
        return join ' ', map { "'$_'" } @seen;
    });
    is_list(\@words, [qw('' '' 'works')], 'the child runs its loop, and hears nothing of its parent');
    give($later->{writer}, 'l');
    ok(wait_until(sub { $ready->{got} eq 'r' && $later->{got} eq 'l' && $fired }), 'the parent hears all');
    run_for(QUIET);
    is($fired, 1, 'its timer fires once');
    $_->{end}->() for $ready, $later;
};

contract stale => 'a child that unwatches what it has inherited disturbs nobody' => sub {
    my ($one, $other) = map { watched_pipe() } 1, 2;
    run_for(0);
    my $timed = 0;
    my $timer = $adapter->watch_time(4 * QUIET, sub { $timed++ });
    my @words = child_says(sub {
        my ($own) = @_;
        eval { $one->{end}->();                1 } or return "unwatch_io: $@";
        eval { $adapter->unwatch_time($timer); 1 } or return "unwatch_time: $@";
        close $one->{reader};
        my $files = watched_pipe($own);    # under a number that its parent watches
        run_for(QUIET, $own);
        undef $other;
        return works($own);
    });
    is_list(\@words, ['works'], 'in the child');
    give($_->{writer}, 's') for $one, $other;
    ok(wait_until(sub { $one->{got} eq 's' && $other->{got} eq 's' && $timed }), 'the watches of the parent work');
    $_->{end}->() for $one, $other;
};

contract in_callback => 'a fork in a callback is a fork like others' => sub {
    my $pipe = watched_pipe();
    my @words;
    my $done = 0;
    $adapter->watch_time(
        0,
        sub {
            my ($reader, $writer) = pipe_pair();
            EventLoop::Fork->fork(
                loop    => $adapter->loop,
                code    => sub { alarm 3 * $bound; give($writer, works(new_adapter($_[0]->loop)) . "\n"); return 0 },
                on_exit => sub { @words = split /\n/, take($reader); $done++ },
            );
            close $writer;
        }
    );
    ok(wait_until(sub { $done }), 'the end of the child arrives');
    is_list(\@words, ['works'], 'the loop of the child works');
    give($pipe->{writer}, 'p');
    ok(wait_until(sub { $pipe->{got} eq 'p' }), 'and that of the parent');
    $pipe->{end}->();
};

contract generations => 'a child may fork in its turn' => sub {
    my @words = child_says(sub {
        my ($own) = @_;
        my ($status, $grandchild);
        my ($reader, $writer) = pipe_pair();
        EventLoop::Fork->fork(
            loop    => $own->loop,
            code    => sub { give($writer, works(new_adapter($_[0]->loop))); return 5 },
            on_exit => sub { $status = $_[1] },
        );
        close $writer;
        wait_until(sub { defined $status }, $own);
        return ('grandchild ' . take($reader), 'exit ' . ($status >> 8), works($own));
    });
    is_list(\@words, [ 'grandchild works', 'exit 5', 'works' ], 'all three work');
};

contract keep => "with loop_in_child => 'keep' the inherited watchers go on in the child; those of the parent, too" =>
    sub {
    my ($for_child, $for_parent) = map { watched_pipe() } 1, 2;
    my $fired = 0;
    $adapter->watch_time(2 * QUIET, sub { $fired++ });
    run_for(0);
    my @words = child_says(
        sub {
            my ($own, $writer) = @_;
            give($writer, "ready\n");
            wait_until(sub { $for_child->{got} ne '' && $fired }, $own);
            return ("got $for_child->{got}", "timer $fired", works($own));
        },
        loop_in_child => 'keep',
        meanwhile     => sub { $for_child->{end}->(); give($for_child->{writer}, 'k') },
    );
    is_list(\@words, [ 'got k', 'timer 1', 'works' ], 'in the child');
    give($for_parent->{writer}, 'p');
    ok(wait_until(sub { $for_parent->{got} eq 'p' && $fired == 1 }), 'in the parent');
    $for_parent->{end}->();
    };

contract raw => 'in a child of a raw fork the loop goes on, as in a daemon; that of the parent, too' => sub {
    my ($for_child, $for_parent) = map { watched_pipe() } 1, 2;
    run_for(0);
    my ($reader, $writer) = pipe_pair();
    my ($ready, $told)    = pipe_pair();
    my $pid = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        alarm 3 * $bound;
        my @words;
        eval {
            give($told, 'r');
            wait_until(sub { $for_child->{got} ne '' });
            @words = ("got $for_child->{got}", works($adapter));
            1;
        } or @words = ("died: $@");
        leave($writer, @words);
    }
    close $_ for $writer, $told;
    take($ready);
    $for_child->{end}->();
    give($for_child->{writer}, 'd');
    is_list([ words_of($pid, $reader) ], [ 'got d', 'works' ], 'in the child');
    give($for_parent->{writer}, 'p');
    ok(wait_until(sub { $for_parent->{got} eq 'p' }), 'in the parent');
    $for_parent->{end}->();
};

# ---- Running them ---------------------------------------------------------------------------------------------------

sub adapter_tests {
    return map { { name => $_->{name}, promise => $_->{promise} } } @tests;
}

sub run_adapter_tests {
    my ($constructor, @options) = @_;
    ref $constructor eq 'CODE' or croak 'run_adapter_tests needs code that makes a loop';
    my %options = @options == 1 && ref $options[0] ? %{ $options[0] } : @options;
    my $skip    = delete $options{skip} || {};
    my $only    = delete $options{only};
    my %known   = map { $_->{name} => 1 } @tests;
    for my $name (keys %$skip, @{ $only || [] }) {
        $known{$name} or croak "No test '$name'";
    }
    my ($unknown) = sort keys %options;
    croak "Unknown option '$unknown'" if defined $unknown;
    my %wanted = map { $_ => 1 } @{ $only || [ keys %known ] };
    for my $test (grep { $wanted{ $_->{name} } } @tests) {
        my $reason = $skip->{ $test->{name} };
        if (defined $reason) {
        SKIP: { Test::More::skip("$test->{name}: $reason", 1) }
            next;
        }
        Test::More::subtest(
            "$test->{name}: $test->{promise}" => sub { _run_one($test, $constructor); Test::More::done_testing() });
    }
    return;
}

sub _run_one {
    my ($test, $constructor) = @_;
    $adapter = new_adapter($constructor->());
    my $done  = eval { guarded($test->{code}); 1 };
    my $error = $@;
    undef $adapter;
    ok(0, "$test->{name}: died: $error") unless $done;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter - acceptance tests for adapters

=head1 SYNOPSIS

    use Test::More;
    use EventLoop::Fork::Loop;
    use EventLoop::Fork::Test::Loop;

    # use My::Adapter;    # has called EventLoop::Fork::Adapter::register
    run_adapter_tests(sub { EventLoop::Fork::Loop->new });
    done_testing;

=head1 DESCRIPTION

What L<EventLoop::Fork::Adapter> asks of an adapter, each promise a test, for authors of adapters. Most tests fork, and
look at both sides. Each waits for events, ends after a minute at the latest, and ends its children.

=head1 FUNCTIONS

=head2 run_adapter_tests

    run_adapter_tests($code);
    run_adapter_tests($code, { skip => { keep => 'the library has no way to' } });

L<EventLoop::Fork::Test::Loop> exports it, too. The code returns a loop, or what stands for one: an object or a name
that C<< EventLoop::Fork->fork(loop => ...) >> takes. It is called once for each test. Each test is a subtest. Options:

=over 4

=item skip

A hash of names of tests, with reasons.

=item only

An array of names: no others are run.

=back

=head2 adapter_tests

The tests in their order: for each a hash with its C<name> and its C<promise>.

=head1 TESTS

=over 4

=item class

C<for_loop> answers with the adapter, which has every method and accepts its own loops only.

=item io

A readable handle calls back, and only a readable one.

=item unwatch_io

An unwatched handle does not call back.

=item held

A watch goes on when the adapter object goes.

=item time

A timer fires once, not early, and in order.

=item unwatch_time

An unwatched timer does not fire.

=item run

C<run> blocks until C<stop>, and may be run again.

=item signal

A signal that is watched calls back at once, also in a loop that waits for nothing else.

=item unwatch_signal

What a signal did before it was watched, it does afterwards.

=item signal_in_child

A watch of a signal is not for a child, which may have its own; that of the parent goes on.

=item signal_kept

In a child of a raw fork a watch of a signal goes on; that of the parent, too.

=item fork

The end of a child arrives once, with its status, through the loop.

=item child_loop

The loop of a child works, is new, and of the same family.

=item renew

No inherited watcher fires in a child, whatever is ready; those of the parent go on.

=item stale

A child that unwatches what it has inherited disturbs nobody.

=item in_callback

A fork in a callback is a fork like others.

=item generations

A child may fork in its turn.

=item keep

With C<< loop_in_child => 'keep' >> the inherited watchers go on in the child; those of the parent, too.

=item raw

In a child of a raw fork the loop goes on, as in a daemon; that of the parent, too.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork::Test::Loop>

=cut
