# A copy of this process that nobody was told of, as C libraries make it with a system call of their own, is found where
# it first uses what its parent has: then it goes on as the child of a raw fork does, and its parent notices nothing.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(at_fork guard prevent_fork);
use ForkTest;
use HookTest;
use POSIX ();
use Socket;
use Test2::V0;

copy_call() or skip_all 'the system call that copies a process is not known here';

my $call = join ', ', copy_call();

# What is said on STDERR by such a copy, and what the code returns in it.
sub said_by_copy {
    my ($code) = @_;
    my @result;
    my $said = with_stderr(sub { @result = in_copy($code) });
    return ($said, @result);
}

my $report = qr/process \d+ is a copy that was made by C code without telling anybody/;

for my $way ('the page', 'getpid') {
    each_loop sub {
        my ($new) = @_;
        EventLoop::Fork::_use_page($way eq 'the page');
        note $way;
        my $loop    = $new->();
        my $watched = ForkTest::Watched->new($loop);
        my ($said, $seen, $status) = said_by_copy(sub { [ map { $watched->works } 1 .. 3 ] });
        is [ $seen, $status ], [ [ (ForkTest::Watched::ALL) x 3 ], 0 ], 'everything works in a copy';
        like $said,
            qr{\AEventLoop::Fork: $report \(noticed at t/lib/ForkTest.pm line \d+\): its loops become its own only now\n\z},
            'which is reported, once, with the place';
        is $watched->works, ForkTest::Watched::ALL, 'then in the parent';

        ($said, $seen) = said_by_copy(sub { $watched->stop; 'stopped' });
        is $seen, 'stopped', 'a copy that only stops its watches';
        is $watched->works, ForkTest::Watched::ALL, 'takes nothing from the parent';
        ($said, $seen) = said_by_copy(sub { delete $watched->{loop}; undef $loop; 'dropped' });
        is [ $seen, $watched->works ], [ 'dropped', ForkTest::Watched::ALL ], 'nor does one that drops the loop';

        ($said, $seen) = said_by_copy(sub {
            [ $watched->works, (in_copy(sub { [ $watched->works, (in_raw_child(sub { $watched->works }))[0] ] }))[0] ];
        });
        is $seen, [ ForkTest::Watched::ALL, [ ForkTest::Watched::ALL, ForkTest::Watched::ALL ] ],
            'in the third generation';
        is scalar(() = $said =~ /$report/g), 2, 'each copy is reported, the child of the last one is none';

        # A child of ours is told.
        ($said, $seen) = said_by_copy(sub {
            (in_child($loop, sub { 'forked' }))[0];
        });
        is $seen, 'forked', 'a copy forks through the loop';
        is scalar(() = $said =~ /$report/g), 1, 'that child is no copy';
        $watched->stop;
        EventLoop::Fork::_use_page(1);
    };
}

subtest 'what Perl has to do' => sub {
    my @hooks = (
        at_fork(name => 'both', hooks_that_log('both')),
        at_fork(name => 'child', child => sub { note_line('child') }),
    );
    my @uses = (
        'a fork' => sub { my $pid = fork; $pid or POSIX::_exit(0); waitpid $pid, 0 },
        'system' => sub {
            system 'true';
            my @safe = map { $_ } 1 .. 3;
        },
        'our fork' => sub {
            my $child = EventLoop::Fork->fork(loop => 'EventLoop::Fork::Loop', code => sub { 0 });
            waitpid $child->pid, 0;
        },
        'a new hook' => sub {
            at_fork(name => 'new', child => sub { note_line('new') });
        },
        'a hook\'s end' => sub { $hooks[1]->cancel },
        'a section'     => sub {
            prevent_fork { 1 }
        },
        'a new loop' => sub {
            EventLoop::Fork::Loop->new(backend => 'poll');
            my @safe = map { $_ } 1 .. 3;
        },
    );
    for my $page (1, 0) {
        my @left = @uses;
        EventLoop::Fork::_use_page($page);
        while (my ($name, $use) = splice @left, 0, 2) {
            my ($said, $seen) = said_by_copy(sub { $use->(); 'done' });
            is $seen, 'done', "$name in a copy";
            my ($first) = @{ logged()->{C} };
            is $first, 'child', "$name: first the hook that needs no preparing";
            like $said, qr/$report \(noticed at \Q$0\E line \d+\): .*; these did not run: 'both' \(\Q$0\E line \d+\)$/m,
                "$name: the others are named";
        }
    }
    EventLoop::Fork::_use_page(1);
    my ($said, $seen) = said_by_copy(sub { 'done' });
    is [ $said, $seen, logged()->{C} ], [ '', 'done', [] ], 'a copy that uses nothing of ours is left alone';
    $_->cancel for @hooks;
};

subtest 'random numbers' => sub {
    rand;
    my @drawn = map {
        (said_by_copy(sub { EventLoop::Fork::_fork_check(); rand }))[1]
    } 1 .. 2;
    isnt $drawn[0], $drawn[1], 'two copies draw different ones';
};

subtest 'guards' => sub {
    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $guard = guard($here);
    my ($said, $seen) = said_by_copy(sub {
        my $other = guard(\*STDIN);
        return eval { syswrite $here, 'x' } ? 'sent' : 'refused';
    });
    is $seen, 'refused', 'what the parent has guarded is cut off before another thing is guarded';
    is syswrite($here, 'y'), 1, 'and the parent goes on';
    sysread $there, my $got, 10;
    is $got, 'y', 'alone';
};

subtest 'a section that prevents forks' => sub {
    my ($said, $seen, $status);
    prevent_fork {
        ($said, $seen, $status) = said_by_copy(sub {
            (in_raw_child(sub { 'forked' }))[0];
        });
    };
    is [ $seen, $status ], [ 'forked', 0 ], 'is its parent\'s';
    like $said, qr/$report \(noticed at .*\): .*, inside of prevent_fork at \Q$0\E line \d+$/m,
        'the copy is told of it';
};

subtest 'a hook that forbids forks' => sub {
    my $object = {};
    at_fork(name => 'fixed', object => $object, fork_safe => 0);
    my ($said, $seen) = said_by_copy(sub { EventLoop::Fork::_fork_check(); 'copied' });
    is $seen, 'copied', 'cannot keep C code from it';
    like $said, qr/$report .*; these forbid forks: 'fixed' \(\Q$0\E line \d+\)$/m, 'and is named';
};

subtest 'a copy that ends as programs do' => sub {
    my $program = <<'PROGRAM';
        use ForkTest;
        use EventLoop::Fork::Loop;
        $| = 1;
        our $loop    = EventLoop::Fork::Loop->new(backend => $ARGV[0]);
        our $watched = ForkTest::Watched->new($loop);
        my @call = copy_call();
        for my $how (qw(exit destroy)) {
            my $pid = syscall $call[0], @call[ 1 .. $#call ];
            if (!$pid) {
                undef $watched if $how eq 'destroy';
                undef $loop    if $how eq 'destroy';
                exit 0;
            }
            waitpid $pid, 0;
            print "$how $?: ", $watched->works, "\n";
        }
PROGRAM
    for my $backend (sort keys %{ EventLoop::Fork::Loop->backends }) {
        my $result = run_program($program, $backend);
        is [ @$result{qw(stdout status)} ],
            [ join('', map { "$_ 0: " . ForkTest::Watched::ALL . "\n" } qw(exit destroy)), 0 ],
            "on $backend";
    }
};

# What goes wrong without: the same copy of a program on another loop. What it is to hear of is there when it looks.
sub short_ev_program {
    my $program = ev_program(@_);
    $program =~ s/my \$timer = .*\n\s*EV::run;/EV::run(EV::RUN_NOWAIT());/ or die 'the program is another one';
    return $program;
}
control(
    'EV in such a copy takes the watch of its parent', ['EV'], qr/\Athe parent got 0\n\z/,
    short_ev_program("syscall($call)")
);
SKIP: {
    defined ForkTest::has_version('EV') or skip 'EV is not installed', 1;
    my $result =
        run_program('use EventLoop::Fork; ' . short_ev_program("syscall($call)", 'EventLoop::Fork::_fork_check()'));
    is $result->{stdout}, "the parent got 1\n", 'a copy that is found leaves it to the parent';
}

is children_left(), '', 'no child is left';
done_testing;
