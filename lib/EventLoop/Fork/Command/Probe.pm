package EventLoop::Fork::Command::Probe;

# evfork probe: one question to a supervisor, with the answer in the exit code; for container platforms and load balancers.
# Asks no process: what is looked at is in the scoreboard.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Snapshot;
use EventLoop::Fork::Command::StatusFile;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

use constant LATE => 10;    # seconds beyond what it has meant to do

my %QUESTIONS = (live => \&_why_not_live, ready => \&_why_not_ready);

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'late=s', 'workers=s' ], @arguments);
    my ($question, @rest) = @{ $options->{''} };
    $self->refuse('which question? evfork probe ready|live [FILE]') if !defined $question;
    $self->refuse(EventLoop::Fork::Command::unknown('question', $question, sort keys %QUESTIONS))
        if !$QUESTIONS{$question};
    my $wish    = $self->only_argument(@rest);
    my %wanted  = $self->_wanted($question, $options);
    my $looker  = EventLoop::Fork::Command::Snapshot->new(EventLoop::Fork::Command::StatusFile::find($wish));
    my $data    = $looker->take;
    my $why_not = $data->{running} ? $QUESTIONS{$question}->($looker, $data, %wanted) : 'it is not running';
    my $text    = sprintf '%d of %d workers ready, %s', @$data{qw(workers_ready workers_wanted state)};
    EventLoop::Fork::Command::put(
        defined $why_not ? "$data->{name}: not $question: $why_not\n" : "$data->{name}: $question: $text\n");
    return !defined $why_not ? $self->OK : $data->{running} ? $self->FAILED : $self->NOT_RUNNING;
}

# Each question has an option.
sub _wanted {
    my ($self, $question, $options) = @_;
    my ($mine, $other) = $question eq 'ready' ? qw(workers late) : qw(late workers);
    $self->refuse("--$other is not for '$question'") if defined $options->{$other};
    return (late => $self->number('--late', $options->{late} // LATE, min => 0, max => 86_400)) if $mine eq 'late';
    return (workers => $self->number('--workers', $options->{workers} // 1, min => 1, max => 512, whole => 1));
}

sub _why_not_ready {
    my (undef, $data, %wanted) = @_;
    return "it is $data->{state}" if $data->{state} !~ /\A(?:running|reloading)\z/;
    return "$data->{workers_ready} of $data->{workers_wanted} workers ready, wanted are $wanted{workers}"
        if $data->{workers_ready} < $wanted{workers};
    return;
}

# A process that is stopped, or that does not get to its work, does not do what it has meant to do.
sub _why_not_live {
    my ($looker, undef, %wanted) = @_;
    return "process @{[ $looker->pid ]} is stopped" if EventLoop::Fork::_process_is_stopped($looker->pid);
    my $due  = $looker->header->{due} or return;
    my $late = clock_gettime(CLOCK_MONOTONIC) - $due;
    return $late > $wanted{late}
        ? sprintf('process %d is %.1f s behind: its loop does not turn', $looker->pid, $late)
        : undef;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Probe - evfork probe

=head1 SYNOPSIS

    evfork probe ready [FILE] [--workers N]
    evfork probe live [FILE] [--late SECONDS]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=head1 CONSTANTS

=head2 LATE

=cut
