# A hook that ends worker after worker is left out, if it may be; otherwise there are the other ways out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EventLoop::Fork::Command::Snapshot;
use File::Temp  ();
use ProcessTest qw(write_file);
use SupervisorTest;
use Test2::V0;

my $folder = File::Temp->newdir;
my $mended = "$folder/mended";

# Which hooks there are: name, on_failure, what it does in the child, and before the fork.
sub start {
    my ($hooks, %options) = @_;
    unlink $mended;
    return SupervisorTest->start(
        workers       => 1,
        crash_limit   => 3,
        crash_window  => 300,
        respawn_delay => 0.01,
        worker        => \&SupervisorTest::serve,
        before        => sub {
            require EventLoop::Fork;
            for my $hook (@$hooks) {
                my ($name, $on_failure, $child, $prepare) = @$hook;
                EventLoop::Fork::at_fork(
                    name => $name, on_failure => $on_failure, child => $child,
                    $prepare ? (prepare => $prepare) : ()
                );
            }
        },
        %options,
    );
}

my $dies  = sub { kill SEGV => $$ if !-e $mended };
my $lives = sub { };

subtest 'one that may be' => sub {
    my $path       = "$folder/status";
    my $supervisor = start([ [ 'first', 'skip', $lives ], [ 'flags', 'skip', $dies ] ], status_file => $path);
    my $skipped    = $supervisor->wait_for('hook_skipped');
    like($skipped->{hook}, qr/\A'flags' \(\S+ line \d+\)\z/, 'which');
    like($skipped->{reason}, qr/\Akilled by SIGSEGV .* in child hook 'flags'/, 'and why');
    ok($supervisor->wait_for('worker_ready'), 'the workers get up');
    is(scalar(grep { $_->{event} eq 'worker_exited' } $supervisor->events), 3, 'after so many');
    my $data = EventLoop::Fork::Command::Snapshot->new($path)->take;
    is($data->{skipped_hooks}, [ $skipped->{hook} ], 'the status knows');
    kill KILL => ($supervisor->workers)[0];
    ok($supervisor->wait_for('worker_ready'), 'one that dies is replaced');

    $supervisor->signal('HUP');
    ok($supervisor->wait_for('hook_skipped'), 'a reload tries it again, and one death is enough');
    ok($supervisor->wait_for('reloaded'), 'the reload goes on');
    write_file($mended, '');
    $supervisor->signal('HUP');
    ok($supervisor->wait_for('reloaded'), 'when it is mended');
    is(EventLoop::Fork::Command::Snapshot->new($path)->take->{skipped_hooks}, [], 'it takes part again');
    is($supervisor->finish, 0, 'exit code');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'one that hangs' => sub {
    my $supervisor = start([ [ 'flags', 'skip', sub { sleep 600 while 1 } ] ], startup_timeout => 0.1);
    like(
        $supervisor->wait_for('hook_skipped')->{reason}, qr/\Akilled by SIGKILL .* in child hook 'flags'/,
        'is left out'
    );
    $supervisor->finish;
};

subtest 'one that may not be' => sub {
    my $supervisor = start([ [ 'flags', 'report', $dies ] ]);
    is($supervisor->exit_code, 2, 'nothing could start');
    is([ grep { $_->{event} eq 'hook_skipped' } $supervisor->events ], [], 'nothing is left out');
};

subtest 'not the same one' => sub {
    my $forks = 0;
    my @hooks = map {
        my $mine = $_;
        [ "hook $mine", 'skip', sub { kill SEGV => $$ if $forks % 2 == $mine } ]
    } 0, 1;
    my $supervisor = start([ @hooks, [ 'count', 'report', sub { }, sub { $forks++ } ] ]);
    is($supervisor->exit_code, 2, 'nothing could start');
    is([ grep { $_->{event} eq 'hook_skipped' } $supervisor->events ], [], 'nothing is left out');
};

subtest 'before spawn' => sub {
    my $app = write_file("$folder/app.pl", 'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');
    my $supervisor = start([ [ 'flags', 'skip', $dies ] ], worker => undef, app => $app);
    ok($supervisor->wait_for('worker_ready'), 'the workers get up');
    is(
        [ map { $_->{event} } grep { $_->{event} =~ /\A(?:hook_skipped|start_method_changed)\z/ } $supervisor->events ],
        ['hook_skipped'], 'it is the first way out'
    );
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
