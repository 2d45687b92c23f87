package EventLoop::Fork::Guard::DBI;

# Connections of DBI with their statements. The anchor is the inner handle: a connection lives as long as a statement of
# it, even when nobody holds the outer one any more.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Kind';
use Scalar::Util qw(blessed reftype);

our $VERSION = '0.001';

# How a driver tells the number of its socket. With others their silence is all there is, and is enough.
my %DESCRIPTOR = (
    Pg      => sub { $_[0]->FETCH('pg_socket') },
    mysql   => sub { $_[0]->FETCH('sockfd') },
    MariaDB => sub { $_[0]->FETCH('mariadb_sockfd') },
);

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && reftype $thing eq 'HASH' && ($thing->isa('DBI::db') || $thing->isa('DBI::st'));
}

sub anchor {
    my ($kind, $handle) = @_;
    return tied %$handle || $handle;
}

# Inner handle of the connection; nothing where it has been disowned.
sub _connection {
    my ($inner) = @_;
    return $inner if $inner->isa('DBI::db');
    my $outer = $inner->FETCH('Database');
    return if EventLoop::Fork::Guard::Disowned::Registry->has($outer);
    return tied %$outer || $outer;
}

# All that is left of outer handles below.
sub _children {
    my ($inner) = @_;
    return grep { defined } @{ $inner->FETCH('ChildHandles') || [] };
}

# If no hook of ours should run in a child, DBI's own flag still keeps its destructors quiet. Statements prepared later
# have it from their connection.
sub prepare {
    my ($kind, $inner) = @_;
    my $connection = _connection($inner);
    my @changed    = grep { !$_->FETCH('AutoInactiveDestroy') } $connection, map { tied %$_ } _children($connection);
    $_->STORE(AutoInactiveDestroy => 1) for @changed;
    return { was_off => @changed && $changed[0] == $connection };
}

sub release {
    my ($kind, $inner, $undo) = @_;
    return unless $undo->{was_off};
    my $connection = _connection($inner);
    $_->STORE(AutoInactiveDestroy => 0) for $connection, map { tied %$_ } _children($connection);
    return;
}

sub descriptors {
    my ($kind, $inner) = @_;
    my $connection = _connection($inner)                                 or return;
    my $descriptor = $DESCRIPTOR{ $connection->FETCH('Driver')->{Name} } or return;
    return $descriptor->($connection);
}

sub disown {
    my ($kind, $inner) = @_;
    my $connection = _connection($inner) or return;
    my $driver     = $connection->FETCH('Driver');
    my @outer      = _children($connection);
    push @outer, grep { defined && (tied %$_ || 0) == $connection } @{ $driver->{ChildHandles} || [] };

    # connect_cached asks what it holds whether it lives.
    my $cached = $driver->{CachedKids};
    if ($cached) {
        delete @$cached{ grep { $cached->{$_} && (tied %{ $cached->{$_} } || 0) == $connection } keys %$cached };
    }
    my $is_pg = $driver->{Name} eq 'Pg';
    _never_free($connection) if $is_pg;
    for my $handle (@outer) {
        next if EventLoop::Fork::Guard::Disowned::Registry->has($handle);
        my $own = tied %$handle or next;
        _never_free($own) if $is_pg && $own != $connection;
        $own->STORE(InactiveDestroy => 1);
        EventLoop::Fork::Guard::Disowned::Registry->take_hash($handle, EventLoop::Fork::Guard::owner(), $own);
    }
    $connection->STORE(InactiveDestroy => 1);
    return;
}

# Under InactiveDestroy, DBD::Pg 3.16 lets an asynchronous statement go and still looks into it when its connection goes;
# the other way round it writes into the connection. Holding both is not enough: a process that exits lets go of all it
# holds, in no order.
sub _never_free {
    my ($inner) = @_;
    &Internals::SvREFCNT($inner, &Internals::SvREFCNT($inner) + 1);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::DBI - connections of DBI in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);

    guard($thing);

=head1 DESCRIPTION

What a child does with handles of L<DBI> that its parent guards: C<InactiveDestroy> on the connection and on every statement,
the socket replaced where the driver tells its number, the entry of C<connect_cached> removed. In the parent C<AutoInactiveDestroy>
is set while the guard holds. Handles of L<DBD::Pg> are never freed in the child: its destructors look into each other.

An L<EventLoop::Fork::Guard::Kind>; L<EventLoop::Fork::Guard> calls it.

=head1 METHODS

=head2 accepts

=head2 anchor

=head2 prepare

=head2 release

=head2 descriptors

=head2 disown

As in L<EventLoop::Fork::Guard::Kind>.

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
