package EventLoop::Fork::Supervisor::Signals;

# The signals of a process, for all supervisors in it. A loop has one code for a signal: the first supervisor watches, and
# each that follows is told.

use strict;
use warnings;

our $VERSION = '0.001';

use Scalar::Util qw(refaddr weaken);

# By process, signal: who follows it, in the order of their coming: supervisor (weak), adapter; id: who watches.
my ($owner, %followers) = (0);

sub follow {
    my ($supervisor, $adapter, @names) = @_;
    ($owner, %followers) = ($$) if $owner != $$;
    for my $name (sort @names) {
        my $follower = { supervisor => $supervisor, adapter => $adapter };
        weaken $follower->{supervisor};
        push @{ $followers{$name} }, $follower;
        _watch($name);
    }
    return;
}

sub unfollow {
    my ($supervisor) = @_;
    return if $owner != $$;
    for my $name (sort keys %followers) {
        my ($mine) = grep { _is($_, $supervisor) } @{ $followers{$name} };
        next unless $mine;
        $followers{$name} = [ grep { $_ != $mine && $_->{supervisor} } @{ $followers{$name} } ];
        next unless defined $mine->{id};
        $mine->{adapter}->unwatch_signal($mine->{id});
        _watch($name);
    }
    return;
}

# How many supervisors of this process follow it.
sub count {
    my ($name) = @_;
    return 0 if $owner != $$;
    return scalar grep { $_->{supervisor} } @{ $followers{$name} || [] };
}

sub _is {
    my ($follower, $supervisor) = @_;
    return $follower->{supervisor} && refaddr $follower->{supervisor} == refaddr $supervisor;
}

sub _watch {
    my ($name)  = @_;
    my ($first) = @{ $followers{$name} } or return;
    return if defined $first->{id};
    $first->{id} = $first->{adapter}->watch_signal($name => sub { _tell($name) });
    return;
}

sub _tell {
    my ($name) = @_;
    for my $follower (@{ [ @{ $followers{$name} } ] }) {
        $follower->{supervisor}->_on_signal($name) if $follower->{supervisor};
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Signals - signals for all supervisors of a process

=head1 DESCRIPTION

A part of L<EventLoop::Fork::Supervisor>.

=head1 FUNCTIONS

=head2 follow

=head2 unfollow

=head2 count

=cut
