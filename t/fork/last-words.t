# How a child ended, in words: in which step or hook of the fork, when, and where Perl stood; whatever ended it.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Loop;
use POSIX ();

my $loop  = EventLoop::Fork::Loop->new;
my $after = qr/[0-9.]+ m?s after fork/;

sub reason_of {
    my ($code) = @_;
    my $child = EventLoop::Fork->fork(loop => $loop, code => sub { alarm 2 * BOUND; $code->() });
    wait_until($loop, sub { !$child->is_running });
    return $child->exit_reason;
}

# A real fault: what looks for faults reports it.
sub read_nowhere { return unpack 'p', pack 'J', 16 }

my @ways = (
    [ 'killed by SIGSEGV' => sub { kill SEGV => $$ }, 'kill' ],
    [ 'killed by SIGBUS'  => sub { kill BUS  => $$ }, 'kill' ],
    [ 'killed by SIGILL'  => sub { kill ILL  => $$ }, 'kill' ],
    [ 'killed by SIGABRT' => sub { POSIX::abort() }, 'entersub' ],
    [ 'killed by SIGKILL' => sub { kill KILL => $$ } ],
    [ 'killed by SIGTERM' => sub { kill TERM => $$ } ],
    [ 'exit 7'            => sub { exit 7 } ],
    [ 'exit 8'            => sub { POSIX::_exit(8) } ],
    under_valgrind() ? () : [ 'killed by SIGSEGV' => \&read_nowhere, 'unpack' ],
);

subtest 'in a hook' => sub {
    for my $way (@ways) {
        my ($end, $code, $operation) = @$way;
        my $before = at_fork(name => 'before', priority => 10, child => sub { });
        my $line   = __LINE__ + 1;
        my $hook   = at_fork(name => 'flags', priority => 40, child => $code);
        my $never  = at_fork(name => 'never', priority => 60, child => sub { });
        my $where  = $operation ? qr/, at \Q$0\E line \d+ \($operation\)/ : '';
        like(
            reason_of(sub { 0 }),
            qr/\A$end(?: \(core dumped\))? in child hook 'flags' \(\Q$0\E line $line\) $after$where\z/, $end
        );
        $_->cancel for $before, $hook, $never;
    }
};

subtest 'a hook without a name' => sub {
    my $hook = at_fork(child => sub { kill KILL => $$ });
    like(reason_of(sub { 0 }), qr/\Akilled by SIGKILL in child hook \(\Q$0\E line \d+\) $after\z/, 'its place');
    $hook->cancel;
};

subtest 'in its code' => sub {
    my $line   = __LINE__ + 1;
    my $reason = reason_of(sub { kill SEGV => $$ }) =~ s/ \(core dumped\)//r;
    is($reason, "killed by SIGSEGV, at $0 line $line (kill)", 'a fault: the line');
    is(reason_of(sub { kill KILL => $$ }), 'killed by SIGKILL', 'what cannot be seen');
    is(reason_of(sub { 3 }), 'exit 3', 'an exit code');
    $line = __LINE__ + 1;
    is(reason_of(sub { close STDERR; die 'no database' }), "exception: no database at $0 line $line.", 'an exception');
    is(reason_of(sub { close STDERR; die "no\n" }), 'exception: no', 'its text');
    is(reason_of(sub { close STDERR; die 'x' x 1000 }), 'exception: ' . 'x' x 191, 'the start of it');
};

# A child that has a handler of its own, or that is not ours, has it.
subtest 'a handler of the program' => sub {
    my $code = sub {
        my $seen = 0;
        local $SIG{SEGV} = sub { $seen++ };
        kill SEGV => $$;
        return $seen;
    };
    is(reason_of($code), 'exit 1', 'it is called, and the child goes on');
};

subtest 'a child that a child forks' => sub {
    my $code = sub {
        my $pid = fork // die "fork: $!";
        if (!$pid) { kill SEGV => $$ }
        waitpid $pid, 0;
        return $? & 127 ? 0 : 1;
    };
    is(reason_of($code), 'exit 0', 'is not taken for its parent');
};

subtest 'many deaths' => sub {
    my $wanted = $ENV{EVF_TEST_SLOW} ? 50 : 1000;
    my ($target, $way);
    my @hooks = map {
        my $number = $_;
        at_fork(
            name  => "hook $number", priority => 10 * $number,
            child => sub { $way->() if $target eq "hook $number" }
        );
    } 0 .. 9;
    my @deadly = grep { $_->[0] ne 'killed by SIGTERM' } @ways;
    my @wrong;
    for (1 .. $wanted) {
        my $is_hook = rand 2 < 1;
        my $number  = int rand 10;
        my ($end, $code, $operation) = @{ $deadly[ rand @deadly ] };
        ($is_hook, $number) = (1, $number) if !$operation;   # nobody can say on which line a program was that is killed
        $target = $is_hook ? "hook $number" : '';
        $way    = $code;
        my $reason = reason_of($is_hook ? sub { 0 } : sub { $way->(); 0 });
        my $expected =
            $is_hook ? qr/\A$end.* in child hook 'hook $number' \(/ : qr/\A$end.*, at \S+ line \d+ \($operation\)/;
        push @wrong, "$target: $reason" if $reason !~ $expected;
    }
    is(\@wrong, [], "$wanted of them");
    $_->cancel for @hooks;
};

is(children_left(), '', 'no child is left');

done_testing;
