#!/usr/bin/env perl

# A program that uses Example::ConfigClient, a client with work in the background, and forks workers. It says nothing to
# the client about that: parent and workers all see the configuration change, and each counts for itself.
#
#   config-client.pl [--workers 3] [--loop CLASS]
#
# CLASS: EventLoop::Fork::Loop, or another one that is installed: IO::Async::Loop::Poll, EV, AnyEvent, Mojo::IOLoop ...

use strict;
use warnings;

use EventLoop::Fork;
use EventLoop::Fork::Adapter;
use File::Temp ();
use FindBin;
use Getopt::Long qw(GetOptions);
use JSON::PP     ();
use lib "$FindBin::Bin/lib";

use Example::ConfigClient;
use Example::ConfigClient::Request;
use Example::ConfigServer;

use constant PAUSE => 0.02;    # seconds between two requests that a worker serves

local $| = 1;
my %option = (workers => 3, loop => 'EventLoop::Fork::Loop');
GetOptions(\%option, 'workers=i', 'loop=s') && !@ARGV or die "usage: config-client.pl [--workers 3] [--loop CLASS]\n";

my $adapter = EventLoop::Fork::Adapter::for_loop($option{loop});
my $loop    = ref $adapter->loop ? $adapter->loop : $option{loop};
my $folder  = File::Temp->newdir;
my $file    = "$folder/local.json";
pipe my $reader, my $writer or die "pipe: $!\n";

# ---- The server, in a process of its own

my $server  = Example::ConfigServer->new(config => '{"greeting":"hello"}');
my $serving = EventLoop::Fork->fork(
    name    => 'server',
    loop    => $loop,
    code    => sub { $server->serve },
    on_exit => sub { $adapter->stop }
);
$server->release;

# ---- The client

my $parent = $$;
my $end_worker;    # in a worker, when it runs

my $client = Example::ConfigClient->new(
    url           => $server->url . '/config',
    telemetry_url => $server->url . '/telemetry',
    file          => $file,
    interval      => 0.2,
    loop          => $loop,
    on_change     => sub {
        my ($self) = @_;
        report('greeting is ' . $self->get('greeting'));
        $self->flush($end_worker) if $self->get('is_over') && $end_worker;
    },
    on_error => sub {
        my ($self, $message) = @_;
        report("keeps '" . $self->get('greeting') . "': " . $message =~ s{\Q$folder\E/}{}r);
    },
);

# ---- The workers. Nothing here is about the client, but that they ask it.

sub work {
    my ($child) = @_;
    my $own = EventLoop::Fork::Adapter::for_loop($child->loop);
    $end_worker = sub { $own->stop };
    report('started; greeting is ' . $client->get('greeting'));
    my $serve;
    $serve = sub {
        return $own->stop if getppid != $parent;    # it has gone
        $client->get('greeting');
        $own->watch_time(PAUSE, $serve);
    };
    $serve->();
    $own->run;
    return 0;
}

# ---- What happens, step by step: each one begins when all processes have told of the one before

sub write_file {
    my ($text) = @_;
    open my $new, '>', "$file.new" or die "$file.new: $!\n";
    print {$new} $text;
    close $new                or die "$file.new: $!\n";
    rename "$file.new", $file or die "$file: $!\n";
    return;
}

my $request;

sub ask_server {
    my ($method, $path, $body, $then) = @_;
    $request = Example::ConfigClient::Request->new(
        adapter => $adapter,
        url     => $server->url . $path,
        method  => $method,
        body    => $body,
        timeout => 5,
        on_done => sub {
            my ($error, $answer) = @_;
            die "server: $error\n" if defined $error;
            $then->($answer)       if $then;
        },
    );
    return;
}

my ($left, %role) = (0, $$ => 'parent');

sub start_workers {
    for my $number (1 .. $option{workers}) {
        my $worker = EventLoop::Fork->fork(
            name    => "worker $number",
            loop    => $loop,
            code    => \&work,
            on_exit => sub {
                my ($gone) = @_;
                print $gone->name, ' ended: ', $gone->exit_reason, "\n";
                finish() if --$left == 0;
            },
        );
        $role{ $worker->pid } = $worker->name;
        $left++;
    }
    return;
}

sub finish {
    $client->flush(sub {
        ask_server(
            GET => '/telemetry',
            '',
            sub {
                my $counts = JSON::PP::decode_json($_[0]);
                for my $pid (sort { $role{$a} cmp $role{$b} } keys %$counts) {
                    print "$role{$pid} has asked for the greeting $counts->{$pid}{greeting} times\n";
                }
                $client->stop;
                $serving->kill('TERM');    # its end stops the loop
            }
        );
    });
    return;
}

my $everybody = $option{workers} + 1;
my @steps     = (
    [ 'the first configuration has come', 1, sub { } ],
    [ 'workers start', $option{workers}, \&start_workers ],
    [ 'somebody breaks the local file', $everybody, sub { write_file('{"greeting": ') } ],
    [ 'somebody mends it', $everybody, sub { write_file('{"greeting":"good morning"}') } ],
    [ 'the server says that the day is over', $everybody, sub { ask_server(PUT => '/config', '{"is_over":1}') } ],
);

my $missing = 0;

sub next_step {
    my $step = shift @steps or return;
    my ($text, $reports, $action) = @$step;
    print "-- $text\n";
    $missing = $reports;
    $action->();
    return;
}

# Every process reports to the parent, which prints it: PID TEXT.
sub report {
    my ($text) = @_;
    syswrite $writer, "$$ $text\n";
    return;
}

my $reported = '';
$adapter->watch_io(
    $reader,
    sub {
        sysread $reader, $reported, 65_536, length $reported or return;
        while ($reported =~ s/\A([0-9]+) ([^\n]*)\n//) {
            print "$role{$1}: $2\n";
            next_step() if --$missing == 0;
        }
    }
);

next_step();
$adapter->run;
