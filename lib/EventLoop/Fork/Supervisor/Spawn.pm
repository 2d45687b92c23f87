package EventLoop::Fork::Supervisor::Spawn;

# A worker as a new perl: what it is given, by descriptor and in one variable of its environment. What it makes of that is
# in EventLoop::Fork::Worker::Spawned.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork;
use EventLoop::Fork::Child;
use EventLoop::Fork::Worker;
use JSON::PP ();

use constant {
    VARIABLE => 'EVENTLOOP_FORK_SPAWNED',
    FIRST_FD => 3,                          # the scoreboard; then its bell, the pipe of life, the listeners
};

# The handle on the child, as EventLoop::Fork->fork has it.
sub start {
    my ($supervisor, $handle, $on_exit) = @_;
    my $adapter = $supervisor->_adapter;
    my $native  = EventLoop::Fork::_is_our_loop($adapter->loop) ? $adapter->loop : undef;
    my $child   = EventLoop::Fork::Child->_new(name => "worker $handle->{slot}");
    my $ended   = sub {
        my ($pid, $wait_status) = @_;
        $child->_end($wait_status);
        $on_exit->($child, $wait_status);
    };
    my ($pid, $fd) = EventLoop::Fork::_spawn(
        $native, $native ? $ended : undef,
        $^X,
        [ _arguments() ],
        [ _environment(_text_of(_given($supervisor, $handle))) ],
        [ _descriptors($supervisor) ],
        [ EventLoop::Fork::Worker::held_signals() ],
    );
    $child->{pid} = $pid;
    $adapter->watch_process($pid, $fd, $ended) unless $native;
    return $child;
}

sub _descriptors {
    my ($supervisor) = @_;
    my $board        = $supervisor->{board};
    my @sockets      = map { $_->socket } @{ $supervisor->{listeners} };
    return (
        $board->_fd, ($board->bell_fds)[1], map { defined $_ ? fileno $_ : -1 } $supervisor->{life_reader},
        @sockets
    );
}

sub _given {
    my ($supervisor, $handle) = @_;
    my $adapter = $supervisor->_adapter;
    my $options = $supervisor->{options};
    return {
        version    => $VERSION,
        program    => $0,
        inc        => [ grep { !ref } @INC ],
        supervisor => $supervisor->{pid},
        (map { $_ => $handle->{$_} } qw(berth slot generation)),
        options => {
            map  { $_ => $options->{$_} }
            grep { defined $options->{$_} && (ref $options->{$_}) =~ /\A(?:HASH)?\z/ } keys %$options
        },
        loop      => { adapter => ref $adapter, %{ $adapter->loop_kind } },
        listeners => [ map { $_->_given } @{ $supervisor->{listeners} } ],
    };
}

# The switches of this perl that a program may rest on.
sub _arguments {
    my @switches;
    push @switches, ${^TAINT} > 0 ? '-T' : '-t' if ${^TAINT};
    push @switches, '-w'                        if $^W;
    push @switches, "-C${^UNICODE}"             if ${^UNICODE};
    push @switches, map { "-I$_" } grep { !ref } @INC;
    return (
        $^X, map { _bytes($_) } @switches,
        '-MEventLoop::Fork::Worker::Spawned',
        '-e', 'EventLoop::Fork::Worker::Spawned::run()',
        '--', @ARGV,
    );
}

sub _environment {
    my ($text) = @_;
    return (
        (map { _bytes("$_=$ENV{$_}") } grep { defined $ENV{$_} && $_ ne VARIABLE } sort keys %ENV),
        VARIABLE . "=$text",
    );
}

sub _text_of { return JSON::PP->new->ascii->canonical->encode(_as_bytes($_[0])) }

# As the kernel would get it from here: what is passed on may be the name of a file.
sub _bytes {
    my ($text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    return "$text";
}

sub _as_bytes {
    my ($data) = @_;
    return { map { $_ => _as_bytes($data->{$_}) } keys %$data } if ref $data eq 'HASH';
    return [ map { _as_bytes($_) } @$data ]                     if ref $data eq 'ARRAY';
    return defined $data ? _bytes($data) : undef;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Spawn - a worker as a new perl

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor> with C<start_method> C<spawn>. Its other half is L<EventLoop::Fork::Worker::Spawned>.

=head1 FUNCTIONS

=head2 start

    my $child = EventLoop::Fork::Supervisor::Spawn::start($supervisor, $handle, $on_exit);

Throws where nothing was started: an L<EventLoop::Fork::Error> of the name C<EVF_EFORK>.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>

=cut
