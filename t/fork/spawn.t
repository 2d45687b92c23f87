# What IO::Async builds on fork works on its loops of this distribution, and what it executes starts clean: no signal is
# blocked, no descriptor of the loop is there.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

has_module($_)
    or skip_all "$_ is not installed"
    for qw(IO::Async::Loop IO::Async::Process IO::Async::Function IO::Async::Routine);
require IO::Async::Channel;

my @child_of_perl = ($^X, '-e');

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    $loop->watch_signal(TERM => sub { });

    my ($status, $error);
    $loop->spawn_child(command => [ 'sh', '-c', 'exit 3' ], on_exit => sub { (undef, $status, $error) = @_ });
    wait_until($loop, sub { defined $status });
    is [ $status, $error + 0 ], [ 3 << 8, 0 ], 'spawn_child with a command';

    undef $status;
    $loop->spawn_child(command => '/no/such/program', on_exit => sub { (undef, $status, $error) = @_ });
    wait_until($loop, sub { defined $status });
    is [ $status, $error + 0 ], [ 255 << 8, POSIX::ENOENT() ], 'a command that is not there';

    my $exception;
    undef $status;
    $loop->spawn_child(code => sub { die "on purpose\n" }, on_exit => sub { (undef, $status, undef, $exception) = @_ });
    wait_until($loop, sub { defined $status });
    is [ $status, $exception ], [ 255 << 8, "on purpose\n" ], 'spawn_child with code that dies';

    pipe my $reader, my $writer or die "pipe: $!";
    undef $status;
    $loop->spawn_child(
        code    => sub { print 'printed'; 5 },
        setup   => [ stdout => $writer ],
        on_exit => sub { (undef, $status) = @_ },
    );
    close $writer;
    wait_until($loop, sub { defined $status });
    is [ $status >> 8, slurp($reader) ], [ 5, 'printed' ], 'spawn_child with code and a pipe';
    $loop->unwatch_signal('TERM');
}, io_async => 1;

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    $loop->watch_signal($_ => sub { }) for qw(TERM HUP USR1);
    my ($code, $output, $errors) =
        $loop->run_process(command => [ 'cat', '/proc/self/status' ], capture => [qw(exitcode stdout stderr)])->get;
    if (signal_state()) {
        my $state = signal_state($output);
        # A memory checker catches signals in every program.
        my $own = signal_state(scalar `cat /proc/self/status`)->{caught};
        is [ $code, $state->{blocked}, $state->{caught} ], [ 0, [], $own ],
            'an executed program has no signal blocked, none caught';
        # perl lets what it executes have SIGFPE back.
        is $state->{ignored}, [ grep { $_ ne 'FPE' } @{ signal_state()->{ignored} } ],
            'and ignored what its parent ignores';
    }
    ($code, $output) =
        $loop->run_process(command => [ 'sh', '-c', 'ls /proc/self/fd' ], capture => [qw(exitcode stdout)])->get;
SKIP: {
        skip 'there is no /proc', 1 if $code;
        is [ grep { $_ > 3 } split ' ', $output ], [], 'nor a descriptor but its own';
    }
    $loop->unwatch_signal($_) for qw(TERM HUP USR1);
}, io_async => 1;

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();

    my ($code, $output) = $loop->run_process(
        command => [ 'sh', '-c', 'cat; exit 4' ],
        stdin   => "one\ntwo\n",
        capture => [qw(exitcode stdout)],
    )->get;
    is [ $code >> 8, $output ], [ 4, "one\ntwo\n" ], 'run_process';

    my $large = 'x' x 300_000;
    ($output) = $loop->run_process(command => ['cat'], stdin => $large, capture => ['stdout'])->get;
    ok $output eq $large, 'with more than a pipe holds';

    my @results = IO::Async::Future->needs_all(
        map {
            my $number = $_;
            $loop->run_process(code => sub { print "number $number"; $number }, capture => [qw(exitcode stdout)]);
        } 1 .. 10
    )->get;
    is \@results, [ map { ($_ << 8, "number $_") } 1 .. 10 ], 'ten at once, with code';

    my ($finished, $text);
    my $process = $loop->open_process(
        command => [ @child_of_perl, '$| = 1; print "ready\n"; sleep 60' ],
        stdout  => {
            on_read => sub {
                my ($stream, $buffer) = @_;
                $text = $1 if $$buffer =~ s/\A(.*)\n//;
                return 0;
            }
        },
        on_finish => sub { (undef, $finished) = @_ },
    );
    wait_until($loop, sub { $text });
    is [ $text, $process->is_running ], [ 'ready', T ], 'open_process: the process runs and speaks';
    $process->kill('TERM');
    wait_until($loop, sub { defined $finished });
    is $finished, POSIX::SIGTERM(), 'and ends by a signal';
}, io_async => 1;

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my ($code, $output, $exception) = (undef, '');
    my $process = IO::Async::Process->new(
        code         => sub { my $line = <STDIN>; print "heard $line"; die "after it\n" },
        stdin        => { from => "words\n" },
        stdout       => { into => \$output },
        on_exception => sub { (undef, $exception, undef, $code) = @_ },
        on_finish    => sub { },
    );
    $loop->add($process);
    wait_until($loop, sub { defined $code });
    is [ $output, $exception, $code >> 8 ], [ "heard words\n", "after it\n", 255 ], 'IO::Async::Process with code';
}, io_async => 1;

each_loop sub {
    my ($new, $kind) = @_;
    my $loop     = $new->();
    my $function = IO::Async::Function->new(
        code => sub {
            my ($number) = @_;
            die "odd: $number\n" if $number == 7;
            # A loop in a worker is of the same kind.
            return $number == 8 ? ref IO::Async::Loop->new : $number * $number;
        },
        min_workers => 1,
        max_workers => 3,
    );
    $loop->add($function);
    is [ map { $_->get } map { $function->call(args => [$_]) } 1 .. 6 ], [ map { $_ * $_ } 1 .. 6 ],
        'IO::Async::Function';
    like dies { $function->call(args => [7])->get }, qr/\Aodd: 7\n?\z/, 'which dies';
    is $function->call(args => [8])->get, $kind->{class}, 'which makes a loop';
    my @futures = map { $function->call(args => [$_]) } 11 .. 30;
    is [ map { $_->get } @futures ], [ map { $_ * $_ } 11 .. 30 ], 'many calls at once';
    cmp_ok $function->workers, '<=', 3, 'by a few workers';
    $function->stop->get;
    $loop->remove($function);
    wait_until($loop, sub { !children_running() });
}, io_async => 1;

# The workers end when their pipe does; their statuses come through the loop.
sub children_running {
    open my $children, '<', "/proc/$$/task/$$/children" or return 0;
    return defined readline $children;
}

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my ($in, $out) = (IO::Async::Channel->new, IO::Async::Channel->new);
    my $returned;
    my $routine = IO::Async::Routine->new(
        model        => 'fork',
        channels_in  => [$in],
        channels_out => [$out],
        code         => sub {
            while (my $request = $in->recv) { $out->send([ reverse @$request ]) }
            return 6;
        },
        on_return => sub { (undef, $returned) = @_ },
    );
    $loop->add($routine);
    $in->send([ 1 .. 3 ]);
    is $out->recv->get, [ 3, 2, 1 ], 'IO::Async::Routine';
    $in->send(['x']);
    is $out->recv->get, ['x'], 'again';
    $in->close;
    wait_until($loop, sub { defined $returned && !children_running() });
    is $returned, 6, 'and its end';
    $loop->remove($routine);
}, io_async => 1;

control 'what a child of IO::Async::Loop::Epoll executes has signals blocked', ['IO::Async::Loop::Epoll'],
    qr/\ATERM\n\z/, <<'EOP';
use strict;
use ForkTest;
use IO::Async::Loop::Epoll;
my $loop = IO::Async::Loop::Epoll->new;
$loop->watch_signal(TERM => sub { });
my ($output) = $loop->run_process(command => [ 'cat', '/proc/self/status' ], capture => ['stdout'])->get;
print "@{ signal_state($output)->{blocked} }\n";
EOP

done_testing;
