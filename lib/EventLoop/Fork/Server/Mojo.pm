package EventLoop::Fork::Server::Mojo;

# Mojolicious in each worker: a Mojo::Server::Daemon on the inherited listeners.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server';

use EventLoop::Fork::Loop            ();
use EventLoop::Fork::Supervisor::App ();
use File::Spec                       ();
use Scalar::Util                     qw(blessed);

sub needs { return qw(Mojo::IOLoop Mojo::Server::Daemon) }

sub taken {
    return (
        backlog => 'backlog', ioloop => 'loop', listen => 'listen',
        map { $_ => $_ } qw(workers graceful_timeout heartbeat_timeout pid_file),
    );
}

sub default_loop { return Mojo::IOLoop->singleton }

sub check_loop {
    my ($class, $loop) = @_;
    return if blessed $loop && $loop->isa('Mojo::IOLoop');
    return EventLoop::Fork::Server::refuse(
        $loop,
        'Mojolicious runs on a Mojo::IOLoop, not on ' . (ref $loop || "'$loop'")
    );
}

# By Mojo's own loader: a script of Mojolicious::Lite starts a server where it is not loaded so.
sub load_app {
    my ($class, $app) = @_;
    my $server = Mojo::Server->new;
    return $server->build_app($app) if !EventLoop::Fork::Supervisor::App::is_file($app);
    local $0 = File::Spec->rel2abs($app);    # it has FindBin look again, and $0 is the name of the worker
    return $server->load_app($app);
}

sub worker {
    my ($self, $worker) = @_;
    my $loop = $worker->loop;
    my $app  = $self->{app};
    $app->helper(worker => sub { $worker }) if $app->can('helper') && !$app->renderer->get_helper('worker');
    my $daemon = Mojo::Server::Daemon->new(
        silent => 1,
        %{ $self->{options} },
        app    => $app,
        ioloop => $loop,
        listen => [ map { _url($_) } $worker->listeners ],
    );
    $daemon->on(
        request => sub {
            my ($server, $transaction) = @_;
            $worker->request_started;
            $transaction->on(finish => sub { $worker->request_done });
        }
    );
    # As in Mojo's own workers: what is kept alive answers once more, and the loop ends with the last connection.
    $worker->on_stop(sub {
        $loop->on(finish => sub { $daemon->max_requests(1) });
        $daemon->stop;
        $loop->stop_gracefully;
    });
    $daemon->start if !$worker->stopping;
    $worker->ready;
    $loop->start;
    return 0;
}

sub _url {
    my ($socket) = @_;
    my $fd = fileno $socket;
    return 'http+unix://' . Mojo::Util::url_escape($socket->hostpath) . "?fd=$fd" if $socket->can('hostpath');
    my $host = $socket->sockhost;
    return 'http://' . ($host =~ /:/ ? "[$host]" : $host) . ':' . $socket->sockport . "?fd=$fd";
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::Mojo - Mojolicious in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --mojo myapp.pl --workers 4 --listen 127.0.0.1:3000
    $ evfork run --mojo MyApp --workers 4 --listen 127.0.0.1:3000

=head1 DESCRIPTION

Each worker runs a L<Mojo::Server::Daemon> on the supervisor's listeners. The app is a script of L<Mojolicious::Lite>, a
script of a full application, or its class.

A worker that is to stop accepts nothing more; a connection that is kept alive answers one request more, and the worker
leaves with its last connection.

The helper C<worker> gives an app the L<EventLoop::Fork::Worker>, unless it has a helper of that name.

Options are the attributes of L<Mojo::Server::Daemon>, such as C<inactivity_timeout> and C<keep_alive_timeout>.

=head1 METHODS

=head2 worker

=head2 load_app

=head2 default_loop

C<< Mojo::IOLoop->singleton >>.

=head2 check_loop

=head2 needs

=head2 taken

=head1 SEE ALSO

L<EventLoop::Fork::Server>

=cut
