# Workers do not outlive their supervisor, however it ends, nor serve on after it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use IO::Select;
use SupervisorTest;
use Test2::V0;

my %WORKERS = (
    'in a loop'                               => \&SupervisorTest::serve,
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

subtest 'without a loop, in the middle of a request' => sub {
    my $folder = File::Temp->newdir;
    pipe my $started, my $start   or die "pipe: $!";
    pipe my $orphaned, my $orphan or die "pipe: $!";
    my $supervisor = SupervisorTest->start(
        workers => 1,
        worker  => sub {
            my ($worker) = @_;
            close $orphan;
            $worker->on_stop(sub { open my $file, '>', "$folder/on_stop" });
            $worker->ready;
            my $term = $SIG{TERM};
            local $SIG{TERM} = sub { $term->(@_); syswrite $start, '.' };
            syswrite $start, '.';
            # A request that lasts until the supervisor is gone. Perl's handlers run between two looks.
            1 until IO::Select->new($orphaned)->can_read(0.05);
            open my $file, '>', "$folder/request";
            1 until $worker->stopping;
            return 0;
        },
    );
    sysread $started, my $text, 1;
    $supervisor->signal('KILL');
    waitpid $supervisor->pid, 0;
    # TERM comes first, where the kernel sends it.
    IO::Select->new($started)->can_read(SupervisorTest::BOUND) if $^O eq 'linux';
    close $orphan;
    ok($supervisor->is_gone, 'the worker has gone by itself');
    is(
        [ map { -e "$folder/$_" ? 1 : 0 } qw(request on_stop) ], [ 1, 1 ],
        'it finished what it had, and stopped as asked'
    );
};

done_testing;
