# Hooks that forbid forks, as long as their object lives or when they are asked.
use strict;
use warnings;

use lib 't/lib';
use Errno ();
my $early_fork;

BEGIN {
    $early_fork = sub { return fork }
}    # compiled before the product is loaded
use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Loop;
use ForkTest;
use HookTest;
use Test2::V0;

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
ok 1, 'a test library opens what it needs with the first result';
my @before = open_fds();

{

    package Without::Text;
    use overload '""' => sub { die "no text\n" }, bool => sub { 1 }, fallback => 1;
}

# 0 when it went on; else what was said instead.
sub raw {
    my $pid = fork;
    return $!{ECANCELED} ? 'ECANCELED' : "$!" unless defined $pid;
    POSIX::_exit(0) if $pid == 0;
    waitpid $pid, 0;
    return $?;
}

sub ours {
    my $status;
    eval {
        $loop->fork(code => sub { 0 }, on_exit => sub { $status = $_[1] });
        1;
    }
        or return join ': ', $@->name, $@->message;
    wait_until($loop, sub { defined $status });
    return $status;
}

subtest 'as long as its object lives' => sub {
    my $other  = at_fork(name => 'other', priority => 100, hooks_that_log('other'));
    my $client = bless {}, 'Some::Client';
    my $line   = __LINE__ + 1;
    at_fork(name => 'client', object => $client, fork_safe => 0);
    my $why =
        "hook 'client' ($0 line $line) says that this is not safe to fork now; fork before its object is made, or let that go first";
    is ours(), "EVF_ECANCELED: $why", 'ours throws, and says which and what to do';
    my @seen;
    my $said = with_stderr(sub { push @seen, raw() for 1 .. 2; push @seen, scalar(open my $pipe, '-|'), $! + 0 });
    is \@seen, [ 'ECANCELED', 'ECANCELED', undef, Errno::ECANCELED() ], "perl's own returns undef";
    my @lines = split /\n/, $said;
    like \@lines,
        array { item qr/\AEventLoop::Fork: fork: \Q$why\E \(the fork is at \Q$0\E line \d+\)\z/ for 1 .. 2; end },
        'with a warning for each place';
    isnt $lines[0], $lines[1], 'once';
    is logged(), { P => [], C => [] }, 'no hook has prepared';
    is [ system('true'), `echo x` ], [ 0, "x\n" ], 'what only executes goes on';
    undef $client;
    is [ raw(), ours() ], [ 0, 0 ], 'without the object, forks go on';
    $other->cancel;
    logged();
};

subtest 'until it is cancelled' => sub {
    my $hook = at_fork(fork_safe => 0);
    like ours(), qr/\AEVF_ECANCELED: hook \(\Q$0\E line \d+\) says .*; fork before it is there, or cancel it first\z/,
        'no name, no object';
    $hook->cancel;
    $hook->cancel;
    is ours(), 0, 'cancelled';
    $hook = at_fork(fork_safe => 1);
    is ours(), 0, 'a true value';
    $hook->cancel;
};

subtest 'asked before each fork' => sub {
    my ($is_safe, @got) = (1);
    my $object = bless { why => '' }, 'Some::Client';
    my $hook   = at_fork(
        name      => 'asks',
        object    => $object,
        fork_safe => sub {
            push @got, map { ref } @_;
            die ref $_[0]{why} ? $_[0]{why} : "$_[0]{why}\n" if $_[0]{why};
            return $is_safe;
        },
        hooks_that_log('asks'),
    );
    is [ ours(), raw() ], [ 0, 0 ], 'true: forks go on';
    is \@got, [ ('Some::Client') x 2 ], 'it gets the object, once for each';
    is scalar(@{ logged()->{P} }), 4, 'its other callbacks run then';
    $is_safe = 0;
    like ours(), qr/\AEVF_ECANCELED: hook 'asks' \(.*\) says that this is not safe to fork now;/, 'false: no';
    $object->{why} = 'a query is under way';
    like ours(), qr/\AEVF_ECANCELED: hook 'asks' \(.*\) forbids it: a query is under way; /,
        'an exception is the reason';
    $object->{why} = bless {}, 'Without::Text';
    like ours(), qr/ forbids it: an exception of class Without::Text, whose text cannot be had; /, 'of whatever class';
    is logged(), { P => [], C => [] }, 'nothing was prepared';
    $hook->cancel;
};

subtest 'what such code may do' => sub {
    my ($hook, @seen);
    $hook = at_fork(fork_safe => sub { $hook->cancel; undef $hook; 1 });
    is ours(), 0, 'cancel itself';
    $hook = at_fork(fork_safe => sub { $hook->cancel; 0 });
    is ours(), 0, 'and has no say any more then';
    my @hooks = map {
        my $number = $_;
        at_fork(fork_safe => sub { push @seen, $number; $hook->cancel if $hook && $number == 2; 1 })
    } 1 .. 3;
    $hook = $hooks[0];
    is [ ours(), @seen ], [ 0, 3, 2 ], 'cancel another one, which is not asked then';
    $_->cancel for @hooks;

    @seen = ();
    my ($raw, $ours, $late);
    $hook = at_fork(
        fork_safe => sub { push @seen, 'asked'; $raw = raw(); $ours = ours(); $late ||= at_fork(fork_safe => 0); 1 });
    is ours(), 0, 'fork itself';
    is [ $raw, $ours =~ s/:.*//r, @seen ], [ 0, 'EVF_EBUSY', 'asked' ], 'as in a hook';
    like ours(), qr/ECANCELED/, 'what it has registered is asked at the next fork';
    $_->cancel for $hook, $late;

    my $result = run_program(<<'PROGRAM');
        use EventLoop::Fork qw(at_fork);
        use POSIX ();
        my $hook = at_fork(fork_safe => sub { exit 3 });
        END { my $status = $?; $hook->cancel; my $child = EventLoop::Fork->fork(code => sub { 5 }); waitpid $child->pid, 0; print $? >> 8; $? = $status }
        fork;
PROGRAM
    is $result, { stdout => 5, stderr => '', status => 3 << 8 }, 'exit';
};

# Too late to refuse.
subtest 'the first fork of code that was compiled before us' => sub {
    my $hook = at_fork(name => 'no', fork_safe => 0);
    my @pids;
    my $said = with_stderr(sub {
        for (1 .. 2) {
            push @pids, $early_fork->();
            if (defined $pids[-1] && $pids[-1] == 0) {
                my @safe = map { $_ } 1 .. 3;
                POSIX::_exit(0);
            }
            waitpid $pids[-1], 0 if $pids[-1];
        }
    });
    ok $pids[0], 'goes on';
    is $pids[1], undef, 'the second one does not';
    like $said, qr/process $pids[0] was forked by code older than .*; these forbid forks: 'no' \(\Q$0\E line \d+\)$/m,
        'and that is told';
    $hook->cancel;
};

subtest 'bad input' => sub {
    my @bad = (
        [ [ fork_safe => [] ], qr/'fork_safe' is not code: 'ARRAY/ ],
        [ [ fork_safe => 0, priority => 101 ], qr/'priority'/ ],
        [ [ name      => 'x' ], qr/one of 'prepare', 'parent', 'child', 'fork_safe' is needed/ ],
    );
    for my $case (@bad) {
        my $error = dies { at_fork(@{ $case->[0] }) };
        is [ $error->name, $error->operation ], [ 'EVF_EINVAL', 'at_fork' ], 'refused';
        like $error->message, $case->[1], 'and why';
    }
    is ours(), 0, 'nothing was registered';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
