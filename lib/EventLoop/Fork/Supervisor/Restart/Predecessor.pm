package EventLoop::Fork::Supervisor::Restart::Predecessor;

# A hot restart, in the new supervisor: who was there before, and how its place is taken once all workers are ready. The
# words are explained in EventLoop::Fork::Supervisor::Restart.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork;
use EventLoop::Fork::Supervisor::Restart;
use EventLoop::Fork::Supervisor::Restart::Channel;
use Fcntl        qw(F_SETFD FD_CLOEXEC);
use File::Spec   ();
use POSIX        ();
use Scalar::Util qw(refaddr weaken);
use Time::HiRes  ();

# ---- Found when this module is loaded -------------------------------------------------------------------------------

# Until a supervisor starts, and takes it over. What kills the program meanwhile is the reason of the failure.
my ($found, $last_words);
my $is_successor = 0;
my $on_die       = sub { $last_words = $_[0] if !$^S };

_find();

sub _find {
    my ($pid, $channel, $stderr, @file) = split /:/,
        delete $ENV{ EventLoop::Fork::Supervisor::Restart::VARIABLE() } // return;
    # It was for another process, which has left it in the environment of its children.
    return if $pid != $$;
    open my $handle, '+<&=', $channel or return;
    fcntl $handle, F_SETFD, FD_CLOEXEC;
    _restore_stderr($stderr, @file);
    $is_successor = 1;
    $found        = bless { channel => EventLoop::Fork::Supervisor::Restart::Channel->new($handle), owner => $$ };
    $SIG{__DIE__} = $on_die if !defined $SIG{__DIE__} || $SIG{__DIE__} eq '';    ## no critic (LocalizedPunctuationVars)
    return;
}

# What was said so far is in a file; it follows now.
sub _restore_stderr {
    my ($stderr, @file) = @_;
    my @now = stat STDERR;
    if (@now && "@now[ 0, 1 ]" eq "@file") {
        my $text = '';
        sysseek STDERR, 0, 0;
        while (sysread STDERR, $text, 65_536, length $text) { }
        POSIX::dup2($stderr, 2);
        print {*STDERR} $text;
    }
    POSIX::close($stderr) if $stderr >= 0;
    return;
}

END {
    if ($found && $found->{owner} == $$ && $?) {
        local ($?, $!);
        $found->{channel}->tell(failed => _first_lines(EventLoop::Fork::Loop::_exception_text($last_words)))
            if defined $last_words;
    }
}

# For a program that catches what it dies of.
sub note {
    my ($text) = @_;
    $last_words = $text;
    return;
}

# Of several errors of a program that does not compile the first one tells most.
sub _first_lines {
    my ($text) = @_;
    my @lines = grep { /\S/ } split /\n/, $text;
    return join '; ', @lines > 2 ? @lines[ 0, 1 ] : @lines;
}

sub is_successor { return $is_successor }

# Of a process that was started as a successor and whose supervisor has not started yet; 0: of no such.
sub pid_before_start {
    return 0 if !$found || $found->{owner} != $$;
    $found->_read;
    return $found->{pid} || 0;
}

# ---- A supervisor starts --------------------------------------------------------------------------------------------

# The first one of the process gets it.
sub take {
    my ($class) = @_;
    my $self = $found or return;
    undef $found;
    delete $SIG{__DIE__} if ref $SIG{__DIE__} && refaddr $SIG{__DIE__} == refaddr $on_die;
    return               if $self->{owner} != $$;
    $self->_read;
    $self->{hook} = EventLoop::Fork::at_fork(
        name     => 'restart',
        priority => 0,
        child    => sub { $_[0]{channel}->close if $_[0] },
        object   => $self,
    );
    return $self;
}

sub pid { return $_[0]{pid} || 0 }

# The name of a file until the place is taken.
sub pending {
    my ($self, $path) = @_;
    return if !defined $path;
    $self->{paths}{pending} = File::Spec->rel2abs("$path.restart-$$");
    $self->{paths}{final}   = File::Spec->rel2abs($path);
    $self->note_file($self->{paths}{pending});
    return $self->{paths}{pending};
}

sub note_file {
    my ($self, $path) = @_;
    $self->{channel}->tell(file => $path);
    return;
}

sub watch {
    my ($self, $supervisor) = @_;
    weaken($self->{supervisor} = $supervisor);
    weaken(my $weak = $self);
    $self->{channel}->tell('started');
    $self->{channel}->watch($supervisor->_adapter, sub { $weak->_on_word if $weak });
    return;
}

# ---- Until the workers are ready ------------------------------------------------------------------------------------

# Every report of the machine comes by here.
sub notice {
    my ($self, $event, $handle) = @_;
    my $name = $event->{event};
    return $self->_look                         if $name eq 'worker_ready';
    return $self->_fail('it was asked to stop') if $name eq 'stopping';
    return                                      if $self->{channel}->is_at_end;   # there is nobody else who could serve
    return $self->fail("worker $event->{slot} ended: $event->{reason}")
        if $name eq 'worker_exited' && !($handle && $handle->is_ready);
    return $self->fail("worker $event->{slot} was not started: $event->{reason}") if $name eq 'spawn_failed';
    return;
}

sub _look {
    my ($self) = @_;
    my $pool = $self->{supervisor}{machine}->pool;
    return if $self->{has_failed} || $pool->{ready} < $pool->{workers};
    if (!$self->{is_ready}++) {
        $self->{channel}->tell('ready');
    }
    $self->_take_over if $self->{is_free};
    return;
}

sub _on_word {
    my ($self) = @_;
    $self->_read;
    if (!$self->{farewell}) {
        $self->_take_over if $self->{is_free} && $self->{is_ready};
    }
    elsif ($self->{channel}->is_at_end) {
        $self->leave;
        $self->{farewell}->();
    }
    return;
}

# A predecessor that has ended does not have to be asked.
sub _read {
    my ($self) = @_;
    for my $line ($self->{channel}->read) {
        my ($word, @texts) = @$line;
        $self->{is_free} = 1 if $word eq 'go';
        if ($word eq 'hello') {
            $self->{pid}   = shift @texts;
            $self->{files} = { map { $_ => 1 } @texts };
        }
    }
    return if !$self->{channel}->is_at_end;
    $self->{is_free} = 1;
    $self->{channel}->unwatch;
    return;
}

# The old one serves on, and gets to know why. Before the start has succeeded there is nothing to stop.
sub fail {
    my ($self, $why) = @_;
    return if !$self->_fail($why);
    my $supervisor = $self->{supervisor} or return;
    $supervisor->{log}->line("restart: $why; the supervisor before goes on, this one ends");
    $supervisor->_feed('STOP', is_fast => 0);
    return;
}

# False: it is known already.
sub _fail {
    my ($self, $why) = @_;
    return 0 if $self->{has_failed}++;
    $self->{channel}->tell(failed => $why);
    return 1;
}

# ---- Taking over ----------------------------------------------------------------------------------------------------

sub _take_over {
    my ($self) = @_;
    return if $self->{has_failed} || $self->{has_taken}++;
    my $supervisor = $self->{supervisor};
    my $paths      = $self->{paths};
    if ($paths && !eval { $supervisor->{board}->rename($paths->{final}, $self->pid); 1 }) {
        return $self->fail(EventLoop::Fork::Loop::_exception_text($@));
    }
    # Too late to go back.
    if ($supervisor->{pid_file} && !eval { $supervisor->{pid_file}->put_in_place($self->pid); 1 }) {
        $supervisor->{log}->line(EventLoop::Fork::Loop::_exception_text($@));
    }
    my @taken = grep { defined $_->path && $self->{files}{ $_->path } } @{ $supervisor->{listeners} };
    $_->claim_file for @taken;
    $self->{channel}->tell(taken => map { $_->path } @taken);
    delete $supervisor->{predecessor};
    if   ($supervisor->{notify}) { $supervisor->{notify}->begin_after($self) }
    else                         { $self->leave }
    $supervisor->_tell({
        event      => 'taken_over',
        time       => Time::HiRes::time(),
        generation => $supervisor->{machine}->pool->{generation},
        pid        => $self->pid,
    });
    return;
}

# The old one closes its end when it has told others who is in charge.
sub on_farewell {
    my ($self, $code) = @_;
    $self->{farewell} = $code;
    return $self->_on_word;
}

sub leave {
    my ($self) = @_;
    $self->{channel}->unwatch;
    (delete $self->{hook})->cancel if $self->{hook};
    $self->{channel}->close;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Restart::Predecessor - the supervisor whose place this one is to take

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor>, in a process that was started by L<EventLoop::Fork::Supervisor::Restart>.

=head1 FUNCTIONS

=head2 is_successor

Whether this process was started so.

=head2 pid_before_start

The process of the predecessor, as long as no supervisor has started here; else 0.

=head2 note($text)

Why this program ends, should it end without a supervisor.

=head1 METHODS

=head2 take

The predecessor, for the first supervisor of the process; else nothing.

=head2 pid

=head2 pending

    my $path = $predecessor->pending($status_file);

Where the scoreboard is until the place is taken.

=head2 note_file($path)

A file that the predecessor removes if this process is killed before.

=head2 watch($supervisor)

=head2 notice($event, $handle)

An event of this supervisor: when all workers are ready, the place is taken; when one does not start, it is not.

=head2 on_farewell($code)

Runs the code when the predecessor has told who is in charge now.

=head2 fail($reason)

=head2 leave

=cut
