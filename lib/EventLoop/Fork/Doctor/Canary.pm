package EventLoop::Fork::Doctor::Canary;

# One fork to look at. The child tells by a pipe how far it got, hook by hook, then what it sees, and waits until it has
# been looked at from outside. Whatever happens to it, the doctor goes on, and in a bounded time.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork ();
use JSON::PP        ();
use POSIX           qw(WNOHANG);
use Time::HiRes     qw(CLOCK_MONOTONIC clock_gettime);

use constant GRACE => 5;    # seconds for the end of one that was killed

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

sub new {
    my ($class, $doctor, $kind) = @_;
    return bless { doctor => $doctor, kind => $kind, buffer => '', spent => {}, failures => [] }, $class;
}

# What became of it: kind, facts and seen if it got so far, else open (the number of the hook it was in), spent (by hook),
# failures, status, is_late, is_stolen, refusal.
sub run {
    my ($self) = @_;
    pipe my $reader, my $writer       or die "pipe: $!\n";
    pipe my $go_reader, my $go_writer or die "pipe: $!\n";
    @$self{qw(reader writer go_reader go_writer)} = ($reader, $writer, $go_reader, $go_writer);
    $self->_watch_hooks;
    my $done = eval {
        no warnings 'redefine';
        local *EventLoop::Fork::Loop::_report_hook = sub { $self->_on_failure(@_) };
        local $SIG{__WARN__}                       = sub { };    # of threads and rings: the report says it
        local $SIG{PIPE}                           = 'IGNORE';
        $self->{began} = _now();
        $self->_fork;
        1;
    };
    my $error = $@;
    $self->_note_hooks;
    EventLoop::Fork::Doctor::_unwatch_hooks();
    if   ($done) { $self->_follow }
    else         { $self->_refused($error) }
    return $self->_result;
}

# ---- Hooks ----------------------------------------------------------------------------------------------------------

sub _watch_hooks {
    my ($self)  = @_;
    my $doctor  = $self->{doctor};
    my $teller  = $doctor->option('teller');
    my @labels  = EventLoop::Fork::Doctor::_watch_hooks(fileno $self->{writer}, $teller ? fileno $teller : -1);
    my $number  = 0;
    my $skipped = $doctor->{skipped};
    $doctor->{hooks} = [ map { { number => $number++, label => $_ } } @labels ];
    EventLoop::Fork::Doctor::_skip_hook($_) for sort keys %$skipped;
    $doctor->tell(hooks => \@labels);
    return;
}

# What the parent's callbacks took.
sub _note_hooks {
    my ($self) = @_;
    for my $hook (@{ $self->{doctor}{hooks} }) {
        my ($prepare, $parent) = EventLoop::Fork::Doctor::_spent($hook->{number});
        @{ $self->{spent}{ $hook->{number} } }{qw(prepare parent)} = ($prepare, $parent);
    }
    return;
}

# A callback died. In the child the doctor is told by the pipe.
sub _on_failure {
    my ($self, $phase, $label, $error) = @_;
    my $failure = { phase => $phase, label => $label, error => EventLoop::Fork::Loop::_exception_text($error) };
    if   ($$ == $self->{doctor}{pid}) { push @{ $self->{failures} }, $failure }
    else                              { $self->_say(failed => $failure) }
    return;
}

sub _refused {
    my ($self, $error) = @_;
    my $is_ours = ref $error && $error->can('message') && $error->can('name');
    $self->{refusal} = $is_ours ? $error->message : EventLoop::Fork::Loop::_exception_text($error);
    $self->{is_busy} = 1 if $is_ours && $error->name eq 'EVF_EBUSY';                                  # inside of a hook
    return;
}

# ---- The fork -------------------------------------------------------------------------------------------------------

sub _fork {
    my ($self) = @_;
    my $code = sub { return $self->_live };
    if ($self->{kind} eq 'ours') {
        @$self{qw(pid fd)} = EventLoop::Fork::_fork(undef, $code, undef, 'canary', 1, 0, 0, 0, undef);
        return;
    }
    my $pid = fork;
    die "cannot fork: $!\n" unless defined $pid;
    if (!$pid) {
        eval { $code->() };
        POSIX::_exit(0);
    }
    $self->{pid} = $pid;
    $self->{fd}  = EventLoop::Fork::_process_open($pid);
    return;
}

# In the canary.
sub _live {
    my ($self) = @_;
    close $self->{reader};
    close $self->{go_writer};
    $self->_say(facts => $self->{doctor}->facts($self->{kind}));
    sysread $self->{go_reader}, my $byte, 1;    # its end
    return 0;
}

sub _say {
    my ($self, $word, $data) = @_;
    my $line = "$word " . JSON::PP->new->ascii->allow_nonref->encode($data) . "\n";
    while (length $line) {
        my $written = syswrite $self->{writer}, $line;
        next if !defined $written && $!{EINTR};
        return unless $written;
        substr $line, 0, $written, '';
    }
    return;
}

# ---- Its life, from outside -----------------------------------------------------------------------------------------

sub _follow {
    my ($self) = @_;
    close $self->{writer};
    close $self->{go_reader};
    my $deadline = $self->{began} + $self->{doctor}->option('timeout');
    until ($self->{facts} || $self->{has_ended}) {
        next if $self->_step($deadline);
        $self->{is_late} = 1;
        last;
    }
    if ($self->{facts} && !$self->{has_ended}) {
        $self->{seen} = eval { $self->{doctor}->inspect(@$self{qw(kind pid)}) };
    }
    close $self->{go_writer};
    $self->_end($self->{is_late} ? 0 : GRACE);
    POSIX::close($self->{fd}) if defined $self->{fd};
    close $self->{reader};
    return;
}

# Reads what it says, or notes its end. False: the deadline has come. Others may hold the pipe, so its end is not enough.
sub _step {
    my ($self, $deadline) = @_;
    my $left = $deadline - _now();
    return 0 if $left <= 0;
    my $bits = '';
    vec($bits, fileno $self->{reader}, 1) = 1 if !$self->{is_mute};
    vec($bits, $self->{fd}, 1)            = 1 if defined $self->{fd};
    $left = 0.01 if !defined $self->{fd} && $left > 0.01;
    my $count = select $bits, undef, undef, $left;

    if ($count > 0 && !$self->{is_mute} && vec($bits, fileno $self->{reader}, 1)) {
        $self->_read;
    }
    elsif (!defined $self->{fd} || $count > 0 && vec($bits, $self->{fd}, 1)) {
        $self->_reap;
    }
    return 1;
}

sub _read {
    my ($self) = @_;
    my $count = sysread $self->{reader}, $self->{buffer}, 65_536, length $self->{buffer};
    return                      if !defined $count && $!{EINTR};
    return $self->{is_mute} = 1 if !$count;
    $self->_take($1) while $self->{buffer} =~ s/\A([^\n]*)\n//;
    return;
}

sub _take {
    my ($self, $line) = @_;
    if ($line =~ /\Ahook ([BE]) child ([0-9]+) ([0-9]+)\z/) {
        my ($what, $number, $us) = ($1, $2, $3);
        $self->{open}                  = $what eq 'B' ? $number : undef;
        $self->{spent}{$number}{child} = $us / 1e6 if $what eq 'E';
        $self->{reached}{hook}         = 1;
        return;
    }
    my ($word, $text) = $line =~ /\A(failed|facts) (.*)\z/s or return;
    my $data = JSON::PP->new->ascii->allow_nonref->decode($text);
    if   ($word eq 'failed') { push @{ $self->{failures} }, $data }
    else                     { $self->{facts} = $data }
    return;
}

# Of its end; somebody else may have taken the status.
sub _reap {
    my ($self) = @_;
    my $pid = waitpid $self->{pid}, WNOHANG;
    return if $pid == 0;
    $self->{has_ended} = 1;
    $self->{took}      = _now() - $self->{began};
    $self->{status}    = $?;
    if ($pid < 0) {
        $self->{is_stolen} = 1;
        my $status = eval { EventLoop::Fork::_process_reap($self->{pid}, $self->{fd}) };
        $self->{status} = defined $status && $status >= 0 ? $status : undef;
    }
    return;
}

sub _end {
    my ($self, $grace) = @_;
    my $deadline = _now() + $grace;
    while (!$self->{has_ended}) {
        next if $self->_step($deadline);
        last if $self->{was_killed};
        kill KILL => $self->{pid};
        $self->{was_killed} = 1;
        $deadline = _now() + GRACE;
    }
    # What was in the pipe when it ended.
    my $bits = '';
    until ($self->{is_mute}) {
        vec($bits, fileno $self->{reader}, 1) = 1;
        last unless select(my $ready = $bits, undef, undef, 0) > 0;
        $self->_read;
    }
    return;
}

sub _result {
    my ($self) = @_;
    return { map { $_ => $self->{$_} }
            qw(kind facts seen open spent failures status is_late is_stolen refusal is_busy reached took pid) };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Canary - one fork to look at

=head1 DESCRIPTION

For L<EventLoop::Fork::Doctor>.

=head1 METHODS

=head2 new

    my $canary = EventLoop::Fork::Doctor::Canary->new($doctor, 'ours');

C<ours>: forked as L<EventLoop::Fork> does. C<raw>: by perl's own C<fork>.

=head2 run

    my $result = $canary->run;

A hash: C<facts> and C<seen> if it lived long enough to be examined; C<open>, the number of the hook that it was in when it
ended or was killed; C<spent>, C<failures>, C<status>, C<is_late>, C<is_stolen>; C<refusal>: there was no fork.

=cut
