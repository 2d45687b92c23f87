# start_method 'spawn': each worker is a new perl. What it has of the supervisor, what it has not, and that it is a worker
# like any other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use EventLoop::Fork::Scoreboard;
use Fcntl      qw(F_SETFD);
use File::Temp ();
use ForkTest   qw(under_valgrind);
use IO::Socket::INET;
use JSON::PP    ();
use POSIX       ();
use ProcessTest qw(wait_until write_file);
use SupervisorTest;
use Test2::V0;

my $folder = File::Temp->newdir;
my $count  = 0;

sub app { return write_file("$folder/app" . ++$count . '.pl', $_[0]) }

my $idle = app('sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');

sub start {
    my (%options) = @_;
    return SupervisorTest->start(workers => 1, start_method => 'spawn', app => $idle, %options);
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return readline($file) // '';
}

# @INC with copies of the folders of this checkout, which only this user can read.
sub private_copy_of_product {
    my ($private) = @_;
    mkdir $private, 0700 or die "$private: $!";
    my $checkout = Cwd::realpath("$FindBin::Bin/../..");
    my $number   = 0;
    return map {
        my $folder = ref ? undef : Cwd::realpath($_);
        my $copy   = "$private/" . ++$number;
        defined $folder && -d $folder && $folder =~ m{\A\Q$checkout\E/}
            ? (system('cp', '-R', $folder, $copy) == 0 ? $copy : die "cp -R $folder: $?\n")
            : $_;
    } @INC;
}

# What the app of a worker writes, once it is there.
my $report = "$folder/report";
my $say    = <<"PERL";
use strict; use warnings; use JSON::PP ();
sub say_it {
    my (\$data) = \@_;
    open my \$file, '>', '$report.new' or die \$!;
    print {\$file} JSON::PP->new->encode(\$data);
    close \$file; rename '$report.new', '$report' or die \$!;
}
PERL

sub told {
    wait_until(sub { -e $report });
    my $data = JSON::PP->new->decode(slurp($report) || '{}');
    unlink $report;
    return $data;
}

subtest 'what arrives, and nothing else' => sub {
    plan skip_all => 'needs /proc' unless -d "/proc/$$/fd";
    plan skip_all => 'valgrind is in the new program, too, with descriptors and handlers of its own'
        if under_valgrind();
    my @stray;
    my $app = app($say . <<'PERL');
sub {
    my ($worker) = @_;
    my %fds = map { m{([0-9]+)\z} && defined readlink($_) ? ($1 => readlink $_) : () } glob "/proc/$$/fd/*";
    open my $file, '<', "/proc/$$/status" or die $!;
    my %status = map { /\A(Sig\w+):\s+(\w+)/ ? ($1 => hex(substr $2, -8)) : () } readline $file;
    close $file;
    my @names = map { $_->isa('IO::Socket') ? $_->sockport : '?' } $worker->listeners;
    my %variables = map { $_ => $ENV{$_} } grep { /\AEVENTLOOP_FORK_(?!BACKEND|METHOD)|\AEVF_SPAWN/ } keys %ENV;
    say_it({
        fds => \%fds, status => \%status, ports => \@names, variables => \%variables, inc => \@INC, perl => $^X,
        program => $0, arguments => \@ARGV, slot => $worker->slot, generation => $worker->generation, parent => getppid,
        cwd => Cwd::getcwd(), loop => [ ref $worker->loop, $worker->loop->backend, $worker->loop->method ],
        cloexec => [ map { my $fd = $_; open my $handle, '<&=', $fd; fcntl $handle, 1, 0 } 3 .. 6 ],
    });
    $worker->ready;
    $worker->loop->run;
    return 0;
};
PERL
    my $supervisor = start(
        app     => $app,
        listen  => ['127.0.0.1:0'],
        loop_of => sub { require EventLoop::Fork::Loop; EventLoop::Fork::Loop->new(backend => 'poll') },
        before  => sub {
            open my $file, '<', $0 or die "$0: $!";
            fcntl $file, F_SETFD, 0;         # goes through every exec
            push @stray, $file;
            $ENV{EVF_SPAWN_TEST}     = 'here';
            $ENV{"EVF_SPAWN_\x{e9}"} = "\x{e9}";
            $SIG{$_}                 = 'IGNORE' for qw(USR2 ALRM);
            $SIG{WINCH}              = sub { };
            @ARGV                    = ('an', 'argument', '');
            unshift @INC, sub { return };    # a hook cannot be passed on
            POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGUSR2(), POSIX::SIGALRM()));
        },
    );
    my $told  = told();
    my $ready = $supervisor->wait_for('worker_ready');
    is($told->{parent}, $supervisor->pid, 'the supervisor is its parent');
    my %fds = %{ $told->{fds} };
    is([ sort { $a <=> $b } keys %fds ], [ 0 .. 6 ], 'STDIN, STDOUT, STDERR and four descriptors');
    like($fds{3}, qr/evf-scoreboard/, 'the scoreboard');
    like($fds{4}, qr/eventfd|pipe/, 'its bell');
    like($fds{5}, qr/pipe/, 'the pipe of life');
    like($fds{6}, qr/socket/, 'the listener');
    is($told->{cloexec}, [ (1) x 4 ], 'a program that the worker starts gets none of them');
    my ($port) = ($supervisor->names)[0] =~ /:([0-9]+)\z/;
    is($told->{ports}, [$port], 'the listener is an object, of the same address');
    is(
        $told->{variables}, { EVF_SPAWN_TEST => 'here', "EVF_SPAWN_\x{e9}" => "\x{e9}" },
        'the environment, without what was for the worker'
    );
    is($told->{status}{SigBlk}, 0, 'no signal is blocked');
    my $bits = sub { my $sum = 0; $sum |= 1 << ($_ - 1) for @_; return $sum };
    # perl itself ignores FPE; from 32 on are the C library's own.
    is(
        $told->{status}{SigIgn} & 0x7fffffff & ~$bits->(POSIX::SIGFPE()),
        $bits->(map { POSIX->can("SIG$_")->() } qw(INT HUP USR1 PIPE)),
        'those are ignored that every worker ignores'
    );
    is($told->{status}{SigCgt} & $bits->(28), 0, 'no handler of the supervisor');
    is($told->{inc}, [@INC], '@INC');
    is([ @$told{qw(perl program cwd)} ], [ $^X, $0, Cwd::getcwd() ], 'perl, program, folder');
    is($told->{arguments}, [ 'an', 'argument', '' ], 'arguments');
    is([ @$told{qw(slot generation)} ], [ 0, 1 ], 'slot and generation');
    is($told->{loop}, [ 'EventLoop::Fork::Loop', 'poll', 'poll' ], 'a loop like that of the supervisor');
    is($supervisor->finish, 0, 'exit code');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is([ @$exited{qw(reason pid)} ], [ 'exit 0', $ready->{pid} ], 'the worker has left by itself');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'it serves' => sub {
    my $app = app(<<'PERL');
sub {
    my ($worker) = @_;
    my ($socket) = $worker->listeners;
    $worker->loop->watch_io(handle => $socket, on_read_ready => sub {
        my $client = $socket->accept or return;
        $worker->request_started;
        syswrite $client, "$$\n";
        close $client;
        $worker->request_done;
    });
    $worker->ready;
    $worker->loop->run;
    return 0;
};
PERL
    for my $reuseport (0, $^O eq 'linux' ? 1 : ()) {
        my $supervisor = start(
            app          => $app, workers => 2, listen => ['127.0.0.1:0'], reuseport => $reuseport, max_requests => 3,
            min_lifetime => 0
        );
        $supervisor->wait_for_count(worker_ready => 2);
        my ($port)    = ($supervisor->names)[0] =~ /:([0-9]+)\z/;
        my %is_worker = map { $_ => 1 } $supervisor->workers;
        my $ask       = sub {
            my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or return "connect: $!";
            return readline $socket;
        };
        chomp(my $answer = $ask->() // 'nothing');
        ok($is_worker{$answer}, "a worker answers, reuseport $reuseport");
        $ask->() for 1 .. 4;
        my $draining = $supervisor->wait_for('worker_draining');
        is($draining->{cause}, 'max requests', 'requests are counted, and one that had enough is replaced');
        is($supervisor->finish, 0, 'exit code');
    }
};

subtest 'how it ends' => sub {
    my $app = app(<<"PERL");
END { open my \$file, '>', '$folder/end' }
sub {
    my (\$worker) = \@_;
    \$worker->ready;
    die "what went wrong\\n" if \$worker->slot == 0;
    return 7 if \$worker->slot == 1;
    exit 9;
};
PERL
    my $supervisor = start(app => $app, workers => 3, respawn_delay => 30, stderr => "$folder/stderr");
    # The first one is replaced at once, and its replacement may end before the others.
    my %reason;
    while (keys %reason < 3) {
        my $exited = $supervisor->wait_for('worker_exited') or last;
        $reason{ $exited->{slot} } = $exited->{reason};
    }
    is(
        \%reason, { 0 => 'exception: what went wrong', 1 => 'exit 7', 2 => 'exit 9' },
        'exception, exit code, exit'
    );
    is($supervisor->finish, 0, 'exit code');
    like(slurp("$folder/stderr"), qr/child 'worker 0' \(pid [0-9]+\): what went wrong/, 'told on STDERR, too');
    ok(!-e "$folder/end", 'as after a fork, no END block runs');
};

subtest 'an app that does not load' => sub {
    my $app        = app("sub { 1 };\nthis is not Perl;");
    my $supervisor = start(app => $app, crash_limit => 1);
    my $exited     = $supervisor->wait_for('worker_exited');
    like($exited->{reason}, qr/\Aexception: .*\Q$app\E line 2/s, 'where, and why');
    is($supervisor->exit_code, 2, 'nothing could start');

    $supervisor = start(app => 'Is::Nowhere', crash_limit => 1);
    like($supervisor->wait_for('worker_exited')->{reason}, qr{Can't locate Is/Nowhere}, 'a module that is not there');
    is($supervisor->exit_code, 2, 'nothing could start');

    $supervisor = start(app => app('sub { return 0 };'), crash_limit => 1);
    is($supervisor->wait_for('worker_exited')->{reason}, 'exit 2: returned without a call of ready', 'never ready');
    $supervisor->exit_code;
};

subtest 'what is stuck' => sub {
    my $app = app(<<'PERL');
sub {
    my ($worker) = @_;
    $worker->loop->watch_time(after => 0.01, code => sub {
        1 while 1;
    });
    $worker->ready;
    $worker->loop->run;
};
PERL
    my $supervisor = start(app => $app, heartbeat_timeout => 0.5);
    my $stuck      = $supervisor->wait_for('worker_stuck');
    like($stuck->{place}, qr/\Q$app\E line 4/, 'the place is told');
    is($supervisor->wait_for('worker_exited')->{reason}, 'killed by SIGKILL', 'it is killed');
    ok($supervisor->wait_for('worker_ready'), 'and replaced');
    $supervisor->finish;

    $supervisor = start(app => app("sleep 600;\nsub { 0 };"), startup_timeout => 1);
    $stuck      = $supervisor->wait_for('worker_stuck');
    is($stuck->{cause}, 'startup timeout', 'one that does not get ready');
    $supervisor->finish;

    write_file("$folder/EvfSlowPerl.pm", 'package EvfSlowPerl; sleep 600; 1;');
    $supervisor = start(
        startup_timeout => 0.1,
        before => sub { @ENV{qw(PERL5OPT PERL5LIB)} = ('-MEvfSlowPerl', join ':', "$folder", $ENV{PERL5LIB} // ()) },
    );
    $stuck = $supervisor->wait_for('worker_stuck');
    is($stuck->{cause}, 'startup timeout', 'a perl that does not get to our code');
    is(
        $supervisor->wait_for('worker_exited')->{reason}, 'killed by SIGKILL',
        'it is killed, not asked where it stands'
    );
    $supervisor->finish;
};

subtest 'a reload loads anew' => sub {
    my $module = "$folder/EvfSpawnedCode.pm";
    my $code   = sub { write_file($module, "package EvfSpawnedCode; sub number { $_[0] } 1;") };
    $code->(1);
    my $app = app($say . <<'PERL');
require EvfSpawnedCode;
sub { my ($worker) = @_; say_it([ EvfSpawnedCode::number(), $worker->generation ]); $worker->ready; $worker->loop->run; 0 };
PERL
    my $supervisor = start(
        app    => $app,
        before => sub { unshift @INC, "$folder"; require EvfSpawnedCode },    # a forked worker would have that for ever
    );
    is(told(), [ 1, 1 ], 'the first code');
    $supervisor->wait_for('worker_ready');
    $code->(2);
    $supervisor->signal('HUP');
    ok($supervisor->wait_for('reloaded'), 'reloaded');
    is(told(), [ 2, 2 ], 'the changed code');
    my @old = $supervisor->workers;
    $code->("\n}}} not Perl");
    $supervisor->signal('HUP');
    like($supervisor->wait_for('reload_failed')->{reason}, qr/EvfSpawnedCode\.pm line/, 'broken code is not taken');
    is([ $supervisor->workers ], \@old, 'the old worker stays');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'signals to the supervisor' => sub {
    my $app        = app('sub { my ($worker) = @_; $worker->on_stop(sub { }); $worker->ready; $worker->loop->run };');
    my $supervisor = start(app => $app, graceful_timeout => 600);
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('TERM');
    ok($supervisor->wait_for('worker_draining'), 'TERM: the worker is asked, and stays');
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'a second one: the supervisor ends');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited->{reason}, 'killed by SIGKILL', 'its worker was killed');

    $supervisor = start();
    my $started = $supervisor->wait_for('worker_started');
    $supervisor->signal('USR1');    # passed on to a worker that is perl's own code yet
    is($supervisor->wait_for('worker_ready')->{pid}, $started->{pid}, 'a signal in its first moment does not end it');
    $supervisor->signal('TTIN');
    is($supervisor->wait_for('worker_ready')->{slot}, 1, 'TTIN: a worker more');
    $supervisor->signal('TTOU');
    is($supervisor->wait_for('worker_exited')->{slot}, 1, 'TTOU: it goes');
    is($supervisor->finish, 0, 'exit code');

    $supervisor = start(workers => 2);
    $supervisor->wait_for('worker_started');
    is($supervisor->finish, 0, 'TERM in its first moment');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'the supervisor is killed' => sub {
    my $supervisor = start(workers => 2);
    $supervisor->wait_for_count(worker_ready => 2);
    $supervisor->signal('KILL');
    is($supervisor->exit_code, 'signal 9', 'it is gone');
    ok($supervisor->is_gone, 'its workers leave');

    $supervisor =
        start(app => app('$SIG{TERM} = "IGNORE"; sub { my ($worker) = @_; $worker->ready; $worker->loop->run; 0 };'));
    $supervisor->wait_for('worker_ready');
    $supervisor->signal('KILL');
    is($supervisor->exit_code, 'signal 9', 'it is gone');
    ok($supervisor->is_gone, 'also one that hears of it by the pipe only');

    $supervisor = start();
    $supervisor->wait_for('worker_started');
    $supervisor->signal('KILL');
    is($supervisor->exit_code, 'signal 9', 'it is gone');
    ok($supervisor->is_gone, 'also one that had just begun');
};

subtest 'what cannot be started' => sub {
    plan skip_all => 'errors of exec are not told by valgrind' if under_valgrind();
    my $supervisor = start(before => sub { $^X = '/nowhere/perl' });
    like(
        $supervisor->wait_for('spawn_failed')->{reason}, qr{\Acannot spawn '/nowhere/perl': No such file},
        'perl is gone'
    );
    ok($supervisor->wait_for('backoff'), 'a failed spawn, with its pause');
    ok($supervisor->wait_for('spawn_failed'), 'and tried again');
    is($supervisor->finish, 0, 'exit code');
    $supervisor = start(before => sub { $ENV{EVF_SPAWN_TEST} = 'x' x 5_000_000 });
    like($supervisor->wait_for('spawn_failed')->{reason}, qr/\Acannot spawn '.*': .*too long.*environment/, 'E2BIG');
    is($supervisor->finish, 0, 'exit code');

    require EventLoop::Fork::Supervisor;
    my $error = dies {
        EventLoop::Fork::Supervisor->new(worker => sub { }, start_method => 'spawn')
    };
    is($error->name, 'EVF_EINVAL', 'code cannot be passed on');
    like($error->message, qr/'start_method' is 'spawn'.*give 'app'/, 'and what to give');
};

subtest 'a status file, a unix socket, another user' => sub {
    my $path       = "$folder/status";
    my $supervisor = start(
        app => app(
            $say
                . 'sub { my ($worker) = @_; say_it({ user => $>, path => ($worker->listeners)[0]->hostpath }); $worker->ready; $worker->loop->run; 0 };'
        ),
        status_file => $path,
        listen      => ["unix:$folder/caf\xe9.sock"],
        stderr      => "$folder/stderr",
    );
    my $ready = $supervisor->wait_for('worker_ready');
    is(told(), { user => $>, path => "$folder/caf\xe9.sock" }, 'the socket');
    my $view = EventLoop::Fork::Scoreboard->open($path);
    is($view->owner, $supervisor->pid, 'its file is the supervisor\'s still');
    is([ @{ $view->row(0) }{qw(pid is_ready)} ], [ $ready->{pid}, 1 ], 'the worker writes there');
    is(JSON::PP->new->decode($view->header->{info})->{start_method}, 'spawn', 'and how it was started is known');
    is($supervisor->finish, 0, 'exit code');
    ok(!-e "$folder/caf\xe9.sock", 'the file of the socket is gone');
SKIP: {
        my ($name, $uid) = (getpwnam 'nobody')[ 0, 2 ];
        skip 'needs root, and nobody' if $> || !defined $name;
        # That user can read nothing of ours: all that a worker needs is loaded before.
        chmod 0777, "$folder";
        my @inc = private_copy_of_product("$folder/private");
        $supervisor = start(
            before => sub { @INC = @inc },
            app    => app($say . <<'PERL'),
sub {
    my ($worker) = @_;
    $worker->counter('answers')->add;
    say_it([ $<, $>, $INC{'EventLoop/Fork.pm'} ]);
    $worker->ready;
    $worker->loop->run;
    return 0;
};
PERL
            user => $name,
        );
        is(told(), [ $uid, $uid, match(qr{\A\Q$folder\E/private/}) ], 'it becomes another user');
        ok($supervisor->wait_for('worker_ready'), 'and gets ready');
        is($supervisor->finish, 0, 'exit code');
    }
};

SupervisorTest::each_family(sub {
    my ($loop_of) = @_;
    my $kind      = sub { my ($loop) = @_; return ref $loop || $loop };
    my $app       = app($say . <<'PERL');
sub {
    my ($worker) = @_;
    my $loop = $worker->loop;
    say_it([ ref $loop || $loop ]);
    $worker->ready;
    EventLoop::Fork::Adapter::for_loop($loop)->run;
    return 0;
};
PERL
    my $supervisor = start(app => $app, loop_of => $loop_of);
    my $expected   = do {
        open my $pipe, '-|' or do { my $loop = $loop_of->(); syswrite STDOUT, $kind->($loop); POSIX::_exit(0) };
        readline $pipe;
    };
    $expected = 'EV::Loop' if $expected eq 'EV';
    is(told(), [$expected], 'a loop of the same class');
    ok($supervisor->wait_for('worker_ready'), 'ready');
    kill KILL => ($supervisor->workers)[0];
    is($supervisor->wait_for('worker_exited')->{reason}, 'killed by SIGKILL', 'its end is noticed');
    ok($supervisor->wait_for('worker_ready'), 'and there is another');
    told();
    is($supervisor->finish, 0, 'exit code');
});

done_testing;
