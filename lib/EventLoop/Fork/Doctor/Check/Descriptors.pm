package EventLoop::Fork::Doctor::Check::Descriptors;

# The list of what a child inherits, and what a program that it starts would inherit from it.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use constant NAMED => 6;    # so many in one line

sub findings {
    my ($class, $doctor) = @_;
    my $report = $doctor->report;
    if (!$doctor->{system}->has_proc) {
        $report->add(
            note  => 'system',
            what  => "this system ($^O) has no /proc of Linux: descriptors, threads, locks and memory are not known",
            cause => 'nothing by itself',
            write => 'look on Linux, too',
        );
        return;
    }
    my @all = map { $doctor->{fds}{$_} } sort { $a <=> $b } keys %{ $doctor->{fds} };
    for my $fd (@all) {
        my $opener = $class->_opener($doctor, $fd->{fd});
        $fd->{opened_by}    = $opener if defined $opener;
        $fd->{from_outside} = 1       if $class->_is_outsider($doctor, $fd->{fd});
    }
    my @fields = qw(fd type target peer name opened_by cloexec from_outside locks);
    $report->set(
        descriptors => [
            map {
                my $fd = $_;
                +{ map { defined $fd->{$_} ? ($_ => $fd->{$_}) : () } @fields }
            } @all
        ]
    );
    my @open = grep { $_->{fd} > 2 && !$_->{cloexec} && !$_->{from_outside} } @all;
    $class->_not_closed($report, @open) if @open;
    return;
}

sub _not_closed {
    my ($class, $report, @open) = @_;
    my @names = map { "$_->{fd} ($_->{type}" . (defined $_->{opened_by} ? ", $_->{opened_by})" : ')') } @open;
    splice @names, NAMED, scalar @names, '...' if @names > NAMED;
    $report->add(
        note  => 'descriptors',
        fds   => [ map { $_->{fd} } @open ],
        what  => 'these descriptors stay open in programs that are started: ' . join(', ', @names),
        cause => 'a program that lives long holds a port, a lock or the end of a pipe',
        write => 'open with O_CLOEXEC; or fcntl $handle, F_SETFD, FD_CLOEXEC',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Descriptors - what is inherited

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings

=cut
