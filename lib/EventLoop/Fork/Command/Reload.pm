package EventLoop::Fork::Command::Reload;

# evfork reload: asks for new workers, and with --wait tells whether there are any.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Owner;
use EventLoop::Fork::Command::Snapshot;
use List::Util qw(max);

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'wait', 'timeout=s' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    $self->refuse('--timeout is for --wait') if defined $options->{timeout} && !$options->{wait};
    my $timeout = $self->timeout($options->{timeout});
    my $owner   = EventLoop::Fork::Command::Owner->new($wish);
    $self->_refuse_while_stopping($owner);
    return $self->_reload_and_wait($owner, $timeout) if $options->{wait};
    $owner->signal('HUP');
    EventLoop::Fork::Command::put(sprintf "%s (pid %d) is asked to reload\n", $owner->name, $owner->pid);
    return $self->OK;
}

sub _refuse_while_stopping {
    my ($self, $owner) = @_;
    return if $owner->state =~ /\A(?:running|reloading)\z/;
    return EventLoop::Fork::Command::fail(
        sprintf '%s (pid %d) does not reload: it is %s', $owner->name, $owner->pid,
        $owner->state
    );
}

# Every reload starts a worker, and the number of such starts only grows. One that is under way is let finish: its end
# could not be told from that of ours.
sub _reload_and_wait {
    my ($self, $owner, $timeout) = @_;
    my $is_over = sub { !$owner->is_running || $owner->state ne 'reloading' ? 'over' : '' };
    $owner->wait_until_settled($is_over, $timeout) or $self->_fail_late($owner, $timeout);
    my $generation = $owner->header->{generation};
    my $starts     = _reload_starts($owner);
    $owner->signal('HUP');
    my $end;
    $owner->wait_until_settled(sub { $end = _end($owner, $starts, $generation) }, $timeout)
        or $self->_fail_late($owner, $timeout);
    EventLoop::Fork::Command::fail(sprintf '%s (pid %d) %s before it had reloaded', $owner->name, $owner->pid, $end)
        if $end !~ /\Arunning/;
    return $self->_tell($owner, $generation);
}

sub _reload_starts {
    my ($owner) = @_;
    my $header  = $owner->header;
    my ($cause) = grep { (EventLoop::Fork::Scoreboard::cause_word($_) // '') eq 'reload' } 0 .. $#{ $header->{starts} };
    return $header->{starts}[$cause] || 0;
}

# Undecided: an empty text.
sub _end {
    my ($owner, $starts, $generation) = @_;
    return 'has ended' unless $owner->is_running;
    my $state = $owner->state;
    return "is $state" unless $state =~ /\A(?:running|reloading)\z/;
    return '' if $state eq 'reloading' || _reload_starts($owner) == $starts;
    return join ' ', 'running', map { "$_->{slot}:$_->{generation}" } _ready($owner);
}

sub _rows {
    my ($owner) = @_;
    return map { @$_[ 1, 2 ] } EventLoop::Fork::Command::Snapshot::slots($owner->board, $owner->header);
}

sub _ready {
    return grep { $_->{pid} && EventLoop::Fork::Scoreboard::state_name($_->{state}) eq 'ready' } _rows($_[0]);
}

sub _tell {
    my ($self, $owner, $generation) = @_;
    my @ready = _ready($owner);
    my $old   = grep { $_->{generation} <= $generation } @ready;
    if ($old || !@ready) {
        my ($last) = sort { $b->{exited} <=> $a->{exited} } _rows($owner);
        my $why = defined $last->{reason} && length $last->{reason} ? " ($last->{reason})" : '';
        EventLoop::Fork::Command::fail(
            sprintf 'reload of %s (pid %d) was rolled back: the new worker did not start%s; the old ones go on',
            $owner->name, $owner->pid, $why
        );
    }
    my $newest = max(map { $_->{generation} } @ready);
    EventLoop::Fork::Command::put(
        sprintf "%s (pid %d) has reloaded: generation %d, workers ready: %d\n",
        $owner->name, $owner->pid, $newest, scalar @ready
    );
    return $self->OK;
}

sub _fail_late {
    my ($self, $owner, $timeout) = @_;
    return EventLoop::Fork::Command::fail(
        sprintf '%s (pid %d) has not finished its reload after %s s', $owner->name,
        $owner->pid, $timeout
    );
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Reload - evfork reload

=head1 SYNOPSIS

    evfork reload [FILE] [--wait] [--timeout SECONDS]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
