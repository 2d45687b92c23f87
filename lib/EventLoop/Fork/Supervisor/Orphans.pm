package EventLoop::Fork::Supervisor::Orphans;

# Duties of the first process of a container: children of others whose parents have ended become its own, and stay zombies
# until it asks for them. It asks by their pids, one by one, and for none that somebody else may be waiting for.

use strict;
use warnings;

use EventLoop::Fork                      ();
use EventLoop::Fork::Supervisor::Process ();
use POSIX                                qw(WNOHANG);
use Scalar::Util                         qw(weaken);

our $VERSION = '0.001';

# Seconds between two looks. Code of the program's that waits for a child of its own has taken it by the second one.
our $interval = 2;

# Nothing where nobody is adopted.
sub watch {
    my ($class, $supervisor) = @_;
    return if $$ != 1 && !EventLoop::Fork::_adopts_orphans();
    my $self = bless { supervisor => $supervisor, seen => {} }, $class;
    weaken $self->{supervisor};
    $self->_arm;
    return $self;
}

sub _arm {
    my ($self) = @_;
    weaken(my $weak = $self);
    $self->{supervisor}->_adapter->watch_time(
        $interval,
        sub {
            return if !$weak || !$weak->{supervisor} || !$weak->{supervisor}->is_running;
            $weak->_look;
            $weak->_arm;
        },
    );
    return;
}

# What is a zombie in two looks, and the supervisor does not watch.
sub _look {
    my ($self)  = @_;
    my %is_ours = map { $_ => 1 } $self->{supervisor}->pids;
    my %seen    = map { $_ => 1 } grep { !$is_ours{$_} } EventLoop::Fork::Supervisor::Process::zombies_of($$);
    local ($?, $!);
    for my $pid (grep { $self->{seen}{$_} } keys %seen) {
        waitpid $pid, WNOHANG;
    }
    $self->{seen} = \%seen;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Orphans - adopted children of the first process

=head1 DESCRIPTION

For C<evfork run>, where it is the first process of a container, or a subreaper (L<prctl(2)>, C<PR_SET_CHILD_SUBREAPER>).

=head1 METHODS

=head2 watch($supervisor)

As long as the object lives, adopted children that have ended are reaped within some seconds. Nothing, if this process
adopts none.

=cut
