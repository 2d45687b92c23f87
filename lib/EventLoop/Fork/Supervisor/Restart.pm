package EventLoop::Fork::Supervisor::Restart;

# A hot restart, in the old supervisor: the new one is executed, and gets the word when its workers are ready. Until then,
# and whenever it fails, the old one serves on. What the new one does is in Restart/Predecessor.pm.
#
#     starting ──ready──► yielding ──taken──► done        the new one ends before: failed
#         └─────stop─────► stopping

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork;
use EventLoop::Fork::Supervisor::Restart::Channel;
use EventLoop::Fork::Supervisor::Restart::Program;
use EventLoop::Fork::Supervisor::Signals;
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Time::HiRes  ();

use constant {
    VARIABLE => 'EVENTLOOP_FORK_RESTART',
    REASON   => 300,                        # characters of it in the scoreboard
};

# Seconds beyond what the options say: the program is compiled, and it binds, before a worker starts.
our $margin = 10;

# ---- Start ----------------------------------------------------------------------------------------------------------

# The supervisor has the object as long as it makes a difference.
sub begin {
    my ($class, $supervisor) = @_;
    my $self = bless { supervisor => $supervisor, state => 'starting', files => {} }, $class;
    weaken $self->{supervisor};
    $supervisor->{restart} = $self;
    my $why = _several($supervisor) // EventLoop::Fork::Supervisor::Restart::Program::why_not();
    if (!defined $why) {
        return if eval { $self->_start; 1 };
        $why = EventLoop::Fork::Loop::_exception_text($@);
    }
    $self->_close;
    delete $supervisor->{restart};
    $self->_tell_failure($why);
    return;
}

sub _several {
    my ($supervisor) = @_;
    my $count = EventLoop::Fork::Supervisor::Signals::count('USR2');
    return $count > 1
        ? "there are $count supervisors in this process, and a restart is one of the whole program"
        : undef;
}

sub _start {
    my ($self)     = @_;
    my $supervisor = $self->{supervisor};
    my $adapter    = $supervisor->_adapter;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    # Without it the words are on STDERR all the same, and only not in the reason.
    CORE::open $self->{words}, '+>', undef or delete $self->{words};
    my @listeners = @{ $supervisor->{listeners} };
    $self->{channel} = EventLoop::Fork::Supervisor::Restart::Channel->new($ours);
    $self->{channel}->tell(hello => $$, map { $_->path } grep { $_->owns_file } @listeners);    # it is there in time
    weaken(my $weak = $self);
    $self->{child} = EventLoop::Fork->fork(
        loop => $adapter->loop,
        name => 'restart',
        code => sub {
            EventLoop::Fork::Supervisor::Restart::Program::execute(
                listeners => \@listeners,
                channel   => $theirs,
                words     => $self->{words},
                variable  => VARIABLE,
                notify    => $supervisor->{notify},
            );
        },
        on_exit => sub { $weak->_on_exit if $weak },
    );
    close $theirs;
    # Workers that had it would hide the end of this process from the new one.
    $self->{hook} = EventLoop::Fork::at_fork(
        name     => 'restart',
        priority => 0,
        child    => sub { $_[0]->_close_in_child if $_[0] },
        object   => $self,
    );
    $self->{channel}->watch($adapter, sub { $weak->_on_word if $weak });
    my $timeout = $supervisor->{options}{startup_timeout};
    $self->_wait($timeout + $margin, sub { $_[0]->_end_late($timeout + $margin) }) if $timeout;
    $self->_tell(restart_started => pid => $self->{child}->pid);
    return;
}

sub _wait {
    my ($self, $seconds, $code) = @_;
    my $adapter = $self->{supervisor}->_adapter;
    $adapter->unwatch_time(delete $self->{timer_id}) if defined $self->{timer_id};
    return                                           if !defined $seconds;
    weaken(my $weak = $self);
    $self->{timer_id} = $adapter->watch_time(
        $seconds,
        sub {
            return unless $weak;
            delete $weak->{timer_id};
            $code->($weak);
        },
    );
    return;
}

sub pid { return $_[0]{child}->pid }

# ---- What the new one says ------------------------------------------------------------------------------------------

my %WORDS = (
    file    => sub { $_[0]{files}{ $_[1] } = 1 },
    started => sub { $_[0]{has_started}    = 1 },
    failed  => sub { $_[0]{told} //= $_[1]; $_[0]->_end_by },
    ready   => sub { $_[0]->_yield },
    taken   => sub { shift->_on_taken(@_) },
);

sub _on_word {
    my ($self) = @_;
    return if !$self->{channel};
    for my $line ($self->{channel}->read) {
        my ($word, @texts) = @$line;
        $WORDS{$word}->($self, @texts) if $WORDS{$word};
    }
    # Its end is told by the process.
    $self->{channel}->unwatch if $self->{channel} && $self->{channel}->is_at_end;
    return;
}

# From now on the names may be those of the new one: it is not signalled any more.
sub _yield {
    my ($self) = @_;
    return if $self->{state} ne 'starting';
    $self->{state} = 'yielding';
    $self->{channel}->tell('go');
    $self->_wait($margin, sub { $_[0]->_end_stuck });
    return;
}

sub _on_taken {
    my ($self, @paths) = @_;
    my $supervisor = $self->{supervisor};
    $self->{state} = 'done';
    my %is_taken = map { $_ => 1 } @paths;
    $_->release_file for grep { defined $_->path && $is_taken{ $_->path } } @{ $supervisor->{listeners} };
    # The new one waits for its end when others are to hear of this first.
    my $channel = delete $self->{channel};
    $channel->unwatch;
    $self->_close;
    delete $supervisor->{restart};
    my $farewell = sub { $channel->close };
    $supervisor->{notify} ? $supervisor->{notify}->hand_over($self->pid, $farewell) : $farewell->();
    $self->_tell(restarted => pid => $self->pid);
    $supervisor->_feed('STOP', is_fast => 0) if !$supervisor->{is_asked_to_stop}++;
    return;
}

# ---- Its end --------------------------------------------------------------------------------------------------------

sub _on_exit {
    my ($self) = @_;
    my $supervisor = $self->{supervisor} or return;
    $self->_on_word;    # what it has said before
    return if $self->{state} eq 'done';
    my $why   = $self->_reason;
    my $state = $self->{state};
    unlink keys %{ $self->{files} };
    $self->_close;
    delete $supervisor->{restart};
    $self->_tell_failure($why);
    # Half of the names may have been its own.
    $supervisor->{pid_file}->restore($self->pid) if $state eq 'yielding' && $supervisor->{pid_file};
    $supervisor->_finish($self->{exit_code})     if defined $self->{exit_code};
    return;
}

sub _reason {
    my ($self) = @_;
    my $last = $self->_last_words;
    return $self->{ended_for} if defined $self->{ended_for};
    my $told = $self->{told} // $last;
    my $why  = $self->{child}->exit_reason;
    return defined $told && length $told ? "$why: $told" : $why;
}

# What it has said before it was able to say it on our STDERR, where it goes now. Returns the last line.
sub _last_words {
    my ($self) = @_;
    my $file   = $self->{words} or return;
    my $text   = '';
    sysseek $file, 0, 0 or return;
    while (sysread $file, $text, 65_536, length $text) { }
    return unless length $text;
    print {*STDERR} $text;
    my ($last) = $text =~ /([^\n]*\S)\s*\z/;
    return $last;
}

sub _end_late {
    my ($self, $seconds) = @_;
    $self->{ended_for} = "its workers were not ready after $seconds s";
    return $self->_end_by('TERM');
}

# It was to take over, which takes no time, and has not: it is stopped, say.
sub _end_stuck {
    my ($self) = @_;
    $self->_on_word;
    return if $self->{state} ne 'yielding';
    $self->{state}     = 'starting';
    $self->{ended_for} = 'it did not take over';
    return $self->_end_by('KILL');
}

# By a signal, or by itself. Its workers may have requests, so it has the time that ours have.
sub _end_by {
    my ($self, $signal) = @_;
    return if $self->{state} eq 'yielding' || $self->{state} eq 'done';
    # A second TERM would kill what it is about to finish.
    return if $self->{state} eq 'stopping' && (!defined $signal || $signal eq 'TERM');
    $self->{state} = 'stopping';
    $self->{child}->kill($signal) if defined $signal;
    return $self->_wait(undef)    if defined $signal && $signal eq 'KILL';
    return $self->_wait(
        $margin + $self->{supervisor}{options}{graceful_timeout},
        sub { $_[0]->_end_by('KILL') },
    );
}

# ---- What the old one does meanwhile --------------------------------------------------------------------------------

sub stop {
    my ($self, $is_fast) = @_;
    $self->_on_word;    # if it has taken over, it is not ours to stop
    return if $self->{state} eq 'yielding' || $self->{state} eq 'done';
    $self->{ended_for} //= 'the old supervisor was stopped';
    # Of QUIT a program that has no supervisor yet would dump core.
    $self->_end_by(!$is_fast ? 'TERM' : $self->{has_started} ? 'QUIT' : 'KILL');
    return;
}

# True if the old one has to wait with its end for that of the new one.
sub holds_up {
    my ($self, $exit_code) = @_;
    return 0 if $self->{state} ne 'stopping' || !$self->{child}->is_running;
    $self->{exit_code} = $exit_code;
    return 1;
}

# The old one ends, by itself: the new one takes over when it is ready, and needs the socket files for that.
sub leave {
    my ($self) = @_;
    if ($self->{state} eq 'starting' || $self->{state} eq 'yielding') {
        $_->release_file for @{ $self->{supervisor}{listeners} };
    }
    $self->_close;
    return;
}

sub _close {
    my ($self) = @_;
    $self->_wait(undef);
    (delete $self->{hook})->cancel if $self->{hook};
    if (my $channel = delete $self->{channel}) {
        $channel->unwatch;
        $channel->close;
    }
    delete $self->{words};
    return;
}

sub _close_in_child {
    my ($self) = @_;
    $self->{channel}->close if $self->{channel};
    delete $self->{words};
    return;
}

# ---- Reports --------------------------------------------------------------------------------------------------------

sub _tell {
    my ($self, $name, %fields) = @_;
    my $supervisor = $self->{supervisor};
    my $generation = $supervisor->{machine} ? $supervisor->{machine}->pool->{generation} : 0;
    $supervisor->_tell({ event => $name, time => Time::HiRes::time(), generation => $generation, %fields });
    return;
}

# For `evfork restart --wait`, too.
sub _tell_failure {
    my ($self, $why) = @_;
    my $supervisor = $self->{supervisor};
    $why =~ s/\s+\z//;
    my $info = $supervisor->{info};
    $info->{restart} = { failed => 1 + ($info->{restart}{failed} || 0), reason => substr $why, 0, REASON };
    $supervisor->{board}->set_header(info => $supervisor->_info) if $supervisor->{board};
    $self->_tell(restart_failed => reason => $why, $self->{child} ? (pid => $self->pid) : ());
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Restart - a new supervisor in place of this one

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor>, which has this object while a hot restart is under way.
L<EventLoop::Fork::Supervisor::Restart::Predecessor> is its counterpart in the new one. They talk through a socket pair:

    to the new one    hello PID FILE...   who is asking, and the socket files that are to be taken over
                      go                  take over
    to the old one    file PATH           to be removed if the new one ends without a word
                      started             it has bound, and follows signals
                      failed REASON       it is about to end
                      ready               all workers are ready
                      taken FILE...       it has the status file, the pid file and these socket files

=head1 METHODS

=head2 begin($supervisor)

Starts the program again, or tells C<restart_failed>.

=head2 pid

Of the new one.

=head2 stop($is_fast)

The old one is asked to stop: so is the new one, unless it has taken over.

=head2 holds_up($exit_code)

Whether the end has to wait; if so, it comes later by itself, with that exit code.

=head2 leave

The old one ends.

=head1 CONSTANTS

=head2 VARIABLE, REASON

=cut
