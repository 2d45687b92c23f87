package IsolationTest::Checks;

# The checks of t/isolation, each written once for all kinds of event loops. A check gets the run (IsolationTest::Run),
# does what may go wrong, and reports what went wrong by letter. It returns NOTHING where there is nothing to check.

use strict;
use warnings;

use ForkTest           qw(children_left now open_fds pause);
use IsolationTest::Run ();
use POSIX              ();

use constant { QUIET => IsolationTest::Run::QUIET(), NOTHING => IsolationTest::Run::NOTHING() };

my (@names, %checks);

# By default a check runs with perl's fork and the family's own as the plain tools, with EventLoop::Fork->fork, and with
# perl's fork while EventLoop::Fork is loaded.
sub check {
    my ($name, $title, $code, %options) = @_;
    push @names, $name;
    $checks{$name} =
        { name => $name, title => $title, code => $code, plain => [qw(fork own)], with => [qw(ours raw)], %options };
    return;
}

sub names { return @names }

sub for_name {
    my ($class, $name) = @_;
    return $checks{$name} || die "No check '$name'\n";
}

# ---- Whatever the child does to what it has inherited ---------------------------------------------------------------

# The code meddles in a child that stays, then goes; both times all must be well in the parent.
sub meddle {
    my ($run, $code) = @_;
    my $world = $run->world;
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $code->($world, $own);
        $me->tell('done');
        $me->wait;
        return 0;
    });
    $kid->hear;
    $run->faults_of($world, 'while the child lives');
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
    return $world;
}

# What its loops do next tells the kernel of what was changed. Neither need work in the child.
sub turn_all {
    my ($own, $old) = @_;
    for my $family ($own, $old ? $old : ()) {
        eval { $family->turn(0.005) } for 1 .. 2;
    }
    return;
}

check stop => 'a child stops the watches that it has inherited', sub {
    my ($run) = @_;
    my $old = $run->family;
    meddle(
        $run,
        sub {
            my ($world, $own) = @_;
            $world->stop;
            turn_all($own, $old);
        }
    );
};

check destroy => 'a child lets go of everything that it has inherited', sub {
    my ($run) = @_;
    my $old = $run->family;
    meddle(
        $run,
        sub {
            my ($world, $own) = @_;
            delete $world->{watches};
            close $world->{reader};
            close $world->{writer};
            eval { $old->destroy };
            turn_all($own);
        }
    );
};

check modify => 'a child changes what it has inherited, and puts other files under the numbers', sub {
    my ($run) = @_;
    my $old = $run->family;
    meddle(
        $run,
        sub {
            my ($world, $own) = @_;
            # The same file first, for what never happens to it; then another one.
            $world->stop;
            for my $family ($old, $own) {
                watch_shortly($family, $world->{reader}, 'write');
            }
            $world->renew;
            syswrite $world->{writer}, 'y';
            for my $family ($old, $own) {
                watch_shortly($family, $world->{reader}, 'read');
            }
        }
    );
};

# Nothing of it need work.
sub watch_shortly {
    my ($family, $handle, $way) = @_;
    my $watch = eval {
        $family->$way($handle, sub { });
    };
    eval { $family->turn(0.005) } for 1 .. 2;
    eval { $watch->{stop}->(); $family->turn(0.005) } if $watch;
    return;
}

# Turns until some time after the timer was due, and often enough on a busy machine. Neither loop need work.
sub for_a_while {
    my ($world, @families) = @_;
    my $turns = 0;
    while (now() < $world->{due} + QUIET || $turns < 5) {
        for my $family (@families) {
            eval { $family->turn(0.01) };
        }
        pause();
        $turns++;
    }
    return;
}

check run => 'a child runs the loop that it has inherited', sub {
    my ($run) = @_;
    my $old   = $run->family;
    my $world = $run->world(timer => 0.03);
    # Due in the parent when the child starts.
    syswrite $world->{writer}, 'x';
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        $world->forget;
        for_a_while($world, $old, $own);
        $me->tell($world->happened);
        $me->wait;
        return 0;
    });
    my $happened = $kid->hear;
    if ($happened) { $run->fault(e => ref $happened ? $happened->{died} : $happened) }
    else {
        $run->wait_for(sub { length $world->{read} }) or $run->fault(d => 'what was there before the child');
    }
    $run->faults_of($world, 'while the child lives');
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
};

# ---- The child's own loop -------------------------------------------------------------------------------------------

# All kinds of watches on one loop, and a child of the child.
sub own_watches {
    my ($run, $own) = @_;
    my $world  = IsolationTest::World->new($own);
    my $faults = $world->works($run->{bound});
    my @wrong  = map { "$_ ($faults->{$_})" } sort keys %$faults;
    push @wrong, own_process($run, $own);
    $world->stop;
    push @wrong, "stop: $world->{stop_error}" if $world->{stop_error};
    return @wrong;
}

check new => 'a child has a loop that works', sub {
    my ($run) = @_;
    my $world = $run->world;
    my $kid =
        $run->start_child(sub { my ($own, $me) = @_; $me->tell([ own_watches($run, $own) ]); $me->wait; return 0 });
    blame($run, c => 'child', $kid->hear(4));
    $run->faults_of($world, 'while the child lives');
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
};

check callback => 'a fork in a callback: the child has a loop that works, and the parent goes on', sub {
    my ($run)  = @_;
    my $family = $run->family;
    my $world  = $run->world;
    my $kid;
    pipe my $reader, my $writer or die "pipe: $!";
    syswrite $writer, 'x';
    my ($watch, $is_called);
    $watch = $family->read(
        $reader,
        sub {
            return if $is_called++;
            sysread $reader, my $byte, 1;
            $watch->{stop}->();
            $kid = $run->start_child(
                sub { my ($own, $me) = @_; $me->tell([ own_watches($run, $own) ]); $me->wait; return 0 });
        }
    );
    $run->wait_for(sub { $kid });
    blame($run, c => 'child', $kid->hear(4));
    $run->faults_of($world, 'while the child lives');
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
};

check single => 'the loop that a child gets is not its parent\'s', sub {
    my ($run)  = @_;
    my $family = $run->family;
    my $before = $family->identity;
    return NOTHING unless defined $before;
    my $world = $run->world;
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $me->tell([ $own->identity, $own->again->identity, ref $own->{loop} ]);
        $me->wait;
        return 0;
    });
    my $told = $kid->hear;
    if (ref $told eq 'ARRAY') {
        my ($own, $again, $class) = @$told;
        $run->fault(1 => 'the same object') if $own == $before || $again == $before;
        $run->fault(1 => "a $class")        if $class ne ref $family->{loop};
    }
    $run->end($kid);
};

check private => 'no kernel object of the parent\'s loop is also its child\'s', sub {
    my ($run) = @_;
    my $world = $run->world;
    defined IsolationTest::Run::shared_with($$) or return NOTHING;
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        my $watched = eval { IsolationTest::World->new($own) };    # it has its own by now, if it ever will
        $own->use_others;
        $me->tell('ready');
        $me->wait;
        return 0;
    });
    $kid->hear;
    my $shared = IsolationTest::Run::shared_with($kid->pid);
    $run->fault(k => @$shared) if @$shared;
    $run->end($kid);
};

# ---- Signals and timers ---------------------------------------------------------------------------------------------

check signal => 'a signal to the child is the child\'s only', sub {
    my ($run) = @_;
    my $world = $run->world;

    # Before the child has done anything.
    for (1 .. 3) {
        my $kid =
            $run->start_child(sub { my ($own, $me) = @_; $me->tell('starts'); $me->wait; $me->tell('lives'); return 0 }
            );
        kill USR1 => $kid->pid;
        $run->family->run_for(QUIET);
        $kid->release;
        # It says nothing at all if the signal came first.
        my $text = '';
        1 while $kid->is_readable($run->{bound}) && sysread $kid->{from}, $text, 1000, length $text;
        $run->fault(i => 'it goes on') if $text =~ /lives/;
        $run->end($kid);
    }
    $run->fault(p => "$world->{signals} right after the fork") if $world->{signals};
    $world->{signals} = 0;

    # When the child watches it, too.
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        my $signals = 0;
        my $watch   = $own->signal(USR1 => sub { $signals++ });
        $own->turn(0);
        $me->tell('ready');
        my $came = $own->wait_for(sub { $signals }, $run->{bound});
        $own->run_for(QUIET);
        $me->tell($signals);
        $me->wait;
        return 0;
    });
    $kid->hear;
    kill USR1 => $kid->pid;
    my $signals = $kid->hear_turning;
    $run->family->run_for(QUIET);
    $run->fault(c => 'signals ' . (defined $signals ? ref $signals ? $signals->{died} : $signals : 'none'))
        unless defined $signals && $signals eq '1';
    $run->fault(p => "$world->{signals} that the child watches") if $world->{signals};
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
};

check ownsignal => 'a signal to the parent is the parent\'s only', sub {
    my ($run) = @_;
    my $world = $run->world;
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $world->forget;
        my $signals = 0;
        my $watch   = $own->signal(USR1 => sub { $signals++ });
        $own->turn(0);
        $me->tell('ready');
        $own->wait_for(sub { $me->is_released }, 2 * $run->{bound});
        $me->tell($signals + $world->{signals});
        return 0;
    });
    $kid->hear;
    for my $round (1 .. 20) {
        my $before = $world->{signals};
        kill USR1 => $$;
        next if $run->wait_for(sub { $world->{signals} > $before });
        $run->fault(s => "in round $round");
        last;
    }
    $kid->release;
    my $signals = $kid->hear;
    $run->fault(e => "signals $signals") if defined $signals && !ref $signals && $signals;
    $run->fault(x => $signals->{died})   if ref $signals;
    $run->end($kid);
};

check timer => 'a timer of the parent does not fire in the child', sub {
    my ($run) = @_;
    return NOTHING unless $run->family->has_timers;
    my $world = $run->world(timer => 0.06);
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $world->forget;
        for_a_while($world, $own);
        $me->tell($world->{timers});
        return 0;
    });
    my $in_child = $kid->hear;
    $run->fault(2 => "timers $in_child in the child") if $in_child;
    $run->faults_of($world, 'afterwards');
    $run->family->run_for(QUIET);
    $run->fault(2 => "timers $world->{timers} in the parent") if $world->{timers} > 1;
    $run->end($kid);
};

# ---- Statuses -------------------------------------------------------------------------------------------------------

# To hear of the end of a child by the tool, as its exits.
sub watch {
    my ($run, $kid) = @_;
    return if $kid->{child};
    $kid->{is_watched} = $run->family->process($kid->pid, sub { push @{ $kid->{exits} }, $_[0] });
    return;
}

sub has_statuses { my ($run) = @_; return $run->{tool} eq 'ours' || $run->family->has_processes }

# Each of the children has ended with this status, and it was heard of once.
sub statuses_arrive {
    my ($run, $kids, $expected) = @_;
    $run->wait_for(sub {
        !grep { !@{ $_->{exits} } } @$kids;
    });
    $run->family->run_for(QUIET);
    for my $index (0 .. $#$kids) {
        my $exits = join ', ', @{ $kids->[$index]{exits} };
        $run->fault(w => "($exits) instead of $expected->[$index]") if $exits ne $expected->[$index];
    }
    return;
}

# Descriptors and children, before and after.
sub nothing_left {
    my ($run, $code) = @_;
    # Whatever a first child needs for good is there then.
    my $first = $run->start_child(sub { 0 });
    watch($run, $first);
    statuses_arrive($run, [$first], [0]);
    close $first->{from};
    $run->{kids} = [];
    my %before = map { $_ => 1 } open_fds();
    $code->();
    $run->end($_), close $_->{from} for @{ $run->{kids} };
    my @left = grep { !$before{$_} } open_fds();
    $run->fault(l => @left) if @left;
    my $children = children_left();
    $run->fault(l => $children) if $children;
    return;
}

check status => 'the status of a child arrives once', sub {
    my ($run) = @_;
    return NOTHING unless has_statuses($run);
    my $world = $run->world;
    nothing_left(
        $run,
        sub {
            my @kids;
            # Several at a time; killed; and one that has ended before anybody asks for it.
            for my $code (0, 3, 255) {
                my $kid = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return $code });
                watch($run, $kid);
                $kid->release;
                push @kids, $kid;
            }
            my $killed = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return 1 });
            watch($run, $killed);
            kill KILL => $killed->pid;
            push @kids, $killed;
            my $early = $run->start_child(sub { 9 });
            1 while $early->is_readable($run->{bound}) && sysread $early->{from}, my $text, 1000;
            $run->family->run_for(QUIET);
            watch($run, $early);
            push @kids, $early;
            statuses_arrive($run, \@kids, [ 0, 3 << 8, 255 << 8, 9, 9 << 8 ]);
        }
    );
    $run->faults_of($world, 'afterwards');
};

check others => 'system, backticks, pipes and waitpid keep their statuses', sub {
    my ($run) = @_;
    my $world = $run->world;
    my @wrong;
    my @kids;
    for my $round (1 .. 2) {
        my $kid = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return 4 });
        watch($run, $kid) if has_statuses($run);
        push @kids, $kid;
        my $status = system 'sh', '-c', 'exit 3';
        push @wrong, "system $status" if $status != 3 << 8;
        my $output = `echo output; exit 4`;
        push @wrong, "backticks '$output' $?" if $output ne "output\n" || $? != 4 << 8;
        open my $from, '-|', 'sh', '-c', 'echo piped; exit 5' or die "open: $!";
        my $line = readline $from;
        my $own  = $run->raw_child(sub { 6 });
        $kid->release;
        # The loop hears that children end.
        $run->family->run_for(QUIET);
        close $from;
        push @wrong, "pipe '$line' $?" if $line ne "piped\n" || $? != 5 << 8;
        my $waited = waitpid $own, 0;
        push @wrong, "waitpid $waited $?" if $waited != $own || $? != 6 << 8;
    }
    $run->fault(o => join ', ', @wrong)             if @wrong;
    statuses_arrive($run, \@kids, [ (4 << 8) x 2 ]) if has_statuses($run);
    $run->faults_of($world, 'afterwards');
};

check many => '50 children at once', sub {
    my ($run) = @_;
    return NOTHING unless has_statuses($run);
    my $world = $run->world;
    nothing_left(
        $run,
        sub {
            pipe my $gate, my $door or die "pipe: $!";
            my @kids;
            for my $number (1 .. 50) {
                my $kid = $run->start_child(sub {
                    close $door;
                    1 until defined sysread $gate, my $byte, 1;
                    return $number;
                });
                watch($run, $kid);
                # Ours would take the numbers of 50 more pipes.
                close delete $kid->{$_} for qw(from door);
                push @kids, $kid;
            }
            $run->family->turn(0);
            close $door;
            statuses_arrive($run, \@kids, [ map { $_ << 8 } 1 .. 50 ]);
            $run->{kids} = [];
        }
    );
    $run->faults_of($world, 'afterwards');
};

# ---- Generations ----------------------------------------------------------------------------------------------------

# Each has a loop that works while those below it live, hears of its child's end, and tells what went wrong.
sub generation {
    my ($run, $family, $depth) = @_;
    local $run->{family} = $family;
    my $world = $run->world;
    my @wrong;
    if ($depth) {
        my $kid = $run->start_child(sub {
            my ($own, $me) = @_;
            $me->tell([ generation($run, $own, $depth - 1) ]);
            $me->wait;
            return $depth;
        });
        watch($run, $kid) if has_statuses($run);
        my $below = $kid->hear_turning(4 * $depth);
        push @wrong, ref $below eq 'ARRAY' ? @$below : 'nothing heard from below';
        push @wrong, "generation $depth: $_" for _words_of($world->works($run->{bound}));
        $kid->release;
        if (has_statuses($run)) {
            $run->wait_for(sub { @{ $kid->{exits} } });
            my $exits = join ', ', @{ $kid->{exits} };
            push @wrong, "generation $depth: status ($exits)" if $exits ne $depth << 8;
        }
        else {
            $kid->reap($run->{bound});
        }
    }
    else {
        push @wrong, own_watches($run, $family);
    }
    return @wrong;
}

sub _words_of {
    my ($faults) = @_;
    return map { "$_ ($faults->{$_})" } sort keys %$faults;
}

check tree => 'three generations of children', sub {
    my ($run) = @_;
    my @wrong = generation($run, $run->family, 3);
    $run->fault(c => join '; ', @wrong) if @wrong;
};

# ---- Both at once ---------------------------------------------------------------------------------------------------

check busy => 'parent and child start and stop watches all the time', sub {
    my ($run)  = @_;
    my $rounds = 10;
    my $churn  = sub {
        my ($family) = @_;
        my @wrong;
        for (1 .. $rounds) {
            my $world = IsolationTest::World->new($family, timer => 0.002);
            @wrong = _words_of($world->works($run->{bound}));
            $world->stop;
            last if @wrong;
        }
        return @wrong;
    };
    my $world = $run->world;
    $world->{watches}{signal}{stop}->();    # one watch of a signal is enough
    delete $world->{watches}{signal};
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        $me->tell('starts');
        $me->tell([ $churn->($own) ]);
        $me->wait;
        return 0;
    });
    $kid->hear;
    my @wrong    = $churn->($run->family);
    my $in_child = $kid->hear(4);
    $run->fault(substr($_, 0, 1) => "parent: $_") for @wrong;
    blame($run, c => 'child', $in_child);
    $run->end($kid);
};

# ---- What goes on in the child --------------------------------------------------------------------------------------

# What a process says of itself that must be nothing.
sub blame {
    my ($run, $letter, $who, $wrong) = @_;
    return if ref $wrong eq 'ARRAY' && !@$wrong;
    $run->fault(
        $letter => "$who: ", ref $wrong eq 'ARRAY'
        ? join ', ',
        @$wrong
        : ref $wrong ? $wrong->{died}
        :              'nothing heard'
    );
    return;
}

# Two sets of watches in the parent; each process uses one, so that nobody reads the other's bytes.
sub two_worlds { my ($run) = @_; return ($run->world(timer => 0.06), $run->world(timer => 0.06, signal => 'USR2')) }

check keep => 'a child goes on with the watches that it has inherited, and so does its parent', sub {
    my ($run) = @_;
    my ($mine, $childs) = two_worlds($run);
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        $childs->{family} = $own;
        my @wrong = (_words_of($childs->works($run->{bound})), own_process($run, $own));
        $me->tell([@wrong]);
        $me->wait;
        # A child that changes all of it again.
        $_->stop for $mine, $childs;
        watch_shortly($own, $mine->{reader}, 'write');
        return 0;
    });
    blame($run, c => 'child', $kid->hear(4));
    $run->faults_of($mine, 'while the child lives');
    $run->end($kid);
    $run->faults_of($mine, 'when it has stopped all and gone');
    },
    plain => ['fork'],
    with  => ['keep'];

check daemon => 'a daemon goes on with the loop when its parent has gone', sub {
    my ($run) = @_;
    my $kid = daemonise($run, 0);
    blame($run, c => 'daemon', $kid->hear(5));
    $kid->reap($run->{bound});
    },
    plain   => ['fork'],
    with    => ['raw'],
    is_bare => 1;

check staying => 'a daemon goes on with the loop, and its parent stays and does so, too', sub {
    my ($run) = @_;
    my $kid = daemonise($run, 1);
    blame($run, c => 'daemon', $kid->hear(5));
    blame($run, d => 'parent', $kid->hear(4));
    $kid->reap($run->{bound});
    },
    plain   => ['fork'],
    with    => ['raw'],
    is_bare => 1;

# fork, setsid, fork; the daemon goes on with the loop and all its watches. The server that sets up the loop is a child
# of this process, which has not made any.
sub daemonise {
    my ($run, $stays) = @_;
    my $family = $run->family;
    return $run->start_child(
        sub {
            my ($own, $me) = @_;
            $run->load;
            my ($mine, $daemons) = two_worlds($run);
            pipe my $server_has_gone, my $server_stays or die "pipe: $!";
            pipe my $daemon_has_told, my $daemon_works or die "pipe: $!";
            my $between = fork;
            defined $between or die "fork: $!";
            if ($between) {
                close $daemon_works;
                waitpid $between, 0;
                exit 0 unless $stays;    # with its destructors
                wait_for_end($daemon_has_told);
                $me->tell([ _words_of($mine->works($run->{bound})) ]);
                exit 0;
            }
            close $server_stays;
            POSIX::setsid();
            my $daemon = fork;
            POSIX::_exit(0) if $daemon;
            alarm $run->alarm_seconds;
            wait_for_end($server_has_gone) unless $stays;
            my @wrong = eval { (_words_of($daemons->works($run->{bound})), own_process($run, $family)) };
            @wrong = $@ if $@;
            $me->tell([@wrong]);
            # What is its parent's only.
            $mine->stop;
            watch_shortly($family, $mine->{reader}, 'write');
            close $daemon_works;
            wait_for_end($server_has_gone);
            POSIX::_exit(0);
        },
        tool => 'fork',
    );
}

sub wait_for_end {
    my ($handle) = @_;
    1 until defined sysread $handle, my $byte, 1;
    return;
}

# A child of the child.
sub own_process {
    my ($run, $family) = @_;
    return unless $family->has_processes;
    my $status;
    my $pid   = $run->raw_child(sub { 7 });
    my $watch = $family->process($pid, sub { $status = $_[0] });
    $family->wait_for(sub { defined $status }, $run->{bound}) or return 'no status';
    return $status == 7 << 8 ? () : "status $status";
}

1;
