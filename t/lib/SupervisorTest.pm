package SupervisorTest;

# A supervisor in a process of its own, whose events a test waits for. Never sleeps: it reads.

use strict;
use warnings;

use IO::Select;
use JSON::PP ();
use POSIX    qw(WNOHANG);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant SLOW  => $ENV{EVF_TEST_SLOW} ? 1 : 0;
use constant BOUND => SLOW ? 300 : 40;    # seconds, for anything

my @running;

# Options of EventLoop::Fork::Supervisor->new, but for: loop_of, code that makes the loop in that process; before, code
# that runs there first; stderr, a file.
sub start {
    my ($class, %options) = @_;
    my ($loop_of, $before, $stderr) = delete @options{qw(loop_of before stderr)};
    pipe my $reader, my $writer or die "pipe: $!";
    my $owner = $$;
    my $pid   = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        close $reader;
        @running = ();
        my $ended = eval {
            setpgrp;
            if (defined $stderr) { open STDERR, '>>', $stderr or die "$stderr: $!" }
            $before->() if $before;
            require EventLoop::Fork::Supervisor;
            my $json = JSON::PP->new->canonical;
            my $supervisor;
            $supervisor = EventLoop::Fork::Supervisor->new(
                ($loop_of ? (loop => $loop_of->()) : ()),
                on_event => sub {
                    my ($event) = @_;
                    return if $$ == $owner;
                    syswrite $writer, $json->encode(
                        {
                            %$event,
                            ready => $supervisor->status->{ready},
                            names => [ map { $_->name } @{ $supervisor->{listeners} } ],
                        }
                    ) . "\n";
                },
                %options,
            );
            POSIX::_exit($supervisor->run);
        };
        print STDERR "supervisor: $@" unless $ended;
        POSIX::_exit(99);
    }
    close $writer;
    my $self = bless { pid => $pid, reader => $reader, buffer => '', seen => [], events => [], owner => $$ }, $class;
    push @running, $self;
    return $self;
}

# Each family of loops that is installed here: its name, and code that gives a loop of it. Nothing is loaded before that
# code is called: families that are loaded are dealt with in every fork.
my @FAMILIES = (
    [ 'EventLoop::Fork::Loop',     sub { $_[0]->new } ],
    [ 'IO::Async::Loop::Libev',    sub { $_[0]->new }, 'IO/Async/Loop.pm' ],
    [ 'IO::Async::Loop::Libevent', sub { $_[0]->new }, 'IO/Async/Loop.pm' ],
    [ 'IO::Async::Loop::Poll',     sub { $_[0]->new } ],
    [ 'IO::Async::Loop::Epoll',    sub { $_[0]->new } ],
    [ 'EV',                        sub { $_[0] } ],
    [ 'AnyEvent',                  sub { $_[0] } ],
    [ 'Mojo::IOLoop',              sub { $_[0]->singleton } ],
);

sub families {
    my @families;
    for my $family (@FAMILIES) {
        my ($class, $loop_of, @needed) = @$family;
        (my $file = "$class.pm") =~ s{::}{/}g;
        next if grep { !_is_installed($_) } $file, @needed;
        push @families, [ $class, sub { require EventLoop::Fork::Loop; require $file; $loop_of->($class) } ];
    }
    return @families;
}

sub _is_installed {
    my ($file) = @_;
    return scalar grep { !ref && -e "$_/$file" } @INC;
}

# Runs the loop of a worker, of whatever family, until somebody stops it.
sub run_loop {
    my ($worker) = @_;
    EventLoop::Fork::Adapter::for_loop($worker->loop)->run;
    return;
}

# What nobody tells of: what the code returns, once that is true or the bound is over.
sub wait_until {
    my ($code) = @_;
    my $deadline = now() + BOUND;
    while (1) {
        my $value = $code->();
        return $value if $value || now() > $deadline;
        select undef, undef, undef, 0.01;
    }
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub pid { return $_[0]{pid} }

# What it listens on, once something has happened.
sub names { my ($self) = @_; return @{ $self->{seen}[0]{names} } }

# All so far.
sub events { return @{ $_[0]{seen} } }

# The next event of that name (or for which the code is true); those before are skipped. undef: none within the bound,
# or the supervisor has ended.
sub wait_for {
    my ($self, $what, %how) = @_;
    my $matches  = ref $what ? $what : sub { $_[0]{event} eq $what };
    my $deadline = now() + ($how{bound} || BOUND);
    while (1) {
        while (my $event = shift @{ $self->{events} }) {
            return $event if $matches->($event);
        }
        return unless $self->_read($deadline - now());
    }
}

# So many events of that name.
sub wait_for_count {
    my ($self, $what, $count) = @_;
    my @events;
    while (@events < $count) {
        push @events, $self->wait_for($what) || return;
    }
    return @events;
}

sub _read {
    my ($self, $seconds) = @_;
    return 0 if $seconds <= 0 || !IO::Select->new($self->{reader})->can_read($seconds);
    my $count = sysread $self->{reader}, $self->{buffer}, 65_536, length $self->{buffer};
    return 0 unless $count;
    while ($self->{buffer} =~ s/\A([^\n]*)\n//) {
        my $event = JSON::PP->new->decode($1);
        push @{ $self->{seen} },   $event;
        push @{ $self->{events} }, $event;
    }
    return 1;
}

# pids of workers that have started and not ended, by the events so far.
sub workers {
    my ($self) = @_;
    my %alive;
    for my $event (@{ $self->{seen} }) {
        $alive{ $event->{pid} } = $event->{slot} if $event->{event} eq 'worker_started';
        delete $alive{ $event->{pid} } if $event->{event} eq 'worker_exited';
    }
    return sort { $alive{$a} <=> $alive{$b} } keys %alive;
}

sub signal { my ($self, $signal) = @_; return kill $signal, $self->{pid} }

# The wait status, when it has ended; reads on meanwhile. undef: it has not, within the bound.
sub wait_status {
    my ($self, %how) = @_;
    return $self->{wait_status} if defined $self->{wait_status};
    my $deadline = now() + ($how{bound} || BOUND);
    1 while $self->_read($deadline - now());    # its end closes the pipe, when no worker has it either
    while (now() < $deadline) {
        my $gone = waitpid $self->{pid}, WNOHANG;
        return $self->{wait_status} = $? if $gone == $self->{pid};
        select undef, undef, undef, 0.01;
    }
    return;
}

sub exit_code {
    my ($self, %how) = @_;
    my $status = $self->wait_status(%how);
    return defined $status ? $status & 127 ? 'signal ' . ($status & 127) : $status >> 8 : undef;
}

# No process of its group is left. They vanish by themselves; nothing can be waited for but their end.
sub is_gone {
    my ($self, %how) = @_;
    my $deadline = now() + ($how{bound} || BOUND);
    while (now() < $deadline) {
        return 1 unless kill 0, -$self->{pid};
        select undef, undef, undef, 0.01;
    }
    return 0;
}

# Stops it, politely; its exit code. Complains of what is left.
sub finish {
    my ($self) = @_;
    $self->signal('TERM');
    return $self->exit_code;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    kill KILL => -$self->{pid};
    return if defined $self->{wait_status};
    local ($?, $!);
    waitpid $self->{pid}, 0;
    return;
}

END {
    @running = ();
}

1;
