package EventLoop::Fork::Guard::Mojo;

# Streams, clients and servers of Mojo::IOLoop. A Mojo::UserAgent is no connection but a pool of them: it forgets the
# ones it has, and works on with new ones.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

my @CLASSES = qw(Mojo::IOLoop::Stream Mojo::IOLoop::Server Mojo::IOLoop::Client Mojo::UserAgent);

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && grep { $thing->isa($_) } @CLASSES;
}

# The streams and clients that a user agent has made, as far as its loops still know them.
sub _members {
    my ($thing) = @_;
    return $thing unless $thing->isa('Mojo::UserAgent');
    my @members;
    my $connections = $thing->{connections} || {};
    for my $id (keys %$connections) {
        my $loop  = $connections->{$id}{ioloop} or next;
        my $entry = $loop->{out}{$id}           or next;
        push @members, grep { defined } @$entry{qw(stream client)};
    }
    return @members;
}

sub unwatch {
    my ($kind, $thing) = @_;
    for my $member (_members($thing)) {
        my $reactor = eval { $member->reactor } or next;
        eval { $reactor->remove($_) } for grep { defined } @$member{qw(handle timer dns)};
        delete $member->{timer};
        # A new server on this address would take the number.
        $ENV{MOJO_REUSE} =~ s/(?:^|,)\Q$member->{reuse}\E// if $member->{reuse} && defined $ENV{MOJO_REUSE};
    }
    return;
}

sub _forget_in {
    my ($loop, $member) = @_;
    for my $entries (grep { $_ } @$loop{qw(in out)}) {
        for my $id (keys %$entries) {
            delete $entries->{$id} if grep { defined && $_ == $member } @{ $entries->{$id} }{qw(stream client)};
        }
    }
    my $acceptors = $loop->{acceptors} or return;
    delete @$acceptors{ grep { $acceptors->{$_} == $member } keys %$acceptors };
    return;
}

sub descriptors {
    my ($kind, $thing) = @_;
    return map { my $handle = $_->{handle}; $handle ? fileno $handle : () } _members($thing);
}

sub disown {
    my ($kind, $thing) = @_;
    for my $member (_members($thing)) {
        EventLoop::Fork::Guard::_disown_handles($member->{handle});
        EventLoop::Fork::Guard->poison($member);
        _forget_in(Mojo::IOLoop->singleton, $member);    # last: its destructor would tell the parent's callbacks
    }
    @$thing{qw(connections queue)} = ({}, {}) if $thing->isa('Mojo::UserAgent');
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::Mojo - streams, servers and user agents of Mojo in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with an L<Mojo::IOLoop::Stream>, L<Mojo::IOLoop::Server>, L<Mojo::IOLoop::Client> or L<Mojo::UserAgent> that its
parent guards: the reactor and the loop forget it, and its handle is disowned. A server leaves C<MOJO_REUSE>. A user agent
only loses its connections.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 accepts

=head2 unwatch

=head2 descriptors

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
