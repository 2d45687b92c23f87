# HUP: new workers first, then the old ones leave; broken code costs nobody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

subtest 'rolling' => sub {
    my $supervisor = SupervisorTest->start(workers => 3, worker => \&SupervisorTest::serve);
    my @old        = map { $_->{pid} } $supervisor->wait_for_count(worker_ready => 3);
    my $from       = () = $supervisor->events;
    $supervisor->signal('HUP');
    ok($supervisor->wait_for('reloaded'), 'reloaded');
    my @events = ($supervisor->events)[ $from .. ($supervisor->events) - 1 ];
    is(
        [ grep { $_->{event} =~ /ready|started|draining|exited/ && $_->{ready} < 3 } @events ], [],
        'always three ready'
    );
    my $new = grep { $_->{event} eq 'worker_ready' && $_->{generation} == 2 } @events;
    is($new, 3, 'three new workers of the next generation');
    my %is_old = map { $_ => 1 } @old;
    is([ grep { $is_old{$_} } $supervisor->workers ], [], 'no old one is left');
    my $pairs = 0;

    for my $event (@events) {
        $pairs++                            if $event->{event} eq 'worker_started';
        $pairs--                            if $event->{event} eq 'worker_exited';
        fail("$pairs replacements at once") if $pairs > 1;
    }
    is($supervisor->finish, 0, 'exit code');
};

subtest 'broken code' => sub {
    my $folder = File::Temp->newdir;
    my $app    = "$folder/app.pl";
    my $write  = sub { open my $file, '>', $app or die "$app: $!"; print {$file} @_; close $file };
    $write->('sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');
    my $supervisor = SupervisorTest->start(workers => 2, app => $app);
    $supervisor->wait_for_count(worker_ready => 2);
    my @old = $supervisor->workers;
    $write->('this is not Perl;');
    $supervisor->signal('HUP');
    my $failed = $supervisor->wait_for('reload_failed');
    like($failed->{reason}, qr/app\.pl line 1/, 'the reason names the place');
    is([ $supervisor->workers ], \@old, 'not one old worker is lost');
    $write->('sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');
    $supervisor->signal('HUP');
    my $reloaded = $supervisor->wait_for('reloaded');
    ok($reloaded, 'mended code goes in');
    cmp_ok($reloaded->{generation}, '>', 2, 'under a number that nobody had');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'TTIN and TTOU' => sub {
    my $supervisor = SupervisorTest->start(workers => 1, worker => \&SupervisorTest::serve);
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('TTIN');
    my $second = $supervisor->wait_for('worker_ready');
    is($second->{slot}, 1, 'a worker more');
    $supervisor->signal('TTOU');
    my $exited = $supervisor->wait_for('worker_exited');
    is($exited->{pid}, $second->{pid}, 'the youngest goes');
    $supervisor->signal('TTOU');
    is($supervisor->wait_for('resized')->{count}, 1, 'never below one');
    $supervisor->signal('TTIN');
    is($supervisor->wait_for('worker_ready')->{slot}, 1, 'its number is free again');
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
