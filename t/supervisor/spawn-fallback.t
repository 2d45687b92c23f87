# Workers that die of faults after a fork, and only then, are started by spawn.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EventLoop::Fork::Scoreboard;
use File::Temp  ();
use JSON::PP    ();
use ProcessTest qw(write_file);
use SupervisorTest;
use Test2::V0;

my $folder = File::Temp->newdir;
my $flag   = "$folder/mended";

sub put { return write_file("$folder/$_[0]", $_[1]) }

# As a library that has threads: what its parent has begun cannot go on in a child.
put('EvfCrashingSDK.pm', <<"PERL");
package EvfCrashingSDK;
my \$pid = \$\$;
sub call { kill SEGV => \$\$ if \$pid != \$\$ && !-e '$flag'; return 1 }
1;
PERL
my $app = put('app.pl', <<'PERL');
use EvfCrashingSDK;
sub { my ($worker) = @_; EvfCrashingSDK::call(); $worker->ready; $worker->loop->run; return 0 };
PERL

sub start {
    my (%options) = @_;
    unlink $flag;
    return SupervisorTest->start(
        workers       => 2,
        app           => $app,
        crash_limit   => 3,
        crash_window  => 300,
        respawn_delay => 0.01,
        before        => sub { unshift @INC, "$folder"; require EvfCrashingSDK },
        %options,
    );
}

sub info { return JSON::PP->new->decode(EventLoop::Fork::Scoreboard->open("$folder/status")->header->{info}) }

subtest 'it gets up' => sub {
    my $supervisor = start(status_file => "$folder/status");
    my $changed    = $supervisor->wait_for('start_method_changed');
    is($changed->{method}, 'spawn', 'the start method changes');
    like($changed->{reason}, qr/\Akilled by SIGSEGV/, 'and why is told');
    my $events = join ' ', map { $_->{event} } $supervisor->events;                  # the next may be there, too
    my $deaths = () = $events =~ s/ start_method_changed.*//r =~ /worker_exited/g;
    is($deaths, 3, 'after three deaths');
    is(scalar @{ [ $supervisor->wait_for_count(worker_ready => 2) ] }, 2, 'both workers are there');
    is([ @{ info() }{qw(start_method start_wanted)} ], [ 'spawn', 'fork' ], 'the status knows');
    kill KILL => ($supervisor->workers)[0];
    ok($supervisor->wait_for('worker_ready'), 'one that dies is replaced');

    $supervisor->signal('HUP');
    is($supervisor->wait_for('start_method_changed')->{method}, 'fork', 'a reload tries fork again');
    my $again = $supervisor->wait_for('start_method_changed');
    is($again->{method}, 'spawn', 'and one death is enough');
    ok($supervisor->wait_for('reloaded'), 'the reload goes on');
    is([ map { $_->{event} } grep { $_->{event} eq 'reload_failed' } $supervisor->events ], [], 'none has failed');

    put('mended', '');
    $supervisor->signal('HUP');
    is($supervisor->wait_for('start_method_changed')->{method}, 'fork', 'fork once more');
    ok($supervisor->wait_for('reloaded'), 'reloaded');
    is(info()->{start_method}, 'fork', 'it stays with fork when that works');
    is($supervisor->finish, 0, 'exit code');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'not allowed' => sub {
    my $supervisor = start(spawn_fallback => 0);
    is($supervisor->exit_code, 2, 'nothing could start');
    is([ grep { $_->{event} eq 'start_method_changed' } $supervisor->events ], [], 'by fork alone');

    $supervisor = start(spawn_fallback => 0, workers => 1, before => sub { unshift @INC, "$folder" });
    my $ready = $supervisor->wait_for('worker_ready');    # it has loaded the library itself
    ok($ready, 'one serves');
    $supervisor->finish;

    put('mended', '');
    my $once = "$folder/once";
    $supervisor = start(
        spawn_fallback => 0,
        workers        => 1,
        app            => put(
            'once.pl',
            "sub { my (\$worker) = \@_; kill SEGV => \$\$ if -e '$once'; open my \$file, '>', '$once'; \$worker->ready; \$worker->loop->run; 0 };"
        ),
    );
    $ready = $supervisor->wait_for('worker_ready');
    kill KILL => $ready->{pid};
    is($supervisor->exit_code, 3, 'nothing starts any more');
    is([ grep { $_->{event} eq 'start_method_changed' } $supervisor->events ], [], 'by fork alone');
};

subtest 'not possible' => sub {
    my $supervisor = start(app => undef, worker => sub { kill SEGV => $$ });
    is($supervisor->exit_code, 2, 'code cannot be passed on');
    is([ grep { $_->{event} eq 'start_method_changed' } $supervisor->events ], [], 'by fork alone');
    $supervisor = start(app => put('killed.pl', 'sub { kill KILL => $$; sleep 1 };'));
    is($supervisor->exit_code, 2, 'killed by somebody, or for want of memory');
    is([ grep { $_->{event} eq 'start_method_changed' } $supervisor->events ], [], 'by fork alone');
    # In a new perl a sanitizer would have its own handler.
    $supervisor =
        start(app => put('dies.pl', 'sub { $SIG{SEGV} = "DEFAULT"; kill SEGV => $$; sleep 1 };'), workers => 1);
    is($supervisor->wait_for('start_method_changed')->{method}, 'spawn', 'where spawn does not help');
    is($supervisor->exit_code, 2, 'it is over as well');
    is(scalar(grep { $_->{event} eq 'worker_exited' } $supervisor->events), 6, 'after as many deaths again');
};

done_testing;
