# Order, objects, cancelling, failing, and bad input of at_fork.
use strict;
use warnings;

use lib 't/lib';
use Errno           ();
use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Loop;
use ForkTest;
use HookTest;
use Test2::V0;

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
ok 1, 'a test library opens what it needs with the first result';
my @before = open_fds();

# A raw fork and one of ours; both must do the same.
sub raw {
    my $pid = fork;
    defined $pid or return;
    POSIX::_exit(0) if $pid == 0;
    waitpid $pid, 0;
    return $?;
}

sub ours {
    my $status;
    $loop->fork(code => sub { 0 }, on_exit => sub { $status = $_[1] });
    wait_until($loop, sub { defined $status });
    return $status;
}

# The program itself is the one process that its user may have.
sub with_few_processes { return ('bash', '-c', 'ulimit -u 1; exec "$@"', 'bash', @_) }

my %forks = (raw => \&raw, ours => \&ours);

for my $kind (sort keys %forks) {
    my $fork = $forks{$kind};
    subtest "order ($kind)" => sub {
        my @hooks = map { at_fork(name => $_->[0], priority => $_->[1], hooks_that_log($_->[0])) } [ low => 0 ],
            [ high => 100 ], [ first => 50 ], [ second => 50 ];
        is [ map { $_->name } @hooks ], [qw(low high first second)], 'names';
        $fork->();
        is logged(),
            {
            P => [ map({ "$_ prepare" } qw(high second first low)), map { "$_ parent" } qw(low first second high) ],
            C => [ map { "$_ child" } qw(low first second high) ],
            },
            'prepare from high to low, the others from low to high';
        $_->cancel for @hooks;
        $_->cancel for @hooks;
        $fork->();
        is logged(), { P => [], C => [] }, 'cancelled, twice';
    };

    subtest "object ($kind)" => sub {
        my $object = bless {}, 'Some::Client';
        at_fork(object => $object, hooks_that_log('o'));
        at_fork(object => $object, hooks_that_log('o2'), priority => 60);
        $fork->();
        is logged(),
            {
            P => [ map { "$_ Some::Client" } 'o2 prepare', 'o prepare', 'o parent', 'o2 parent' ],
            C => [ map { "$_ Some::Client" } 'o child', 'o2 child' ],
            },
            'callbacks get the object';
        my $count = 0;
        no warnings 'once';
        local *Some::Client::DESTROY = sub { $count++ };
        undef $object;
        is $count, 1, 'the registry does not keep it';
        $fork->();
        is logged(), { P => [], C => [] }, 'its hooks went with it';
    };

    subtest "an object that goes while hooks run ($kind)" => sub {
        my $object = bless [], 'Other';
        my $killer = at_fork(priority => 90, prepare => sub { undef $object });
        at_fork(object => $object, hooks_that_log('o'));
        $fork->();
        is logged(), { P => [], C => [] }, 'is not called, not resurrected';
        $killer->cancel;
    };

    subtest "hooks that change hooks ($kind)" => sub {
        my ($late, $early);
        my $first = at_fork(
            priority => 90,
            prepare  =>
                sub { note_line('first'); $late ||= at_fork(name => 'late', hooks_that_log('late')); $early->cancel },
        );
        $early = at_fork(name => 'early', priority => 80, hooks_that_log('early'));
        $fork->();
        is logged(), { P => ['first'], C => [] }, 'cancelled at once; a new one waits for the next fork';
        $fork->();
        is logged(), { P => [ 'first', 'late prepare', 'late parent' ], C => ['late child'] }, 'the next fork';
        $_->cancel for $first, $late;
        my $own;
        $own = at_fork(prepare => sub { note_line('once'); $own->cancel; undef $own });
        $fork->();
        $fork->();
        is logged(), { P => ['once'], C => [] }, 'a hook cancels itself and drops its handle';
    };

    subtest "a hook that fails ($kind)" => sub {
        my $good = at_fork(name => 'good', priority => 10, hooks_that_log('good'));
        my %bad;
        for my $phase (qw(prepare parent child)) {
            $bad{$phase} = sub { die "in $phase\n" };
        }
        my $line = __LINE__ + 1;
        my $bad  = at_fork(name => 'bad', %bad);
        my $status;
        my $errors = with_stderr(sub { $status = $fork->() });
        is $status, 0, 'the fork goes on';
        is logged(), { P => [ 'good prepare', 'good parent' ], C => ['good child'] }, 'the others run';
        for my $phase (qw(prepare parent child)) {
            like $errors,
                qr/^EventLoop::Fork: process \d+: $phase hook 'bad' \(\Q$0\E line $line\) failed: in $phase$/m,
                "$phase: reported with name and place";
        }
        $bad->cancel;
        my $object = at_fork(child => sub { die bless {}, 'Without::Text' });
        like with_stderr($fork), qr/child hook \(\Q$0\E line \d+\) failed: Without::Text=/,
            'an exception object, a hook without a name';
        $_->cancel for $good, $object;
        logged();
    };

    subtest "a fork inside a hook ($kind)" => sub {
        my ($error, $pid);
        my $hook = at_fork(
            prepare => sub {
                eval {
                    $loop->fork(code => sub { 0 });
                };
                $error = $@;
                note_line('once');
                $pid = fork;
                POSIX::_exit(9) if defined $pid && $pid == 0;
                waitpid $pid, 0;
                note_line("inner $?");
                system 'true';
            }
        );
        is $fork->(), 0, 'goes on';
        isa_ok $error, 'EventLoop::Fork::Error';
        is $error->name, 'EVF_EBUSY', 'ours is refused';
        like "$error", qr/a hook cannot fork; fork before or after it at \Q$0\E line \d+\.$/, 'says why and where';
        is logged(), { P => [ 'once', 'inner ' . (9 << 8) ], C => [] }, "perl's own works, without hooks";
        $hook->cancel;
    };
}

subtest 'a hook that refuses' => sub {
    my $first = at_fork(name => 'first', priority => 90, hooks_that_log('first'));
    my $last  = at_fork(name => 'last', priority  => 10, hooks_that_log('last'));
    my $no    = at_fork(
        name       => 'no', prepare => sub { die "not now\n" }, parent => sub { note_line('no parent') },
        on_failure => 'cancel'
    );
    my $error = dies {
        $loop->fork(code => sub { 0 })
    };
    isa_ok $error, 'EventLoop::Fork::Error';
    is $error->name, 'EVF_ECANCELED', 'ours throws';
    like "$error", qr/fork: prepare hook 'no' \(\Q$0\E line \d+\) refused: not now at \Q$0\E line \d+\.$/,
        'and says which and why';
    is logged(), { P => [ 'first prepare', 'first parent' ], C => [] }, 'who had prepared is told, nobody else';
    my ($pid, $reason, $pipe);
    my $warning = with_stderr(sub { $pid = fork; $reason = $! + 0 });
    is [ $pid, $reason ], [ undef, Errno::ECANCELED() ], "perl's fork returns undef";
    like $warning, qr/^EventLoop::Fork: fork: prepare hook 'no' \(.*\) refused: not now$/m, 'with a warning';
    is logged(), { P => [ 'first prepare', 'first parent' ], C => [] }, 'the same';
    with_stderr(sub { $pid = open $pipe, '-|'; $reason = $! + 0 });
    is [ $pid, $reason ], [ undef, Errno::ECANCELED() ], 'so does open';
    my @list;
    with_stderr(sub { @list = (1, scalar(open $pipe, '-|'), fork, 2) });
    is \@list, [ 1, undef, undef, 2 ], 'in the middle of a list';
    logged();
    ok lives { system 'true' }, 'nothing is asked about system';
    $_->cancel for $first, $last, $no;
    is ours(), 0, 'without it, forks go on';
    logged();
};

subtest 'a failed fork' => sub {
    my $hook    = at_fork(name => 'a', hooks_that_log('a'));
    my $program = <<'PROGRAM';
        use EventLoop::Fork qw(at_fork);
        use EventLoop::Fork::Loop;
        use POSIX ();
        $| = 1;
        if ($> == 0) {
            my $user = 1_900_000_000 + $$;
            POSIX::setgid($user) && POSIX::setuid($user) && $> == $user or print("cannot become another user: $!\n"), exit;
        }
        at_fork(prepare => sub { print "prepare\n" }, parent => sub { print "parent\n" }, child => sub { print "child\n" });
        my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
        my @pids = grep { defined } map { fork } 1;
        print @pids ? "forked\n" : "none\n";
        exit if @pids;
        print eval { $loop->fork(code => sub { 0 }) } ? "forked\n" : $@->name . "\n";
PROGRAM
    my $result = run_program($program, { through => \&with_few_processes });
    logged();
    $hook->cancel;
    if ($result->{stdout} =~ /cannot become|forked/) { skip_all "processes cannot be limited here: $result->{stdout}" }
    is $result->{stdout}, "prepare\nparent\nnone\nprepare\nparent\nEVF_EFORK\n", 'the parent is told';
};

subtest 'a child hook that takes long' => sub {
    pipe my $gate, my $door        or die "pipe: $!";
    pipe my $reader, my $writer    or die "pipe: $!";
    open my $saved, '>&', \*STDERR or die "STDERR: $!";
    my $hook =
        at_fork(name => 'slow', timeout => 0.05, child => sub { sysread $gate, my $byte, 1; note_line("slow $byte") });
    open STDERR, '>&', $writer or die "STDERR: $!";
    my $pid = fork;
    POSIX::_exit(0) if $pid == 0;
    open STDERR, '>&', $saved or die "STDERR: $!";
    close $writer;
    my $text = readline $reader;
    like $text,
        qr/^EventLoop::Fork: process $pid: child hook 'slow' \(\Q$0\E line \d+\) has run for 0\.05 s, and goes on$/,
        'is reported';
    syswrite $door, 'x';
    waitpid $pid, 0;
    is [ logged()->{C}, $? ], [ ['slow x'], 0 ], 'and goes on';
    $hook->cancel;
    $hook = at_fork(name => 'quick', timeout => 60, child => sub { });
    is with_stderr(\&raw), '', 'a quick one is not';
    $hook->cancel;
};

# Its child inherits the clock that watches the hook, and not the thread behind it.
subtest 'a fork in a child hook that has a time limit' => sub {
    my $hook = at_fork(
        timeout => 60,
        child   => sub {
            is_asleep("$$/task/$_") for grep { $_ ne $$ } map { m{([0-9]+)\z} } glob "/proc/$$/task/*";
            my $pid = fork;
            if (!$pid) {
                alarm BOUND;
                return;
            }
            waitpid $pid, 0;
            note_line("grandchild $?");
        }
    );
    raw();
    is logged()->{C}, ['grandchild 0'], 'the grandchild leaves the hook';
    $hook->cancel;
};

subtest 'exit in a child hook' => sub {
    my $hook = at_fork(timeout => 60, child => sub { exit 6 });
    is ours() >> 8, 6, 'ends a child of ours';
    $hook->cancel;
};

# END blocks come after such an exit, and may fork.
subtest 'exit in any hook' => sub {
    my $program = <<'PERL';
        use EventLoop::Fork 'at_fork';
        use POSIX ();
        my ($phase) = @ARGV;
        my $hook = at_fork($phase => sub { exit 3 });
        my $raw = sub { my $pid = fork; defined $pid or return 0; $pid or POSIX::_exit(4); waitpid $pid, 0; return $? >> 8 };
        END {
            my $status = $?;
            $hook->cancel;
            my $child = eval { EventLoop::Fork->fork(code => sub { 5 }) };
            waitpid $child->pid, 0 if $child;
            my $ours = $child ? $? >> 8 : $@;
            syswrite STDOUT, join ' ', $status, $raw->(), $ours;
            POSIX::_exit($status);
        }
        my $pid = fork;
        waitpid $pid, 0;
        POSIX::_exit(0);
PERL
    for my $phase (qw(prepare parent child)) {
        open my $from, '-|', $^X, (map { "-I$_" } grep { !ref } @INC), '-e', $program, $phase or die "perl: $!";
        is slurp($from), '3 4 5', "of the phase $phase";
    }
};

subtest 'bad input' => sub {
    my @bad = (
        [ ['x'], undef, qr/arguments are not pairs/ ],
        [ [], undef, qr/one of 'prepare', 'parent', 'child', 'fork_safe' is needed/ ],
        [ [ children => sub { } ], 'children', qr/unknown option 'children'/ ],
        [ [ child    => 'main::x' ], 'main::x', qr/'child' is not code: 'main::x'/ ],
        [ [ child    => sub { }, priority => 101 ], 101, qr/'priority' is not a number from 0 to 100: '101'/ ],
        [ [ child    => sub { }, priority => -1 ], -1, qr/'priority' .* '-1'/ ],
        [ [ child    => sub { }, priority => 'high' ], 'high', qr/'priority' .* 'high'/ ],
        [ [ child    => sub { }, priority => undef ], undef, qr/'priority' .* undef/ ],
        [ [ child    => sub { }, timeout  => -0.5 ], -0.5, qr/'timeout' is not a number from 0: '-0.5'/ ],
        [ [ child    => sub { }, timeout  => 'nan' ], 'nan', qr/'timeout'/ ],
        [ [ child    => sub { }, object   => 'name' ], 'name', qr/'object' is not a reference: 'name'/ ],
        [ [ child    => sub { }, object   => undef ], undef, qr/'object' is not a reference: undef/ ],
        [
            [ child => sub { }, on_failure => 'die' ], 'die',
            qr/'on_failure' is 'report', 'cancel' or 'skip', not 'die'/
        ],
    );
    for my $case (@bad) {
        my ($arguments, $value, $message) = @$case;
        my $line  = __LINE__ + 1;
        my $error = dies { at_fork(@$arguments) };
        isa_ok $error, 'EventLoop::Fork::Error';
        is [ $error->name, $error->operation, $error->value, $error->line, $error->file ],
            [ 'EVF_EINVAL', 'at_fork', $value, $line, __FILE__ ],
            'name, operation, value, place';
        like $error->message, $message, 'message';
    }
    raw();
    is logged(), { P => [], C => [] }, 'nothing was registered';
    like dies { EventLoop::Fork->import('-no_such') }, qr/unknown switch '-no_such'; there are: -io_async -isolate/,
        'a switch';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
