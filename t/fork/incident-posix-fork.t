# A server with several workers forked with POSIX's fork under its loop: the workers kept the master's loop, shared its
# kernel object, and loops around select and handlers in %SIG stood in for the master's own watches. Here is that server
# on a loop that forks: workers by fork, their ends by on_exit, signals by watch_signal, and the master only runs.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use IO::Socket::INET;
my ($source, $any) = @ARGV;
my $loop = eval $source or die;
my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0) or die "listen: $!";

my (%workers, $is_stopping, $forked, $ended);
sub start_worker {
    # The terminal's Ctrl-C reaches the whole group; the master passes it on in its own way.
    my $saved = $SIG{INT};
    $SIG{INT} = 'IGNORE';
    my $pid = $loop->fork(code => \&worker, on_exit => \&worker_ended);
    $SIG{INT} = $saved;
    $workers{$pid} = 1;
    $forked++;
    return;
}
sub worker_ended {
    my ($pid) = @_;
    delete $workers{$pid};
    $ended++;
    start_worker() unless $is_stopping;
    $loop->stop if $is_stopping && !%workers;
    return;
}
sub worker {
    alarm 60;
    my $in_worker = eval $any or die;
    $in_worker == $loop and die "the master's loop";
    $in_worker->watch_signal(TERM => sub { $in_worker->stop });
    $in_worker->watch_io(
        handle        => $listener,
        on_read_ready => sub { my $connection = $listener->accept or return; syswrite $connection, "$$\n" },
    );
    $in_worker->run;
    return 0;
}
sub stop {
    $is_stopping = 1;
    kill TERM => keys %workers;
    return;
}

# Asks, and kills who has answered.
sub client {
    alarm 60;
    for (1 .. 6) {
        my $pid;
        for my $try (1 .. 10) {
            my $connection = IO::Socket::INET->new(PeerAddr => $listener->sockhost, PeerPort => $listener->sockport) or die "connect: $!";
            $pid = readline $connection;
            last if defined $pid;    # else the one that accepted was just being killed
        }
        defined $pid or return 1;
        kill KILL => $pid;
    }
    return 0;
}

$loop->watch_signal($_ => \&stop) for qw(TERM INT);
start_worker() for 1 .. 3;
my $client_status;
$loop->fork(code => \&client, on_exit => sub { $client_status = $_[1]; kill INT => $$ });
$loop->run;
print "client $client_status, forked $forked, ended $ended, left ", children_left() || 'none', "\n";
EOP

each_loop sub {
    my ($new, $kind) = @_;
    my $any    = $kind->{is_io_async} ? 'IO::Async::Loop->new' : 'EventLoop::Fork::Loop->new';
    my $result = run_program($program, $kind->{source}, $any);
    is [ @$result{qw(stderr status)} ], [ '', 0 ], 'the server ends without a complaint';
    like $result->{stdout}, qr/\Aclient 0, forked ([0-9]+), ended \1, left none\n\z/,
        'every request is answered, every worker is reaped';
    # Those that are killed last may not be replaced any more.
    cmp_ok + ($result->{stdout} =~ /forked ([0-9]+)/)[0], '>=', 6, 'and replaced';
};

control "with perl's fork a worker gets the loop of its master", ['IO::Async::Loop::Poll'],
    qr/\Athe loop of the master\n\z/, <<'EOP';
use strict;
use IO::Async::Loop;
use IO::Async::Loop::Poll;
$| = 1;
my $loop = IO::Async::Loop::Poll->new;
my $pid = fork;
if (!$pid) { print IO::Async::Loop->new == $loop ? "the loop of the master\n" : "a new loop\n"; exit }
waitpid $pid, 0;
EOP

done_testing;
