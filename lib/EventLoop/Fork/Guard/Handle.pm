package EventLoop::Fork::Guard::Handle;

# Perl's handles: sockets, pipes, files, with or without a class. Bytes that wait in a buffer are the parent's.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use EventLoop::Fork::Loop ();
use IO::Handle            ();
use POSIX                 ();
use Scalar::Util          qw(reftype);

our $VERSION = '0.001';

our $shared;    # { null }: the number of /dev/null, while many are disowned

sub accepts {
    my ($kind, $thing) = @_;
    my $type = ref $thing ? reftype $thing : ref \$thing;
    return $type eq 'GLOB' || $type eq 'IO';
}

# The IO of a glob dies with its last glob. A glob that is not a reference is a copy; its IO is not.
sub anchor {
    my ($kind, $thing) = @_;
    return $thing if ref $thing;
    return *$thing{IO} || _not_open($thing);
}

sub _not_open {
    my ($handle) = @_;
    EventLoop::Fork::Loop::_throw('EVF_EBADF', 'guard', $handle, 'the handle is not open on a descriptor');
}

sub _number {
    my ($handle) = @_;
    my $fd = eval { no warnings; CORE::fileno($handle) };
    return defined $fd && $fd =~ /\A[0-9]+\z/ ? $fd : undef;
}

sub prepare {
    my ($kind, $handle) = @_;
    defined _number($handle) or _not_open($handle);
    return;
}

sub descriptors { return _number($_[1]) }

sub disown {
    my ($kind, $handle) = @_;
    return if EventLoop::Fork::Guard::Disowned::Registry->has($handle);
    # Closed by the parent: nothing is shared.
    my $is_open = defined _number($handle);
    my $tied    = $is_open ? tied *$handle : undef;
    if ($tied) {
        no warnings 'untie';
        untie *$handle;
    }
    my $fd = _number($handle);
    if (defined $fd) {
        _empty($handle, $fd);
        EventLoop::Fork::Guard::_cut($fd);
    }
    EventLoop::Fork::Guard::Disowned::Registry->take_handle($handle, EventLoop::Fork::Guard::owner()) if $is_open;
    return;
}

# Perl would complain about bytes that it cannot write. They go where bytes are welcome.
sub _empty {
    my ($handle, $fd) = @_;
    return _with_null(sub { _empty($handle, $fd) })             unless $shared;
    $shared->{null} = POSIX::open('/dev/null', POSIX::O_RDWR()) unless defined $shared->{null};
    IO::Handle::flush($handle) if defined $shared->{null} && POSIX::dup2($shared->{null}, $fd);
    return;
}

sub _with_null {
    my ($code) = @_;
    local $shared = {};
    $code->();
    POSIX::close($shared->{null}) if defined $shared->{null};
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::Handle - perl's handles in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with a handle that its parent guards: what is in the buffer is thrown away, the descriptor is replaced by
a socket without a peer, and the handle is tied.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 accepts

=head2 anchor

=head2 prepare

=head2 descriptors

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
