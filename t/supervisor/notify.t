# What a service manager is told, by the protocol of systemd. That descriptors arrive with their messages is in
# t/core/notify.c: perl's recv takes none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp  ();
use JSON::PP    ();
use ProcessTest qw(now write_file);
use RestartTest;
use ServiceManager;
use SupervisorTest;
use Test2::V0;

my $folder = File::Temp->newdir;

# The variables, in the supervisor's process alone.
sub told_to {
    my ($manager, %more) = @_;
    return before => sub { %ENV = (%ENV, NOTIFY_SOCKET => $manager->address, %more) };
}

sub start {
    my ($manager, %options) = @_;
    return SupervisorTest->start(workers => 2, worker => \&SupervisorTest::serve, told_to($manager), %options);
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return readline($file) // '';
}

subtest 'the tool of systemd speaks the same' => sub {
    my ($tool) = grep { -x } map { "$_/systemd-notify" } split /:/, $ENV{PATH};
    plan skip_all => 'there is no systemd-notify' if !$tool;
    my $manager = ServiceManager->new;
    local $ENV{NOTIFY_SOCKET} = $manager->address;
    is(system($tool, '--no-block', '--ready', '--status=hello'), 0, 'it runs');
    my $message = $manager->wait_for('READY');
    is([ @$message{qw(READY STATUS)} ], [ 1, 'hello' ], 'a message of it is read');
};

subtest 'a life' => sub {
    my $manager    = ServiceManager->new;
    my $supervisor = start($manager);
    my $ready      = $manager->wait_for('READY');
    is($ready->{MAINPID}, $supervisor->pid, 'ready, and which process is');
    like($ready->{STATUS}, qr/\Arunning: [12] of 2 workers ready, generation 1\z/, 'the status');
    my $both = sub { ($_[0]{STATUS} // '') =~ /\A\w+: 2 of 2/ };
    ok($both->($ready) || $manager->wait_for($both), 'the second worker, too');
    $supervisor->signal('TTIN');
    ok($manager->wait_for(sub { ($_[0]{STATUS} // '') =~ /3 of 3/ }), 'one more');
    is(scalar(grep { $_->{READY} } $manager->seen), 1, 'that it is ready is told once');
    is($supervisor->finish, 0, 'exit code');
    like($manager->wait_for('STOPPING')->{STATUS}, qr/\Astopping: /, 'it stops');
};

subtest 'a reload' => sub {
    my $manager    = ServiceManager->new;
    my $app        = write_file("$folder/app.pl", 'sub { SupervisorTest::serve(@_) };');
    my $supervisor = start($manager, app => $app, worker => undef);
    $supervisor->wait_for_count(worker_ready => 2) or return;
    my $before = now();
    $supervisor->signal('HUP');
    my $reloading = $manager->wait_for('RELOADING');
    my $stamp     = $reloading->{MONOTONIC_USEC};
    like($stamp, qr/\A[0-9]+\z/, 'the time is whole microseconds');
    ok($stamp >= int($before * 1e6) && $stamp <= now() * 1e6, 'of the monotonic clock');
    ok($manager->wait_for('READY'), 'and it serves again');
    is($manager->status, 'running: 2 of 2 workers ready, generation 2', 'the status');

    write_file($app, '}}} not Perl');
    $supervisor->signal('HUP');
    ok($manager->wait_for('RELOADING'), 'one that fails');
    is($manager->wait_for('READY')->{MAINPID}, undef, 'it serves on');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'workers do not speak to it' => sub {
    my $manager    = ServiceManager->new;
    my $said       = "$folder/said";
    my $supervisor = start(
        $manager,
        workers => 1,
        told_to($manager, WATCHDOG_USEC => 60e6),
        worker => sub {
            my ($worker) = @_;
            write_file($said, join ' ', 'has', sort grep { /NOTIFY|WATCHDOG/ } keys %ENV);
            return SupervisorTest::serve($worker);
        },
    );
    $supervisor->wait_for('worker_ready');
    is(slurp($said), 'has', 'they do not know of it');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'the watchdog' => sub {
    my $manager    = ServiceManager->new;
    my $supervisor = start($manager, told_to($manager, WATCHDOG_USEC => 100_000));
    ok($manager->wait_for('WATCHDOG'), "sign of life $_") for 1 .. 3;
    is($supervisor->finish, 0, 'exit code');

    $manager    = ServiceManager->new;
    $supervisor = start($manager, told_to($manager, WATCHDOG_USEC => 1000, WATCHDOG_PID => $$));
    $manager->wait_for('READY');
    $supervisor->signal('TTIN');
    $manager->wait_for(sub { ($_[0]{STATUS} // '') =~ /3 of 3/ });
    $supervisor->finish;
    is([ grep { $_->{WATCHDOG} } $manager->seen ], [], 'none for another process');
};

subtest 'its store of listeners' => sub {
    my $manager    = ServiceManager->new;
    my $supervisor = start($manager, listen => [ '127.0.0.1:0', "unix:$folder/socket" ]);
    $manager->wait_for('READY');
    my @stored = grep { $_->{FDSTORE} } $manager->seen;
    is(scalar @stored, 1, 'one of the two: the file of the other goes with the supervisor');
    is(
        $stored[0]{FDNAME},
        'evf.0.' . unpack('H*', '127.0.0.1:0'),
        'by the name that a new supervisor looks for'
    );
    $supervisor->finish;

    # As the manager starts it then, with a listener that nobody asks for any more, too.
    my @sockets = map { IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') } 1, 2;
    my @names   = map { 'evf.0.' . unpack 'H*', $_ } '127.0.0.1:0', '127.0.0.2:0';
    $manager    = ServiceManager->new;
    $supervisor = start(
        $manager,
        listen => ['127.0.0.1:0'],
        before => sub {
            $ENV{NOTIFY_SOCKET} = $manager->address;
            my @copies =
                map { my $copy = POSIX::dup(fileno $_); $copy = POSIX::dup($copy) while $copy < 20; $copy } @sockets;
            POSIX::dup2($copies[$_], 3 + $_) for 0, 1;
            @ENV{qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)} = (2, $$, join ':', @names);
        },
    );
    $supervisor->wait_for('worker_ready');
    is([ map { $_->{FDNAME} } grep { $_->{FDSTOREREMOVE} } $manager->seen ], [ $names[1] ], 'one less to keep');
    is([ $supervisor->names ], [ '127.0.0.1:' . $sockets[0]->sockport ], 'the other is served');
    $supervisor->finish;
};

subtest 'a manager that is behind' => sub {
    my $manager   = ServiceManager->new;
    my $restarted = do {
        local $ENV{NOTIFY_SOCKET} = $manager->address;
        RestartTest->start;
    };
    $restarted->wait_until_ready or return;
    $manager->wait_for('READY');
    $manager->fill;
    my $old = $restarted->in_charge;
    kill USR2 => $old;
    $restarted->wait_for(sub { $_[0]{event} eq 'stopped' && $_[0]{by} == $old });
    my $new = $restarted->in_charge;
    is($manager->wait_for('MAINPID'), { MAINPID => $new }, 'it hears who follows when it listens again');
    ok($manager->wait_for('FDSTORE'), 'and then the new one');
    ok($restarted->finish, 'no process is left');
};

subtest 'a hot restart' => sub {
    my $manager   = ServiceManager->new;
    my $restarted = do {
        # Rarely, because nobody listens while the old one leaves.
        local @ENV{qw(NOTIFY_SOCKET WATCHDOG_USEC)} = ($manager->address, 2_000_000);
        RestartTest->start;
    };
    $restarted->wait_until_ready or return;
    $manager->wait_for('READY');
    for my $number (1, 2) {
        my $new = $restarted->restart("restart $number") or last;
        ok($manager->wait_for('RELOADING'), 'it is told at the begin');
        is($manager->wait_for('MAINPID'), { MAINPID => $new }, 'the old one tells who follows');
        ok($manager->wait_for('FDSTORE'), 'and then that one speaks: its listener is stored');
        my $ready = $manager->wait_for('READY');
        is($ready->{MAINPID}, $new, 'it is in charge');
        like($ready->{STATUS}, qr/\Arunning: 2 of 2 workers ready/, 'with its own workers');
        ok($manager->wait_for('WATCHDOG'), 'it is watched');
    }
    is([ grep { $_->{STOPPING} } $manager->seen ], [], 'none that has left tells that it stops');
    $restarted->write('config.pl', 'die "no config\n"');
    my $pid = $restarted->in_charge;
    kill USR2 => $pid;
    ok($manager->wait_for('RELOADING'), 'a restart that fails');
    is($manager->wait_for('READY'), { READY => 1 }, 'it serves on');
    is($restarted->in_charge, $pid, 'the same process');
    ok($restarted->finish, 'no process is left');
    ok($manager->wait_for('STOPPING'), 'the last one tells that it stops');
};

subtest 'nobody is there' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 2,
        worker  => \&SupervisorTest::serve,
        stderr  => "$folder/stderr",
        before  => sub { $ENV{NOTIFY_SOCKET} = "$folder/nobody" },
    );
    ok($supervisor->wait_for_count(worker_ready => 2), 'it serves');
    is($supervisor->finish, 0, 'exit code');
    my @lines = grep { /service manager/ } split /\n/, slurp("$folder/stderr");
    is(scalar @lines, 1, 'one line tells it');
    like(
        $lines[0], qr{the service manager is not told: .*\Q$folder\E/nobody: No such file},
        'with the address and the reason'
    );
};

done_testing;
