# Workers that do not start, or die soon: back-off, the breaker, exit codes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

my %QUICK = (respawn_delay => 0.01, respawn_delay_max => 0.05);

subtest 'nothing ever starts' => sub {
    my $supervisor = SupervisorTest->start(%QUICK, workers => 2, worker => sub { die "no database\n" });
    is($supervisor->exit_code, 2, 'exit code 2');
    my ($halted) = grep { $_->{event} eq 'halted' } $supervisor->events;
    is([ @$halted{qw(exit_code count)} ], [ 2, 5 ], 'after five failed starts');
    my @exited = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited[0]{reason}, 'exception: no database', 'the exception is the reason');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'a worker that returns without ready has failed' => sub {
    my $supervisor = SupervisorTest->start(%QUICK, workers => 1, worker => sub { 0 });
    is($supervisor->exit_code, 2, 'exit code 2');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited->{reason}, 'exit 2: returned without a call of ready', 'the reason');
};

subtest 'startup_timeout' => sub {
    my $supervisor = SupervisorTest->start(
        %QUICK,
        workers         => 1,
        startup_timeout => 0.1,
        crash_limit     => 2,
        worker          => sub { my ($worker) = @_; $worker->loop->run },
    );
    is($supervisor->exit_code, 2, 'exit code 2');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited->{cause}, 'startup timeout', 'the cause');
};

subtest 'one that hangs before it is a worker' => sub {
    my $supervisor = SupervisorTest->start(
        %QUICK,
        workers         => 1,
        startup_timeout => 0.1,
        crash_limit     => 1,
        before          => sub {
            require EventLoop::Fork;
            EventLoop::Fork::at_fork(name => 'hangs', child => sub { sleep 600 while 1 });
        },
        worker => sub { 0 },
    );
    my $stuck = $supervisor->wait_for('worker_stuck');
    is($stuck->{cause}, 'startup timeout', 'it is stuck');
    like($stuck->{place}, qr/failures\.t line \d+ \(sleep\)/, 'and it can be asked where');
    my $exited = $supervisor->wait_for('worker_exited');
    like(
        $exited->{reason},
        qr/\Akilled by SIGKILL [\d.]+ m?s after fork in child hook 'hangs' \(priority 50, registered at \S+ line \d+\)\z/,
        'the question where it stands does not end it, and the hook is named'
    );
    is($supervisor->exit_code, 2, 'exit code 2');
};

subtest 'it did start once, and does no more' => sub {
    my $folder     = File::Temp->newdir;
    my $supervisor = SupervisorTest->start(
        %QUICK,
        workers => 1,
        worker  => sub {
            my ($worker) = @_;
            die "broken now\n" if -e "$folder/broken";
            open my $file, '>', "$folder/broken";
            $worker->ready;
            return 1;
        },
    );
    is($supervisor->exit_code, 3, 'exit code 3');
    ok((grep { $_->{event} eq 'halted' } $supervisor->events), 'halted is told');
};

subtest 'a crash storm is slowed down' => sub {
    my $supervisor = SupervisorTest->start(
        respawn_delay     => 0.02,
        respawn_delay_max => 2,
        workers           => 1,
        worker            => sub { my ($worker) = @_; $worker->ready; return 1 },
    );
    my @started = $supervisor->wait_for_count(worker_started => 8);
    my @delays  = map { $_->{elapsed} } grep { $_->{event} eq 'backoff' } $supervisor->events;
    cmp_ok(scalar @delays, '>=', 6, 'all but the first death wait');
    cmp_ok($delays[0], '>=', 0.01, 'at least half of respawn_delay');
    is([ grep { $_ > 2 + 1e-6 } @delays ], [], 'never longer than respawn_delay_max');
    cmp_ok($delays[-1], '>=', 0.04, 'longer in the end');
    $supervisor->finish;
};

# What the machine has decided, however late a busy one acts on it. Failed starts are a row, however long each takes.
subtest 'respawn_delay_max is the longest delay' => sub {
    my $supervisor = SupervisorTest->start(
        respawn_delay     => 0.02,
        respawn_delay_max => 0.08,
        crash_limit       => 0,
        workers           => 1,
        worker            => sub { die "no database\n" },
    );
    my @delays = map { $_->{elapsed} } $supervisor->wait_for_count(backoff => 6);
    is(scalar @delays, 6, 'six wait; without a limit the last three for 0.16, 0.32 and 0.64 s, at least half');
    is([ grep { $_ > 0.08 + 1e-6 } @delays ], [], 'none longer than respawn_delay_max');
    is([ grep { $_ < 0.04 - 1e-6 } @delays[ 2 .. 5 ] ], [], 'from the third on at least half of it');
    $supervisor->finish;
};

subtest 'exit code 2 of a ready pool: the slot comes back later, the others serve' => sub {
    my $folder     = File::Temp->newdir;
    my $supervisor = SupervisorTest->start(
        %QUICK,
        workers => 2,
        worker  => sub {
            my ($worker) = @_;
            return 2 if $worker->slot == 1 && !-e "$folder/mended";
            $worker->ready;
            $worker->loop->run;
            return 0;
        },
    );
    ok($supervisor->wait_for(sub { $_[0]{event} eq 'worker_exited' && $_[0]{slot} == 1 }), 'slot 1 fails');
    ok($supervisor->wait_for('breaker_open'), 'the breaker opens: one is ready, so nothing halts');
    open my $file, '>', "$folder/mended" or die "$folder/mended: $!";
    ok($supervisor->wait_for(sub { $_[0]{event} eq 'worker_ready' && $_[0]{slot} == 1 }), 'slot 1 is not lost');
    ok($supervisor->wait_for('breaker_closed'), 'the breaker closes');
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
