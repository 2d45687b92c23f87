package IO::Async::Loop::BenchEV;

# IO::Async on EV, for the benchmark only: the side that our loops are compared with. Every watch is one EV watcher that
# calls the user's code with as little Perl in between as IO::Async's contract allows, and run is one EV::run.
# `bench/run.pl --check-adapter` runs IO::Async::LoopTests on it.

use strict;
use warnings;

our $VERSION = '0.001';

use constant API_VERSION         => '0.76';
use constant _CAN_WATCH_ALL_PIDS => 0;

use Carp         qw(croak);
use EV           ();
use Scalar::Util qw(refaddr weaken);

use parent 'IO::Async::Loop';

sub new {
    my ($class, %args) = @_;
    my $self = $class->SUPER::__new(%args);

    @$self{qw(ev_io ev_time ev_signal ev_process)} = ({}, {}, {}, {});

    my $watches = $self->{ev_time};
    $self->{ev_fired} = sub { (delete $watches->{ refaddr $_[0] })->data->() };

    # EV::run returns when nothing is watched; IO::Async waits.
    $self->{ev_keep_alive} = EV::async(sub { });

    # Active while something waits for its turn. The highest priority: timers and io must not starve it.
    weaken(my $weak = $self);
    $self->{ev_idle} = EV::idle_ns(sub {
        $_[0]->stop;
        my $deferrals = $weak->{deferrals};
        $weak->{deferrals} = [];
        $_->() for @$deferrals;
    });
    $self->{ev_idle}->priority(EV::MAXPRI);
    return $self;
}

# ---- Turns -----------------------------------------------------------------------------------------------------------

sub is_running { return $_[0]{running} }

sub run {
    my ($self) = @_;
    local $self->{running} = 1;
    local $self->{result}  = [];
    EV::run() while $self->{running};
    return wantarray ? @{ $self->{result} } : $self->{result}[0];
}

sub stop {
    my ($self, @result) = @_;
    @{ $self->{result} } = @result;
    undef $self->{running};
    EV::break(EV::BREAK_ONE);
    return;
}

sub loop_once {
    my ($self, $timeout) = @_;
    return EV::run(EV::RUN_NOWAIT) if defined $timeout && $timeout == 0;
    my $wake_up = defined $timeout ? EV::timer($timeout, 0, sub { }) : undef;    # ends the wait, then goes
    return EV::run(EV::RUN_ONCE);
}

sub post_fork {
    EV::default_loop()->loop_fork;
    return;
}

# ---- Watches ---------------------------------------------------------------------------------------------------------

sub watch_io {
    my ($self, %args) = @_;
    my $handle = $args{handle} or croak "Expected 'handle'";
    my $fd     = $handle->fileno;
    defined $fd or croak "Expected that 'handle' has defined ->fileno";
    exists $args{on_hangup} and croak "Cannot watch_io for 'on_hangup' in " . ref $self;
    $handle->blocking(0) if $handle->blocking;

    my $watch = $self->{ev_io}{$fd} ||= [];
    $watch->[0] = EV::io($fd, EV::READ, $args{on_read_ready})   if $args{on_read_ready};
    $watch->[1] = EV::io($fd, EV::WRITE, $args{on_write_ready}) if $args{on_write_ready};
    return;
}

sub unwatch_io {
    my ($self, %args) = @_;
    my $fd    = $args{handle}->fileno;
    my $watch = $self->{ev_io}{$fd} or return;
    undef $watch->[0] if $args{on_read_ready};
    undef $watch->[1] if $args{on_write_ready};
    delete $self->{ev_io}{$fd} unless $watch->[0] || $watch->[1];
    return;
}

# One callback for all timers, and the user's code beside the watcher: half the time of a closure for each.
sub watch_time {
    my ($self, %args) = @_;
    my $watcher =
          exists $args{after} ? EV::timer($args{after}, 0, $self->{ev_fired})
        : exists $args{at}    ? EV::periodic($args{at}, 0, 0, $self->{ev_fired})
        :                       croak "Expected one of 'at' or 'after'";
    $watcher->data($args{code});
    my $id = refaddr $watcher;
    $self->{ev_time}{$id} = $watcher;
    return $id;
}

sub unwatch_time {
    my ($self, $id) = @_;
    delete $self->{ev_time}{$id};
    return;
}

sub watch_idle {
    my ($self, %args) = @_;
    ($args{when} || '') eq 'later' or croak "Expected 'when' to be 'later'";
    return $self->later($args{code});
}

# unwatch_idle is the base class's: it knows the queue and the form of the id.
sub later {
    my ($self, $code) = @_;
    return $self->SUPER::later unless $code;
    my $deferrals = $self->{deferrals};
    push(@$deferrals, $code) == 1 and $self->{ev_idle}->start;
    return \$deferrals->[-1];
}

sub watch_signal {
    my ($self, $name, $code) = @_;
    defined $self->signame2num($name) or croak "No such signal '$name'";
    $self->{ev_signal}{$name} = EV::signal($name, $code);
    return;
}

sub unwatch_signal {
    my ($self, $name) = @_;
    delete $self->{ev_signal}{$name};
    return;
}

sub watch_process {
    my ($self, $pid, $code) = @_;
    my $watches = $self->{ev_process};
    $watches->{$pid} = EV::child(
        $pid, 0,
        sub {
            my ($watcher) = @_;
            delete $watches->{$pid};
            $code->($pid, $watcher->rstatus);
        }
    );
    return;
}

sub unwatch_process {
    my ($self, $pid) = @_;
    delete $self->{ev_process}{$pid};
    return;
}

1;
