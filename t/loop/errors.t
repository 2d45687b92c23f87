# Bad input gets an exception of class EventLoop::Fork::Error: with its name, the operation, the offending value, and
# the line of the caller. The loop is as it was before.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;

use EventLoop::Fork::Loop;
use POSIX ();

my $before;
my $loop;
my $nan      = 9**9**9 / 9**9**9;
my $infinity = 9**9**9;
my $code     = sub { };
my $no_code  = 'main::no_code';
my $object   = bless {}, 'Some::Object';
my $parent   = getppid;

sub closed_handle { my ($one) = make_pair(); close $one; return $one }
sub handle { my ($one) = make_pair(); return $one }

sub string_handle {
    open my $handle, '<', \'in memory' or die "string: $!";
    return $handle;
}

my ($closed, $string, $handle) = (closed_handle(), string_handle(), handle());

# Lines, code, operation, name, value. On a line each, so that the line is known.
my @common = (
    [ __LINE__, sub { $loop->watch_io(on_read_ready => $code) }, 'watch_io', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_io(handle => undef, on_read_ready => $code) }, 'watch_io', 'EBADF', undef ],
    [ __LINE__, sub { $loop->watch_io(handle => 'STDXX', on_read_ready => $code) }, 'watch_io', 'EBADF', 'STDXX' ],
    [ __LINE__, sub { $loop->watch_io(handle => 12_345, on_read_ready => $code) }, 'watch_io', 'EBADF', 12_345 ],
    [ __LINE__, sub { $loop->watch_io(handle => $object, on_read_ready => $code) }, 'watch_io', 'EBADF', $object ],
    [ __LINE__, sub { $loop->watch_io(handle => $closed, on_read_ready => $code) }, 'watch_io', 'EBADF', $closed ],
    [ __LINE__, sub { $loop->watch_io(handle => $closed, on_write_ready => $code) }, 'watch_io', 'EBADF', $closed ],
    [ __LINE__, sub { $loop->watch_io(handle => $string, on_read_ready => $code) }, 'watch_io', 'EBADF', $string ],
    [ __LINE__, sub { $loop->watch_io(handle => $handle, on_read_ready => 'code') }, 'watch_io', 'EINVAL', 'code' ],
    [ __LINE__, sub { $loop->watch_io(handle => $handle, on_write_ready => []) }, 'watch_io', 'EINVAL', [] ],
    [ __LINE__, sub { $loop->watch_io(handle => $handle, on_hangup => 1) }, 'watch_io', 'EINVAL', 1 ],
    [ __LINE__, sub { $loop->watch_io(handle => $handle, on_read => $code) }, 'watch_io', 'EINVAL', 'on_read' ],
    [ __LINE__, sub { $loop->watch_io('handle') }, 'watch_io', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->unwatch_io(on_read_ready => 1) }, 'unwatch_io', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->unwatch_io(handle => $handle, on_read => 1) }, 'unwatch_io', 'EINVAL', 'on_read' ],

    [ __LINE__, sub { $loop->watch_time(after => 1) }, 'watch_time', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(after => 1, code => undef) }, 'watch_time', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(after => 1, code => $no_code) }, 'watch_time', 'EINVAL', $no_code ],
    [ __LINE__, sub { $loop->watch_time(after => 1, code => $object) }, 'watch_time', 'EINVAL', $object ],
    [ __LINE__, sub { $loop->watch_time(code => $code) }, 'watch_time', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(at => 1, after => 1, code => $code) }, 'watch_time', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(after => $nan, code => $code) }, 'watch_time', 'EINVAL', $nan ],
    [ __LINE__, sub { $loop->watch_time(at => $nan, code => $code) }, 'watch_time', 'EINVAL', $nan ],
    [ __LINE__, sub { $loop->watch_time(after => 'soon', code => $code) }, 'watch_time', 'EINVAL', 'soon' ],
    [ __LINE__, sub { $loop->watch_time(after => undef, code => $code) }, 'watch_time', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(at => 'noon', code => $code) }, 'watch_time', 'EINVAL', 'noon' ],
    [ __LINE__, sub { $loop->watch_time(at => '', code => $code) }, 'watch_time', 'EINVAL', '' ],
    [ __LINE__, sub { $loop->watch_time(in => 1, code => $code) }, 'watch_time', 'EINVAL', 'in' ],

    [ __LINE__, sub { $loop->watch_idle(when => 'later') }, 'watch_idle', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_idle(code => $code) }, 'watch_idle', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_idle(when => 'now', code => $code) }, 'watch_idle', 'EINVAL', 'now' ],
    [ __LINE__, sub { $loop->watch_idle(when => 'later', code => 7) }, 'watch_idle', 'EINVAL', 7 ],
    [ __LINE__, sub { $loop->later('code') }, 'later', 'EINVAL', 'code' ],

    [ __LINE__, sub { $loop->watch_signal(NOPE => $code) }, 'watch_signal', 'ESIGNAL', 'NOPE' ],
    [ __LINE__, sub { $loop->watch_signal(SIGTERM => $code) }, 'watch_signal', 'ESIGNAL', 'SIGTERM' ],
    [ __LINE__, sub { $loop->watch_signal('' => $code) }, 'watch_signal', 'ESIGNAL', '' ],
    [ __LINE__, sub { $loop->watch_signal(undef, $code) }, 'watch_signal', 'ESIGNAL', undef ],
    [ __LINE__, sub { $loop->watch_signal(15 => $code) }, 'watch_signal', 'ESIGNAL', 15 ],
    [ __LINE__, sub { $loop->watch_signal(KILL => $code) }, 'watch_signal', 'ESIGNAL', 'KILL' ],
    [ __LINE__, sub { $loop->watch_signal(STOP => $code) }, 'watch_signal', 'ESIGNAL', 'STOP' ],
    [ __LINE__, sub { $loop->watch_signal(SEGV => $code) }, 'watch_signal', 'ESIGNAL', 'SEGV' ],
    [ __LINE__, sub { $loop->watch_signal(ZERO => $code) }, 'watch_signal', 'ESIGNAL', 'ZERO' ],
    [ __LINE__, sub { $loop->watch_signal(USR1 => 'code') }, 'watch_signal', 'EINVAL', 'code' ],
    [ __LINE__, sub { $loop->watch_signal(USR1 => undef) }, 'watch_signal', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->unwatch_signal('NOPE') }, 'unwatch_signal', 'ESIGNAL', 'NOPE' ],

    [ __LINE__, sub { $loop->watch_process(0 => $code) }, 'watch_process', 'ECHILD', 0 ],
    [ __LINE__, sub { $loop->watch_process(-1 => $code) }, 'watch_process', 'EINVAL', -1 ],
    [ __LINE__, sub { $loop->watch_process($$ => $code) }, 'watch_process', 'ECHILD', $$ ],
    [ __LINE__, sub { $loop->watch_process($parent => $code) }, 'watch_process', 'ECHILD', $parent ],
    [ __LINE__, sub { $loop->watch_process(2_000_000_000 => $code) }, 'watch_process', 'ECHILD', 2e9 ],
    [ __LINE__, sub { $loop->watch_process(reaped() => $code) }, 'watch_process', 'ECHILD', \&reaped ],
    [ __LINE__, sub { $loop->watch_process(undef, $code) }, 'watch_process', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_process('child' => $code) }, 'watch_process', 'EINVAL', 'child' ],
    [ __LINE__, sub { $loop->watch_process('12x' => $code) }, 'watch_process', 'EINVAL', '12x' ],
    [ __LINE__, sub { $loop->watch_process($nan => $code) }, 'watch_process', 'EINVAL', $nan ],
    [ __LINE__, sub { $loop->watch_process(2**40 + 1 => $code) }, 'watch_process', 'EINVAL', 2**40 + 1 ],
    [ __LINE__, sub { $loop->watch_process(running() => undef) }, 'watch_process', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_process(running() => 'code') }, 'watch_process', 'EINVAL', 'code' ],
    [ __LINE__, sub { $loop->watch_process(running() => $code) for 1, 2 }, 'watch_process', 'EEXIST', \&running ],

    [ __LINE__, sub { $loop->loop_once('long') }, 'loop_once', 'EINVAL', 'long' ],
    [ __LINE__, sub { $loop->loop_once($nan) }, 'loop_once', 'EINVAL', $nan ],

    [ __LINE__, sub { $loop->fork }, 'fork', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->fork(code => 'code') }, 'fork', 'EINVAL', 'code' ],
    [ __LINE__, sub { $loop->fork(code => $code, on_exit => 'code') }, 'fork', 'EINVAL', 'code' ],
);

# IO::Async's loops take these, or pass over them.
my @native = (
    [ __LINE__, sub { $loop->watch_io(handle => $handle) }, 'watch_io', 'EINVAL', undef ],
    [ __LINE__, sub { $loop->watch_time(after => -1, code => $code) }, 'watch_time', 'EINVAL', -1 ],
    [ __LINE__, sub { $loop->watch_time(after => -0.001, code => $code) }, 'watch_time', 'EINVAL', -0.001 ],
    [ __LINE__, sub { $loop->watch_time(at => -1, code => $code) }, 'watch_time', 'EINVAL', -1 ],
    [ __LINE__, sub { $loop->watch_time(after => -$infinity, code => $code) }, 'watch_time', 'EINVAL', -$infinity ],
    [ __LINE__, sub { $loop->loop_once(-1) }, 'loop_once', 'EINVAL', -1 ],
    [ __LINE__, sub { $loop->fork(code => $code, at_exit => $code) }, 'fork', 'EINVAL', 'at_exit' ],
    [ __LINE__, sub { $loop->later(undef) }, 'later', 'EINVAL', undef ],
    [ __LINE__, sub { EventLoop::Fork::Loop->new(backend => 'libuv') }, 'new', 'EINVAL', 'libuv' ],
    [ __LINE__, sub { EventLoop::Fork::Loop->new(backend => '') }, 'new', 'EINVAL', '' ],
    [ __LINE__, sub { EventLoop::Fork::Loop->new(backend => 'poll', method => 'x') }, 'new', 'EINVAL', 'x' ],
    [ __LINE__, sub { EventLoop::Fork::Loop->new(methods => 'poll') }, 'new', 'EINVAL', 'methods' ],
    [ __LINE__, sub { EventLoop::Fork::Loop->loop_once(0) }, 'loop_once', 'EINVAL', 'EventLoop::Fork::Loop' ],
    [ __LINE__, sub { EventLoop::Fork::Loop::loop_once($object, 0) }, 'loop_once', 'EINVAL', $object ],
    [ __LINE__, sub { EventLoop::Fork::Loop::loop_once(undef, 0) }, 'loop_once', 'EINVAL', undef ],
    [ __LINE__, sub { local $ENV{EVENTLOOP_FORK_BACKEND} = 'x'; ref($loop)->new }, 'new', 'EINVAL', 'x' ],
    [ __LINE__, sub { local $ENV{EVENTLOOP_FORK_METHOD} = 'x'; ref($loop)->new }, 'new', 'EINVAL', 'x' ],
);

# ---- Children to be wrong about -------------------------------------------------------------------------------------

my ($running, $reaped);

sub running {
    return $running if defined $running;
    $running = fork;
    die "fork: $!" unless defined $running;
    return $running if $running;
    alarm 4 * BOUND;
    select undef, undef, undef, BOUND while 1;
    POSIX::_exit(0);
}

sub end_running {
    return unless defined $running;
    $loop->unwatch_process($running) if $loop;
    kill KILL => $running;
    waitpid $running, 0;
    undef $running;
    return;
}

sub reaped {
    return $reaped if defined $reaped;
    $reaped = fork;
    die "fork: $!" unless defined $reaped;
    POSIX::_exit(0) if !$reaped;
    waitpid $reaped, 0;
    return $reaped;
}

# ---- What an error says ---------------------------------------------------------------------------------------------

sub error_of {
    my ($try) = @_;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $done  = eval { $try->(); 1 };
    my $error = $@;
    return ($done ? undef : $error, \@warnings);
}

sub check_error {
    my ($row) = @_;
    my ($line, $try, $operation, $name, $value) = @$row;
    my ($error, $warnings) = error_of($try);
    $value = $value->() if ref $value eq 'CODE';
    my $label    = "line $line: $operation, EVF_$name";
    my $is_error = ref $error && ref $error ne 'HASH' && $error->isa('EventLoop::Fork::Error');
    ok($is_error, $label) or return diag(defined $error ? "got $error" : 'no exception');
    my %got = map { $_ => $error->$_ } qw(operation name file line);
    is(\%got, { operation => $operation, name => "EVF_$name", file => __FILE__, line => $line }, "$label: says where");
    if    (ref $value && ref $value ne 'ARRAY') { ref_is($error->value, $value, "$label: the value") }
    elsif (defined $value && $value ne $value)  { ok($error->value ne $error->value, "$label: the value") }
    else                                        { is($error->value, $value, "$label: the value") }
    ok($error->code < 0, "$label: the code");
    like($error->message, qr/\w/, "$label: the message");
    is(
        "$error",
        "EventLoop::Fork: $operation: " . $error->message . ' at ' . __FILE__ . " line $line.\n",
        "$label: as a string"
    );
    is($warnings, [], "$label: no warning beside");
    return;
}

sub still_works {
    my ($id, $called);
    $loop->watch_time(after => 0, code => sub { $called++ });
    ok(wait_until($loop, sub { $called }), 'the loop works as before');
    is($loop->loop_once(0), 0, 'and nothing that was refused is watched');
    return;
}

sub called_in_a_sub { return $_[0]->watch_time(after => 'x', code => $code) }

EventLoop::Fork::Loop->new->loop_once(0);    # what all loops share is opened now
$before = nothing_left();

subtest native => sub {
    my $fds = nothing_left();
    $loop = EventLoop::Fork::Loop->new;
    check_error($_) for @common, @native;
    still_works();
    end_running();

    my ($error) = error_of(sub { called_in_a_sub($loop) });
    is([ $error->file, $error->line ], [ __FILE__, __LINE__ - 13 ], 'in a sub of the program: its line');
    $loop->later(sub {
        $loop->watch_signal(NOPE => $code);
    });
    ($error) = error_of(sub { $loop->run });
    is([ $error->file, $error->line ], [ __FILE__, __LINE__ - 3 ], 'in a callback: its line, not that of run');
    ok(!$loop->is_running, 'the loop does not run');
    $loop->watch_time(
        after => 0,
        code  => sub { $loop->watch_signal(KILL => $code) },
    );
    ($error) = error_of(sub { $loop->loop_once(1) });
    is($error->line, __LINE__ - 3, 'in a callback of a statement of several lines');
    ($error) = error_of(sub { eval qq{#line 77 "elsewhere"\n\$loop->watch_signal(NOPE => sub { })} || die });
    is([ $error->file, $error->line ], [ 'elsewhere', 77 ], 'in evaluated text');
    undef $loop;
    nothing_left($fds);
};

subtest 'what the system has not said' => sub {
    my $object = bless {}, 'EventLoop::Fork::Loop';
    $! = POSIX::ENOTTY();    # of something before
    my ($error) = error_of(sub { $object->_attach(0, 'telepathy', 0, 0) });
    is(
        [ $error->name, $error->message ],
        [ 'EVF_EINVAL', 'cannot make a loop on poll with method telepathy: invalid argument' ],
        'is not in the message'
    );
};

subtest 'another package' => sub {
    $loop = EventLoop::Fork::Loop->new;
    my ($error, $line);
    {

        package Some::Program;
        $line = __LINE__ + 1;
        eval { $loop->watch_idle(when => 'never', code => $code) };
        $error = $@;
    }
    is([ $error->file, $error->line ], [ __FILE__, $line ], 'the place is that of the call');
    ok($error, 'the object is true');
    is($error . '', $error->as_string, 'and a string');
    my %code;
    for my $try (
        sub { $loop->watch_idle(when => 'never', code => $code) },
        sub { $loop->watch_signal(NOPE => $code) },
        sub { $loop->watch_process($$ => $code) },
        sub { $loop->watch_io(handle => $closed, on_read_ready => $code) }
        )
    {
        my ($thrown) = error_of($try);
        $code{ $thrown->name } = $thrown->code;
    }
    is(\%code, { EVF_EINVAL => -2, EVF_ESIGNAL => -11, EVF_ECHILD => -5, EVF_EBADF => -3 }, 'each name has its code');
    undef $loop;
};

subtest 'what is no error' => sub {
    $loop = EventLoop::Fork::Loop->new;
    my @tries = (
        'an id that is not known'       => sub { $loop->unwatch_time(4_711) },
        'no id'                         => sub { $loop->unwatch_time(undef) },
        'an idle id that is over'       => sub { $loop->unwatch_idle(4_711) },
        'a handle that is not watched'  => sub { $loop->unwatch_io(handle => $handle, on_read_ready => 1) },
        'a handle that is closed'       => sub { $loop->unwatch_io(handle => $closed, on_read_ready => 1) },
        'a signal that is not watched'  => sub { $loop->unwatch_signal('USR1') },
        'a process that is not watched' => sub { $loop->unwatch_process($$) },
        'a time for ever away'   => sub { $loop->unwatch_time($loop->watch_time(after => $infinity, code => $code)) },
        'a negative zero'        => sub { $loop->watch_time(after => -0.0, code => $code); $loop->loop_once(0) },
        'stop outside of run'    => sub { $loop->stop },
        'an object that is code' => sub { $loop->later(Some::Callable->new); $loop->loop_once(0) },
    );
    while (my ($name, $try) = splice @tries, 0, 2) {
        my ($error, $warnings) = error_of($try);
        is($error, undef, $name);
        is($warnings, [], "$name: no warning");
    }
    undef $loop;
};

{

    package Some::Callable;
    use overload '&{}' => sub {
        my ($self) = @_;
        return sub { return 1 }
    };
    sub new { my ($class) = @_; return bless [], $class }
}

subtest 'a loop of the parent' => sub {
    $loop = EventLoop::Fork::Loop->new;
    pipe my $reader, my $writer or die "pipe: $!";
    my $ended;
    $loop->fork(
        code => sub {
            alarm 4 * BOUND;
            my @tries = (
                sub { $loop->watch_io(handle => $handle, on_read_ready => $code) },
                sub { $loop->watch_time(after => 1, code => $code) },
                sub { $loop->watch_idle(when => 'later', code => $code) },
                sub { $loop->watch_signal(USR1 => $code) },
                sub { $loop->loop_once(0) },
                sub { $loop->run },
                sub { $loop->fork(code => $code) },
                sub { $loop->unwatch_io(handle => $handle, on_read_ready => 1) },
                sub { $loop->unwatch_time(1) },
                sub { $loop->unwatch_idle(1) },
                sub { $loop->unwatch_signal('USR1') },
                sub { $loop->unwatch_process($$) },
                sub { $loop->stop },
            );
            for my $try (@tries) {
                my ($error) = error_of($try);
                my $text = ref $error ? join ' ', $error->operation, $error->name : defined $error ? $error : 'fine';
                syswrite $writer, "$text\n";
            }
            return 0;
        },
        on_exit => sub { $ended = $_[1] },
    );
    close $writer;
    ok(wait_until($loop, sub { defined $ended }), 'the child has ended');
    is($ended, 0, 'well');
    is(
        [ map { chomp; $_ } <$reader> ],
        [
            (map { "$_ EVF_EABANDONED" } qw(watch_io watch_time watch_idle watch_signal loop_once loop_once fork)),
            ('fine') x 6
        ],
        'starting anything on it is an error, stopping is not'
    );
    undef $loop;
};

subtest 'a method from the environment' => sub {
    local $ENV{EVENTLOOP_FORK_METHOD} = 'x';
    is(
        EventLoop::Fork::Loop->new(backend => 'poll')->method, 'poll',
        'that the backend which is asked for lacks is passed over'
    );
    local $ENV{EVENTLOOP_FORK_BACKEND} = 'poll';
    my ($error) = error_of(sub { EventLoop::Fork::Loop->new });
    is([ $error->name, $error->value ], [ 'EVF_EINVAL', 'x' ], 'both from the environment');
    ($error) = error_of(sub { EventLoop::Fork::Loop->new(backend => 'poll', method => 'y') });
    is([ $error->name, $error->value ], [ 'EVF_EINVAL', 'y' ], 'one that is asked for');
};

for my $backend (qw(libev libevent)) {
    my $class = 'IO::Async::Loop::' . ucfirst $backend;
    subtest $class => sub {
        skip_all('IO::Async is not installed') unless eval { require IO::Async::Loop; 1 };
        skip_all("$backend was not built")     unless methods_of($backend);
        (my $file = "$class.pm") =~ s{::}{/}g;
        require $file;
        $loop = $class->new;
        check_error($_) for @common;
        still_works();
        end_running();

        for my $wrong ([ method => 'x' ], [ methods => 'poll' ]) {
            no warnings 'once';
            my $one = $IO::Async::Loop::ONE_TRUE_LOOP;
            my ($error) = error_of(sub { $class->new(@$wrong) });
            is([ $error->name, $error->line ], [ 'EVF_EINVAL', __LINE__ - 1 ], "new(@$wrong)");
            ref_is($IO::Async::Loop::ONE_TRUE_LOOP, $one, 'leaves the one true loop alone');
        }
        my ($error) = error_of(sub { $loop->attach_signal('this signal name does not exist', $code) });
        is([ ref $error, $error->operation ], [ 'EventLoop::Fork::Error', 'watch_signal' ], 'by way of attach_signal');

        my $called = 0;
        $loop->watch_time(after => -1, code => sub { $called++ });
        $loop->loop_once(-1);
        is($called, 1, 'negative times are now');
        $loop->watch_io(handle => $handle);
        $loop->watch_io(handle => $handle, on_read_ready => undef);
        is($loop->loop_once(0), 0, 'a watch of nothing is none');
        undef $loop;
        undef $IO::Async::Loop::ONE_TRUE_LOOP;
    };
}

nothing_left($before);
done_testing;
