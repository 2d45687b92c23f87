package LoopTest;

# Helpers of t/loop: which loops there are, what a test leaves behind, and test programs in a perl of their own. Loads
# the product only to ask what is built.

use strict;
use warnings;

use Errno    qw(EINTR);
use Exporter qw(import);
use ForkTest qw(children_left now);
use POSIX    ();

our @EXPORT = qw(BOUND SLOW children_left limit_descriptors make_pair methods_of nothing_left now open_fds
    run_contract run_ioasync_looptests run_perl wait_until);

# A memory checker makes all slow.
use constant SLOW => $ENV{EVF_TEST_SLOW} ? 1 : 0;

# Seconds. What is due comes within BOUND; a busy machine needs far less.
use constant BOUND => SLOW ? 200 : 30;

# Turns until the condition holds. False: it did not within the bound.
sub wait_until {
    my ($loop, $condition) = @_;
    my $deadline = now() + BOUND;
    until ($condition->()) {
        my $left = $deadline - now();
        return 0 if $left <= 0;
        $loop->loop_once($left > 0.25 ? 0.25 : $left);
    }
    return 1;
}

# ---- Loops ----------------------------------------------------------------------------------------------------------

# Best first; none if the backend was not built.
sub methods_of {
    my ($backend) = @_;
    require EventLoop::Fork::Loop;
    return @{ EventLoop::Fork::Loop->backends->{$backend} || [] };
}

sub make_pair {
    require Socket;
    socketpair my $one, my $other, Socket::AF_UNIX(), Socket::SOCK_STREAM(), Socket::PF_UNSPEC()
        or die "socketpair: $!";
    return ($one, $other);
}

# ---- What is left behind --------------------------------------------------------------------------------------------

# The open descriptors, each with what it is where the system tells.
sub open_fds {
    if (opendir my $directory, '/proc/self/fd') {
        my @numbers = sort { $a <=> $b } grep { /\A[0-9]+\z/ } readdir $directory;
        closedir $directory;
        # That of the directory is closed again.
        return map { my $target = readlink "/proc/self/fd/$_"; defined $target ? "$_ $target" : () } @numbers;
    }
    my @open;
    for my $fd (0 .. 1023) {
        my $copy = POSIX::dup($fd);
        next unless defined $copy;
        POSIX::close($copy);
        push @open, $fd;
    }
    return @open;
}

# Test libraries make copies of STDOUT and STDERR when they like.
sub is_output {
    my ($target) = @_;
    return scalar grep { defined $_ && $_ eq $target } map { readlink "/proc/self/fd/$_" } 1, 2;
}

# To be asked once at the start of a test, with what it returns at the end: true if nothing is left.
sub nothing_left {
    my ($before) = @_;
    my @now = map { /\A[0-9]+ (.*)/s && is_output($1) ? () : $_ } open_fds();
    return \@now unless $before;
    require Test2::V0;
    my $fds = Test2::V0::is(\@now, $before, 'no descriptor is left');
    return Test2::V0::is(children_left(), '', 'no child is left') && $fds;
}

# The whole of a test: the shipped acceptance tests on the native loop with each method of a backend. The test has asked
# for limit_descriptors before.
sub run_contract {
    my ($backend) = @_;
    require EventLoop::Fork::Test::Loop;
    require Test2::V0;
    my @methods = methods_of($backend) or Test2::V0::skip_all("$backend was not built");
    for my $method (@methods) {
        my $before = nothing_left();
        Test2::V0::subtest(
            $method => sub {
                my $new = sub { EventLoop::Fork::Loop->new(backend => $backend, method => $method) };
                Test2::V0::is(
                    [ $new->()->backend, $new->()->method ],
                    [ $backend, $method ],
                    'the loop is on backend and method'
                );
                EventLoop::Fork::Test::Loop::run_tests($new);
            }
        );
        nothing_left($before) if $method ne $methods[0];    # the first loop of a process opens what all of them share
    }
    Test2::V0::done_testing();
    return;
}

# ---- Programs -------------------------------------------------------------------------------------------------------

# Some tests use up all descriptors. Where a process may have very many, this one is started again with fewer.
sub limit_descriptors {
    my $most = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
    return if !defined $most || $most <= 20_000 || $ENV{LOOP_TEST_LIMITED};
    local $ENV{LOOP_TEST_LIMITED} = 1;
    no warnings 'exec';    # where there is no sh, the test skips itself
    exec 'sh', '-c', 'ulimit -n 4096; exec "$@"', 'sh', $^X, include_switches(), $0, @ARGV;
    return;
}

sub include_switches {
    return map { "-I$_" } grep { !ref } @INC;
}

# A perl of its own with these arguments. Its STDERR is ours. The environment is a hash; undef removes.
sub start_perl {
    my ($environment, @arguments) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        for my $name (keys %$environment) {
            if (defined $environment->{$name}) { $ENV{$name} = $environment->{$name} }
            else                               { delete $ENV{$name} }
        }
        eval {
            open STDIN, '<', '/dev/null' or die "/dev/null: $!";
            open STDOUT, '>&', $writer   or die "STDOUT: $!";
            alarm 4 * BOUND;
            no warnings 'exec';
            exec $^X, include_switches(), @arguments;
        };
        POSIX::_exit(254);
    }
    close $writer;
    return { pid => $pid, reader => $reader };
}

# What it wrote, and its wait status.
sub end_of {
    my ($program) = @_;
    my $output = '';
    while (1) {
        my $got = sysread $program->{reader}, $output, 65536, length $output;
        last if defined $got ? $got == 0 : $! != EINTR;
    }
    close $program->{reader};
    waitpid $program->{pid}, 0;
    return ($output, $?);
}

sub run_perl { return end_of(start_perl(@_)) }

# ---- IO::Async ------------------------------------------------------------------------------------------------------

# The whole of a test: what IO::Async asks of a loop class, and of a program that picks it.
sub run_ioasync_looptests {
    my ($backend) = @_;
    require Test2::V0;
    for my $module (qw(IO::Async::LoopTests IO::Async::Timer::Countdown)) {
        Test2::V0::skip_all("$module is not installed") unless ForkTest::has_module($module);
    }
    my @methods = methods_of($backend) or Test2::V0::skip_all("$backend was not built");
    my $before  = nothing_left();
    ioasync_looptests($backend, @methods);
    picks_class($backend);
    nothing_left($before);
    Test2::V0::done_testing();
    return;
}

# Every suite of IO::Async::LoopTests on each method of a backend. It makes a plan of its own and keeps its loop to
# itself, so each method gets a process; all run at a time, because they mostly wait.
sub ioasync_looptests {
    my ($backend, @methods) = @_;
    require Test2::V0;
    my $class  = 'IO::Async::Loop::' . ucfirst $backend;
    my @suites = qw(io timer signal idle process control metrics);
    my $start  = sub {
        my ($method, $quick) = @_;
        return start_perl(
            { TEST_QUICK_TIMERS => $quick, EVENTLOOP_FORK_METHOD => $method, IO_ASYNC_LOOP => undef },
            '-MIO::Async::LoopTests', '-e', 'my ($class, @suites) = @ARGV; run_tests($class, @suites)', $class, @suites
        );
    };
    my %running = map { $_ => $start->($_, SLOW ? undef : 1) } @methods;
    for my $method (@methods) {
        my ($output, $status) = end_of($running{$method});
        my @failed = $output =~ /^not ok [0-9]+ - (.*)/mg;
        # Quick ones allow 30 ms, which a busy machine may take for nothing.
        if (@failed && !grep { !/ took (?:at least|no more than) / } @failed) {
            Test2::V0::note("$method: the machine is too busy for quick timers, so with slow ones");
            ($output, $status) = end_of($start->($method, undef));
        }
        Test2::V0::subtest($method => sub { relay($output, $status) });
    }
    return;
}

# Results in another process's TAP become results here.
sub relay {
    my ($output, $status) = @_;
    my ($count, $plan)    = (0);
    for my $line (split /\n/, $output) {
        if ($line =~ /\A(not )?ok [0-9]+(?: - (.*))?/) {
            $count++;
            my ($failed, $name) = ($1, $2);
            if   (defined $name && $name =~ /# skip (.*)/) { Test2::V0::note("skipped: $1") }
            else                                           { Test2::V0::ok(!$failed, $name) }
        }
        elsif ($line =~ /\A1\.\.([0-9]+)/) { $plan = $1 }
        else                               { Test2::V0::note($line) }
    }
    Test2::V0::is($count, $plan, 'the number of tests that was planned');
    Test2::V0::ok($count > 50, 'enough of them');
    Test2::V0::is($status, 0, 'the process ends well');
    return;
}

# A program that has never heard of us gets the class by IO_ASYNC_LOOP, in its children, too.
sub picks_class {
    my ($backend) = @_;
    require Test2::V0;
    my $program = <<'PROGRAM';
        use strict;
        use warnings;
        use IO::Async::Loop;
        use IO::Async::Timer::Countdown;
        $| = 1;
        my $loop = IO::Async::Loop->new;
        print ref $loop, "\n";
        $loop->add(
            IO::Async::Timer::Countdown->new(
                delay     => 0.01,
                on_expire => sub {
                    print "timer\n";
                    $loop->fork(
                        code    => sub { print ref IO::Async::Loop->new, " in a child\n"; return 3 },
                        on_exit => sub { my ($pid, $status) = @_; print "exit ", $status >> 8, "\n"; $loop->stop },
                    );
                }
            )->start
        );
        $loop->run;
PROGRAM
    my $name  = ucfirst $backend;
    my $class = "IO::Async::Loop::$name";
    for my $value ($name, $class) {
        my ($output, $status) = run_perl({ IO_ASYNC_LOOP => $value }, '-e', $program);
        Test2::V0::is(
            [ split /\n/, $output ],
            [ $class, 'timer', "$class in a child", 'exit 3' ],
            "IO_ASYNC_LOOP=$value picks $class"
        );
        Test2::V0::is($status, 0, 'the program ends well');
    }
    return;
}

1;
