package EventLoop::Fork::Adapter::Native;

# EventLoop::Fork::Loop. What its child needs is done in the core.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter::LikeIOAsync';

use EventLoop::Fork::Loop ();
use Scalar::Util          qw(blessed);

use constant _CLASS => 'EventLoop::Fork::Loop';

# Made when a program has no loop at all. A child makes its own.
my ($own_loop, $own_pid);

sub family    { return 'EventLoop::Fork' }
sub is_loaded { return 1 }
sub is_in_use { return defined $own_loop && $own_pid == $$ }

sub accepts {
    my ($class, $loop) = @_;
    return blessed $loop ? $loop->isa(_CLASS) : !ref $loop && $loop eq _CLASS;
}

sub new {
    my ($class, $loop) = @_;
    if (!blessed $loop) {
        ($own_loop, $own_pid) = (_CLASS->new, $$) unless defined $own_loop && $own_pid == $$;
        $loop = $own_loop;
    }
    return bless { loop => $loop }, $class;
}

sub renew { return }
sub rearm { return }

sub watch_time {
    my ($self, $seconds, $code) = @_;
    return $self->{loop}->watch_time(after => $seconds, code => $code);
}

sub unwatch_time {
    my ($self, $id) = @_;
    $self->{loop}->unwatch_time($id);
    return;
}

sub loop_for_child {
    my ($self, $keep) = @_;
    return $self->{loop} if $keep;
    return (ref $self->{loop})->new;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::Native - forks through EventLoop::Fork::Loop

=head1 SYNOPSIS

    use EventLoop::Fork;
    use EventLoop::Fork::Loop;

    my $loop = EventLoop::Fork::Loop->new;
    EventLoop::Fork->fork(
        loop    => $loop,
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is an EventLoop::Fork::Loop
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; $loop->stop },
    );
    $loop->run;

=head1 DESCRIPTION

The loop of this distribution. It is the choice where a program has no loop at all.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 family, is_loaded, is_in_use, accepts, new

=head2 renew, rearm, loop_for_child

=head2 watch_io, unwatch_io, watch_time, unwatch_time, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork>

=cut
