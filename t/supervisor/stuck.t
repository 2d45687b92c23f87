# A worker whose loop does not turn any more is found, examined and replaced; one that is idle, or a process that did not
# run for a while, is left alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ForkTest qw(is_stopped);
use SupervisorTest;
use Test2::V0;

my $timeout = SupervisorTest::SLOW ? 6 : 0.5;

my %HANGS = (
    'an endless loop' => sub { my $turns = 0; $turns++ while 1 },    # LOOP
    'a blocking call' => sub { sleep 1000              while 1 },    # SLEEP
);
my %MARKS = ('an endless loop' => 'LOOP', 'a blocking call' => 'SLEEP');

sub line_of {
    my ($mark) = @_;
    open my $file, '<', __FILE__ or die __FILE__ . ": $!";
    while (<$file>) { return $. if /# $mark\s*\z/ }
    die "no $mark";
}

for my $how (sort keys %HANGS) {
    subtest $how => sub {
        my $supervisor = SupervisorTest->start(
            workers           => 1,
            heartbeat_timeout => $timeout,
            worker            => sub {
                my ($worker) = @_;
                $worker->loop->watch_time(after => 0.01, code => $HANGS{$how}) if $worker->generation == 1;
                $worker->ready;
                $worker->loop->run;
                return 0;
            },
        );
        my $stuck = $supervisor->wait_for('worker_stuck');
        ok($stuck, 'is found') or return;
        my $line = line_of($MARKS{$how});
        like($stuck->{place}, qr/stuck\.t line $line\b/, 'with the place');
        cmp_ok($stuck->{elapsed}, '>=', $timeout, 'not too early');
        my $exited = $supervisor->wait_for('worker_exited');
        is($exited->{reason}, 'killed by SIGKILL', 'killed');
        is($supervisor->finish, 0, 'exit code');
    };
}

subtest 'SIGSTOP, of an idle worker too' => sub {
    my $supervisor = SupervisorTest->start(
        workers           => 1,
        heartbeat_timeout => $timeout,
        worker            => \&SupervisorTest::serve,
    );
    my $ready = $supervisor->wait_for('worker_ready');
    kill STOP => $ready->{pid};
    my $exited = $supervisor->wait_for('worker_exited');
    is($exited->{reason}, 'killed by SIGKILL', 'killed');
    ok($supervisor->wait_for('worker_ready'), 'replaced');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'idle is not late; nor is a long call that asked for time' => sub {
    my $supervisor = SupervisorTest->start(
        workers           => 2,
        heartbeat_timeout => $timeout,
        worker            => sub {
            my ($worker) = @_;
            my $loop = $worker->loop;
            if ($worker->slot == 1) {
                $loop->watch_time(
                    after => 0.01,
                    code  => sub {
                        $worker->extend_deadline(600);
                        my $end = SupervisorTest::now() + 4 * $timeout;
                        select undef, undef, undef, 0.1 while SupervisorTest::now() < $end;
                        die "has lived\n";
                    },
                );
            }
            $worker->ready;
            $loop->run;
            return 0;
        },
    );
    my $exited = $supervisor->wait_for('worker_exited');
    like($exited->{reason}, qr/has lived/, 'the one with more time used it, and ended by itself');
    is([ grep { $_->{event} eq 'worker_stuck' } $supervisor->events ], [], 'nobody was stuck');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'a supervisor that was stopped itself kills nobody' => sub {
    my $supervisor = SupervisorTest->start(
        workers           => 2,
        heartbeat_timeout => $timeout,
        worker            => \&SupervisorTest::serve,
    );
    my @workers = map { $_->{pid} } $supervisor->wait_for_count(worker_ready => 2);
    kill STOP => $supervisor->pid, @workers;
    is_stopped($_) for $supervisor->pid, @workers;
    select undef, undef, undef, $timeout + 1.5;    # the time itself is what is tested
    kill CONT => $supervisor->pid, @workers;
    ok($supervisor->wait_for('suspended'), 'it has noticed');
    is($supervisor->finish, 0, 'exit code');
    is([ grep { $_->{event} =~ /stuck|killed/ } $supervisor->events ], [], 'nobody was killed');
};

done_testing;
