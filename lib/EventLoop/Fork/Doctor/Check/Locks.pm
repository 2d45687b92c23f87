package EventLoop::Fork::Doctor::Check::Locks;

# Locks on files that are held at the fork. Those of flock come along, those of fcntl do not.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

# One that is closed in the child is let go there.
sub inspect {
    my ($class, $doctor, $kind, $pid) = @_;
    return {
        map  { $_->{fd} => $doctor->{system}->is_shared($pid, $_) }
        grep { @{ $_->{locks} } } values %{ $doctor->{fds} }
    };
}

sub findings {
    my ($class, $doctor) = @_;
    my $shared = $class->_seen($doctor, 'ours') || {};
    for my $fd (map { $doctor->{fds}{$_} } sort { $a <=> $b } keys %{ $doctor->{fds} }) {
        next if $class->_is_outsider($doctor, $fd->{fd});
        my %is_told;
        for my $lock (@{ $fd->{locks} }) {
            my ($kind) = $lock =~ /\A(\w+)/;
            next if $kind ne 'POSIX' && defined $shared->{ $fd->{fd} } && !$shared->{ $fd->{fd} };
            $class->_lock($doctor, $fd, $kind) if $kind =~ /\A(?:FLOCK|POSIX|OFDLCK)\z/ && !$is_told{$kind}++;
        }
    }
    return;
}

sub _lock {
    my ($class, $doctor, $fd, $kind) = @_;
    my $opener  = $class->_opener($doctor, $fd->{fd});
    my $is_ours = $kind eq 'POSIX';
    $doctor->report->add(
        warning => 'locks',
        fd      => $fd->{fd},
        what    => ($is_ours ? 'a lock of fcntl' : 'a lock of flock')
            . " is held on $fd->{target} (descriptor $fd->{fd}"
            . (defined $opener ? ", $opener)" : ')'),
        cause => $is_ours
        ? 'the child does not have it, and closing any copy of the file in the parent lets it go'
        : 'the child holds it, too: it stays locked until every child has closed it, after the parent\'s end as well',
        write => $is_ours
        ? 'lock in each worker, after the fork'
        : 'at_fork(child => sub { close $lock_file }), or guard($lock_file)',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Locks - locks held at the fork

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, inspect

=cut
