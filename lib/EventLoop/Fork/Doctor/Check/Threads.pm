package EventLoop::Fork::Doctor::Check::Threads;

# Threads of the process that forks. The child has only the one that forked.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

sub before {
    my ($class, $doctor) = @_;
    $class->_keep($doctor, [ $doctor->{system}->threads ]);
    return;
}

sub findings {
    my ($class, $doctor) = @_;
    my %is_there = map  { $_ => 1 } @{ $doctor->{thread_ids} || [] };
    my @threads  = grep { $is_there{ $_->{id} } } @{ $class->_kept($doctor) };
    $doctor->report->set(threads => [ { id => $$, name => 'the one that forks' }, @threads ]);
    my %by_library;
    push @{ $by_library{ defined $_->{library} ? $_->{library} : '' } }, $_ for @threads;
    for my $library (sort keys %by_library) {
        my @mine  = @{ $by_library{$library} };
        my $names = join ', ', map { "$_->{id} ($_->{name})" } @mine > 4 ? @mine[ 0 .. 3 ] : @mine;
        $names .= ' ...' if @mine > 4;
        my $from = length $library ? $library : 'a library that is not known';
        my ($word, $verb, $them) = @mine == 1 ? qw(thread is it) : qw(threads are them);
        my ($held, $did) = @mine == 1 ? ('it held', 'it did') : ('one of them held', 'they did');
        $doctor->report->add(
            warning => 'threads',
            (length $library ? (library => $library) : ()),
            threads => [ map { $_->{id} } @mine ],
            what    => scalar(@mine) . " $word of $from $verb alive at the fork: $names",
            cause => "a child does not have $them: it waits for ever for a lock that $held, and what $did is not done",
            write =>
                "start $them in each worker, or at_fork(prepare => \\&stop, parent => \\&start, child => \\&start)",
        );
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Threads - threads alive at the fork

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, before

=cut
