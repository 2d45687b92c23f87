# The reference client of examples/lib/Example/ConfigClient.pm: what it does, and that forks of all kinds neither stop it,
# nor share it, nor bring it back. And the program that uses it, on each family of loops.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../examples/lib";
use Test2::V0;

use ForkTest;
use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Adapter;
use JSON::PP     ();
use POSIX        ();
use ProcessTest  qw(write_file);
use Scalar::Util qw(weaken);
use Socket       qw(INADDR_LOOPBACK SOCK_STREAM AF_INET pack_sockaddr_in unpack_sockaddr_in);

skip_all('HTTP::Parser::XS is not installed') unless has_module('HTTP::Parser::XS');
require Example::ConfigClient;
require Example::ConfigServer;

my $folder = File::Temp->newdir('evf-config-XXXXXX', TMPDIR => 1);
my $files  = 0;

# ---- Helpers --------------------------------------------------------------------------------------------------------

# A client of a file that changes fast enough for a test; it writes down what happens to it.
sub client {
    my ($loop, %argument) = @_;
    my $events = delete $argument{events} || [];
    return Example::ConfigClient->new(
        loop          => $loop,
        look_interval => 0.01,
        debounce      => 0.03,
        on_change     => sub { push @$events, 'change ' . ($_[0]{config}{name} // 'none') },
        on_error      => sub { push @$events, "error $_[1]" },
        %argument,
    );
}

sub new_file {
    my ($text) = @_;
    my $path = "$folder/" . ++$files . '.json';
    write_file($path, $text) if defined $text;
    return $path;
}

# Until the client has this name. The loop is whatever the client is on.
sub until_named {
    my ($loop, $client, $name) = @_;
    return wait_until($loop, sub { ($client->{config}{name} // 'none') eq $name });
}

# A server in a process of its own, and what to ask it.
sub start_server {
    my ($loop, $config) = @_;
    my $server = Example::ConfigServer->new(config => $config);
    my $status;
    my $child =
        EventLoop::Fork->fork(loop => $loop, code => sub { $server->serve }, on_exit => sub { $status = $_[1] });
    $server->release;
    my $stop = sub {
        $child->kill('TERM');
        wait_until($loop, sub { defined $status });
    };
    return ($server->url, $stop);
}

sub ask {
    my ($loop, $url, $method, $body) = @_;
    my @answer;
    my $request = Example::ConfigClient::Request->new(
        adapter => EventLoop::Fork::Adapter::for_loop($loop),
        url     => $url,
        method  => $method || 'GET',
        body    => $body,
        timeout => BOUND,
        on_done => sub { @answer = @_ },
    );
    wait_until($loop, sub { @answer }) or die "no answer from $url\n";
    die "$url: $answer[0]\n" if defined $answer[0];
    return $answer[1];
}

# Accepts and says nothing.
sub silent_server {
    socket my $listener, AF_INET, SOCK_STREAM, 0         or die "socket: $!";
    bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $listener, 10                                 or die "listen: $!";
    my ($port) = unpack_sockaddr_in(getsockname $listener);
    return ($listener, "http://127.0.0.1:$port/");
}

sub wait_for_connection {
    my ($loop, $listener) = @_;
    my $connection;
    $loop->watch_io(handle => $listener, on_read_ready => sub { accept $connection, $listener });
    wait_until($loop, sub { defined $connection });
    $loop->unwatch_io(handle => $listener, on_read_ready => 1);
    return $connection;
}

# Whether the other end is closed everywhere, after what it has said.
sub is_over {
    my ($connection) = @_;
    while (1) {
        vec(my $bits = '', fileno $connection, 1) = 1;
        return 0 unless select($bits, undef, undef, BOUND) > 0;
        return 1 unless sysread $connection, my $text, 1000;
    }
}

# ---- Without forks --------------------------------------------------------------------------------------------------

each_loop(
    sub {
        my ($new) = @_;
        my $loop = $new->();
        my (@events, $client);

        subtest 'the file is read when nobody writes to it any more' => sub {
            my $file = new_file('{"name":"first"}');
            $client = client($loop, file => $file, events => \@events, look_interval => 0.01, debounce => 0.2);
            ok(until_named($loop, $client, 'first'), 'at once in the beginning');
            my ($number, $last_write, $write) = (0);
            $write = sub {
                write_file($file, '{"name":"' . ++$number . '"}');
                $last_write = ForkTest::now();
                $loop->watch_time(after => 0.05, code => $write) if $number < 6;
            };
            $write->();
            ok(until_named($loop, $client, 6), 'the last one has come');
            cmp_ok(ForkTest::now() - $last_write, '>=', 0.18, 'about 200 ms after it was written');
            is(\@events, [ 'change first', 'change 6' ], 'none of those before');
            undef $write;
            $client->stop;
        };

        subtest 'what is broken changes nothing' => sub {
            my $file = new_file('{"name":"good"}');
            @events = ();
            $client = client($loop, file => $file, events => \@events);
            until_named($loop, $client, 'good');
            for my $text ('{"name":', '[]', '') {
                write_file($file, $text);
                wait_until($loop, sub { @events > 1 });
                like(\@events, [ 'change good', qr/^error \Q$file\E: \S/ ], "told of '$text', once");
                is($client->get('name'), 'good', 'the configuration is as it was');
                splice @events, 1;
            }
            write_file($file, '{"name":"mended"}');
            ok(until_named($loop, $client, 'mended'), 'mended');
            unlink $file;
            ok(until_named($loop, $client, 'none'), 'a file that has gone overrides nothing');
            is($client->get('name', 'default'), 'default', 'then there is the default');
            $client->stop;
        };

        subtest 'a server that cannot be asked' => sub {
            my ($listener, $url) = silent_server();
            @events = ();
            $client = client($loop, url => $url, events => \@events, timeout => 0.05, interval => 1000);
            wait_until($loop, sub { @events });
            is(\@events, ["error $url: no answer within 0.05 s"], 'is told of');
            $client->stop;
            close $listener;
            @events = ();
            $client = client($loop, url => $url, events => \@events, interval => 1000);
            wait_until($loop, sub { @events });
            like(\@events, [qr{^error \Q$url\E: connect: \S}], 'and one that is not there');
            $client->stop;
        };

        subtest 'without its user there is no client' => sub {
            my ($listener, $url) = silent_server();
            $client = client($loop, file => new_file('{"name":"x"}'), url => $url, telemetry_url => $url);
            my $connection = wait_for_connection($loop, $listener);
            weaken($client);
            is($client, undef, 'nothing holds it');
            ok(is_over($connection), 'its connection is closed');
        };
    },
    best => 1
);

# ---- Forks ----------------------------------------------------------------------------------------------------------

# What the program would do in a child: run its loop, until the condition holds there.
sub in_child_of {
    my ($loop, $code) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $status;
    my $child = EventLoop::Fork->fork(
        loop => $loop,
        code => sub {
            my ($self) = @_;
            close $reader;
            alarm 2 * BOUND;
            ForkTest::send_value($writer, $code->($self->loop));
            return 0;
        },
        on_exit => sub { $status = $_[1] },
    );
    close $writer;
    wait_until($loop, sub { defined $status }) or $child->kill('KILL');
    return (ForkTest::thaw_from($reader), $status);
}

each_loop(
    sub {
        my ($new) = @_;
        my $loop = $new->();

        subtest 'parent, children and grandchildren see a change' => sub {
            my $file   = new_file('{"name":"first"}');
            my $client = client($loop, file => $file);
            until_named($loop, $client, 'first');
            my ($value) = in_child_of(
                $loop,
                sub {
                    my ($own) = @_;
                    my $came_along = $client->get('name');
                    write_file($file, '{"name":"second"}');
                    my $is_seen = until_named($own, $client, 'second');
                    my ($deeper) = in_child_of(
                        $own,
                        sub {
                            my ($loop_below) = @_;
                            write_file($file, '{"name":"third"}');
                            return until_named($loop_below, $client, 'third');
                        }
                    );
                    return [ $came_along, $is_seen, $deeper ];
                }
            );
            is($value, [ 'first', 1, 1 ], 'the child starts with what there was; it and its child see what is new');
            ok(until_named($loop, $client, 'third'), 'the parent, too');
            $client->stop;
        };

        subtest 'a raw fork that goes on with the loop takes the client along' => sub {
            my $file   = new_file('{"name":"first"}');
            my $client = client($loop, file => $file);
            until_named($loop, $client, 'first');
            my ($value) = in_raw_child(sub {
                write_file($file, '{"name":"second"}');
                return until_named($loop, $client, 'second');
            });
            is($value, 1, 'in the child');
            ok(until_named($loop, $client, 'second'), 'in the parent');
            $client->stop;
        };

        subtest 'a connection is never shared' => sub {
            my ($listener, $url) = silent_server();
            my $client = client($loop, url => $url, interval => 100_000, timeout => BOUND);
            my $first  = wait_for_connection($loop, $listener);
            pipe my $reader, my $writer or die "pipe: $!";
            my $status;
            EventLoop::Fork->fork(
                loop => $loop,
                code => sub {
                    close $writer;
                    alarm 4 * BOUND;
                    sysread $reader, my $text, 1;    # until the parent has seen enough
                    return 3;
                },
                on_exit => sub { $status = $_[1] },
            );
            close $reader;
            my $second = wait_for_connection($loop, $listener);
            ok($second, 'the parent asks again');
            ok(is_over($first), 'the first connection has ended, while the child lives');
            $client->stop;
            ok(is_over($second), 'so has the second');
            close $writer;
            wait_until($loop, sub { defined $status });
            is($status, 3 << 8, 'the child has lived so long');
        };

        subtest 'each process counts for itself' => sub {
            my ($url, $stop_server) = start_server($loop, '{"name":"counted"}');
            my $client = client(
                $loop,
                url                => "$url/config",
                telemetry_url      => "$url/telemetry",
                interval           => 100_000,
                telemetry_interval => 100_000
            );
            until_named($loop, $client, 'counted');
            $client->get('name') for 1 .. 5;
            # A fork cuts off the report when the server has it, and its answer is on the way.
            $client->flush(sub { });
            wait_until($loop, sub { $client->{report} && defined $client->{report}{io} });
            vec(my $bits = '', fileno $client->{report}{socket}, 1) = 1;
            ok(select($bits, undef, undef, BOUND) > 0, 'the report has arrived');
            $client->get('name') for 1 .. 2;
            my %expected = ($$ => { name => 7 });
            for my $times (1 .. 3) {
                my ($pid) = in_child_of(
                    $loop,
                    sub {
                        my ($own) = @_;
                        my ($is_done, $error);
                        $client->get('name') for 1 .. $times;
                        $client->flush(sub { ($is_done, $error) = (1, @_) });
                        wait_until($own, sub { $is_done });
                        return defined $error ? $error : $$;
                    }
                );
                $expected{$pid} = { name => $times };
            }
            my $is_done;
            $client->flush(sub { $is_done = 1 });
            wait_until($loop, sub { $is_done });
            is(JSON::PP::decode_json(ask($loop, "$url/telemetry")), \%expected, 'what the server has of each');
            $client->stop;
            $stop_server->();
        };

        subtest 'many forks are not many requests' => sub {
            my ($url, $stop_server) = start_server($loop, '{"name":"asked"}');
            my $client = client($loop, url => "$url/config", interval => 100_000);
            until_named($loop, $client, 'asked');
            in_child_of($loop, sub { 1 }) for 1 .. 5;
            in_raw_child(sub { 1 }) for 1 .. 5;
            is(JSON::PP::decode_json(ask($loop, "$url/requests"))->{fetches}, 1, 'the server was asked once');
            $client->stop;
            $stop_server->();
        };

        subtest 'no fork brings back a client that was stopped' => sub {
            my ($listener, $url) = silent_server();
            my $file   = new_file('{"name":"x"}');
            my $client = client($loop, file => $file, url => $url, telemetry_url => $url);
            until_named($loop, $client, 'x');
            $client->stop;
            my $state = sub {
                return [ scalar keys %{ $client->{timers} }, grep { $client->{$_} } qw(fetch report) ];
            };
            my ($value) = in_child_of($loop, $state);
            is($value, [0], 'nothing runs in a child');
            ($value) = in_raw_child($state);
            is($value, [0], 'nor in one of a raw fork');
            is($state->(), [0], 'nor in the parent');
            my $another = client($loop, file => $file);
            ($value) = in_child_of(
                $loop,
                sub { $client->stop; until_named($_[0], $another, 'x'); scalar keys %{ $another->{timers} } }
            );
            ok($value, 'the next one is unharmed');
            ($value) = in_child_of($loop, sub { $another->stop; scalar keys %{ $another->{timers} } });
            is($value, 0, 'stopped in a child it stands still');
            ok(scalar keys %{ $another->{timers} }, 'and goes on in the parent');
            $another->stop;
        };

        subtest 'a hook that fails breaks nothing' => sub {
            my $file   = new_file('{"name":"first"}');
            my $client = client($loop, file => $file);
            until_named($loop, $client, 'first');
            my @hooks = map {
                my $priority = $_;
                at_fork(
                    name     => "failing $priority",
                    priority => $priority,
                    map {
                        $_ => sub { die "on purpose\n" }
                    } qw(prepare parent child)
                )
            } 10, 90;
            my $errors = File::Temp->new;
            open my $stderr, '>&', \*STDERR or die $!;
            open STDERR, '>&', $errors      or die $!;
            my ($value, $status) = in_child_of(
                $loop,
                sub {
                    my ($own) = @_;
                    write_file($file, '{"name":"second"}');
                    return until_named($own, $client, 'second');
                }
            );
            $_->cancel for @hooks;
            my ($other, $other_status);
            {
                no warnings 'redefine';
                local *Example::ConfigClient::_adapter_here = sub { die "no adapter\n" };
                ($other, $other_status) = in_child_of($loop, sub { 'alive' });
            }
            open STDERR, '>&', $stderr or die $!;
            is([ $value, $status ], [ 1, 0 ], 'the client of the child runs');
            ok(until_named($loop, $client, 'second'), 'that of the parent, too');
            is([ $other, $other_status ], [ 'alive', 0 ], 'with a client that cannot start the fork is a fork');
            open my $said, '<', $errors->filename or die $!;
            my $text = do { local $/; readline $said };
            like($text, qr/prepare hook 'failing $_' .* failed: on purpose/, "failing $_ is reported") for 10, 90;
            like(
                $text, qr{child hook 'config client' \(\S*ConfigClient\.pm line \d+\) failed: no adapter},
                'and so is the client'
            );
            $client->stop;
        };
    },
    best => 1
);

# ---- The program ----------------------------------------------------------------------------------------------------

my %family_of = (
    'EventLoop::Fork::Loop'   => 'EventLoop::Fork::Loop',
    'IO::Async::Loop::Libev'  => 'IO::Async::Loop::Libev',
    'IO::Async::Loop::Poll'   => 'IO::Async::Loop::Poll',
    'IO::Async::Loop::Select' => 'IO::Async::Loop::Select',
    'IO::Async::Loop::Epoll'  => 'IO::Async::Loop::Epoll',
    'EV'                      => 'EV',
    'AnyEvent'                => 'AnyEvent',
    'Mojo::IOLoop'            => 'Mojo::IOLoop',
);

my $program = "$FindBin::Bin/../../examples/config-client.pl";
for my $class (sort keys %family_of) {
    subtest "examples/config-client.pl on $class" => sub {
        my $is_here = ForkTest::has_version($family_of{$class});
        skip_all("$class is not installed") unless defined $is_here;
        my $result = run_program('$0 = shift @ARGV; do $0; die $@ if $@', $program, '--workers', 2, '--loop', $class);
        is($result->{status}, 0, 'exit 0');
        is($result->{stderr}, '', 'no complaint');
        my $said = $result->{stdout};
        for my $who ('parent', 'worker 1', 'worker 2') {
            like($said, qr/^$who: keeps 'hello': local\.json: /m, "$who keeps what it has");
            like($said, qr/^$who: greeting is good morning$/m, 'and takes what is new');
            like($said, qr/^$who has asked for the greeting \d+ times$/m, 'and has told of it');
        }
        like($said, qr/^worker $_ ended: exit 0$/m, "worker $_ has ended") for 1, 2;
    };
}

is(children_left(), '', 'no child is left');
done_testing;
