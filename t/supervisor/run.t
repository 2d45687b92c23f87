# Workers are started, kept alive, and stopped; nothing is left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

sub serve { my ($worker) = @_; $worker->loop; $worker->ready; $worker->loop->run; return 0 }

subtest 'start, ready, stop' => sub {
    my $supervisor = SupervisorTest->start(workers => 3, worker => \&serve);
    my @ready      = $supervisor->wait_for_count(worker_ready => 3);
    is([ sort map { $_->{slot} } @ready ], [ 0, 1, 2 ], 'a worker in each slot');
    is([ map { $_->{generation} } @ready ], [ 1, 1, 1 ], 'all of the first generation');
    is($supervisor->finish, 0, 'TERM: exit code 0');
    my @exited = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is([ map { $_->{reason} } @exited ], [ ('exit 0') x 3 ], 'each worker has left by itself');
    is(($supervisor->events)[-1]{event}, 'stopped', 'the last event');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'a worker that dies is replaced, in its slot' => sub {
    my $supervisor = SupervisorTest->start(workers => 2, worker => \&serve);
    my @ready      = $supervisor->wait_for_count(worker_ready => 2);
    my ($victim)   = grep { $_->{slot} == 1 } @ready;
    kill KILL => $victim->{pid};
    my $exited = $supervisor->wait_for('worker_exited');
    is([ @$exited{qw(pid slot reason)} ], [ $victim->{pid}, 1, 'killed by SIGKILL' ], 'its end is told');
    my $new = $supervisor->wait_for('worker_ready');
    is($new->{slot}, 1, 'the new one has its slot');
    isnt($new->{pid}, $victim->{pid}, 'and another pid');
    is($supervisor->finish, 0, 'exit code');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'siblings draw different numbers' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 2,
        before  => sub { rand },
        worker  => sub { my ($worker) = @_; $worker->ready; die sprintf "drew %.12f\n", rand },
    );
    my @exited = $supervisor->wait_for_count(worker_exited => 2);
    my %drawn  = map { $_->{reason} =~ /drew (\S+)/ ? ($1 => 1) : () } @exited;
    is(scalar keys %drawn, 2, 'two workers, two numbers');
    $supervisor->finish;
};

# Does not leave when it is asked to.
sub stay {
    my ($worker) = @_;
    $worker->on_stop(sub { });
    $worker->ready;
    $worker->loop->run;
    return 0;
}

subtest 'a second signal does not wait' => sub {
    my $supervisor = SupervisorTest->start(
        workers          => 1,
        graceful_timeout => 600,
        worker           => \&stay,
    );
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('TERM');
    ok($supervisor->wait_for('worker_draining'), 'the worker is asked, and stays');
    $supervisor->signal('INT');
    is($supervisor->exit_code, 0, 'the supervisor ends');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited->{reason}, 'killed by SIGKILL', 'its worker was killed');
};

subtest 'graceful_timeout' => sub {
    my $supervisor = SupervisorTest->start(
        workers          => 1,
        graceful_timeout => 0.2,
        worker           => \&stay,
    );
    $supervisor->wait_for('worker_ready');
    is($supervisor->finish, 0, 'the supervisor ends by itself');
    my ($killed) = grep { $_->{event} eq 'worker_killed' } $supervisor->events;
    is($killed->{cause}, 'graceful timeout', 'the worker was killed, and why is told');
};

subtest 'several supervisors in one process, and others on their loop' => sub {
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $reader;
        require EventLoop::Fork::Supervisor;
        my $loop  = EventLoop::Fork::Loop->new;
        my $ready = 0;
        my $ticks = 0;
        my @supervisors;
        my $tick;
        $tick = sub { $ticks++; $loop->watch_time(after => 0.01, code => $tick) };
        $tick->();
        @supervisors = map {
            EventLoop::Fork::Supervisor->new(
                loop     => $loop,
                name     => "number $_",
                workers  => 2,
                worker   => \&serve,
                on_event => sub {
                    my ($event) = @_;
                    $ready++ if $event->{event} eq 'worker_ready';
                    kill TERM => $$ if $ready == 4 && $event->{event} eq 'worker_ready';    # for both
                    $loop->stop if $event->{event} eq 'stopped' && 1 == grep { $_->is_running } @supervisors;
                },
            )
        } 1, 2;
        $_->start for @supervisors;
        $loop->run;
        syswrite $writer, join ' ', $ready, $ticks > 0 ? 'ticks' : 'none', map { $_->exit_code } @supervisors;
        POSIX::_exit(0);
    }
    close $writer;
    my $told = do { local $/; <$reader> };
    waitpid $pid, 0;
    is($told, '4 ticks 0 0', 'both ran, both stopped, the loop had time for others');
};

subtest 'an exception out of run' => sub {
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $reader;
        alarm SupervisorTest::BOUND;
        require EventLoop::Fork::Supervisor;
        my $loop = EventLoop::Fork::Loop->new;
        my $supervisor =
            EventLoop::Fork::Supervisor->new(loop => $loop, workers => 1, worker => \&serve, on_event => sub { });
        $loop->watch_time(after => 0.01, code => sub { die "somebody else's\n" });
        syswrite $writer, eval { $supervisor->run; 1 } ? 'returned ' : "threw $@";
        syswrite $writer, $supervisor->is_running      ? 'runs '     : 'ended ';
        $loop->watch_time(after => 0.01, code => sub { $supervisor->stop });
        my $wait;
        $wait = sub {
            return $loop->watch_time(after => 0.01, code => $wait) if $supervisor->is_running;
            $loop->watch_time(after => 0.05, code => sub { syswrite $writer, 'goes on'; $loop->stop });
        };
        $wait->();
        $loop->run;
        POSIX::_exit(0);
    }
    close $writer;
    my $told = do { local $/; readline $reader };
    waitpid $pid, 0;
    is($told, "threw somebody else's\nruns goes on", 'it runs, and does not stop a loop that it does not run');
};

subtest 'what cannot be put away keeps nobody' => sub {
    my $folder     = File::Temp->newdir;
    my $supervisor = SupervisorTest->start(
        workers  => 1,
        worker   => \&serve,
        pid_file => "$folder/pid",
        stderr   => "$folder/log",
        before   => sub {
            require EventLoop::Fork::Supervisor;
            no warnings qw(redefine once);
            *EventLoop::Fork::Supervisor::PidFile::remove = sub { die "the disk is gone\n" };
        },
    );
    $supervisor->wait_for('worker_ready');
    is($supervisor->finish, 0, 'it ends');
    open my $log, '<', "$folder/log" or die "$folder/log: $!";
    like(join('', readline $log), qr/the disk is gone/, 'and says what failed');
};

subtest 'an app that is no file' => sub {
    require EventLoop::Fork::Supervisor;
    my $refusal = sub {
        my ($app) = @_;
        dies { EventLoop::Fork::Supervisor->new(app => $app) }->message;
    };
    is($refusal->('/dev/null'), q('/dev/null' is not a file), 'a device');
    is($refusal->($FindBin::Bin), "'$FindBin::Bin' is a folder", 'a folder');
    is($refusal->('./is-not-there'), q(there is no file './is-not-there'), 'nothing');
};

done_testing;
