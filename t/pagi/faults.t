# What went wrong with PAGI::Server's own workers, by the number of the observation, and does not here.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use LimitTest qw(RLIMIT_NOFILE can_limit set_limit);
use PAGITest;
use ProcessTest qw(wait_until write_file);
use ServerTest;
use SupervisorTest;
use Test2::V0;

needs_server('PAGI');
my $folder = $ServerTest::folder;
my @quiet  = (server_options => { access_log => undef });

sub read_file {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return readline($file) // '';
}

sub is_there {
    my ($name) = @_;
    return wait_until(sub { -e "$folder/$name" });
}
sub next_event { my ($supervisor, $name) = @_; return $supervisor->wait_for($name) || {} }

sub exits {
    return map { $_->{reason} } grep { $_->{event} eq 'worker_exited' } $_[0]->events;
}

subtest 'TERM during lifespan.startup (U1)' => sub {
    my $supervisor = start_server(
        'PAGI',
        app(
            startup  => q(note('u1-starting'); await until_there('u1-go'); note('u1-started'); return),
            shutdown => q(note('u1-ended'); return),
        ),
        workers => 1,
        @quiet
    );
    ok(is_there('u1-starting'), 'it is starting');
    $supervisor->signal('TERM');
    next_event($supervisor, 'worker_draining');
    write_file("$folder/u1-go", '');
    is($supervisor->exit_code, 0, 'exit code');
    is([ exits($supervisor) ], ['exit 0'], 'the worker has left by itself');
    ok(-e "$folder/u1-ended", 'after lifespan.shutdown');
};

subtest 'TERM while workers are being started (U2)' => sub {
    for my $started (1 .. 4) {
        my $supervisor = start_server('PAGI', app(), workers => 4, @quiet);
        $supervisor->wait_for_count(worker_started => $started);
        $supervisor->signal('TERM');
        is($supervisor->exit_code, 0, "after $started: exit code");
        ok($supervisor->is_gone, 'no process is left');
    }
};

subtest 'the supervisor is killed (U3)' => sub {
    my $supervisor = start_server('PAGI', app(shutdown => q(note('u3-ended'); return)), @quiet);
    $supervisor->wait_for_count(worker_ready => 2);
    $supervisor->signal('KILL');
    $supervisor->exit_code;
    ok($supervisor->is_gone, 'its workers leave');
    ok(-e "$folder/u3-ended", 'in order');
};

subtest 'a worker that drains (U4)' => sub {
    my $supervisor = start_server(
        'PAGI',
        app(pages => { '/slow' => q(note('u4-begun'); await until_there('u4-go'); return $$) }),
        workers => 1,
        @quiet
    );
    my $old  = next_event($supervisor, 'worker_ready')->{pid};
    my $slow = client($supervisor);
    $slow->get('/slow', 'Connection: close');
    ok(is_there('u4-begun'), 'a request is under way');
    $supervisor->signal('HUP');
    my $new = next_event($supervisor, 'worker_ready')->{pid};
    next_event($supervisor, 'worker_draining');
    # What the old one had accepted before it heard of it is still its own.
    ok(wait_until(sub { ask($supervisor, '/') eq "200 $new 0\n" }), 'another one answers');
    is([ map { ask($supervisor, '/') } 1 .. 20 ], [ ("200 $new 0\n") x 20 ], 'and it alone');
    write_file("$folder/u4-go", '');
    is($slow->response->{body}, "$old\n", 'the old one has finished what it had');
    is($supervisor->finish, 0, 'exit code');
    is([ exits($supervisor) ], [ ('exit 0') x 2 ], 'both have left by themselves');
};

subtest 'no descriptor is left (U5)' => sub {
    skip_all 'limits cannot be set here' if !can_limit();
    my $supervisor = start_server(
        'PAGI',
        app(
            before => q(my @files;),
            pages  => {
                '/fill' => q(while (open my $file, '<', '/dev/null') { push @files, $file } return scalar @files),
                '/free' => q(@files = (); return 'free'),
            },
        ),
        workers => 1,
        stderr  => "$folder/stderr",
        before  => sub { set_limit(RLIMIT_NOFILE, 64) },
        @quiet
    );
    my $pid  = next_event($supervisor, 'worker_ready')->{pid};
    my $held = client($supervisor);
    is(answer_on($held, '/fill')->{status}, 200, 'the table is full');
    my $waiting = client($supervisor);
    $waiting->get('/', 'Connection: close');
    ok(
        wait_until(sub {
            my $text = read_file("$folder/stderr");
            $text =~ /accept \(pid $pid\): Too many open files; trying again/;
        }),
        'which is said'
    );
    is(answer_on($held, '/free')->{body}, "free\n", 'the connection that is there goes on');
    is($waiting->response->{body}, "$pid 0\n", 'the one that waited is accepted then');
    is([ read_file("$folder/stderr") =~ /(accept)/g ], ['accept'], 'said once');
    is($supervisor->finish, 0, 'exit code');
    is([ exits($supervisor) ], ['exit 0'], 'the worker has lived on');
};

subtest 'a failed start (U6, and a slot lost for ever)' => sub {
    my $supervisor = start_server(
        'PAGI',
        app(
            startup => q(return 'no database' if !there('u6-go'); return),
        ),
        workers       => 1,
        respawn_delay => 0.05,
        crash_limit   => 0,
        @quiet
    );
    my @starts = $supervisor->wait_for_count(worker_exited => 3);
    like($starts[-1]{reason}, qr/lifespan startup failed: no database/, 'why is told');
    ok((grep { $_->{event} eq 'backoff' } $supervisor->events), 'there are pauses');
    write_file("$folder/u6-go", '');
    is(next_event($supervisor, 'worker_ready')->{slot}, 0, 'its place is filled as soon as that works');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'a reload (U7)' => sub {
    my $supervisor =
        start_server('PAGI', app(startup => q(await IO::Async::Loop->new->delay_future(after => 0.2); return)), @quiet);
    $supervisor->wait_for_count(worker_ready => 2);
    $supervisor->signal('HUP');
    my %count;
    until ($count{over}) {
        $count{ ask($supervisor, '/') =~ /\A200 / ? 'good' : 'bad' }++;
        $supervisor->_read(0.001);
        $count{over} =
            4 == grep { $_->{event} eq 'worker_exited' || $_->{event} eq 'worker_ready' && $_->{generation} == 2 }
            $supervisor->events;
    }
    is([ $count{bad}, $count{good} > 3 ], [ undef, T() ], 'somebody answers at every moment');
    my ($least) = sort { $a <=> $b }
        map { $_->{ready} } grep { $_->{event} =~ /ready|draining/ && $_->{generation} == 2 } $supervisor->events;
    is($least, 2, 'never fewer than all are ready');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'the pid file (U8)' => sub {
    my $path       = "$folder/pid";
    my $supervisor = start_server('PAGI', app(before => 'END { note("u8-end") }'), pid_file => $path, @quiet);
    my @pids       = map { $_->{pid} } $supervisor->wait_for_count(worker_ready => 2);
    for my $signal (qw(TERM KILL)) {
        kill $signal => shift @pids;
        next_event($supervisor, 'worker_exited');
        ok($supervisor->wait_for('worker_ready'), "a worker has ended by $signal, and is replaced");
        is(read_file($path), $supervisor->pid . "\n", 'the file is there');
    }
    is($supervisor->finish, 0, 'exit code');
    ok(!-e $path, 'it is gone with the supervisor');
    ok(!-e "$folder/u8-end", 'no END block has run');
};

subtest 'a start that takes longer than heartbeat_timeout (U10)' => sub {
    my $supervisor = start_server(
        'PAGI', app(startup => q(await IO::Async::Loop->new->delay_future(after => 1); return)),
        workers => 1, heartbeat_timeout => 0.2, @quiet
    );
    ok($supervisor->wait_for('worker_ready'), 'ready');
    is([ exits($supervisor) ], [], 'nobody was killed');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'a hang' => sub {
    my $supervisor = start_server(
        'PAGI', app(pages => { '/hang' => qq(\n#line 123 "hanging.pl"\n1 while 1;) }),
        workers => 1, heartbeat_timeout => 0.5, @quiet
    );
    $supervisor->wait_for('worker_ready');
    client($supervisor)->get('/hang');
    my $stuck = next_event($supervisor, 'worker_stuck');
    like($stuck->{place} // $stuck->{reason}, qr/hanging\.pl line 123/, 'is noticed, with the place');
    ok($supervisor->wait_for('worker_ready'), 'and the worker replaced');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'slots and random numbers (U11)' => sub {
    my $supervisor = start_server('PAGI', app(startup => q(note('u11', rand); return)), @quiet);
    $supervisor->wait_for_count(worker_ready => 2);
    $supervisor->signal('TTIN');
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('TTOU');
    my $left = next_event($supervisor, 'worker_exited');
    $supervisor->signal('TTIN');
    is(next_event($supervisor, 'worker_ready')->{slot}, $left->{slot}, 'the free slot is taken');
    my @drawn = split /\n/, read_file("$folder/u11");
    my %seen;
    is([ scalar @drawn, grep { $seen{$_}++ } @drawn ], [4], 'all draw differently');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'descriptors of siblings (U12)' => sub {
    skip_all 'needs /proc' if !-d "/proc/$$/fd";
    my $files =
        q(opendir my $folder, '/proc/self/fd'; return join ' ', sort map { readlink("/proc/self/fd/$_") // () } readdir $folder);
    my $supervisor = start_server('PAGI', app(pages => { '/files' => $files }), workers => 3, @quiet);
    $supervisor->wait_for_count(worker_ready => 3);
    my %files_of;
    wait_until(sub {
        my $client   = client($supervisor);
        my ($pid)    = (answer_on($client, '/')->{body} // '') =~ /\A([0-9]+)/;
        my $response = answer_on($client, '/files', 'Connection: close');
        my $text     = $response->{body} // '';
        $files_of{$pid} = [ grep { /\A(?:pipe|anon_inode)/ } split ' ', $text ] if $pid;
        return keys %files_of == 3;
    });
    my @counts = map { scalar @$_ } values %files_of;
    is(\@counts, [ ($counts[0]) x 3 ], 'the last one has as many pipes and event descriptors as the first');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'the loop (U13)' => sub {
    require IO::Async::Loop;
    for my $class (
        grep { SupervisorTest::_is_installed(s{::}{/}gr . '.pm') }
        map  { "IO::Async::Loop::$_" } qw(Select Poll Epoll Libev Libevent)
        )
    {
        my $loop_of    = sub { (my $file = "$class.pm") =~ s{::}{/}g; require $file; $class->new };
        my $supervisor = start_server(
            'PAGI', app(pages => { '/loop' => q(ref $worker->loop) }), workers => 1, loop_of => $loop_of,
            @quiet
        );
        $supervisor->wait_for('worker_ready');
        is(ask($supervisor, '/loop'), "200 $class\n", $class);
        is($supervisor->finish, 0, 'exit code');
    }
};

done_testing;
