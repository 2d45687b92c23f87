package EventLoop::Fork::Command::Reload;

# evfork reload: asks for new workers, and with --wait tells whether there are any.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command::Request';

use EventLoop::Fork::Command::Snapshot;
use List::Util qw(max);

our $VERSION = '0.001';

use constant { verb => 'reload', signal => 'HUP' };

# Every reload starts a worker, and the number of such starts only grows. One that is under way is let finish: its end
# could not be told from that of ours.
sub request_and_wait {
    my ($self, $owner, $timeout) = @_;
    my $is_over = sub { !$owner->is_running || $owner->state ne 'reloading' ? 'over' : '' };
    $owner->wait_until_settled($is_over, $timeout) or $self->fail_late($owner, $timeout);
    my $generation = $owner->header->{generation};
    my $starts     = _reload_starts($owner);
    $owner->signal($self->signal);
    my $end;
    $owner->wait_until_settled(sub { $end = _end($owner, $starts, $generation) }, $timeout)
        or $self->fail_late($owner, $timeout);
    EventLoop::Fork::Command::fail($owner->who . " $end before it had reloaded") if $end !~ /\Arunning/;
    return _outcome($owner, $generation);
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

sub _outcome {
    my ($owner, $generation) = @_;
    my @ready = _ready($owner);
    my $old   = grep { $_->{generation} <= $generation } @ready;
    if ($old || !@ready) {
        my ($last) = sort { $b->{exited} <=> $a->{exited} } _rows($owner);
        my $why = defined $last->{reason} && length $last->{reason} ? " ($last->{reason})" : '';
        EventLoop::Fork::Command::fail(
            'reload of ' . $owner->who . " was rolled back: the new worker did not start$why; the old ones go on");
    }
    my $newest = max(map { $_->{generation} } @ready);
    return sprintf 'has reloaded: generation %d, workers ready: %d', $newest, scalar @ready;
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

=head2 verb, signal, request_and_wait

Those of L<EventLoop::Fork::Command::Request>.

=cut
