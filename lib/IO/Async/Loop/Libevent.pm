package IO::Async::Loop::Libevent;

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Loop::IOAsync';

sub _backend { return 'libevent' }

1;

__END__

=head1 NAME

IO::Async::Loop::Libevent - use IO::Async on libevent, with forks done right

=head1 SYNOPSIS

    use IO::Async::Loop::Libevent;

    my $loop = IO::Async::Loop::Libevent->new;
    $loop->fork(
        code    => sub { return 3 },
        on_exit => sub {
            my ($pid, $wait_status) = @_;
            print 'exit code ', $wait_status >> 8, "\n";    # exit code 3
            $loop->stop;
        },
    );
    $loop->run;

Programs that make their loop with C<< IO::Async::Loop->new >> take it by environment:

    IO_ASYNC_LOOP=Libevent perl program.pl

=head1 DESCRIPTION

A subclass of L<IO::Async::Loop>. Where it differs from other loops:

=over 4

=item *

A child forked by C<< $loop->fork >> has the signal mask of its parent, default signal actions, no descriptor of the
parent's loop, and a random seed of its own. C<< IO::Async::Loop->new >> there makes a new loop of this class. What the
child printed is written, an exception of its code is reported on STDERR, and its end runs no END block and no
destructor.

=item *

A raw C<fork> may go on with the loop. Its watches of descriptors, times and signals then work in parent and child, each
on kernel objects of its own.

=item *

C<watch_process> takes the status of its process only, so C<system>, backticks and other loops keep theirs. It cannot
watch all processes (a pid of 0).

=item *

A handler in C<%SIG> runs at once, also during a wait.

=item *

C<watch_io> takes C<on_hangup>.

=back

=head1 METHODS

Those of L<IO::Async::Loop>, and:

=head2 new

    my $loop = IO::Async::Loop::Libevent->new(method => 'poll');

C<method> is how libevent asks the kernel: C<epoll>, C<poll>, C<select>, C<kqueue>, as far as they work here. The default is
C<EVENTLOOP_FORK_METHOD> of the environment, or the best.

=head2 backend

=head2 method

What the loop is on, as words.

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<IO::Async::Loop>, L<IO::Async::Loop::Libev>

=cut
