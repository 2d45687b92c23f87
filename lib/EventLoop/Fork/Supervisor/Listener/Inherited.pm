package EventLoop::Fork::Supervisor::Listener::Inherited;

# Sockets from one program to the next, by LISTEN_FDS as systemd has it, and which of them is meant by an address.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::Listener::Address   qw(host_and_port);
use EventLoop::Fork::Supervisor::Listener::Complaint qw(cannot);
use EventLoop::Fork::Supervisor::Listener::Socket    qw(close_on_exec is_dual only_holds start_listening why_not_bound);
use Exporter                                         qw(import);
use Fcntl                                            qw(F_DUPFD);
use POSIX                                            ();

our $VERSION = '0.001';

our @EXPORT_OK = qw(adopt asked_for_before inherited_at);

use constant FIRST => 3;    # descriptor of LISTEN_FDS

my $ANY_V4 = "\0" x 4;
my $ANY_V6 = "\0" x 16;

sub _fail { return EventLoop::Fork::Supervisor::Listener::_fail(@_) }

# ---- From the program before ----------------------------------------------------------------------------------------

sub from_environment {
    my ($class) = @_;
    my ($count, $pid, $names) = delete @ENV{qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)};
    delete $ENV{LISTEN_PIDFDID};
    # They were for another process, which has left them in the environment of its children.
    return if !defined $count || !defined $pid || $pid !~ /\A[0-9]+\z/ || $pid != $$;
    $count =~ /\A[0-9]{1,6}\z/ or _fail($count, "LISTEN_FDS is '$count'; wanted is the number of sockets");
    my @names = split /:/, defined $names ? $names : '', -1;
    my @listeners;
    for my $index (0 .. $count - 1) {
        my $number = FIRST + $index;
        open my $handle, '+<&=', $number
            or _fail($number, "LISTEN_FDS is $count, but descriptor $number is not open: $!", 'EVF_EBADF');
        close_on_exec($handle);
        next if defined why_not_bound($handle);    # such as what systemd stores for a service
        my $listener = $class->_new(
            spec         => "fd:$number",
            kind         => 'fd',
            number       => $number,
            is_inherited => 1,
            is_held      => only_holds($handle),
            _from_name($names[$index]),
        );
        push @listeners, $listener->_take($handle);
    }
    return @listeners;
}

# With port 0, or several addresses of one name, the address does not tell which was meant. So what was asked for
# travels in the name of the descriptor; a colon is no part of those.
sub _from_name {
    my ($name) = @_;
    return if !defined $name || $name eq '';
    return (key => "$1 " . pack('H*', $2), stored_name => $name) if $name =~ /\Aevf[.]([0-9]+)[.]((?:[0-9a-f]{2})+)\z/;
    return (fd_name => $name);
}

sub name_for {
    my ($listener) = @_;
    return "evf.$listener->{ordinal}." . unpack 'H*', asked_for($listener);
}

sub asked_for {
    my ($listener) = @_;
    my $spec = $listener->spec;
    return ref \$spec eq 'SCALAR' ? $spec : 'handle';
}

sub hand_over {
    my (@listeners) = @_;
    my $first_free = FIRST + @listeners;
    my (@copies, @names);
    for my $listener (@listeners) {
        my $copy = $listener->socket && fcntl $listener->socket, F_DUPFD, $first_free;
        $copy or _fail($listener->spec, $listener->name . ' cannot be handed over: ' . ($! || 'closed'), 'EVF_EBADF');
        push @copies, $copy + 0;
        push @names, name_for($listener);
    }
    for my $index (0 .. $#copies) {
        my $number = FIRST + $index;
        defined POSIX::dup2($copies[$index], $number)
            or _fail($listeners[$index]->spec, "descriptor $number: $!", 'EVF_ESYSTEM');
        POSIX::close($copies[$index]);
    }
    @ENV{qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)} = (scalar @listeners, $$, join ':', @names);
    return;
}

# ---- Which of them is meant -----------------------------------------------------------------------------------------

sub asked_for_before {
    my ($listener, $options) = @_;
    my $key = "$listener->{ordinal} " . asked_for($listener);
    return map { adopt($listener, $_, $options) } grep { ($_->{key} // '') eq $key } @{ $options->{inherited} };
}

# An address that covers the wanted one: systemd's [::]:8080 takes IPv4 as well.
sub inherited_at {
    my ($inherited, $packed) = @_;
    my ($host, $port)        = host_and_port($packed);
    return if !$port;
    for my $listener (grep { !$_->is_unix && $_->port == $port } @$inherited) {
        my ($bound) = host_and_port($listener->{packed});
        return $listener if $bound eq $host;
        return $listener if $bound eq $ANY_V6 && $host eq $ANY_V4 && is_dual($listener->socket);
    }
    return;
}

sub adopt {
    my ($listener, $inherited, $options) = @_;
    @$inherited{qw(spec kind ordinal)}       = @$listener{qw(spec kind ordinal)};
    @$inherited{qw(wanted_host wanted_port)} = @$listener{qw(wanted_host wanted_port)} if $listener->{kind} eq 'tcp';
    if ($inherited->is_held && !$options->{reuseport}) {
        delete $inherited->{is_held};
        start_listening($inherited->socket, $options->{backlog}) or cannot($inherited, $! + 0);
    }
    return $inherited;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Inherited - sockets from one program to the next

=head1 SYNOPSIS

    my @listeners = EventLoop::Fork::Supervisor::Listener::Inherited::from_environment(
        'EventLoop::Fork::Supervisor::Listener'
    );

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>.

=head1 FUNCTIONS

=head2 from_environment($class)

=head2 hand_over(@listeners)

What C<inherited> and C<hand_over> of the listener do.

=head2 asked_for($listener)

The address as it was given; one word for all handles.

=head2 asked_for_before($listener, \%options)

The inherited ones that were this address to the program before, adopted.

=head2 inherited_at(\@inherited, $packed)

The inherited one whose TCP address covers this one, or nothing.

=head2 adopt($listener, $inherited, \%options)

Makes an inherited one do what this one was to do, and returns it.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<systemd.socket(5)>

=cut
