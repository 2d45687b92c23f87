# Workers do not outlive their supervisor, however it ends, nor serve on after it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

my %WORKERS = (
    'in a loop' => sub { my ($worker) = @_; $worker->ready; $worker->loop->run; 0 },
    'without a loop, waiting for connections' => sub {
        my ($worker) = @_;
        my ($socket) = $worker->listeners;
        $socket->blocking(1);
        $worker->ready;
        until ($worker->stopping) { accept my $connection, $socket }
        return 0;
    },
);

for my $how (sort keys %WORKERS) {
    subtest $how => sub {
        my $supervisor = SupervisorTest->start(workers => 3, listen => ['127.0.0.1:0'], worker => $WORKERS{$how});
        $supervisor->wait_for_count(worker_ready => 3);
        $supervisor->signal('KILL');
        is($supervisor->exit_code, 'signal 9', 'the supervisor is killed');
        ok($supervisor->is_gone, 'its workers have gone by themselves');
    };
}

done_testing;
