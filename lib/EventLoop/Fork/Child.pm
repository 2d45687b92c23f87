package EventLoop::Fork::Child;

use strict;
use warnings;

use EventLoop::Fork::Loop;
use EventLoop::Fork::Recorder;
use Time::HiRes ();

our $VERSION = '0.001';

sub _new {
    my ($class, %self) = @_;
    return bless {%self}, $class;
}

sub pid         { return $_[0]{pid} }
sub name        { return $_[0]{name} }
sub wait_status { return $_[0]{wait_status} }
sub is_running  { return defined $_[0]{wait_status} ? 0 : 1 }

# Never a pid that has been reaped: the number may be another process by now.
sub kill {
    my ($self, $signal) = @_;
    return 0 unless $self->is_running;
    my $count;
    {
        local $@;
        $count = eval { CORE::kill($signal, $self->{pid}) } if defined $signal;
    }
    return $count if defined $count;
    $signal = 'undef' unless defined $signal;
    return EventLoop::Fork::Loop::_throw(
        'EVF_ESIGNAL', 'kill', $signal,
        "unknown signal '$signal'; `kill -l` lists the names"
    );
}

# The record is for another child from here on.
sub _end {
    my ($self, $wait_status) = @_;
    my $record = delete $self->{record};
    @$self{qw(wait_status ended)} = ($wait_status, Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()));
    $self->{last_record} = $record->read if $record;
    return;
}

sub exit_reason {
    my ($self) = @_;
    return 'running' if $self->is_running;
    return EventLoop::Fork::Recorder::exit_reason(@$self{qw(wait_status last_record ended)});
}

# In the child: a fresh loop of the parent's kind, or the parent's own that goes on here.
sub loop {
    my ($self) = @_;
    $self->{loop_maker}
        or EventLoop::Fork::Loop::_throw(
        'EVF_EINVAL', 'loop', undef,
        'this is the parent; the loop is for the code in the child'
        );
    return $self->{loop} ||= $self->{loop_maker}->();
}

1;

__END__

=head1 NAME

EventLoop::Fork::Child - the parent's handle on one forked child

=head1 SYNOPSIS

    use EventLoop::Fork;
    use EventLoop::Fork::Loop;

    my $loop  = EventLoop::Fork::Loop->new;
    my $child = EventLoop::Fork->fork(
        loop    => $loop,
        name    => 'sum',
        code    => sub { my ($self) = @_; return 7 },
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; $loop->stop },    # exit 7
    );
    $loop->run;

=head1 DESCRIPTION

Made by C<< EventLoop::Fork->fork >>. The same object is given to C<code> in the child.

=head1 METHODS

=head2 pid

=head2 name

As given to C<fork>, or C<undef>.

=head2 kill

    $child->kill('TERM');

Sends a signal; the number of processes that got it. A child that has ended gets none, whoever has its pid by now.
A signal that is unknown throws an L<EventLoop::Fork::Error> of the name C<EVF_ESIGNAL>.

=head2 is_running

True until its end has arrived through the loop.

=head2 wait_status

The status as in C<$?>, or C<undef> while it runs. -1: it has gone, but somebody else took its status.

=head2 exit_reason

How it ended, in words: C<exit 3>, C<killed by SIGTERM>, C<exception: no database at App.pm line 7.>, C<running>. Before its
code has begun it says where: C<killed by SIGSEGV in child hook 'flags' (App.pm line 12) 1.4 ms after fork>. For a fault the
place of the Perl code follows. See L<EventLoop::Fork::Recorder>.

=head2 loop

In the child: a new loop of the same kind as the parent's, made on first use; with C<< loop_in_child => 'keep' >> the
parent's own, which goes on there. In the parent it throws an L<EventLoop::Fork::Error> of the name C<EVF_EINVAL>.

=head1 SEE ALSO

L<EventLoop::Fork>

=cut
