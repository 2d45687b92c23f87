# Sections that prevent forks: what is refused inside, what is not, and that each way out ends them.
use strict;
use warnings;

use lib 't/lib';
use Config;
use Errno ();
my $early_fork;

BEGIN {
    $early_fork = sub { return fork }
}    # compiled before the product is loaded
use EventLoop::Fork qw(at_fork prevent_fork);
use EventLoop::Fork::Loop;
use ForkTest;
use HookTest;
use Test2::V0;

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
ok 1, 'a test library opens what it needs with the first result';
my @before = open_fds();

sub raw {
    my $pid = fork;
    return [ undef, $! + 0 ] unless defined $pid;
    POSIX::_exit(0) if $pid == 0;
    waitpid $pid, 0;
    return $?;
}

sub ours {
    my ($status);
    EventLoop::Fork->fork(loop => $loop, code => sub { 0 }, on_exit => sub { $status = $_[1] });
    wait_until($loop, sub { defined $status });
    return $status;
}

# No section is left.
sub can_fork { return raw() }

subtest 'what is refused' => sub {
    my $hook = at_fork(hooks_that_log('a'));
    my $line = __LINE__ + 3;
    my $error;
    prevent_fork {
        $error = dies { ours() };
    };
    isa_ok $error, 'EventLoop::Fork::Error';
    is [ $error->name, $error->operation ], [ 'EVF_EPREVENTED', 'fork' ], 'ours throws';
    like $error->message,
        qr/\Aforks are prevented here, inside of prevent_fork at \Q$0\E line $line; fork when that has ended\z/,
        'says where, and what to do';
    is thrown_line($error), 'in this file', 'and the caller is named';
    my (%result, $early);
    my $warning = with_stderr(sub {
        prevent_fork {
            $result{fork} = raw();
            $early = $early_fork->();
            POSIX::_exit(0) if defined $early && !$early;
            waitpid $early, 0;
            $result{open} = [ scalar(open my $pipe, '-|'), $! + 0 ];
            $result{loop} = dies {
                $loop->fork(code => sub { 0 })
            }
            ->name;
            $result{system}    = system 'true';
            $result{backticks} = `echo x`;
            $result{command}   = line_of_command();
        };
    });
    ok $early, 'the first fork of code compiled before us goes on';
    is \%result,
        {
        fork => [ undef, Errno::ECANCELED() ], open => [ undef, Errno::ECANCELED() ],
        loop => 'EVF_EPREVENTED', system            => 0, backticks => "x\n", command => "y\n",
        },
        'forks, and nothing that only executes';
    my @lines = split /\n/, $warning;
    is
        scalar(grep { /\AEventLoop::Fork: fork: forks are prevented here, inside of prevent_fork at \Q$0\E line \d+; / }
            @lines),
        3, 'each refused fork of perl\'s own is said';
    like $warning,
        qr/process $early was forked by code older than EventLoop::Fork .*, inside of prevent_fork at \Q$0\E/,
        'and the one that could not be';
    is logged(), { P => [], C => [] }, 'no hook has run';
    $hook->cancel;
    is can_fork(), 0, 'afterwards forks go on';
    logged();
};

sub line_of_command {
    open my $from, '-|', 'echo y' or return "$!";
    return readline $from;
}

sub thrown_line { my ($error) = @_; return $error->file eq __FILE__ ? 'in this file' : $error->file }

subtest 'a section is its thread\'s' => sub {
    $Config{useithreads} or skip_all 'this perl has no threads';
    my $result = run_program(<<'PROGRAM');
        use threads;
        use EventLoop::Fork qw(prevent_fork);
        use POSIX ();
        $SIG{__WARN__} = sub { };    # of threads, and of what is refused
        sub forks { my $pid = fork; return 'no' unless defined $pid; $pid or POSIX::_exit(0); waitpid $pid, 0; return 'yes' }
        my @seen;
        prevent_fork {
            EventLoop::Fork::Section->afterwards(sub { push @seen, 'afterwards' });
            push @seen, threads->create(sub { my @own = forks(); prevent_fork { push @own, forks() }; return "@own" })->join;
            push @seen, forks();
        };
        print join(', ', @seen, forks()), "\n";
PROGRAM
    is $result, { stdout => "yes no, no, afterwards, yes\n", stderr => '', status => 0 }, 'and not another one\'s';
};

subtest 'what comes out' => sub {
    my @list = prevent_fork { return (1, 2, wantarray ? 'list' : 'other') };
    is \@list, [ 1, 2, 'list' ], 'a list';
    my $scalar = prevent_fork { wantarray ? 'list' : 'scalar' };
    is $scalar, 'scalar', 'a scalar';
    my $context = 'not called';
    prevent_fork { $context = wantarray };
    is $context, undef, 'nothing';
    is [ EventLoop::Fork->prevent_fork(sub { scalar @_ }) ], [0], 'as a method; the code gets nothing';
    is(
        sub {
            prevent_fork { return 7 };
            return 8;
        }
            ->(),
        8,
        'return leaves the block'
    );
};

subtest 'each way out ends it' => sub {
    my $object = bless {}, 'Some::Reason';
    is dies {
        prevent_fork { die $object }
    }, exact_ref($object), 'an exception goes on as it is';
    is can_fork(), 0, 'after die';
    {
        no warnings 'exiting';
        for my $round (1 .. 2) {
            prevent_fork { next }
        }
        is can_fork(), 0, 'after next';
        for my $round (1 .. 2) {
            prevent_fork { last }
        }
        is can_fork(), 0, 'after last';
        prevent_fork { goto OUT };
    OUT: is can_fork(), 0, 'after goto';
    }
    sub {
        prevent_fork { return }
        }
        ->();
    is can_fork(), 0, 'after return';
    local $SIG{ALRM} = sub { die "alarm\n" };
    is dies {
        prevent_fork { kill ALRM => $$; 1 while 1 }
    }, "alarm\n", 'a handler that dies';
    is can_fork(), 0, 'after it';
    $@ = 'kept';
    prevent_fork { 1 };
    is $@, 'kept', '$@ stays';
};

subtest 'sections nest' => sub {
    my @seen;
    my $try = sub {
        push @seen, eval { ours(); 1 } ? 'forks' : $@->name;
    };
    prevent_fork {
        prevent_fork { $try->() };
        eval {
            prevent_fork { die "x\n" }
        };
        $try->();
    };
    $try->();
    is \@seen, [ 'EVF_EPREVENTED', 'EVF_EPREVENTED', 'forks' ], 'the outermost one counts';
};

subtest 'in a hook, and around one' => sub {
    my @seen;
    my $hook = at_fork(
        prepare => sub {
            with_stderr(sub {
                push @seen, prevent_fork { raw() }
            });
            push @seen, raw();
        }
    );
    is raw(), 0, 'a section in a hook prevents what is inside of it';
    is \@seen, [ [ undef, Errno::ECANCELED() ], 0 ], 'and that only';
    $hook->cancel;
};

# What waits for the end of the outermost section.
subtest 'afterwards' => sub {
    my @seen;
    my $add = sub {
        my ($text) = @_;
        EventLoop::Fork::Section->afterwards(sub { push @seen, $text; die "$text\n" if $text eq 'dies' });
    };
    my $warning = with_stderr(sub {
        prevent_fork {
            prevent_fork { $add->($_) for qw(one dies two) };
            push @seen, 'inner end';
        };
    });
    is \@seen, [ 'inner end', 'one', 'dies', 'two' ], 'in order, all of them';
    like $warning, qr/\AEventLoop::Fork: after prevent_fork: dies\n\z/, 'and failures are told';
    eval {
        prevent_fork { $add->('after die'); die "x\n" }
    };
    is [ $seen[-1], $@ ], [ 'after die', "x\n" ], 'also after an exception, which goes on';
};

subtest 'exit inside' => sub {
    my $result = run_program(<<'PROGRAM');
        use EventLoop::Fork qw(prevent_fork);
        use POSIX ();
        END { my $status = $?; my $pid = fork; if (defined $pid && !$pid) { POSIX::_exit(0) } waitpid $pid, 0; print "end $status $?\n"; $? = $status }
        prevent_fork { exit 3 };
PROGRAM
    is $result, { stdout => "end 3 0\n", stderr => '', status => 3 << 8 }, 'END blocks may fork';
};

subtest 'bad input' => sub {
    for my $bad (undef, 'main::x', {}) {
        my $error = dies { EventLoop::Fork->prevent_fork($bad) };
        is [ $error->name, $error->operation, $error->file ], [ 'EVF_EINVAL', 'prevent_fork', __FILE__ ],
            $bad // 'undef';
    }
    is can_fork(), 0, 'no section is left';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
