package RestartTest;

# A program with a supervisor, in a folder of its own, that is restarted: what each of its processes tells, who is in
# charge, and clients that connect all the time.

use strict;
use warnings;

use parent 'SupervisorTest';

use Cwd ();
use EventLoop::Fork::Scoreboard;
use EventLoop::Fork::Supervisor::PidFile;
use EventLoop::Fork::Supervisor::Process;
use File::Spec ();
use File::Temp ();
use FindBin;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX       ();
use ProcessTest qw(BOUND end_of now wait_until);
use Test2::V0   qw(diag is ok);

my $lib = File::Spec->rel2abs("$FindBin::Bin/../lib");

# Changes all that a restart must not rest on. What it does besides is in the file config.pl of its folder.
my $PROGRAM = <<'END_OF_PROGRAM';
use strict;
use warnings;
use EventLoop::Fork::Supervisor;
use File::Spec ();
use JSON::PP ();

our $folder = File::Spec->rel2abs(shift @ARGV);
my $json   = JSON::PP->new->canonical;
my $supervisor;

sub answer {
    my ($worker, $socket) = @_;
    my $client = $socket->accept or return 0;
    syswrite $client, join(' ', $$, getppid) . "\n";
    close $client;
    return 1;
}

sub serve {
    my ($worker) = @_;
    my @sockets = $worker->listeners;
    my $adapter = EventLoop::Fork::Adapter::for_loop($worker->loop);
    for my $socket (@sockets) { $adapter->watch_io($socket, sub { answer($worker, $socket) }) }
    $worker->on_stop(sub {
        # What waits at a socket of its own alone would be lost.
        for my $socket (@sockets) { 1 while answer($worker, $socket) }
        close $_ for @sockets;
        $adapter->stop;
    });
    $worker->ready;
    $adapter->run;
    return 0;
}

# Until somebody makes that file.
sub serve_later {
    my ($worker) = @_;
    select undef, undef, undef, 0.02 until -e "$folder/go";
    return serve($worker);
}

my %config = do "$folder/config.pl";
die $@ if $@;
chdir '/';
my $before = delete $config{before};
$before->() if $before;
$supervisor = EventLoop::Fork::Supervisor->new(
    name        => 'restarted',
    workers     => 2,
    status_file => "$folder/status",
    pid_file    => "$folder/pid",
    worker      => \&serve,
    on_event    => sub {
        my ($event) = @_;
        my @names = map { $_->name } @{ $supervisor->{listeners} };
        syswrite STDOUT, $json->encode({ %$event, by => $$, names => \@names, warns => $^W }) . "\n";
    },
    %config,
);
exit $supervisor->run;
END_OF_PROGRAM

# The text of a Perl list: options of the supervisor.
sub start {
    my ($class, %how) = @_;
    my $folder = $how{folder} || File::Temp->newdir;
    my $self   = bless { folder => $folder }, $class;
    $self->write('program.pl', $PROGRAM);
    $self->write('config.pl', $how{config} // $class->listening);
    my @perl =
        ($^X, @{ $how{switches} || [] }, map { "-I$_" } $lib, map { File::Spec->rel2abs($_) } grep { !ref } @INC);
    my $process = $class->start_process(sub {
        my ($writer) = @_;
        chdir $folder                       or return;
        open STDOUT, '>&', $writer          or return;
        open STDERR, '>>', "$folder/stderr" or return;
        exec @perl, @{ $how{command} || [ 'program.pl', '.' ] };
    });
    %$self = (%$process, %$self);
    $process->{owner} = 0;                     # is ours now
    return $self;
}

sub listening { return 'listen => ["127.0.0.1:0", "unix:$main::folder/socket"],' }

sub folder { return "$_[0]{folder}" }

sub write {
    my ($self, $name, $text) = @_;
    my $path = "$self->{folder}/$name";
    open my $file, '>', "$path.tmp" or die "$path: $!";
    print {$file} $text;
    close $file;
    rename "$path.tmp", $path or die "$path: $!";
    return $path;
}

sub program { return $PROGRAM }

sub stderr {
    my ($self) = @_;
    open my $file, '<', "$self->{folder}/stderr" or return '';
    local $/;
    return readline($file) // '';
}

# All ends of the files that there are while one supervisor serves.
sub files {
    my ($self) = @_;
    opendir my $folder, $self->{folder} or return;
    my @names = sort grep { !/\A(?:\.\.?|program\.pl|config\.pl|stderr|go)\z/ } readdir $folder;
    return @names;
}

# Of that process.
sub wait_for_by {
    my ($self, $pid, $name) = @_;
    return $self->wait_for(sub { $_[0]{event} eq $name && $_[0]{by} == $pid });
}

# What it has told so far.
sub told {
    my ($self, $pid, $name) = @_;
    my ($event) = grep { $_->{event} eq $name && $_->{by} == $pid } $self->events;
    return $event;
}

sub wait_until_ready {
    my ($self) = @_;
    return $self->wait_for_count(worker_ready => 2);
}

# Who is in charge, by each of the files.
sub pids {
    my ($self) = @_;
    my $board = eval { EventLoop::Fork::Scoreboard->open("$self->{folder}/status") };
    return (EventLoop::Fork::Supervisor::PidFile->read("$self->{folder}/pid") // 0, $board ? $board->owner : 0);
}

sub in_charge {
    my ($self) = @_;
    my @pids = $self->pids;
    return $pids[0] == $pids[1] ? $pids[0] : 0;
}

# From there a new one to that it is in charge; its pid. The old one ends with 0.
sub restart {
    my ($self, $name) = @_;
    my $old = $self->in_charge or return 0;
    kill USR2 => $old;
    my $taken = $self->wait_for(sub { $_[0]{event} =~ /\A(?:taken_over|restart_failed)\z/ });
    if (!ok($taken && $taken->{pid} == $old && $taken->{by} != $old, "$name: one has taken over from process $old")) {
        diag $taken ? "$taken->{event}: $taken->{reason}" : join ' ', 'events:', map { $_->{event} } $self->events;
        return 0;
    }
    my $new = $taken->{by};
    is([ $self->pids ], [ $new, $new ], "$name: pid file and status file tell it");
    my $stopped = $self->told($old, 'stopped') || $self->wait_for_by($old, 'stopped');
    is($stopped && $stopped->{exit_code}, 0, "$name: the old one ends with exit code 0");
    my $restarted = $self->told($old, 'restarted');
    is($restarted && $restarted->{pid}, $new, "$name: and has told who follows");
    ok(wait_until(sub { !EventLoop::Fork::Supervisor::Process::is_alive($old) }), "$name: it is gone");
    return $new;
}

# TERM to who is in charge. True when no process of all is left.
sub finish {
    my ($self) = @_;
    kill TERM => $self->in_charge || return 0;
    $self->end;
    return $self->is_gone;
}

# Of the first process, in words.
sub end {
    my ($self) = @_;
    $self->{wait_status} = end_of($self->pid) unless defined $self->{wait_status};
    return defined $self->{wait_status} ? ProcessTest::in_words($self->{wait_status}) : 'no end within the bound';
}

sub names { my ($self) = @_; return @{ ($self->events)[-1]{names} } }

# ---- Clients --------------------------------------------------------------------------------------------------------

sub ask {
    my ($name) = @_;
    my $socket =
        $name =~ /\Aunix:(.*)/s
        ? IO::Socket::UNIX->new(Peer     => $1)
        : IO::Socket::INET->new(PeerAddr => $name, Timeout => BOUND);
    return "cannot connect to $name: $!" if !$socket;
    my $answer = '';
    while (1) {
        my $count = sysread $socket, $answer, 100, length $answer;
        return "$name: $!" if !defined $count;
        last               if !$count;
    }
    return $answer =~ /\A[0-9]+ [0-9]+\n\z/ ? $answer : "$name: the answer is '$answer'";
}

# One for each name asks again and again until it is stopped.
sub start_clients {
    my ($self, @names) = @_;
    return map { _start_client($_) } @names;
}

sub _start_client {
    my ($name) = @_;
    pipe my $reader, my $writer      or die "pipe: $!";
    pipe my $is_stopped, my $stopper or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        alarm 4 * BOUND;
        my ($count, @failures) = (0);
        while (!IO::Select->new($is_stopped)->can_read(0)) {
            my $answer = ask($name);
            $answer =~ /\A[0-9]+ / ? $count++ : push @failures, $answer;
            select undef, undef, undef, 0.002;    # who is asked has to get ahead, too
        }
        syswrite $writer, join "\n", $count, @failures;
        POSIX::_exit(0);
    }
    close $writer;
    return { name => $name, pid => $pid, reader => $reader, stopper => $stopper };
}

# Not one was refused or got no answer.
sub check_clients {
    my ($self, @clients) = @_;
    for my $client (@clients) {
        syswrite $client->{stopper}, 'x';
        my $text = do { local $/; readline $client->{reader} };
        waitpid $client->{pid}, 0;
        my ($count, @failures) = split /\n/, $text // '';
        ok($count, "$client->{name}: $count connections");
        is(\@failures, [], 'every one was answered');
    }
    return;
}

1;
