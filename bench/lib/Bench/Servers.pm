package Bench::Servers;

# Supervisors to compare, each with its server that answers "hello from process PID" on a Unix socket; and one that runs.
# A contestant says how it is started and what it is: nothing of it is loaded here.

use strict;
use warnings;

use Cwd            qw(abs_path);
use File::Basename qw(dirname);
use File::Temp     ();
use IO::Select;
use POSIX       qw(WNOHANG);
use Socket      qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant { WAIT => 60, LOOK_EVERY => 0.0005 };    # seconds

my $bench = dirname(dirname(dirname(abs_path(__FILE__))));
my $root  = dirname($bench);

# ---- Contestants ----------------------------------------------------------------------------------------------------

#   program   what must be in PATH; undef for ours
#   version   the command that tells it
#   command   sub { my ($socket, $workers) = @_; ... }: environment (a hash) and command
#   workers   how many when it is idle; undef: it has one and no more
my @CONTESTANTS = (
    {
        name    => 'evfork',
        label   => 'evfork run',
        is_ours => 1,
        workers => 100,
        command => sub {
            my ($socket, $workers) = @_;
            return (
                {}, perl(), "$root/script/evfork", 'run', '--workers', $workers, '--listen', "unix:$socket",
                '--status-file', "$socket.status", '--respawn-delay', 0, '--crash-limit', 0,
                "$root/examples/apps/hello.pl"
            );
        },
    },
    {
        name    => 'gunicorn',
        label   => 'gunicorn',
        program => 'gunicorn',
        version => ['--version'],
        workers => 20,
        command => sub {
            my ($socket, $workers) = @_;
            my @where = ('--bind', "unix:$socket", '--chdir', "$bench/servers");
            return ({ PYTHONDONTWRITEBYTECODE => 1 }, 'gunicorn', @where, '--workers', $workers, 'wsgi:application');
        },
    },
    {
        name    => 'starman',
        label   => 'Starman',
        program => 'starman',
        version => ['--version'],
        workers => 20,
        command => sub {
            my ($socket, $workers) = @_;
            return ({}, 'starman', '--listen', $socket, '--workers', $workers, "$bench/servers/hello.psgi");
        },
    },
    {
        name    => 'hypnotoad',
        label   => 'Hypnotoad',
        program => 'hypnotoad',
        version => [],
        module  => 'Mojolicious',
        workers => 20,
        command => sub {
            my ($socket, $workers) = @_;
            return (
                { EVF_BENCH_SOCKET => $socket, EVF_BENCH_WORKERS => $workers },
                'hypnotoad', '-f', "$bench/servers/mojo"
            );
        },
    },
    {
        name    => 'server-starter',
        label   => 'Server::Starter',
        program => 'start_server',
        module  => 'Server::Starter',
        workers => undef,
        command => sub {
            my ($socket) = @_;
            return ({}, 'start_server', "--path=$socket", '--interval=0', '--', $^X, "$bench/servers/starter");
        },
    },
);

sub all { return @CONTESTANTS }

sub perl {
    return ($^X, map { "-I$_" } grep { !ref } @INC);
}

# { version } or { error }
sub look {
    my ($contestant) = @_;
    my $program = $contestant->{program};
    if (!defined $program) {
        my $version = eval { require EventLoop::Fork; EventLoop::Fork->VERSION };
        return defined $version ? { version => $version } : { error => 'not built; ./dev build does it' };
    }
    return { error => "$program is not installed; ./dev setup bench" }
        unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
    my $text = '';
    if (my $module = $contestant->{module}) {
        # The program may belong to another perl.
        $text = qx(perl -M$module -e 'print $module->VERSION' 2>/dev/null);
    }
    else {
        $text = qx($program @{ $contestant->{version} } 2>/dev/null);
    }
    return { version => $text =~ /([0-9][0-9.]*)/ ? $1 : 'of unknown version' };
}

# ---- One that runs --------------------------------------------------------------------------------------------------

my %running;    # by pid of the supervisor, which leads its group

sub start {
    my ($class, $contestant, $workers) = @_;
    my $folder = File::Temp->newdir('evf-bench-XXXXXX', TMPDIR => 1);
    my $self   = bless { folder => $folder, socket => "$folder/s", owner => $$ }, $class;
    my ($environment, @command) = $contestant->{command}->($self->{socket}, $workers);
    my $pid = fork;
    die "fork: $!\n" unless defined $pid;
    if (!$pid) {
        setpgrp;
        delete @ENV{ grep { /\A(?:EVENTLOOP_FORK_|WEB_CONCURRENCY|GUNICORN_|PLACK_|MOJO_|HYPNOTOAD_)/ } keys %ENV };
        %ENV = (%ENV, %$environment);
        open STDOUT, '>', "$folder/log" or POSIX::_exit(99);
        open STDERR, '>&', \*STDOUT     or POSIX::_exit(99);
        exec { $command[0] } @command   or POSIX::_exit(99);
    }
    $self->{pid} = $pid;
    $running{$pid} = 1;
    return $self;
}

sub pid { return $_[0]{pid} }

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# The worker that answers a request; nothing when nobody does.
sub ask {
    my ($self) = @_;
    local $SIG{PIPE} = 'IGNORE';
    socket my $socket, AF_UNIX, SOCK_STREAM, 0                                     or die "socket: $!\n";
    connect $socket, pack_sockaddr_un($self->{socket})                             or return;
    syswrite $socket, "GET / HTTP/1.0\r\nHost: bench\r\nConnection: close\r\n\r\n" or return;
    my $answer = '';
    while (IO::Select->new($socket)->can_read(WAIT) && sysread $socket, $answer, 4096, length $answer) {
        return $1 if $answer =~ /hello from process (\d+)[\n,]/;
    }
    return;
}

# Until another one than that answers.
sub answering {
    my ($self, $old) = @_;
    my $deadline = now() + WAIT;
    while (now() < $deadline) {
        my $pid = $self->ask;
        return $pid                                      if $pid && (!$old || $pid != $old);
        die 'it has ended: ' . $self->_last_words . "\n" if waitpid($self->{pid}, WNOHANG) == $self->{pid};
        select undef, undef, undef, LOOK_EVERY;
    }
    die 'no answer: ' . $self->_last_words . "\n";
}

sub _last_words {
    my ($self) = @_;
    open my $file, '<', "$self->{folder}/log" or return 'it says nothing';
    my @lines = grep { /\S/ } readline $file;
    my $text  = @lines ? $lines[-1] : 'it says nothing';
    chomp $text;
    return $text;
}

# Until it has so many children, which is when all workers are there.
sub wait_for_children {
    my ($self, $count) = @_;
    my $deadline = now() + WAIT;
    while (now() < $deadline) {
        my $found = grep { $_ == $self->{pid} } map { split } grep { /\d/ } qx(ps -A -o ppid=);
        return if $found >= $count;
        select undef, undef, undef, 0.1;
    }
    die "it has fewer than $count workers: " . $self->_last_words . "\n";
}

# What it does not end by itself is ended.
sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    local ($?, $!);
    kill TERM => $pid;
    my $deadline = now() + 10;
    my $gone     = 0;
    while (now() < $deadline && $gone == 0) {
        $gone = waitpid $pid, WNOHANG;
        select undef, undef, undef, 0.01 unless $gone;
    }
    kill KILL => -$pid;
    waitpid $pid, 0 unless $gone;
    delete $running{$pid};
    return;
}

sub DESTROY {
    my ($self) = @_;
    $self->stop if $$ == $self->{owner};
    return;
}

# For a handler of signals.
sub give_up {
    kill KILL => -$_ for keys %running;
    return;
}

1;
