package EventLoop::Fork::Doctor::Check::Buffers;

# Bytes that wait in memory at the fork: there are two of each afterwards.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

sub before {
    my ($class, $doctor) = @_;
    my %by_fd;
    for my $handle (@{ $doctor->{handles} }) {
        for my $what (grep { $handle->{$_} > 0 } qw(to_write read_ahead)) {
            $by_fd{ $handle->{fd} }{$what} = $handle->{$what};
        }
    }
    $class->_keep($doctor, { by_fd => \%by_fd, stdio => EventLoop::Fork::Doctor::_stdio_bytes() });
    return;
}

sub findings {
    my ($class, $doctor) = @_;
    my $kept = $class->_kept($doctor);
    for my $fd (sort { $a <=> $b } keys %{ $kept->{by_fd} }) {
        my $opener = $class->_opener($doctor, $fd);
        my $name   = "descriptor $fd" . (defined $opener ? " ($opener)" : '');
        my ($to_write, $read_ahead) = @{ $kept->{by_fd}{$fd} }{qw(to_write read_ahead)};
        if ($to_write) {
            my $method = ($doctor->{fds}{$fd} || {})->{nonblocking} ? '_may_be_lost' : '_unflushed';
            $class->$method($doctor, $name, $to_write);
        }
        $class->_read_ahead($doctor, $fd, $name, $read_ahead) if $read_ahead;
    }
    $doctor->report->add(
        warning => 'buffers',
        what    => "$kept->{stdio} bytes wait in the buffer of C's stdout",
        cause   => 'a child that ends by exit writes them again; perl does not flush them before a fork',
        write   => 'fflush(NULL) in the library that prints, or setvbuf(stdout, NULL, _IOLBF, 0)',
    ) if $kept->{stdio};
    return;
}

sub _unflushed {
    my ($class, $doctor, $name, $bytes) = @_;
    $doctor->report->add(
        note  => 'buffers',
        what  => "$bytes bytes of output wait in a buffer of $name",
        cause => 'perl writes them before a fork; in a fork by C code they are in both, and are written twice',
        write => '$handle->autoflush(1), or $handle->flush before it',
    );
    return;
}

# perl takes what a descriptor cannot take at once for an error, and throws it away.
sub _may_be_lost {
    my ($class, $doctor, $name, $bytes) = @_;
    $doctor->report->add(
        warning => 'buffers',
        what    => "$bytes bytes of output wait in a buffer of $name, which does not block",
        cause   => 'a fork has perl write them, and what the other side does not take at once is lost',
        write   => 'syswrite when the loop says that it is ready; flush, and look at $!, before a fork',
    );
    return;
}

# Of a file both have the same bytes anyway.
sub _read_ahead {
    my ($class, $doctor, $fd, $name, $bytes) = @_;
    my $type = ($doctor->{fds}{$fd} || {})->{type} || '';
    return unless $type eq 'pipe' || $type eq 'socket';
    $doctor->report->add(
        warning => 'buffers',
        what    => "$bytes bytes of input are read and not used: $name",
        cause   => 'parent and child both have them, and take what comes after them from each other',
        write   => 'guard($handle), or close it in the child',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Buffers - bytes that wait in memory

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, before

=cut
