# A thread of the program gets no copy of a supervisor: the end of the copy would be that of the workers.

use strict;
use warnings;

use Config;
use Test2::V0;

BEGIN { skip_all 'this perl has no threads' unless $Config{useithreads} }

# A program of its own: Test2 has a say in the threads of those that load it.
my $program = <<'END';
use strict;
use warnings;
use threads;
use EventLoop::Fork::Supervisor;

alarm 60;
$| = 1;
my $first;
my $supervisor;
$supervisor = EventLoop::Fork::Supervisor->new(
    workers  => 1,
    worker   => sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 },
    on_event => sub {
        my ($event, $handle) = @_;
        return if $event->{event} ne 'worker_ready';
        return $supervisor->stop if $first;
        $first = $event->{pid};
        threads->create(sub { return 1 })->join;
        kill USR2 => $first;
    },
    on_worker_exited => sub { print "$_[0]{reason}\n" },
);
print 'exit code ', $supervisor->run, "\n";
END

open my $output, '-|', $^X, (map { "-I$_" } grep { !ref } @INC), '-e', $program or die "$^X: $!";
my @lines = readline $output;
close $output;
is($?, 0, 'the program ends well');
is(
    \@lines, [ "killed by SIGUSR2\n", "exit 0\n", "exit code 0\n" ],
    'the thread ended no worker, and the supervisor went on'
);

done_testing;
