package Example::ConfigServer;

# What examples/config-client.pl and its test fetch from: GET and PUT /config, POST /telemetry, GET /telemetry (the counts
# of each process), GET /requests (how often each process has reported, and fetches in all). Serves in a process of its
# own, on a loop of its own. Example::HTTP::Connection speaks HTTP.

use strict;
use warnings;

use EventLoop::Fork::Loop ();
use JSON::PP              ();

use Example::HTTP::Connection;
use Example::HTTP::Listener;

use constant LIMIT => {
    header_timeout => 10,
    body_timeout   => 10,
    idle_timeout   => 10,
    write_timeout  => 10,
    header_limit   => 16_384,
    body_limit     => 65_536,
};

my $JSON = JSON::PP->new->utf8->canonical;

my %ROUTE = (
    'GET /config'     => sub { my ($self) = @_; $self->{fetches}++; return $self->{config} },
    'PUT /config'     => sub { my ($self, $body) = @_; return $self->{config} = $body },
    'GET /telemetry'  => sub { my ($self) = @_; return $JSON->encode($self->{counts}) },
    'POST /telemetry' => sub { my ($self, $body) = @_; return $self->_count($JSON->decode($body)) },
    'GET /requests'   => sub {
        my ($self) = @_;
        return $JSON->encode({ fetches => $self->{fetches}, reports => $self->{reports} });
    },
);

# Binds a free port of this machine, or a socket file. config is JSON.
sub new {
    my ($class, %argument) = @_;
    my $listener = Example::HTTP::Listener->bind_to($argument{address} // '127.0.0.1:0');
    return
        bless { config => $argument{config} // '{}', listener => $listener, counts => {}, fetches => 0, reports => {} },
        $class;
}

# http://127.0.0.1:PORT without the / at the end, or unix:PATH.
sub url { return $_[0]{listener}->name =~ s{/\z}{}r if $_[0]{listener}->is_tcp; return $_[0]{listener}->name }

# The parent's copy of the socket is of no use to it.
sub release {
    my ($self) = @_;
    $self->{listener}->release;
    return;
}

# In the child, until a signal ends it, or its parent has gone.
sub serve {
    my ($self) = @_;
    my $loop   = EventLoop::Fork::Loop->new;
    my $parent = getppid;
    my $look;
    $look = sub { getppid == $parent ? $loop->watch_time(after => 0.5, code => $look) : $loop->stop };
    $look->();
    my ($count, %connections) = (0);
    my $accept = sub {
        accept my $socket, $self->{listener}->handle or return;
        my $number     = ++$count;
        my $connection = Example::HTTP::Connection->new(
            loop      => $loop,
            socket    => $socket,
            limit     => LIMIT,
            handler   => sub { $self->_answer(@_) },
            on_closed => sub { delete $connections{$number} },
        );
        $connections{$number} = $connection;
    };
    $loop->watch_io(handle => $self->{listener}->handle, on_read_ready => $accept);
    $loop->run;
    return 0;
}

sub _answer {
    my ($self, $request, $connection) = @_;
    my $path  = $request->{path} eq '/' ? '/config' : $request->{path};    # a socket file is but one address
    my $route = $ROUTE{"$request->{method} $path"};
    my $text  = $route && eval { $route->($self, $request->{body}) };
    return $connection->reply(404, [], "no such page\n") if !$route;
    return $connection->reply(400, [], "$@")             if !defined $text;
    return $connection->reply(200, [ 'Content-Type' => 'application/json' ], $text);
}

# A batch that comes again counts once.
sub _count {
    my ($self, $batch) = @_;
    return '{}' if $self->{seen}{ $batch->{id} }++;
    $self->{reports}{ $batch->{pid} }++;
    $self->{counts}{ $batch->{pid} }{$_} += $batch->{counts}{$_} for keys %{ $batch->{counts} };
    return '{}';
}

1;
