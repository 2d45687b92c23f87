package EventLoop::Fork::Server::Twiggy;

# A PSGI app by Twiggy, on AnyEvent.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server::PSGI';

use EventLoop::Fork::Loop ();

sub needs { return ('AnyEvent', 'Twiggy::Server', 'Plack::Util') }

sub taken {
    return (backlog => 'backlog', map { $_ => 'listen' } qw(host listen port));
}

sub check { my ($class, %options) = @_; return $class->EventLoop::Fork::Server::check(%options) }

sub default_loop { return 'AnyEvent' }

sub check_loop {
    my ($class, $loop) = @_;
    return if !ref $loop && $loop =~ /\A(?:AnyEvent|EV)\z/;
    return EventLoop::Fork::Server::refuse(
        $loop,
        'Twiggy runs on AnyEvent, not on ' . (ref $loop || "'$loop'")
    );
}

sub worker {
    my ($self, $worker) = @_;
    $worker->loop;
    require EventLoop::Fork::Server::Twiggy::Listening;
    my $server =
        EventLoop::Fork::Server::Twiggy::Listening->new(%{ $self->{options} }, sockets => [ $worker->listeners ]);
    $worker->on_stop(sub { $server->leave });
    $server->register_service($self->counted($worker));
    $worker->ready;
    $server->wait_for_end;
    return 0;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::Twiggy - PSGI apps by Twiggy in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --server Twiggy app.psgi --workers 4 --listen 127.0.0.1:5000

=head1 DESCRIPTION

Each worker runs a L<Twiggy::Server> on the supervisor's listeners, with the options of its C<new>. A worker that is to stop
accepts nothing more, and leaves when the last connection is closed.

An app finds the L<EventLoop::Fork::Worker> in C<< $env->{'eventloop_fork.worker'} >>.

=head1 METHODS

=head2 worker

=head2 default_loop

C<AnyEvent>.

=head2 check_loop

=head2 check

=head2 needs

=head2 taken

=head1 SEE ALSO

L<EventLoop::Fork::Server>, L<EventLoop::Fork::Server::PSGI>

=cut
