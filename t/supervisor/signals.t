# A signal at the worst moments is obeyed, on every loop: while the supervisor opens what it needs, and when it is done with
# an event and only has to set its timer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

use EventLoop::Fork::Supervisor;

# Sends itself a TERM when that function is called, as soon as the code is true of the supervisor; once.
sub term_in {
    my ($function, $is_time) = @_;
    return sub {
        no strict 'refs';
        no warnings 'redefine';
        my $original = \&$function;
        my $is_done;
        *$function = sub {
            kill TERM => $$ if $is_time->($_[0]) && !$is_done++;
            return $original->(@_);
        };
    };
}

my @MOMENTS = (
    [ 'while it opens', term_in('EventLoop::Fork::Supervisor::_bind', sub { 1 }) ],
    [ 'after an event', term_in('EventLoop::Fork::Supervisor::Driver::_arm', sub { $_[0]{machine}->pool->{ready} }) ],
);

for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    for my $moment (@MOMENTS) {
        my ($when, $before) = @$moment;
        my $supervisor = SupervisorTest->start(
            before            => $before,
            loop_of           => $loop_of,
            workers           => 1,
            heartbeat_timeout => 0,                         # no timer comes to help
            worker            => \&SupervisorTest::serve,
        );
        is($supervisor->exit_code(bound => SupervisorTest::BOUND / 4), 0, "$name: TERM $when");
    }
}

# A program that cannot be started again, here for its folder, goes on. restart.t has those that can.
for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    my $stderr     = File::Temp->new;
    my $supervisor = SupervisorTest->start(
        before  => sub { $EventLoop::Fork::Supervisor::Restart::Program::start{folder} = '/no/such/folder' },
        stderr  => "$stderr",
        loop_of => $loop_of,
        workers => 1,
        worker  => \&SupervisorTest::serve,
    );
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('USR2');
    my $answer = $supervisor->wait_for('restart_failed');
    ok($answer, "$name: USR2 is answered");
    $supervisor->signal('TTIN');
    ok($supervisor->wait_for('worker_ready'), "$name: and the supervisor goes on");
    is($supervisor->finish, 0, "$name: until it is stopped");
    is(
        [ map { $_->{reason} } grep { $_->{event} eq 'worker_exited' } $supervisor->events ], [ ('exit 0') x 2 ],
        "$name: so do the workers"
    );
    my @lines = readline $stderr;
    is(scalar @lines, 0, "$name: nothing in the log, which has the events that nobody takes") or diag @lines;
    like($answer->{reason}, qr{folder '/no/such/folder'.*is gone}, "$name: says why nothing happens");
}

# Between the fork and the worker's own handlers. What a loop of the parent has blocked for itself is let in by the fork.
for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    my $supervisor = SupervisorTest->start(
        before => sub {
            our $hook = EventLoop::Fork::at_fork(name => 'early', child => sub { kill $_ => $$ for qw(INT HUP USR1) });
        },
        loop_of => $loop_of,
        workers => 1,
        worker  => \&SupervisorTest::serve,
    );
    my $first = $supervisor->wait_for(sub { $_[0]{event} =~ /ready|exited/ });
    is($first->{event}, 'worker_ready', "$name: INT, HUP and USR1 in its first moment end no worker");
    $supervisor->finish;
}

# A child of a worker, by whatever fork, is no worker: it would take a TERM for a request to stop, and have nothing to stop.
for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    pipe my $reader, my $writer or die "pipe: $!";
    my $supervisor = SupervisorTest->start(
        loop_of => $loop_of,
        workers => 1,
        worker  => sub {
            my ($worker) = @_;
            my $loop = $worker->loop;
            $worker->ready;
            my $pid = fork // die "fork: $!";
            if (!$pid) {
                syswrite $writer, '.';
                select undef, undef, undef, 0.1 for 1 .. 10 * SupervisorTest::BOUND;
                POSIX::_exit(1);
            }
            close $writer;
            sysread $reader, my $text, 1;
            kill TERM => $pid;
            waitpid $pid, 0;
            die 'its child: ', $? & 127, "\n";
        },
        crash_limit   => 1,
        respawn_delay => 600,
    );
    my $exited = $supervisor->wait_for('worker_exited');
    is($exited->{reason}, 'exception: its child: 15', "$name: TERM ends the child of a worker");
    $supervisor->finish;
}

done_testing;
