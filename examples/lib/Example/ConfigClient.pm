package Example::ConfigClient;

# A client with work in the background, as feature-flag and configuration SDKs are: fetches its configuration now and
# then, watches a local file that overrides it, and reports how often values were asked for. It shows how such a client
# lives through forks by itself: it registers its own hooks, so that the program that uses it has nothing to wire.
#
#   before a fork    no watch and no connection is left that a child could share
#   in the parent    it goes on
#   in the child     it starts on the child's loop, with counts of its own
#   stopped, or gone its hooks are gone, too: no fork brings it back
#
# Example::ConfigClient::Request speaks HTTP; examples/config-client.pl is a program that uses this.

use strict;
use warnings;

use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Adapter;
use JSON::PP     ();
use Scalar::Util qw(weaken);
use Time::HiRes  ();

use Example::ConfigClient::Request;

my $JSON = JSON::PP->new->utf8->canonical;

my %DEFAULT = (
    interval           => 30,        # seconds between two fetches
    telemetry_interval => 10,        # seconds between two reports
    look_interval      => 0.1,       # seconds between two looks at the file
    debounce           => 0.2,       # seconds for which the file must stay as it is before it is read
    timeout            => 5,         # seconds for one request
    on_change          => sub { },
    on_error           => sub { },
);

# url: where the configuration comes from, a JSON object. file: a local one that goes before it. Either may be missing.
# telemetry_url: where counts go. on_change ($client), on_error ($client, $message). loop: any that EventLoop::Fork has
# an adapter for; by default the one in use.
sub new {
    my ($class, %argument) = @_;
    my $self = bless {
        %DEFAULT, %argument,
        layers => { url => {}, file => {} },
        config => {},
        loaded => undef,                       # how the file looked when it was read
        counts => {},
        timers => {},
    }, $class;
    $self->{adapter} = EventLoop::Fork::Adapter::for_loop(delete $self->{loop});
    # The object is held weakly: without it there is no hook.
    $self->{hook} = at_fork(
        name    => 'config client',
        object  => $self,
        prepare => \&_tear_down,
        parent  => \&_start,
        child   => \&_start_in_child,
    );
    $self->_start;
    return $self;
}

# ---- For the program

sub get {
    my ($self, $name, $default) = @_;
    $self->{counts}{$name}++;
    return $self->{config}{$name} // $default;
}

# For good. What was counted since the last report is lost; flush before if it matters.
sub stop {
    my ($self) = @_;
    $self->{is_stopped} = 1;
    $self->{hook}->cancel;
    $self->_tear_down;
    return;
}

# Reports now; on_done ($error) is called when the server has it.
sub flush {
    my ($self, $on_done) = @_;
    $self->{on_flushed} = $on_done;
    $self->_report;
    return;
}

# ---- Around a fork

# Remembers when each thing is due: a program that forks all the time must not ask the server all the time. A request
# under way is cut off, and due at once.
sub _tear_down {
    my ($self) = @_;
    my $timers = $self->{timers};
    my %left   = map { $_ => $timers->{$_}{due} - _now() } keys %$timers;
    $self->_stop_timer($_) for keys %left;
    for my $name (qw(fetch report)) {
        my $request = delete $self->{$name} or next;
        $request->cancel;
        $left{$name} = 0;
    }
    $self->{left} = \%left;
    return;
}

sub _start {
    my ($self) = @_;
    return if $self->{is_stopped};
    my $left = delete $self->{left} || {};
    $self->_fetch_after($left->{fetch} // 0)                             if defined $self->{url};
    $self->_look                                                         if defined $self->{file};
    $self->_report_after($left->{report} // $self->{telemetry_interval}) if defined $self->{telemetry_url};
    return;
}

# The configuration came along. Counts and unsent reports are the parent's. Many workers start in one moment; they need
# not ask in one moment.
sub _start_in_child {
    my ($self) = @_;
    $self->{adapter} = $self->_adapter_here;
    $self->{counts}  = {};
    delete @$self{qw(batch on_flushed)};
    $self->{left} = { fetch => rand $self->{interval} };
    return $self->_start;
}

# The loop that this child has for the one of its parent. After a raw fork, as of a daemon, that goes on itself: all
# families but ours tell, because they have one loop for each process.
sub _adapter_here {
    my ($self)  = @_;
    my $adapter = $self->{adapter};
    my $class   = ref $adapter->loop || $adapter->loop;
    return $adapter
        if $class eq 'EventLoop::Fork::Loop' && eval {
        $adapter->unwatch_time($adapter->watch_time(0, sub { }));
        1;
        };
    return EventLoop::Fork::Adapter::for_loop($class);
}

sub DESTROY {
    my ($self) = @_;
    $self->_tear_down if $self->{adapter};
    return;
}

# ---- Timers: one for each name; none keeps the client alive

sub _start_timer {
    my ($self, $name, $seconds, $method) = @_;
    weaken(my $weak = $self);
    $self->_stop_timer($name);
    $seconds = 0 if $seconds < 0;
    my $id = $self->{adapter}->watch_time(
        $seconds,
        sub {
            my $client = $weak or return;
            delete $client->{timers}{$name};
            $client->$method;
        }
    );
    $self->{timers}{$name} = { id => $id, due => _now() + $seconds };
    return;
}

sub _stop_timer {
    my ($self, $name) = @_;
    my $timer = delete $self->{timers}{$name} or return;
    $self->{adapter}->unwatch_time($timer->{id});
    return;
}

sub _now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# ---- The fetch

sub _fetch_after {
    my ($self, $seconds) = @_;
    return $self->_start_timer(fetch => $seconds, '_fetch');
}

sub _fetch {
    my ($self) = @_;
    $self->{fetch} = $self->_request(
        url    => $self->{url},
        method => 'GET',
        then   => sub {
            my ($client, $error, $body) = @_;
            delete $client->{fetch};
            $client->_fetch_after($client->{interval});
            return $client->_complain("$client->{url}: $error") if defined $error;
            return $client->_take(url => $client->{url}, $body);
        },
    );
    return;
}

sub _request {
    my ($self, %argument) = @_;
    my $then = delete $argument{then};
    weaken(my $weak = $self);
    return Example::ConfigClient::Request->new(
        %argument,
        adapter => $self->{adapter},
        timeout => $self->{timeout},
        on_done => sub {
            my (@result) = @_;
            my $client = $weak or return;
            return $then->($client, @result);
        },
    );
}

# ---- The file: looked at, left alone until nobody writes to it any more, then read

sub _look {
    my ($self) = @_;
    $self->_start_timer(look => $self->{look_interval}, '_look');
    my $appearance = $self->_appearance;
    my $is_first   = !defined $self->{loaded};
    return $self->_stop_timer('read') if !$is_first            && $appearance eq $self->{loaded};
    return                            if $self->{timers}{read} && $appearance eq $self->{seen};
    $self->{seen} = $appearance;
    $self->_start_timer(read => $is_first ? 0 : $self->{debounce}, '_read_file');
    return;
}

# Changes with every write and every rename.
sub _appearance {
    my ($self) = @_;
    my @stat = Time::HiRes::stat($self->{file}) or return '';
    return join ' ', @stat[ 0, 1, 7, 9, 10 ];
}

sub _read_file {
    my ($self) = @_;
    my $appearance = $self->_appearance;
    return $self->_look if $appearance ne $self->{seen};    # written to since the last look
    $self->{loaded} = $appearance;
    my $text = '{}';                                        # a file that has gone overrides nothing
    if ($appearance ne '') {
        open my $file, '<', $self->{file} or return $self->_complain("$self->{file}: $!");
        local $/;
        $text = readline $file;
    }
    return $self->_take(file => $self->{file}, $text);
}

# ---- A new configuration

# Parses, then swaps: what cannot be parsed changes nothing.
sub _take {
    my ($self, $layer, $source, $text) = @_;
    my $new = eval { $JSON->decode($text // '') };
    if (ref $new ne 'HASH') {
        my $reason = $@ =~ s/ at \S+ line \d+\.?\n//r || 'not an object';
        return $self->_complain("$source: $reason");
    }
    $self->{layers}{$layer} = $new;
    my $config = { %{ $self->{layers}{url} }, %{ $self->{layers}{file} } };
    return if $JSON->encode($config) eq $JSON->encode($self->{config});
    $self->{config} = $config;
    $self->{on_change}->($self);
    return;
}

sub _complain {
    my ($self, $message) = @_;
    $self->{on_error}->($self, $message);
    return;
}

# ---- Telemetry: counts of this process, each batch under an id, so that one that is sent again counts once

sub _report_after {
    my ($self, $seconds) = @_;
    return $self->_start_timer(report => $seconds, '_report');
}

sub _report {
    my ($self) = @_;
    return $self->_report_after($self->{telemetry_interval}) if $self->{report};    # one at a time
    if (!$self->{batch} && %{ $self->{counts} }) {
        $self->{batch}  = { id => join('-', $$, ++$self->{batches}), pid => $$, counts => $self->{counts} };
        $self->{counts} = {};
    }
    return $self->_reported(undef) if !$self->{batch};
    $self->{report} = $self->_request(
        url    => $self->{telemetry_url},
        method => 'POST',
        body   => $JSON->encode($self->{batch}),
        then   => sub {
            my ($client, $error) = @_;
            delete $client->{report};
            delete $client->{batch}                                if !defined $error;
            $client->_complain("$client->{telemetry_url}: $error") if defined $error;
            return $client->_reported($error);
        },
    );
    return;
}

sub _reported {
    my ($self, $error) = @_;
    $self->_report_after($self->{telemetry_interval});
    my $on_flushed = delete $self->{on_flushed} or return;
    $on_flushed->($error);
    return;
}

1;
