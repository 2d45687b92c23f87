package EventLoop::Fork::Doctor::Check::Connections;

# Connections that parent and child would both speak on: databases, TLS, plain sockets. One that is guarded is cut off in
# the canary, and so is not found.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use EventLoop::Fork ();
use Scalar::Util    qw(blessed);

my %SOCKET_OF = (Pg => 'pg_socket', mysql => 'sockfd', MariaDB => 'mariadb_sockfd');

sub before {
    my ($class, $doctor) = @_;
    my @databases;
    if ($INC{'DBI.pm'}) {
        for my $handle (EventLoop::Fork::_instances('DBI::db')) {
            next unless tied %$handle && $handle->{Active};    # the outer one
            my $driver = eval                       { $handle->{Driver}{Name} } // '?';
            my $fd     = $SOCKET_OF{$driver} ? eval { $handle->FETCH($SOCKET_OF{$driver}) } : undef;
            push @databases, { handle => $handle, driver => $driver, name => $handle->{Name} // '', fd => $fd };
        }
    }
    $class->_keep($doctor, { databases => \@databases });
    return;
}

# A guarded one is of another class here.
sub in_canary {
    my ($class, $doctor) = @_;
    return [ map { $_->{handle}->isa('DBI::db') ? 1 : 0 } @{ $class->_kept($doctor)->{databases} } ];
}

sub inspect {
    my ($class, $doctor, $kind, $pid) = @_;
    my $system = $doctor->{system};
    return [
        map  { $_->{fd} }
        grep { $system->is_connection($_) && $system->is_shared($pid, $_) }
        map  { $doctor->{fds}{$_} } sort { $a <=> $b } keys %{ $doctor->{fds} }
    ];
}

sub findings {
    my ($class, $doctor) = @_;
    my $told    = $class->_told($doctor, 'ours') || [];
    my %is_told = map { $_ => 1 } $class->_databases($doctor, $told);
    for my $number (@{ $class->_seen($doctor, 'ours') || [] }) {
        next if $is_told{$number} || $class->_is_outsider($doctor, $number);
        $class->_socket($doctor, $doctor->{fds}{$number});
    }
    return;
}

# Returns the sockets that are told of.
sub _databases {
    my ($class, $doctor, $told) = @_;
    my $number = 0;
    my @fds;
    for my $database (@{ $class->_kept($doctor)->{databases} }) {
        push @fds, $database->{fd} if defined $database->{fd};
        next unless $told->[ $number++ ];
        $doctor->report->add(
            error => 'connections',
            what  => "a connection of DBI is open and has no guard: $database->{driver} '$database->{name}'",
            cause => $database->{driver} eq 'SQLite'
            ? 'parent and child write one file with the locks of one process: it is corrupted'
            : 'parent and child read each other\'s answers; when the child ends, the parent\'s session is closed',
            write => 'use EventLoop::Fork qw(guard); guard($dbh), and connect anew in the child',
        );
    }
    return @fds;
}

sub _socket {
    my ($class, $doctor, $fd) = @_;
    my @handles = $class->_handles($doctor, $fd->{fd});
    my $opener  = $class->_opener($doctor, $fd->{fd});
    my $is_tls  = grep { my $thing = $_->{thing}; blessed $thing && $thing->isa('IO::Socket::SSL') } @handles;
    my $peer    = defined $fd->{peer} ? " to $fd->{peer}" : defined $fd->{name} ? " of $fd->{name}" : '';
    my $what =
          ($is_tls ? "a TLS" : "a")
        . " connection$peer (descriptor $fd->{fd}"
        . (defined $opener ? ", $opener" : '')
        . ') is open and has no guard';
    $doctor->report->add(
        ($is_tls ? 'error' : 'warning') => 'connections',
        fd                              => $fd->{fd},
        what                            => $what,
        cause                           => $is_tls
        ? 'both encrypt with the same numbers, and the end of the child ends the session of the parent'
        : 'parent and child take each other\'s bytes',
        write => @handles ? 'use EventLoop::Fork qw(guard); guard($socket)' : 'connect in each worker, after the fork',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Connections - connections without a guard

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, before, in_canary, inspect

=cut
