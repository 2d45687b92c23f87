# A child of perl's own fork may go on with the loop: its watches of descriptors, times and signals work there, on kernel
# objects of its own. Those of processes end, because they are not its children. The parent goes on, too.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

sub thrown_by {
    my ($code) = @_;
    return 'nothing' if eval { $code->(); 1 };
    return ref $@ eq 'EventLoop::Fork::Error' ? $@->name : "$@";
}

each_loop sub {
    my ($new)   = @_;
    my $loop    = $new->();
    my $watched = ForkTest::Watched->new($loop);
    my ($seen, $status) = in_raw_child(sub { [ map { $watched->works } 1 .. 3 ] });
    is [ $seen, $status ], [ [ (ForkTest::Watched::ALL) x 3 ], 0 ], 'everything works in a child';
    is $watched->works, ForkTest::Watched::ALL, 'then in the parent';

    ($seen) = in_raw_child(
        sub { $loop->post_fork; my $first = $watched->works; $loop->post_fork; [ $first, $watched->works ] });
    is $seen, [ (ForkTest::Watched::ALL) x 2 ], 'after post_fork, too';

    ($seen) = in_raw_child(
        sub { [ $watched->works, in_raw_child(sub { [ $watched->works, in_raw_child(sub { $watched->works }) ] }) ] });
    is $seen, [ ForkTest::Watched::ALL, [ ForkTest::Watched::ALL, ForkTest::Watched::ALL, 0 ], 0 ],
        'in the third generation';

    my $pid = open my $from_child, '-|';
    defined $pid or die "fork: $!";
    if (!$pid) {
        alarm 2 * BOUND;
        syswrite STDOUT, eval { $watched->works } || $@;
        POSIX::_exit(0);
    }
    is slurp($from_child), ForkTest::Watched::ALL, 'in a child of open';
    close $from_child;

    ($seen) = in_raw_child(sub {
        (in_raw_child(sub { $watched->works }))[0];
    });
    is $seen, ForkTest::Watched::ALL, 'in the second one, of a child that did not use the loop';
    is $watched->works, ForkTest::Watched::ALL, 'and in the parent again';
    $watched->stop;
};

# What was due, or to come, at the time of the fork.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my %called;
    my $start = now();
    $loop->watch_time(after => 0.05, code               => sub { $called{'in time'}   = now() - $start >= 0.05 });
    $loop->watch_time(at    => $loop->time + 0.05, code => sub { $called{'at a time'} = 1 });
    $loop->watch_time(after => 0, code                  => sub { $called{due}         = 1 });
    my $stopped = $loop->watch_time(after => 0, code => sub { $called{stopped} = 1 });
    $loop->later(sub { $called{later} = 1 });
    $loop->watch_signal(USR1 => sub { $called{signal} = 1 });
    kill USR1 => $$;    # the parent's own: not the child's
    my $run = sub {
        $loop->unwatch_time($stopped);
        wait_until($loop, sub { $called{'in time'} && $called{'at a time'} });
        return \%called;
    };
    my ($seen) = in_raw_child($run);
    is $seen, { due => 1, later => 1, 'in time' => 1, 'at a time' => 1 },
        'timers and idles keep; a signal of the parent is not the child\'s';
    is $run->(), { %$seen, signal => 1 }, 'but the parent\'s';
    $loop->unwatch_signal('USR1');
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    for my $use_pidfd (1, 0) {
        EventLoop::Fork::Loop::_use_pidfd($use_pidfd);
        my ($calls, $status) = (0);
        pipe my $gate, my $door or die "pipe: $!";
        my $sibling = $loop->fork(
            code => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; 3 },
            on_exit => sub { $calls++; $status = $_[1] },
        );
        my ($seen) = in_raw_child(sub {
            close $door;
            my %seen = (
                watch => thrown_by(sub {
                    $loop->watch_process($sibling => sub { });
                })
            );
            my ($own) = in_child($loop, sub { 'own' });
            $loop->loop_once(0) for 1 .. 3;
            $loop->unwatch_process($sibling);
            return { %seen, own => $own, calls => $calls };
        });
        is $seen, { watch => 'EVF_ECHILD', own => 'own', calls => 0 },
            'the children of the parent are not the child\'s';
        close $door;
        wait_until($loop, sub { $calls });
        is [ $calls, $status ], [ 1, 3 << 8 ], 'but the parent\'s' . ($use_pidfd ? '' : ', without a pidfd, too');
        EventLoop::Fork::Loop::_use_pidfd(1);
    }
};

# From a callback: both processes come back into the running loop.
each_loop sub {
    my ($new)   = @_;
    my $loop    = $new->();
    my $watched = ForkTest::Watched->new($loop);
    my ($pid, @order);
    pipe my $from_child, my $to_parent or die "pipe: $!";
    # Due together with the one that forks.
    $loop->watch_time(after => 0, code => sub { push @order, 'before' });
    my $fork = sub {
        $pid = fork;
        defined $pid or die "fork: $!";
        push @order, 'fork';
        return if $pid;
        alarm 2 * BOUND;
        $watched->renew;    # both run now, and would read each other's bytes
    };
    $loop->watch_time(after => 0, code => $fork);
    $loop->watch_time(after => 0, code => sub { push @order, 'after' });
    $loop->later(sub { push @order, 'idle' });
    $loop->watch_time(after => 0.01, code => sub { $loop->stop('result') });
    my $result = eval { $loop->run } || "threw $@";
    if (!$pid) {
        eval { syswrite $to_parent, join ', ', @order, $result, $watched->works };
        POSIX::_exit(0);
    }
    close $to_parent;
    my $all = join ', ', qw(before fork after idle result), ForkTest::Watched::ALL;
    is slurp($from_child), $all, 'a callback that forks: the rest of the turn in the child';
    is join(', ', @order, $result, $watched->works), $all, 'and in the parent';
    waitpid $pid, 0;
    $watched->stop;
};

# Two loops of one process.
each_loop sub {
    my ($new) = @_;
    my ($loop, $second) = ($new->(), EventLoop::Fork::Loop->new(backend => 'poll'));
    my $watched = ForkTest::Watched->new($loop);
    my $fired   = 0;
    $second->watch_time(after => 0, code => sub { $fired++ });
    my ($seen) = in_raw_child(sub { $second->loop_once(0); [ $fired, $watched->works ] });
    is $seen, [ 1, ForkTest::Watched::ALL ], 'every loop goes on in the child';
    $second->loop_once(0);
    is [ $fired, $watched->works ], [ 1, ForkTest::Watched::ALL ], 'and in the parent';
    $watched->stop;
};

# A child that ends as programs do, with all destructors.
my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use EventLoop::Fork::Loop;
$| = 1;
our $loop = eval $ARGV[0] or die;
our $watched = ForkTest::Watched->new($loop);
for my $how (qw(exit die destroy)) {
    my $pid = fork;
    if (!$pid) {
        exit 0 if $how eq 'exit';
        open(STDERR, '>', '/dev/null'), die if $how eq 'die';
        undef $watched;
        undef $loop;
        exit 0;
    }
    waitpid $pid, 0;
    print "$how: ", $watched->works, "\n";
}
EOP

each_loop sub {
    my ($new, $kind) = @_;
    my $result = run_program($program, $kind->{source});
    is $result,
        {
        stdout => join('', map { "$_: " . ForkTest::Watched::ALL . "\n" } qw(exit die destroy)), stderr => '',
        status => 0
        },
        'children that only end';
};

# A daemon goes on for long: what its parent's watches of processes hold is let go at the first turn, or at unwatch_process.
{

    package ForkTest::Held;
    our $freed = 0;
    sub DESTROY { $freed++; return }
}

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $gate, my $door or die "pipe: $!";
    my $other = fork // die "fork: $!";
    if (!$other) {
        alarm 2 * BOUND;
        close $door;
        sysread $gate, my $byte, 1;
        POSIX::_exit(0);
    }
    $ForkTest::Held::freed = 0;
    my $ended = 0;
    {
        my $held = bless [], 'ForkTest::Held';
        $loop->watch_process($other => sub { $ended = $held && 1 });
    }
    my ($seen) = in_raw_child(sub { $loop->loop_once(0); $ForkTest::Held::freed });
    is $seen, 1, 'freed by a turn in a child';
    ($seen) = in_raw_child(sub { $loop->unwatch_process($other); $ForkTest::Held::freed });
    is $seen, 1, 'and by unwatch_process';
    is $ForkTest::Held::freed, 0, 'not in the parent';
    close $door;
    wait_until($loop, sub { $ended });
    is $ended, 1, 'whose watch goes on';
};

done_testing;
