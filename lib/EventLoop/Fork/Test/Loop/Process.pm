package EventLoop::Fork::Test::Loop::Process;

# Children, by process descriptors where the kernel has them, and once more by SIGCHLD.

use strict;
use warnings;

our $VERSION = '0.001';

use Errno qw(EMFILE ENFILE);
use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use POSIX ();

# How many descriptors are filled up at most to see what happens without a free one.
use constant MOST_DESCRIPTORS => 100_000;

# The suite process; under the name sigchld once more, with a core of ours that makes do without process descriptors.
sub contract_process {
    my ($name, $promise, $code) = @_;
    contract(process => $name, $promise, $code);
    contract(sigchld => $name, $promise, sub { without_pidfd($code) });
    return;
}

sub without_pidfd {
    my ($code) = @_;
    my $knob = EventLoop::Fork::Loop->can('_use_pidfd');
    return skip_rest('a loop that does not run on the core of EventLoop::Fork') unless $knob;
    $knob->(0);
    my $done  = eval { $code->(); 1 };
    my $error = $@;
    $knob->(1);
    die $error unless $done;
    return;
}

# Watches until the child has ended: the arguments of the callback.
sub ending_of {
    my ($pid) = @_;
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    wait_until { @ending };
    return @ending;
}

contract_process status => 'tells the pid and the wait status, once' => sub {
    for my $exit (0, 1, 42, 255) {
        my ($pid, $release) = waiting_child($exit);
        my @endings;
        $loop->watch_process($pid => sub { push @endings, "@_" });
        turns(2);
        is_list(\@endings, [], "exit $exit: not before");
        give($release);
        ok(wait_until { @endings }, "exit $exit: called");
        turns(2);
        is_list(\@endings, [ "$pid " . ($exit << 8) ], "exit $exit: once, with pid and status");
    }
    for my $name (qw(KILL TERM)) {
        my ($pid, $release) = waiting_child(0);
        kill $name => $pid;
        my (undef, $status) = ending_of($pid);
        is($status & 127, { KILL => 9, TERM => 15 }->{$name}, "killed by $name");
    }
};

contract_process ended_before => 'a child that has ended already is told of, too' => sub {
    my $pid    = ended_child(3);
    my $called = 0;
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_; $called++ });
    is($called, 0, 'not at once');
    ok(wait_until { $called }, 'but in a turn');
    is_list(\@ending, [ $pid, 3 << 8 ], 'with its status');
};

contract_process prompt => 'the end of a child ends a wait at once' => sub {
    my ($pid, $release) = waiting_child(sub { pause(0.01); return 0 });
    my $called;
    $loop->watch_process($pid => sub { $called = now() });
    give($release);
    my $start = now();
    $loop->loop_once(EVENT_BOUND) until defined $called || now() > $start + 2 * EVENT_BOUND;
    ok(defined $called && $called - $start < PROMPT_BOUND, 'within a moment');
};

contract_process fifty => 'fifty children, each with its own status' => sub {
    my (%expected, %status, @release);
    my $count = SLOW ? 10 : 50;
    for my $number (1 .. $count) {
        my ($pid, $release) = waiting_child($number);
        $expected{$pid} = $number << 8;
        push @release, $release;
        $loop->watch_process($pid => sub { my ($ended, $status) = @_; $status{$ended} = $status });
    }
    give($_) for @release;
    ok(wait_until { $count == keys %status }, 'all are told of');
    is_list([ grep { $status{$_} != $expected{$_} } keys %status ], [], 'each with its status');
};

contract_process stolen => 'a status that somebody else has taken is told as gone, and no error' => sub {
    my ($pid, $release) = waiting_child(7);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    turns(2);
    give($release);
    is(reap($pid), 7 << 8, 'somebody else takes it');
    ok(wait_until { @ending }, 'the callback is called');
    is($ending[0], $pid, 'with the pid');
    ok($ending[1] == -1 || $ending[1] == 7 << 8, 'with no wrong status') or diag("status $ending[1]");
    turns();
};

contract_process own_pids_only => 'children that are not watched are left to their owners' => sub {
    my ($watched, $watched_release) = waiting_child(0);
    my ($owned, $owned_release)     = waiting_child(9);
    my @ending;
    $loop->watch_process($watched => sub { @ending = @_ });
    give($owned_release);
    wait_for_end($owned);
    turns();
    is(reap($owned), 9 << 8, 'another reaper');
    is(system('sh', '-c', 'exit 3'), 3 << 8, 'system');
    my $output = `sh -c 'echo out; exit 4'`;
    is_list([ $output, $? ], [ "out\n", 4 << 8 ], 'backticks');
    open my $pipe, '-|', 'sh', '-c', 'exit 5' or die "sh: $!";
    turns();
    close $pipe;
    is($?, 5 << 8, 'close of a pipe');
    is_list(\@ending, [], 'the watched one is still there');
    give($watched_release);
    ok(wait_until { @ending }, 'the watched one is told of');
};

contract_process in_callback => 'a callback may run programs while watched children end' => sub {
    my (@pids, %status, @results);
    my @children = map { [ waiting_child($_) ] } 1 .. 4;
    for my $child (@children) {
        $loop->watch_process(
            $child->[0] => sub {
                my ($pid, $status) = @_;
                $status{$pid} = $status >> 8;
                push @results, system('sh', '-c', "exit $status{$pid}") >> 8;
                give($children[ $status{$pid} ][1]) if $status{$pid} < 4;
            }
        );
    }
    give($children[0][1]);
    ok(wait_until { 4 == keys %status }, 'all are told of');
    is_list(\@results, [ 1 .. 4 ], 'and the programs end as they do');
};

contract_process unwatch => 'unwatch_process leaves the child to its owner' => sub {
    my ($pid, $release) = waiting_child(6);
    my $called = 0;
    $loop->watch_process($pid => sub { $called++ });
    turns(2);
    $loop->unwatch_process($pid);
    give($release);
    wait_for_end($pid);
    turns();
    is($called, 0, 'not called');
    is(reap($pid), 6 << 8, 'the status is there');

    $pid = ended_child(6);
    $loop->watch_process($pid => sub { $called++ });
    $loop->unwatch_process($pid);
    turns();
    is($called, 0, 'not called when it had ended before');
    is(reap($pid), 6 << 8, 'the status is there');

    $pid = ended_child(8);
    $loop->watch_process($pid => sub { $called++ });
    $loop->unwatch_process($pid);
    $loop->watch_process($pid => sub { $called += $_[1] });
    ok(wait_until { $called }, 'watched again, it is told of');
    is($called, 8 << 8, 'once, with its status');
};

contract_process unwatch_in_turn => 'so it does when both have ended in the same turn' => sub {
    my @pids = map { ended_child(10 + $_) } 0 .. 5;
    my @ended;
    for my $pid (@pids) {
        $loop->watch_process(
            $pid => sub {
                push @ended, $pid;
                $loop->unwatch_process($_) for grep { $_ != $pid } @pids;
            }
        );
    }
    ok(wait_until { @ended }, 'one is told of');
    turns();
    is(scalar @ended, 1, 'only one');
    my %status = map { $_ => reap($_) } @pids;
    is_list(
        [ map { $status{$_} } @pids ],
        [ map { $pids[$_] == $ended[0] ? -1 : (10 + $_) << 8 } 0 .. $#pids ],
        'the others are left to their owner'
    );
};

contract_process respawn => 'a callback may fork and watch the next one' => sub {
    my @status;
    my $spawn;
    $spawn = sub {
        my ($number) = @_;
        my ($pid, $release) = waiting_child($number);
        give($release);
        $loop->watch_process($pid => sub { push @status, $_[1] >> 8; $spawn->($number + 1) if $number < 20 });
    };
    $spawn->(1);
    ok(wait_until { @status >= 20 }, 'twenty generations');
    is_list(\@status, [ 1 .. 20 ], 'each with its status');
    undef $spawn;
};

contract_process sigchld_handler => 'a $SIG{CHLD} of the program stays, and runs' => sub {
    my $called  = 0;
    my $handler = sub { $called++ };
    local $SIG{CHLD} = $handler;
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    is("$SIG{CHLD}", "$handler", 'it stays');
    give($release);
    ok(wait_until { @ending && $called }, 'it runs');
    is_list(\@ending, [ $pid, 2 << 8 ], 'and the status is told');
};

contract_process sigchld_handler_later => 'also when it is installed, or taken away, after watch_process' => sub {
    for my $later (sub { }, 'DEFAULT') {
        my ($pid, $release) = waiting_child(2);
        my @ending;
        local $SIG{CHLD} = sub { };
        $loop->watch_process($pid => sub { @ending = @_ });
        turns(1);
        $SIG{CHLD} = $later;
        give($release);
        ok(wait_until { @ending }, 'called');
        is_list(\@ending, [ $pid, 2 << 8 ], 'with its status');
    }
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    {
        local $SIG{CHLD} = sub { };    # restored at the end of the block, whatever that means for the loop
        turns(1);
    }
    give($release);
    ok(wait_until { @ending }, 'called after local $SIG{CHLD}');
};

contract_process sigchld_ignored => 'with $SIG{CHLD} ignored the end of a child is told, its status perhaps not' =>
    sub {
    local $SIG{CHLD} = 'IGNORE';
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    turns(2);
    give($release);
    ok(wait_until { @ending }, 'called');
    ok(@ending && ($ending[1] == -1 || $ending[1] == 2 << 8), 'with no wrong status');
    is($SIG{CHLD}, 'IGNORE', 'it stays ignored');
    };

contract_process no_descriptor => 'without a free descriptor children are watched, too' => sub {
    my $most = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
    return skip_rest('the limit of descriptors is too high to reach it: lower it with ulimit -n')
        if !defined $most || $most > MOST_DESCRIPTORS;
    my @children = map { [ waiting_child($_) ] } 1 .. 5;
    turns(1);
    my (%status, @copies, $reason);
    my $done = eval {
        while (defined(my $copy = POSIX::dup(0))) { push @copies, $copy }
        $reason = 0 + $!;
        for my $child (@children) {
            $loop->watch_process($child->[0] => sub { my ($pid, $status) = @_; $status{$pid} = $status });
        }
        turns(2);
        give($_->[1]) for @children;
        wait_until { 5 == keys %status };
        1;
    };
    my $error = $@;
    POSIX::close($_) for @copies;
    ok($done, 'no exception') or diag($error);
    ok($reason == EMFILE || $reason == ENFILE, 'there was none left');
    is_list(
        [ map { $status{ $_->[0] } } @children ],
        [ map { $_ << 8 } 1 .. 5 ],
        'all are told of, each with its status'
    );
};

contract_process freed => 'the callback is let go when it was called or is unwatched' => sub {
    my ($gone, $called) = (0, 0);
    my $pid = ended_child(0);
    $loop->watch_process($pid => counting_code(\$gone));
    is($gone, 0, 'held while watched');
    $loop->unwatch_process($pid);
    is($gone, 1, 'freed when unwatched');
    $loop->watch_process($pid => counting_code(\$gone, \$called));
    ok(wait_until { $called }, 'called');
    is($gone, 2, 'freed then');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Process - tests of a loop: the ends of children

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'process');

=head1 DESCRIPTION

The suites C<process> and C<sigchld> of L<EventLoop::Fork::Test::Loop>: children, watched by process descriptors where the
kernel has them, and by SIGCHLD.

=head1 SUITES

=head2 process

Children. A loop on the core of EventLoop::Fork does it with process descriptors where the kernel has them.

=over 4

=item process.status

Tells the pid and the wait status, once.

=item process.ended_before

A child that has ended already is told of, too.

=item process.prompt

The end of a child ends a wait at once.

=item process.fifty

Fifty children, each with its own status.

=item process.stolen

A status that somebody else has taken is told as gone, and no error.

=item process.own_pids_only

Children that are not watched are left to their owners.

=item process.in_callback

A callback may run programs while watched children end.

=item process.unwatch

C<unwatch_process> leaves the child to its owner.

=item process.unwatch_in_turn

So it does when both have ended in the same turn.

=item process.respawn

A callback may fork and watch the next one.

=item process.sigchld_handler

A $SIG{CHLD} of the program stays, and runs.

=item process.sigchld_handler_later

Also when it is installed, or taken away, after watch_process.

=item process.sigchld_ignored

With $SIG{CHLD} ignored the end of a child is told, its status perhaps not.

=item process.no_descriptor

Without a free descriptor children are watched, too.

=item process.freed

The callback is let go when it was called or is unwatched.

=back

=head2 sigchld

The tests of L</process> once more, under this name, with SIGCHLD instead of process descriptors. Only a loop on the
core of EventLoop::Fork can be told to; for others each test is skipped.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
