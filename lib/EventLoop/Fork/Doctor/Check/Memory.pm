package EventLoop::Fork::Doctor::Check::Memory;

# What a child shares with its parent, and how much of it is its own soon: after the hooks, and after a first request where
# there is one to make.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use constant {
    MUCH => 16 * 1024 * 1024,    # bytes
    PART => 0.25,
};

# Looking costs some pages, too: they are in both numbers.
sub in_canary {
    my ($class, $doctor, $kind) = @_;
    return if $kind ne 'ours';
    my $request = $doctor->option('request');
    my %facts   = (start => $doctor->{system}->memory);
    if ($request) {
        $facts{error}   = EventLoop::Fork::Loop::_exception_text($@) unless eval { $request->(); 1 };
        $facts{request} = $doctor->{system}->memory;
    }
    return \%facts;
}

sub findings {
    my ($class, $doctor) = @_;
    my $told  = $class->_told($doctor, 'ours') or return;
    my $start = $told->{start}                 or return;
    my $total = $start->{shared} + $start->{private};
    my $text  = sprintf 'a child has %.1f MB, of which %.1f MB are its own when its hooks have run',
        map { $_ / 1e6 } $total,
        $start->{private};
    my $after = $told->{request};
    $text .= sprintf ', and %.1f MB after the first request', $after->{private} / 1e6 if $after;
    $text .= '; no request was made'                                                  if !$after;
    $doctor->report->set(memory => { text => $text, start => $start, $after ? (request => $after) : () });

    if (defined $told->{error}) {
        $told->{error} =~ s/\s+\z//;
        $doctor->report->add(
            warning => 'memory',
            what    => "the request in the canary died: $told->{error}",
            cause   => 'what it would have dirtied is not measured',
            write   => 'doctor(request => sub { ... }) with code that works in a child',
        );
    }
    $class->_dirty($doctor->report, 'the hooks of a child', $start->{private}, $total);
    $class->_dirty($doctor->report, 'a first request', $after->{private} - $start->{private}, $total) if $after;
    return;
}

sub _dirty {
    my ($class, $report, $who, $bytes, $total) = @_;
    return if $bytes < MUCH || $bytes < PART * $total;
    $report->add(
        note => 'memory',
        what => sprintf('%s make %.1f MB of shared memory the child\'s own', $who, $bytes / 1e6) =~
            s/request make/request makes/r,
        cause => 'each worker needs that much more',
        write => 'build tables and caches before the fork, and do not write to them afterwards',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Memory - what is shared, and what is dirtied

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, in_canary

=cut
