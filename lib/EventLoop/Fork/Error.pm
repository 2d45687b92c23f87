package EventLoop::Fork::Error;

use strict;
use warnings;

use overload
    '""'     => sub { $_[0]->as_string },
    'bool'   => sub { 1 },
    fallback => 1;

our $VERSION = '0.001';

sub name      { return $_[0]{name} }
sub code      { return $_[0]{code} }
sub operation { return $_[0]{operation} }
sub value     { return $_[0]{value} }
sub message   { return $_[0]{message} }
sub file      { return $_[0]{file} }
sub line      { return $_[0]{line} }

sub as_string {
    my ($self) = @_;
    return "EventLoop::Fork: $self->{operation}: $self->{message} at $self->{file} line $self->{line}.\n";
}

1;

__END__

=head1 NAME

EventLoop::Fork::Error - what EventLoop::Fork throws

=head1 SYNOPSIS

    use EventLoop::Fork::Loop;

    my $loop = EventLoop::Fork::Loop->new;
    eval { $loop->watch_signal(SIGTERM => sub { }) };
    if (ref $@ && $@->isa('EventLoop::Fork::Error')) {
        print $@->name, ' in ', $@->operation, ': ', $@->value, "\n";    # EVF_ESIGNAL in watch_signal: SIGTERM
        print $@;
    }

=head1 DESCRIPTION

Every exception of this distribution is an object of this class. As a string it says what was called, what is wrong
with which value, and where the caller is.

=head1 METHODS

=head2 name

The error as a word: C<EVF_EINVAL> (an argument is wrong), C<EVF_EBADF> (not an open handle), C<EVF_EEXIST> (already
watched), C<EVF_ECHILD> (not a child of this process), C<EVF_ESIGNAL> (not a signal that can be caught), C<EVF_EFORK>
(fork failed), C<EVF_EABANDONED> (a loop of the parent process), C<EVF_EDISOWNED> (guarded, and the parent's),
C<EVF_ECANCELED> (a hook refused the fork), C<EVF_EBUSY> (a fork inside a hook), C<EVF_EPREVENTED> (a fork inside of
C<prevent_fork>), C<EVF_ENOTSUP> (not supported here),
C<EVF_EBACKEND>, C<EVF_ESYSTEM>, C<EVF_ENOMEM>.

=head2 code

The same as a negative number.

=head2 operation

The method that refused: C<loop_once> also for C<run>, which is turn after turn.

=head2 value

The offending value, as it was given, or C<undef>.

=head2 message

What is wrong, in words.

=head2 file

=head2 line

The place of the call: the first one outside of this distribution.

=head2 as_string

What the object is as a string.

=head1 SEE ALSO

L<EventLoop::Fork::Loop>

=cut
