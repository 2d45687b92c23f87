package SupervisorTest;

# A supervisor in a process of its own, whose events a test waits for.

use strict;
use warnings;

use parent 'ProcessTest';

use JSON::PP    ();
use POSIX       ();
use ProcessTest qw(BOUND SLOW now wait_until);
use Test2::V0   qw(subtest);

# Options of EventLoop::Fork::Supervisor->new, but for: loop_of, code that makes the loop in that process; before, code
# that runs there first; once_made, code that gets the supervisor before it runs; stderr, a file.
sub start {
    my ($class, %options) = @_;
    return $class->start_process(sub { _supervise($_[0], %options) });
}

sub _supervise {
    my ($writer, %options) = @_;
    my ($loop_of, $before, $once_made, $stderr) = delete @options{qw(loop_of before once_made stderr)};
    my $ended = eval {
        if (defined $stderr) { open STDERR, '>>', $stderr or die "$stderr: $!" }
        $before->() if $before;
        require EventLoop::Fork::Supervisor;
        my $json = JSON::PP->new->canonical;
        my $supervisor;
        $supervisor = EventLoop::Fork::Supervisor->new(
            ($loop_of ? (loop => $loop_of->()) : ()),
            on_event => sub {
                my ($event) = @_;
                syswrite $writer, $json->encode({
                    %$event,
                    ready => $supervisor->status->{ready},
                    names => [ map { $_->name } @{ $supervisor->{listeners} } ],
                }) . "\n";
            },
            %options,
        );
        $once_made->($supervisor) if $once_made;
        POSIX::_exit($supervisor->run);
    };
    print STDERR "supervisor: $@" unless $ended;
    return;
}

sub parse { return JSON::PP->new->decode($_[1]) }

# Each family of loops that is installed here: its name, and code that gives a loop of it. Nothing is loaded before that
# code is called: families that are loaded are dealt with in every fork.
my @FAMILIES = (
    [ 'EventLoop::Fork::Loop', sub { $_[0]->new } ],
    [ 'IO::Async::Loop::Libev', sub { $_[0]->new }, 'IO/Async/Loop.pm' ],
    [ 'IO::Async::Loop::Libevent', sub { $_[0]->new }, 'IO/Async/Loop.pm' ],
    [ 'IO::Async::Loop::Poll', sub { $_[0]->new } ],
    [ 'IO::Async::Loop::Epoll', sub { $_[0]->new } ],
    [ 'EV', sub { $_[0] } ],
    [ 'AnyEvent', sub { $_[0] } ],
    [ 'Mojo::IOLoop', sub { $_[0]->singleton } ],
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

# A subtest for each: the code gets what start takes as loop_of.
sub each_family {
    my ($code) = @_;
    for my $family (families()) {
        my ($name, $loop_of) = @$family;
        subtest $name => sub { $code->($loop_of) };
    }
    return;
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

# A worker that does nothing but live.
sub serve {
    my ($worker) = @_;
    $worker->ready;
    run_loop($worker);
    return 0;
}

# What it listens on, once something has happened.
sub names { my ($self) = @_; return @{ $self->{seen}[0]{names} } }

# All so far.
sub events { return @{ $_[0]{seen} } }

# The next event of that name (or for which the code is true); those before are skipped. undef: none within the bound,
# or the supervisor has ended.
sub wait_for {
    my ($self, $what) = @_;
    my $matches = ref $what ? $what : sub { $_[0]{event} eq $what };
    my ($event) = $self->next_match(sub { $matches->($_[0]) ? $_[0] : () });
    return $event;
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

# pids of workers that have started and not ended, by the events so far.
sub workers {
    my ($self) = @_;
    my %alive;
    for my $event (@{ $self->{seen} }) {
        $alive{ $event->{pid} } = $event->{slot} if $event->{event} eq 'worker_started';
        delete $alive{ $event->{pid} }           if $event->{event} eq 'worker_exited';
    }
    return sort { $alive{$a} <=> $alive{$b} } keys %alive;
}

# Stops it, politely; its exit code.
sub finish {
    my ($self) = @_;
    $self->signal('TERM');
    return $self->exit_code;
}

1;
