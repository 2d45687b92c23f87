# What a supervisor binds reaches every worker, and goes with the supervisor only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use SupervisorTest;
use Test2::V0;

use constant CONNECTIONS => SupervisorTest::SLOW ? 50 : 400;

sub answer {
    my ($worker) = @_;
    my $accepted = $worker->counter('accepted');
    my $nothing  = $worker->counter('nothing there');
    for my $socket ($worker->listeners) {
        $worker->loop->watch_io(
            handle        => $socket,
            on_read_ready => sub {
                my $client = $socket->accept or return $nothing->add;
                $accepted->add;
                syswrite $client, $worker->slot . "\n";
            },
        );
    }
    $worker->ready;
    $worker->loop->run;
    return 0;
}

sub ask {
    my ($name) = @_;
    my $socket = $name =~ /\Aunix:(.*)/s ? IO::Socket::UNIX->new(Peer => $1) : IO::Socket::INET->new($name);
    return defined $socket ? readline $socket : "cannot connect to $name: $!";
}

for my $way ([ 'one socket for all', 0 ], [ 'a socket for each worker', 1 ]) {
    my ($name, $reuseport) = @$way;
    next if $reuseport && $^O ne 'linux';
    subtest $name => sub {
        my $folder     = File::Temp->newdir;
        my $supervisor = SupervisorTest->start(
            workers     => 4,
            listen      => ['127.0.0.1:0'],
            reuseport   => $reuseport,
            status_file => "$folder/status",
            worker      => \&answer,
        );
        $supervisor->wait_for_count(worker_ready => 4);
        my ($address) = $supervisor->names;
        my $answered = grep { ask($address) =~ /\A[0-3]\n\z/ } 1 .. CONNECTIONS;
        is($answered, CONNECTIONS, 'every connection is answered');
        require EventLoop::Fork::Scoreboard;
        my $board = EventLoop::Fork::Scoreboard->open("$folder/status");
        my @names = @{ $board->header->{counter_names} };
        my %sum;

        for my $row (map { $board->row(2 * $_) } 0 .. 3) {
            $sum{ $names[$_] } += $row->{counters}[$_] for 0 .. $#names;
        }
        is($sum{accepted}, CONNECTIONS, 'each by one worker');
        # One socket wakes all who wait for it, and how many come too late depends on who has a processor.
        is($sum{'nothing there'}, 0, 'and nobody was woken for nothing') if $reuseport;
        is($supervisor->finish, 0, 'exit code');
    };
}

subtest 'several, and a socket file' => sub {
    my $folder     = File::Temp->newdir;
    my $path       = "$folder/socket";
    my $supervisor = SupervisorTest->start(workers => 2, listen => [ '127.0.0.1:0', "unix:$path" ], worker => \&answer);
    my @ready      = $supervisor->wait_for_count(worker_ready => 2);
    for my $name ($supervisor->names) { like(ask($name), qr/\A[01]\n\z/, $name) }
    kill TERM => $ready[0]{pid};
    $supervisor->wait_for('worker_exited');
    ok(-S $path, 'the end of a worker leaves the file');
    is($supervisor->finish, 0, 'exit code');
    ok(!-e $path, 'the end of the supervisor does not');
};

subtest 'an address in use' => sub {
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!";
    my $port  = $taken->sockport;
    require EventLoop::Fork::Supervisor;
    my $supervisor = EventLoop::Fork::Supervisor->new(workers => 1, listen => ["127.0.0.1:$port"], worker => \&answer);
    my $error      = dies { $supervisor->start };
    isa_ok($error, 'EventLoop::Fork::Error');
    like($error->message, qr/127\.0\.0\.1:$port is in use/, 'says so');
    like($error->message, qr/by this process itself/, 'and by whom') if $^O eq 'linux';
    is($supervisor->is_running, 0, 'it does not run');
};

done_testing;
