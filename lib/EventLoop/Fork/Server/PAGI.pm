package EventLoop::Fork::Server::PAGI;

# PAGI::Server, single-process, in each worker. Its own way from a socket to its code is for listeners that it has made, in a
# process that has no others: so what it does in a worker of its own is done here with ours.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server::IOAsync';

use Scalar::Util qw(blessed);

use constant {
    LINGER => 1,       # seconds
    LOOK   => 0.01,    # between two looks at the connections of a worker that leaves
};

# Neither has a public name.
my @NEEDED = qw(_run_lifespan_startup _on_connection _build_ssl_config);

sub needs { return 'PAGI::Server' }

sub taken {
    return (
        (map { $_ => 'listen' } qw(listen host port socket socket_mode)),
        workers                  => 'workers',
        reuseport                => 'reuseport',
        listener_backlog         => 'backlog',
        max_requests             => 'max_requests',
        heartbeat_timeout        => 'heartbeat_timeout',
        lifespan_startup_timeout => 'startup_timeout',
        loop_type                => 'loop',
    );
}

sub check {
    my ($class, %options) = @_;
    $class->SUPER::check(%options);
    my @missing = grep { !PAGI::Server->can($_) } @NEEDED;
    EventLoop::Fork::Server::refuse(
        PAGI::Server->VERSION,
        "PAGI::Server @{[ PAGI::Server->VERSION ]} lacks @missing; EventLoop::Fork needs a newer version for it"
    ) if @missing;
    local $@;
    eval {
        PAGI::Server->new(app => sub { }, %options);
        1;
    }
        or EventLoop::Fork::Server::refuse_options(\%options, $@);
    return;
}

# Code, or what has it: as PAGI's own runner has it.
sub load_app {
    my ($class, $app) = @_;
    my $got = $class->SUPER::load_app($app);
    return $got         if ref $got eq 'CODE' || blessed $got && $got->isa('EventLoop::Fork::Server');
    $got = $got->new    if !ref $got && $got->can('new');
    return $got->to_app if $got->can('to_app');
    die "'$app' gives neither code nor what has a method 'to_app'\n";
}

sub worker {
    my ($self, $worker) = @_;
    my $loop   = $worker->loop;
    my $server = $self->_server($worker);
    $loop->add($server);
    my @listeners;
    $worker->on_stop(sub {
        $server->remove_child($_) for splice @listeners;    # what comes now is for others
        $self->_drain($worker, $server);
    });
    my $ssl     = $server->_build_ssl_config;
    my $started = $loop->await($server->_run_lifespan_startup)->get;
    die 'lifespan startup failed' . (length($started->{message} // '') ? ": $started->{message}" : '') . "\n"
        if !$started->{success};
    $server->{running} = 1;    # a shutdown does nothing before that
    if (!$worker->stopping) {
        @listeners = $self->listeners($worker, sub { _connect($server, $ssl, @_[ 1, 2 ]) });
        $server->add_child($_) for @listeners;
    }
    $worker->ready;
    $loop->run;
    return 0;
}

# A shutdown closes what has no request under way: also a connection whose first request has not been read, or whose next
# one is on its way. So these have a moment for one more, which is told to be the last; requests have all the time there is.
sub _drain {
    my ($self, $worker, $server) = @_;
    my $loop     = $worker->loop;
    my $now      = $loop->time;
    my $deadline = $now + $worker->graceful_timeout - 2 * $server->{shutdown_timeout};
    my $linger   = $now + LINGER;
    $self->{is_leaving} = 1;
    my $look;
    $look = sub {
        my $is_over = $loop->time >= $deadline || $loop->time >= $linger && !$self->{in_flight};
        return $loop->watch_time(after => LOOK, code => $look) if !$is_over && _has_streams($server);
        undef $look;
        $self->{end} =
            $server->shutdown->on_fail(sub { print {*STDERR} "PAGI::Server: $_[0]\n" })->on_ready(sub { $loop->stop });
    };
    return $look->();
}

# A connection that is closed may have something to write yet: it is a child until that is done.
sub _has_streams {
    my ($server) = @_;
    return scalar grep { $_->isa('IO::Async::Stream') } $server->children;
}

sub _server {
    my ($self, $worker) = @_;
    return PAGI::Server->new(
        app              => $self->_counted($worker),
        listen           => [ map { _specification($_) } $worker->listeners ],
        quiet            => 1,
        shutdown_timeout => $worker->graceful_timeout / 12,    # once for connections, once for lifespan.shutdown
        %{ $self->{options} },
        lifespan_startup_timeout => 0,                         # the supervisor looks after that
    );
}

sub _specification {
    my ($socket) = @_;
    return { socket => $socket->hostpath } if $socket->can('hostpath');
    return { host   => $socket->sockhost, port => $socket->sockport };
}

# A request lasts from the call of the app to the end of its future. Those that stay open are not waited for.
sub _counted {
    my ($self, $worker) = @_;
    my $app = $self->{app};
    return sub {
        my ($scope, $receive, $send) = @_;
        if ($scope->{type} eq 'lifespan') {
            $scope->{state}{worker} = $worker;
            @{ $scope->{pagi} }{qw(is_worker worker_num)} = (1, $worker->slot + 1);
            return $app->($scope, $receive, $send);
        }
        my $is_http = $scope->{type} eq 'http';
        $self->{in_flight} += $is_http;
        $worker->request_started;
        my $done   = sub { $self->{in_flight} -= $is_http; $worker->request_done };
        my $future = eval { $app->($scope, $receive, $is_http ? $self->_last_answer($send) : $send) };
        my $error  = $@;
        return $future->on_ready($done) if blessed $future && $future->can('on_ready');
        $done->();
        die $error if !defined $future;    ## no critic (RequireCarping): as the app has thrown it
        return $future;
    };
}

# On a connection that the server is about to close.
sub _last_answer {
    my ($self, $send) = @_;
    return sub {
        my ($event, @rest) = @_;
        $event = {
            %$event,
            headers => [ (grep { lc $_->[0] ne 'connection' } @{ $event->{headers} || [] }), [ 'connection', 'close' ] ]
            }
            if $self->{is_leaving} && ($event->{type} // '') eq 'http.response.start';
        return $send->($event, @rest);
    };
}

# With TLS, one context for all: made after the fork.
sub _connect {
    my ($server, $ssl, $stream, $index) = @_;
    my $specification = $server->listeners->[$index];
    return $server->_on_connection($stream, $specification) if !$ssl || $specification->{type} ne 'tcp';
    $server->adopt_future(
        $server->loop->SSL_upgrade(handle => $stream, SSL_server => 1, SSL_reuse_ctx => $ssl->{SSL_reuse_ctx})
            ->on_done(sub { $server->_on_connection($stream, $specification) })->else_done);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::PAGI - PAGI::Server in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --pagi app.pl --workers 4 --listen 127.0.0.1:5000

An app with options of the server:

    # app.pl
    use EventLoop::Fork::Server::PAGI;

    EventLoop::Fork::Server::PAGI->new(
        app     => async sub { my ($scope, $receive, $send) = @_; ... },
        timeout => 5,
        ssl     => { cert_file => 'server.crt', key_file => 'server.key' },
    );

=head1 DESCRIPTION

Each worker runs L<PAGI::Server|https://metacpan.org/pod/PAGI::Server> as a single process on the supervisor's listeners.

A worker is ready when C<lifespan.startup> is complete. One whose start fails, or takes longer than C<startup_timeout>, is
replaced with growing pauses, and its slot is never lost. When a worker is to leave, it stops accepting, finishes what is
under way, and runs C<lifespan.shutdown>; a TERM that comes during C<lifespan.startup> waits for its end and then does the
same.

=head2 What an app sees

C<< $scope->{state}{worker} >> is the L<EventLoop::Fork::Worker>: C<slot>, C<generation>, C<counter>, C<extend_deadline>. In
the lifespan scope C<is_worker> is 1, and C<worker_num> counts from 1, as it does in PAGI::Server's own workers.

=head2 Options

Those of PAGI::Server's C<new>, but for those that the supervisor has: C<workers>, C<listen> and its kin, C<reuseport>,
C<listener_backlog>, C<max_requests>, C<heartbeat_timeout>, C<lifespan_startup_timeout>, C<loop_type>.

=head2 How a worker leaves

It accepts nothing more. Connections without a request have a second for one more, which is answered with C<Connection:
close>, so that clients that keep connections alive see no failure. Requests under way have C<graceful_timeout>, less twice
PAGI::Server's C<shutdown_timeout>, for what is left then: to close connections, and for C<lifespan.shutdown>. That is a
twelfth of C<graceful_timeout> unless it is given. WebSockets and event streams are closed, as PAGI::Server does it.

=head2 The loop

Any of IO::Async's. C<IO_ASYNC_LOOP> chooses it; else it is L<IO::Async::Loop::Libev> or L<IO::Async::Loop::Libevent> where
they are built.

=head1 METHODS

=head2 worker

=head2 check

=head2 load_app

A file that gives code, or an object or a module with C<to_app>.

=head2 needs

=head2 taken

=head1 SEE ALSO

L<EventLoop::Fork::Server>, L<EventLoop::Fork::Supervisor>

=cut
