package HTTPClient;

# A raw HTTP connection, curl, and a running examples/multiworker-http.pl, for t/examples/http-*.t.
# Every wait is bounded by WAIT seconds and dies, with what it waited for, when that is over.

use strict;
use warnings;

use HTTP::Parser::XS qw(parse_http_response HEADERS_AS_HASHREF);
use IO::Select;
use Socket      qw(AF_INET AF_UNIX SHUT_WR SOCK_STREAM inet_aton pack_sockaddr_in pack_sockaddr_un);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant WAIT => 20;

# $url: http://127.0.0.1:PORT/ or unix:/path, as the server prints it. Dies when refused.
sub new {
    my ($class, $url) = @_;
    my ($path, $host, $port) = $url =~ m{\A(?:unix:(.+)|http://([0-9.]+):([0-9]+)/)} or die "not a URL: $url";
    my ($family, $address) =
        defined $path ? (AF_UNIX, pack_sockaddr_un($path)) : (AF_INET, pack_sockaddr_in($port, inet_aton($host)));
    socket my $socket, $family, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, $address                  or die "connect: $!\n";
    return bless { socket => $socket, in => '' }, $class;
}

sub send {
    my ($self, @pieces) = @_;
    my $bytes = join '', @pieces;
    local $SIG{PIPE} = 'IGNORE';
    while ($bytes ne '') {
        my $count = syswrite $self->{socket}, $bytes or return 0;
        substr $bytes, 0, $count, '';
    }
    return 1;
}

sub get {
    my ($self, $path, @fields) = @_;
    return $self->send(join "\r\n", "GET $path HTTP/1.1", 'Host: test', @fields, '', '');
}

sub end_sending { return shutdown $_[0]{socket}, SHUT_WR }

# The next response: { status, fields, body }, undef when the connection ends before one begins;
# is_cut is set when it ends inside one. $method: HEAD has no body.
sub response {
    my ($self, $method) = @_;
    my ($size, $minor, $status, $reason, $fields);
    while (1) {
        ($size, $minor, $status, $reason, $fields) = parse_http_response($self->{in}, HEADERS_AS_HASHREF);
        die "broken response: $self->{in}" if $size == -1;
        last                               if $size >= 0;
        $self->_receive('a response') or return $self->{in} eq '' ? undef : { is_cut => 1 };
    }
    substr $self->{in}, 0, $size, '';
    my $response = { status => $status, fields => $fields, body => '' };
    return $response        if $status == 100 || ($method // '') eq 'HEAD';
    $response->{is_cut} = 1 if !$self->_body($response);
    return $response;
}

# The head and whatever body is there: for answers that are still under way.
sub response_begun {
    my ($self) = @_;
    $self->_receive('the first chunk') or return 0 while $self->{in} !~ /\r\n\r\n[0-9a-f]+\r\n/;
    return 1;
}

# True when the server ends the connection and nothing more comes. Then ends it here, too.
sub is_ended {
    my ($self) = @_;
    return 0 if $self->{in} ne '' || $self->_receive('the end of the connection');
    close $self->{socket};
    return 1;
}

sub _body {
    my ($self, $response) = @_;
    my $fields = $response->{fields};
    if (($fields->{'transfer-encoding'} // '') eq 'chunked') {
        while (1) {
            $self->_receive('a chunk') or return 0 while $self->{in} !~ /\A([0-9a-f]+)\r\n/;
            my $size = hex $1;
            substr $self->{in}, 0, 2 + length $1, '';
            $self->_receive('a chunk') or return 0 while length $self->{in} < $size + 2;
            $response->{body} .= substr $self->{in}, 0, $size, '';
            die 'chunk without an end' if substr($self->{in}, 0, 2, '') ne "\r\n";
            $response->{chunks}++;
            return 1 if $size == 0;
        }
    }
    my $length = $fields->{'content-length'};
    while (!defined $length || length $self->{in} < $length) {
        next     if $self->_receive('the body');
        return 0 if defined $length;
        $length = length $self->{in};
    }
    $response->{body} = substr $self->{in}, 0, $length, '';
    return 1;
}

# False at the end of the connection, reset included.
sub _receive {
    my ($self, $what) = @_;
    wait_for_input($self->{socket}) or die "waited in vain for $what; received: '$self->{in}'\n";
    return sysread $self->{socket}, $self->{in}, 65_536, length $self->{in};
}

# A loop that is loaded here may have a handler of SIGCHLD, and that end a wait.
sub wait_for_input {
    my ($handle) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + WAIT;
    while ((my $rest = $deadline - clock_gettime(CLOCK_MONOTONIC)) > 0) {
        return 1 if IO::Select->new($handle)->can_read($rest);
    }
    return 0;
}

# Runs curl. Returns its exit code and what it printed.
sub curl {
    my (@arguments) = @_;
    my $pid = open my $output, '-|', 'curl', '-sS', '--noproxy', '*', '--max-time', WAIT, @arguments;
    die "curl: $!" if !$pid;
    local $/;
    my $text = <$output>;
    close $output;
    return ($? >> 8, $text);
}

package HTTPClient::Server;

use Config;
use File::Spec;
use FindBin;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

my $example = File::Spec->rel2abs("$FindBin::Bin/../../examples/multiworker-http.pl");

# Starts the example on a free port, in a process group of its own. wrapper: a command in front of it.
sub start {
    my ($class, %argument) = @_;
    my @command = (
        @{ $argument{wrapper} || [] },
        $^X, (map { "-I$_" } @INC),
        @{ $argument{program} || [$example] },
        ($argument{listen} ? () : ('--listen', '127.0.0.1:0')), @{ $argument{arguments} || [] },
    );
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        setpgrp 0, 0;
        open STDOUT, '>&', $writer or die $!;
        open STDERR, '>&', $writer or die $!;
        exec @command              or die "exec: $!";
    }
    setpgrp $pid, $pid;    # whoever comes first
    close $writer;
    my $self = bless { pid => $pid, reader => $reader, log => '', seen => 0 }, $class;
    return $self if $argument{fails};
    ($self->{url}) = $self->wait_for(qr/listening on (\S+)/);
    $self->wait_for(qr/worker \d+ started/) for 1 .. $argument{workers} // 0;
    return $self;
}

sub url { return $_[0]{url} . ($_[1] // '') }
sub pid { return $_[0]{pid} }
sub log { return $_[0]{log} }

sub connect { return HTTPClient->new($_[0]{url}) }

# Waits for a line of the log after those waited for before; returns the captures.
sub wait_for {
    my ($self, $pattern) = @_;
    while (1) {
        while ((my $end = index $self->{log}, "\n", $self->{seen}) >= 0) {
            my $line = substr $self->{log}, $self->{seen}, $end - $self->{seen};
            $self->{seen} = $end + 1;
            if (my @captures = $line =~ $pattern) { return @captures }
        }
        $self->_read_log("a line with $pattern")
            or die "no line with $pattern before the end of the log:\n$self->{log}";
    }
}

# Workers by the log: those started and not exited.
sub workers {
    my ($self) = @_;
    my %worker = map { $_ => 1 } $self->{log} =~ /worker (\d+) started/g;
    delete @worker{ $self->{log} =~ /worker (\d+) in slot \d+ exited/g };
    my @workers = sort { $a <=> $b } keys %worker;
    return @workers;
}

# Everybody who holds the log's pipe is gone when it is at its end: parent and workers.
sub wait_for_end {
    my ($self) = @_;
    1 while $self->_read_log('the end of all processes');
    waitpid $self->{pid}, 0;
    my $status = $?;
    delete $self->{pid};
    return $status;
}

sub stop {
    my ($self, $signal) = @_;
    kill $signal // 'TERM', $self->{pid};
    return $self->wait_for_end;
}

sub _read_log {
    my ($self, $what) = @_;
    HTTPClient::wait_for_input($self->{reader})
        or die "waited in vain for $what; the log:\n$self->{log}";
    return sysread $self->{reader}, $self->{log}, 65_536, length $self->{log};
}

sub DESTROY {
    my ($self) = @_;
    return if !$self->{pid};
    local ($?, $!, $@);
    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
