package EventLoop::Fork::Doctor::Check::KernelObjects;

# Event objects of the kernel that a child has in common with its parent. Of those that the product renews none is found;
# which ones it leaves alone is seen by what is the same file in the canary.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use EventLoop::Fork ();

my %CAUSE = (
    eventpoll => 'what the child adds or removes, the parent gains or loses: it goes deaf',
    eventfd   => 'one counter: a wake-up of the parent is taken by the child',
    timerfd   => 'a timer that the child sets is set in the parent',
    signalfd  => 'its readiness is that of whoever made it: the child waits in vain',
    inotify   => 'a watch that the child removes is removed in the parent, and each event is read by one of them',
    io_uring  => 'the queues are one memory: a child that uses them breaks those of the parent',
);

sub inspect {
    my ($class, $doctor, $kind, $pid) = @_;
    my %answers;
    for my $fd (grep { $CAUSE{ $_->{type} } } values %{ $doctor->{fds} }) {
        $answers{ $fd->{fd} } = $doctor->{system}->is_shared($pid, $fd);
    }
    return \%answers;
}

sub findings {
    my ($class, $doctor) = @_;
    my %own = map { $_ => 1 } _scoreboards();
    my ($ours, $raw) = map { $class->_seen($doctor, $_) || {} } qw(ours raw);
    my (@unknown, @raw);
    for my $number (sort { $a <=> $b } keys %$ours) {
        next if $own{$number} || $class->_is_outsider($doctor, $number);
        my $fd = $doctor->{fds}{$number};
        if    (!defined $ours->{$number}) { push @unknown, "$number ($fd->{type})" }
        elsif ($ours->{$number})          { $class->_shared($doctor, $fd) }
        elsif ($raw->{$number})           { push @raw, $fd if $fd->{type} eq 'eventpoll' }
    }
    $class->_shared_by_raw($doctor, $_) for $class->_without_owner($doctor, @raw);
    $doctor->report->add(
        note  => 'kernel',
        what  => 'whether a child shares these event objects is not told by this system: ' . join(', ', @unknown),
        cause => 'nothing by itself',
        write => 'look with a kernel that has kcmp(2)',
    ) if @unknown;
    return;
}

# Their bells are for parent and child.
sub _scoreboards {
    return map { $_->bell_fds } EventLoop::Fork::_instances('EventLoop::Fork::Scoreboard');
}

sub _shared {
    my ($class, $doctor, $fd) = @_;
    my $opener = $class->_opener($doctor, $fd->{fd});
    $doctor->report->add(
        ($fd->{type} eq 'io_uring' ? 'error' : 'warning') => 'kernel',
        fd                                                => $fd->{fd},
        what => "parent and child share one $fd->{type} (descriptor $fd->{fd}" . (defined $opener ? ", $opener)" : ')'),
        cause => $CAUSE{ $fd->{type} },
        write => 'make it in each worker; or at_fork(child => sub { close it and make a new one })',
    );
    return;
}

# What perl's own fork leaves. The loops of EV and IO::Async make a new epoll when they are next used, so theirs are still
# the old ones in the canary. EV does not tell which ones are its own, but there is one for each loop.
sub _without_owner {
    my ($class, $doctor, @epolls) = @_;
    @epolls = grep { ($class->_opener($doctor, $_->{fd}) || '') !~ m{/IO/Async/} } @epolls;
    my @nameless = grep { !$class->_handles($doctor, $_->{fd}) } @epolls;
    my @of_ev    = $INC{'EV.pm'} ? EventLoop::Fork::_instances('EV::Loop') : ();
    my %is_known = map { $_->{fd} => 1 } splice @nameless, 0, scalar @of_ev;
    return grep { !$is_known{ $_->{fd} } } @epolls;
}

sub _shared_by_raw {
    my ($class, $doctor, $fd) = @_;
    my $opener = $class->_opener($doctor, $fd->{fd});
    $doctor->report->add(
        warning => 'kernel',
        fd      => $fd->{fd},
        what    => "after perl's own fork parent and child share one $fd->{type} (descriptor $fd->{fd}"
            . (defined $opener ? ", $opener)" : ')'),
        cause => $CAUSE{ $fd->{type} },
        write => 'EventLoop::Fork->fork(code => sub { ... }); or use EventLoop::Fork -isolate',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::KernelObjects - event objects that are shared

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, inspect

=cut
