# The system has no more processes or descriptors, for real: RLIMIT_NPROC and RLIMIT_NOFILE, on every loop. The supervisor
# waits, and goes on when there are some again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use LimitTest qw(RLIMIT_NOFILE RLIMIT_NPROC can_limit set_limit);
use SupervisorTest;
use Test2::V0;

skip_all 'how to set limits is known for Linux on 64 bits only' unless can_limit();

# VTALRM sets the limit in the supervisor, WINCH takes it back; each is answered.
pipe my $answers, my $answer or die "pipe: $!";

sub obey_signals {
    my ($what, $soft) = @_;
    my $before;
    $SIG{VTALRM} = sub { $before = set_limit($what, $soft); syswrite $answer, 'x' };
    $SIG{WINCH}  = sub { set_limit($what, $before);         syswrite $answer, 'x' };
    return;
}

sub ask {
    my ($supervisor, $signal) = @_;
    $supervisor->signal($signal);
    return IO::Select->new($answers)->can_read(SupervisorTest::BOUND) && sysread $answers, my $text, 1;
}

# A user of whom no process runs: the limit is about all that a user has.
sub free_user {
    my %is_used = map { $_ => 1 } map { (stat)[4] // () } glob '/proc/[0-9]*';
    my ($uid) = grep { !$is_used{$_} && !defined getpwuid $_ } map { 61_000 + ($$ + $_) % 3_000 } 0 .. 100;
    return $uid;
}

sub become {
    my ($uid) = @_;
    POSIX::setgid($uid);
    POSIX::setuid($uid);
    $> == $uid or die "setuid: $!\n";
    @INC = grep { ref || -x } @INC;   # it may not get into this checkout, and perl gives up at the first it cannot read
    return;
}

sub serve {
    my ($worker) = @_;
    my @files = map { open my $file, '<', '/dev/null' or die "no descriptors: $!\n"; $file } 1 .. 10;
    $worker->ready;
    SupervisorTest::run_loop($worker);
    return 0;
}

for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    my @common =
        (loop_of => $loop_of, workers => 2, respawn_delay => 0.02, respawn_delay_max => 0.1, worker => \&serve);

    subtest "$name: no more processes" => sub {
        my $uid = $> == 0 ? free_user() : undef;
        skip_all 'RLIMIT_NPROC does not bind root, and only root can be somebody of whom nothing else runs'
            unless defined $uid;
        # For itself and one worker.
        my $become     = sub { become($uid); obey_signals(RLIMIT_NPROC, 2) };
        my $supervisor = SupervisorTest->start(@common, once_made => $become);
        my @ready      = $supervisor->wait_for_count(worker_ready => 2);
        is(scalar @ready, 2, 'ready') or return;
        ok(ask($supervisor, 'VTALRM'), 'the limit is set');
        kill KILL => $ready[0]{pid};
        my @failed = $supervisor->wait_for_count(spawn_failed => 3);
        like(@failed && $failed[-1]{reason}, qr/cannot fork: .*limit on processes/, 'forks fail, and why is told');
        is([ $supervisor->workers ], [ $ready[1]{pid} ], 'the other worker serves on');
        ok(ask($supervisor, 'WINCH'), 'the limit is gone');
        my $again = $supervisor->wait_for('worker_ready');
        is($again && $again->{slot}, $ready[0]{slot}, 'the place is filled as soon as it can be');
        is([ grep { $_->{event} =~ /breaker|halted/ } $supervisor->events ], [], 'that was no crash of a worker');
        is($supervisor->finish, 0, 'exit code');
        ok($supervisor->is_gone, 'no process is left');
    };

    # The process descriptor of the new worker is refused, too: its end is noticed nevertheless.
    subtest "$name: no more descriptors" => sub {
        my $supervisor = SupervisorTest->start(@common, before => sub { obey_signals(RLIMIT_NOFILE, 9) });
        my @ready      = $supervisor->wait_for_count(worker_ready => 2);
        is(scalar @ready, 2, 'ready') or return;
        ok(ask($supervisor, 'VTALRM'), 'the limit is set');
        kill KILL => $ready[0]{pid};
        is($supervisor->wait_for('worker_exited')->{pid}, $ready[0]{pid}, 'a worker ends');
        for (1 .. 2) {
            my $failed = $supervisor->wait_for(sub { $_[0]{event} =~ /\A(?:spawn_failed|worker_exited)\z/ });
            ok($failed, 'another one cannot start: ' . ($failed ? $failed->{reason} : 'no event'));
        }
        ok((grep { $_ == $ready[1]{pid} } $supervisor->workers), 'the one beside it serves on');
        ok(ask($supervisor, 'WINCH'), 'the limit is gone');
        my $again = $supervisor->wait_for('worker_ready');
        is($again && $again->{slot}, $ready[0]{slot}, 'the place is filled when it can be') or return;
        kill KILL => $again->{pid};
        ok($supervisor->wait_for('worker_ready'), 'and filled again');
        is($supervisor->finish, 0, 'exit code');
        ok($supervisor->is_gone, 'no process is left');
    };
}

done_testing;
