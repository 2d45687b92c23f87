# EventLoop::Fork->fork: the parent's handle on a child, and the child's idea of itself.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork;
use ForkTest;
use POSIX ();
use Test2::V0;

# Forks and waits for the end; returns the object, and what on_exit got.
sub fork_and_wait {
    my ($loop, $code, %options) = @_;
    my @got;
    my $child = EventLoop::Fork->fork(
        loop    => $loop,
        code    => sub { alarm 2 * BOUND; $code->(@_) },
        on_exit => sub { @got = @_ },
        %options,
    );
    wait_until($loop, sub { @got });
    return ($child, @got);
}

each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    pipe my $gate, my $door or die "pipe: $!";
    my @got;
    my $child = EventLoop::Fork->fork(
        loop    => $loop,
        name    => 'resizer',
        code    => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; return 3 },
        on_exit => sub { @got = @_ },
    );
    isa_ok $child, 'EventLoop::Fork::Child';
    is [ $child->name, $child->is_running, $child->wait_status, $child->exit_reason ],
        [ 'resizer', T, undef, 'running' ], 'while it runs';
    like $child->pid, qr/\A[1-9][0-9]*\z/, 'it has a pid';
    is $child->kill(0), 1, 'and takes signals';
    close $door;
    wait_until($loop, sub { @got });
    ref_is $got[0], $child, 'on_exit gets the object';
    is $got[1], 3 << 8, 'and the status';
    is [ $child->is_running, $child->wait_status, $child->exit_reason ], [ F, 3 << 8, 'exit 3' ], 'when it has ended';
    is $child->kill('KILL'), 0, 'a child that has ended gets no signal, whoever has its number now';

    my ($reaper) = fork_and_wait($loop, sub { 0 });
    is [ $reaper->name, $reaper->exit_reason ], [ undef, 'exit 0' ], 'without a name';
};

# The words.
each_loop sub {
    my ($new) = @_;
    my $loop  = $new->();
    my %words = (
        'exit 0'            => sub { 0 },
        'exit 255'          => sub { exit 255 },
        'killed by SIGTERM' => sub { kill TERM => $$; sleep 2 * BOUND },
        'killed by SIGKILL' => sub { kill KILL => $$; sleep 2 * BOUND },
        'killed by SIGUSR1' => sub { kill USR1 => $$; sleep 2 * BOUND },
    );
    for my $reason (sort keys %words) {
        my ($child) = fork_and_wait($loop, $words{$reason});
        is $child->exit_reason, $reason, $reason;
    }
    my ($crashed) = fork_and_wait($loop, sub { kill SEGV => $$; sleep 2 * BOUND });
    like $crashed->exit_reason, qr/\Akilled by SIGSEGV(?: \(core dumped\))?, at \S+ line \d+ \(kill\)\z/, 'a crash';

    my $taken = EventLoop::Fork->fork(loop => $loop, code => sub { 0 });
    EventLoop::Fork::Loop::_use_pidfd(0);
    my $stolen = EventLoop::Fork->fork(loop => $loop, code => sub { 0 });
    EventLoop::Fork::Loop::_use_pidfd(1);
    waitpid $_->pid, 0 for $taken, $stolen;
    wait_until($loop, sub { !$taken->is_running && !$stolen->is_running });
    is $stolen->exit_reason, 'gone, status unknown', 'when somebody else took the status';
    is $taken->exit_reason, kernel_has_exit_info() ? 'exit 0' : 'gone, status unknown', 'through a pidfd';
};

# A child gets the same object, and a loop from it.
each_loop sub {
    my ($new, $kind) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my ($child) = fork_and_wait(
        $loop,
        sub {
            my ($self) = @_;
            my $in_child = $self->loop;
            my $fired;
            $in_child->later(sub { $fired = 1 });
            $in_child->loop_once(0);
            ForkTest::send_value(
                $writer,
                {
                    class  => ref $self,
                    name   => $self->name,
                    is_own => $self->pid == $$,
                    loop   => [ ref $in_child, $in_child->backend, $in_child->method ],
                    again  => $self->loop == $in_child,
                    fired  => $fired,
                    other  => $in_child != $loop,
                }
            );
            return 0;
        },
        name => 'resizer'
    );
    close $writer;
    is thaw_from($reader),
        {
        class  => 'EventLoop::Fork::Child',
        name   => 'resizer',
        is_own => T,
        loop   => [ @$kind{qw(class backend method)} ],
        again  => T,
        fired  => 1,
        other  => T,
        },
        'the object in the child';
    is $child->exit_reason, 'exit 0', 'and its end';
};

# Options go through.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    local $SIG{USR1} = sub { };
    srand 42;
    rand;
    pipe my $reader, my $writer or die "pipe: $!";
    fork_and_wait(
        $loop,
        sub { ForkTest::send_value($writer, [ ref $SIG{USR1}, rand ]); 0 },
        keep_signals => 1,
        keep_srand   => 1
    );
    close $writer;
    is thaw_from($reader), [ 'CODE', rand ], 'keep_signals and keep_srand';

    pipe my $errors, my $stderr or die "pipe: $!";
    fork_and_wait($loop, sub { open STDERR, '>&', $stderr; die "broken\n" }, name => 'resizer');
    close $stderr;
    like slurp($errors), qr/\AEventLoop::Fork: child 'resizer' \(pid [0-9]+\): broken\n\z/,
        'the name is in what it says';
};

# The loop in use.
subtest 'without a loop' => sub {
    no warnings 'once';
    my $before = () = open_fds();
    my $ended;
    my $child = EventLoop::Fork->fork(
        code    => sub { my ($self) = @_; $self->loop->loop_once(0); 4 },
        on_exit => sub { $ended     = 1 }
    );
    isa_ok $child, 'EventLoop::Fork::Child';
    waitpid $child->pid, 0;
    # Nobody has the loop to run it; another fork shows that it is one and the same.
    my $second = EventLoop::Fork->fork(code => sub { 5 });
    isnt $second->pid, $child->pid, 'a second one';
    waitpid $second->pid, 0;
    is $? >> 8, 5, 'runs, too';
SKIP: {
        my ($kind) = grep { $_->{is_io_async} } loop_kinds();
        skip 'there is no IO::Async', 2 unless $kind;
        my $loop = $kind->{any}->();
        $loop = $kind->{new}->() unless $loop->isa($kind->{class});
        local $IO::Async::Loop::ONE_TRUE_LOOP = $loop;
        my $status;
        EventLoop::Fork->fork(
            code    => sub { my ($self) = @_; ref $self->loop eq $kind->{class} ? 6 : 0 },
            on_exit => sub { $status    = $_[1] }
        );
        wait_until($loop, sub { defined $status });
        is $status, 6 << 8, 'that of IO::Async is used, if it is ours';
    }
    is children_left(), '', 'no child is left';
};

# What it refuses.
sub error_of {
    my ($code) = @_;
    return 'nothing' if eval { $code->(); 1 };
    return ref $@ eq 'EventLoop::Fork::Error' ? [ map { $@->$_ } qw(name operation file) ] : "$@";
}

each_loop sub {
    my ($new) = @_;
    my $loop  = $new->();
    my $code  = sub { 0 };
    my %wrong = (
        'without code'            => [ EVF_EINVAL  => {} ],
        'code that is none'       => [ EVF_EINVAL  => { code => 'text' } ],
        'a reference to no code'  => [ EVF_EINVAL  => { code => [] } ],
        'an on_exit that is none' => [ EVF_EINVAL  => { code => $code, on_exit => 'text' } ],
        'an on_exit of no code'   => [ EVF_EINVAL  => { code => $code, on_exit => {} } ],
        'an unknown option'       => [ EVF_EINVAL  => { code => $code, on_exti => $code } ],
        'a loop that is none'     => [ EVF_ENOTSUP => { code => $code, loop    => 'text' } ],
        'a loop of another kind'  => [ EVF_ENOTSUP => { code => $code, loop    => bless {}, 'Other' } ],
    );
    for my $name (sort keys %wrong) {
        my ($error, $options) = @{ $wrong{$name} };
        is error_of(sub { EventLoop::Fork->fork(loop => $loop, %$options) }), [ $error, 'fork', __FILE__ ], $name;
    }
    my $child = EventLoop::Fork->fork(loop => $loop, code => sub { sleep BOUND });
    is error_of(sub { $child->loop }), [ 'EVF_EINVAL', 'loop', __FILE__ ], 'the loop of the child in the parent';
    is error_of(sub { $child->kill('BOGUS') }), [ 'EVF_ESIGNAL', 'kill', __FILE__ ], 'a signal that is none';
    is $@->line, __LINE__ - 1, 'from the line of the caller';
    is error_of(sub { $child->kill(undef) }), [ 'EVF_ESIGNAL', 'kill', __FILE__ ], 'no signal at all';
    is $child->kill('KILL'), 1, 'the child lives, and takes a signal';
    wait_until($loop, sub { !$child->is_running });
    is error_of(sub { EventLoop::Fork->fork(loop => $loop, 'odd') }), [ EVF_EINVAL => 'fork', __FILE__ ],
        'an odd number of arguments';
    is children_left(), '', 'and nothing was forked';
    my ($seen) = in_child(
        $loop,
        sub {
            error_of(sub { EventLoop::Fork->fork(loop => $loop, code => $code) });
        }
    );
    is $seen, [ 'EVF_EABANDONED', 'fork', __FILE__ ], 'the loop of the parent in a child';
};

done_testing;
