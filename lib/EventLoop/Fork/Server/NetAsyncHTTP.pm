package EventLoop::Fork::Server::NetAsyncHTTP;

# Net::Async::HTTP::Server in each worker, on IO::Async.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server::IOAsync';

use EventLoop::Fork::Server::Counted ();
use Hash::Util::FieldHash            qw(fieldhash);

use constant {
    LINGER => 1,       # seconds
    LOOK   => 0.01,    # between two looks at the connections of a worker that leaves
};

# By request: gone with it, whatever ends it, its answer or the connection.
fieldhash my %counted;

sub needs { return qw(Net::Async::HTTP::Server Net::Async::HTTP::Server::Protocol) }

sub taken {
    return map { $_ => 'listen' } qw(addr handle handles queuesize socket);
}

# What is called for each request.
sub load_app {
    my ($class, $app) = @_;
    my $got = $class->SUPER::load_app($app);
    return $got                                if ref $got;
    die "'$app' gives no code for a request\n" if !$got->can('on_request');
    return $got->can('on_request');
}

sub worker {
    my ($self, $worker) = @_;
    my $loop   = $worker->loop;
    my $app    = $self->{app};
    my $server = Net::Async::HTTP::Server->new(
        %{ $self->{options} },
        on_request => sub {
            $counted{ $_[1] } = EventLoop::Fork::Server::Counted->new($worker);
            return $app->(@_, $worker);
        },
    );
    $loop->add($server);
    my @listeners;
    $worker->on_stop(sub {
        $server->remove_child($_) for splice @listeners;
        _drain($worker, $server);
    });
    if (!$worker->stopping) {
        @listeners = $self->listeners(
            $worker,
            sub { $server->on_accept(Net::Async::HTTP::Server::Protocol->new(handle => $_[1]->read_handle)) }
        );
        $server->add_child($_) for @listeners;
    }
    $worker->ready;
    $loop->run;
    return 0;
}

# It closes no connection by itself. What is kept alive has a moment for one more request; what has one under way, all the
# time there is.
sub _drain {
    my ($worker, $server) = @_;
    my $loop     = $worker->loop;
    my $linger   = $loop->time + LINGER;
    my $deadline = $loop->time + $worker->graceful_timeout - LINGER;
    my $look;
    $look = sub {
        my @streams = grep { $_->isa('Net::Async::HTTP::Server::Protocol') } $server->children;
        my $now     = $loop->time;
        $_->close_when_empty for $now >= $deadline || $now >= $linger && !%counted ? @streams : ();
        return $loop->watch_time(after => LOOK, code => $look) if @streams;
        undef $look;
        return $loop->stop;
    };
    return $look->();
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::NetAsyncHTTP - Net::Async::HTTP::Server in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --server NetAsyncHTTP app.pl --workers 4 --listen 127.0.0.1:8080

    # app.pl
    use HTTP::Response;

    sub {
        my ($server, $request, $worker) = @_;
        my $response = HTTP::Response->new(200);
        $response->add_content('hello from slot ' . $worker->slot . "\n");
        $response->content_type('text/plain');
        $response->content_length(length $response->content);
        $request->respond($response);
    };

=head1 DESCRIPTION

Each worker runs a L<Net::Async::HTTP::Server|https://metacpan.org/pod/Net::Async::HTTP::Server> on the supervisor's
listeners. The app is the code of C<on_request>, or a class with that method; after server and request it gets the
L<EventLoop::Fork::Worker>.

A request lasts until its object is gone: a program that keeps it keeps the worker busy.

A worker that is to stop accepts nothing more. Connections without a request have a second for one more; then they are
closed, when nothing is under way.

=head1 METHODS

=head2 worker

=head2 load_app

=head2 needs

=head2 taken

=head1 SEE ALSO

L<EventLoop::Fork::Server>

=cut
