package EventLoop::Fork::Server::PSGI;

# A PSGI app by a Plack handler that finds its listeners as Server::Starter passes them on, and has no workers of its own:
# Starlet, Gazelle and others.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server';

use EventLoop::Fork::Server::Counted ();
use EventLoop::Fork::Supervisor::App ();
use Socket                           qw(SOL_SOCKET SO_RCVTIMEO);

use constant {
    HANDLER  => 'Starlet',
    PATIENCE => 1,           # seconds in accept, before a handler looks again whether it is to leave
};

sub needs { return qw(Plack::Loader Plack::Util) }

sub taken {
    return (
        backlog => 'backlog',
        map({ $_ => 'listen' } qw(host listen port socket)),
        map { $_ => 'workers' } qw(max_workers workers),
    );
}

# What the handler needs is loaded while this may still be read.
sub check {
    my ($class, %options) = @_;
    $class->SUPER::check(%options);
    Plack::Util::load_class($options{handler} // HANDLER, 'Plack::Handler');
    return;
}

# By Plack's own loader.
sub load_app {
    my ($class, $app) = @_;
    return Plack::Util::load_psgi($app) if EventLoop::Fork::Supervisor::App::is_file($app);
    my $module = $class->SUPER::load_app($app);
    return
          $module->can('to_app') ? $module->to_app
        : $module->can('new')    ? $module->new->to_app
        :                          die "module $app has no to_app\n";
}

sub worker {
    my ($self, $worker) = @_;
    my %options = %{ $self->{options} };
    my $name    = delete $options{handler} // HANDLER;
    local $ENV{SERVER_STARTER_PORT}       = join ';', map { _port($_) . '=' . fileno $_ } $worker->listeners;
    local $ENV{SERVER_STARTER_GENERATION} = $worker->generation;
    my $handler = Plack::Loader->load($name, %options, max_workers => 0);
    _let_wait($_) for $worker->listeners;
    $worker->ready;
    $handler->run($self->counted($worker)) if !$worker->stopping;
    return 0;
}

# A handler waits in accept. A signal that comes just before that does not wake it.
sub _let_wait {
    my ($socket) = @_;
    $socket->blocking(1);
    setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', PATIENCE, 0;
    return;
}

# A connection has it of its listener.
sub _let_read {
    my ($connection) = @_;
    setsockopt $connection, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', 0, 0;
    return;
}

# A path, or a port with its address.
sub _port {
    my ($socket) = @_;
    return $socket->can('hostpath') ? $socket->hostpath : $socket->sockhost . ':' . $socket->sockport;
}

# A request lasts as long as its environment.
sub counted {
    my ($self, $worker) = @_;
    my $app = $self->{app};
    return sub {
        my ($env) = @_;
        _let_read($env->{'psgix.io'}) if $env->{'psgix.io'};
        $env->{'psgi.multiprocess'}      = 1;
        $env->{'eventloop_fork.worker'}  = $worker;
        $env->{'eventloop_fork.request'} = EventLoop::Fork::Server::Counted->new($worker);
        return $app->($env);
    };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::PSGI - PSGI apps in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --psgi app.psgi --workers 4 --listen 127.0.0.1:5000
    $ evfork run --psgi app.psgi --server-options handler=Gazelle --workers 4 --listen 127.0.0.1:5000

=head1 DESCRIPTION

Each worker runs a Plack handler on the supervisor's listeners. C<handler> names it, and is C<Starlet> unless it is given.
A handler must take its listeners from C<SERVER_STARTER_PORT>, run without processes of its own when C<max_workers> is 0, and
leave on TERM when a request is answered. L<Starlet> and L<Gazelle> do. For L<Twiggy> there is
L<EventLoop::Fork::Server::Twiggy>.

All other options are the handler's.

An app finds the L<EventLoop::Fork::Worker> in C<< $env->{'eventloop_fork.worker'} >>.

A handler that waits for one request at a time has no loop. A request that takes longer than C<heartbeat_timeout> is taken
for stuck; C<extend_deadline> of the worker gives it more time.

=head1 METHODS

=head2 worker

=head2 counted

    my $app = $self->counted($worker);

The app, with its requests counted.

=head2 check

=head2 load_app

By L<Plack::Util>'s C<load_psgi>.

=head2 needs

=head2 taken

=head1 SEE ALSO

L<EventLoop::Fork::Server>

=cut
