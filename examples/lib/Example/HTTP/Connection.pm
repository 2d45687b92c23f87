package Example::HTTP::Connection;

# One client connection: reads requests, hands each to the handler, writes the answers in order.
# Never blocks, never accepts. HTTP::Parser::XS parses the request heads, Example::HTTP::Chunks
# decodes chunked bodies, Example::HTTP::Routes decides what to answer.

use strict;
use warnings;

use Errno            qw(EAGAIN EINTR EWOULDBLOCK);
use HTTP::Parser::XS qw(parse_http_request);
use Scalar::Util     qw(weaken);
use Socket           qw(SHUT_WR);
use Time::HiRes      qw(CLOCK_MONOTONIC clock_gettime);

use Example::HTTP::Chunks;

use constant {
    READ_BYTES     => 65_536,
    STEPS_AT_ONCE  => 64,          # of one connection, before the others get their turn
    OUT_HIGH_WATER => 262_144,     # a client this far behind must read before it gets more
    LINGER_SECONDS => 1,           # time for the client to take our last bytes before the socket goes
    LINGER_BYTES   => 1_048_576,
    DRAIN_SECONDS  => 0.5,         # a draining worker waits so long for the next request of an idle client
    FIELDS_LIMIT   => 128,         # HTTP::Parser::XS takes no more
};

my %REASON = (
    200 => 'OK',
    400 => 'Bad Request',
    404 => 'Not Found',
    405 => 'Method Not Allowed',
    408 => 'Request Timeout',
    413 => 'Content Too Large',
    417 => 'Expectation Failed',
    431 => 'Request Header Fields Too Large',
    500 => 'Internal Server Error',
    501 => 'Not Implemented',
    505 => 'HTTP Version Not Supported',
);

# head, body: a request is being read. answer: the handler's turn. stream: its pieces go out.
# finish: the last answer is on its way. linger: waits for the client to leave. closed: the end.
my %STEP = (head => \&_read_head, body => \&_read_body, stream => \&_write_piece);

# loop, socket, limit (hash of seconds and bytes), handler ($request, $connection), on_closed ($connection). on_request
# and on_answer, if they are given, are called when a request is complete, and when it needs nothing more.
sub new {
    my ($class, %argument) = @_;
    my $self = bless {
        %argument,
        state    => 'head',
        in       => '',
        out      => '',
        sent     => 0,
        requests => 0,
        phase    => '',
        watched  => {},
        jobs     => {},
    }, $class;
    $self->_proceed;
    return $self;
}

# ---- for the worker

# From now on each answer ends the connection. An idle client gets a moment for the request that may be on its way.
sub drain {
    my ($self) = @_;
    $self->{is_draining} = 1;
    $self->_proceed;
    return;
}

# At once, whatever is under way.
sub close_now {
    my ($self) = @_;
    return if $self->{state} eq 'closed';
    $self->_answered;
    $self->{state} = 'closed';
    $self->_watch(read => 0, write => 0);
    $self->{loop}->unwatch_time($_) for grep { defined } delete $self->{timer}, keys %{ $self->{jobs} };
    delete @{$self}{qw(handler jobs next chunks request)};
    close delete $self->{socket};
    (delete $self->{on_closed})->($self);
    return;
}

# ---- for the handler

sub reply {
    my ($self, $status, $fields, $body) = @_;
    return if $self->{state} ne 'answer';
    $self->{out} .= $self->_head($status, @{$fields}, 'Content-Length' => length $body);
    $self->{out} .= $body if !$self->{request}{is_head};
    $self->_end_of_answer;
    $self->_proceed;
    return;
}

# $next returns one piece after the other and undef at the end. It is asked only as fast as the client reads;
# with $interval, at most once in so many seconds.
sub stream {
    my ($self, $status, $fields, $next, $interval) = @_;
    return if $self->{state} ne 'answer';
    my $is_chunked = $self->{is_chunked} = $self->{request}{minor} > 0;
    $self->{is_last} = 1 if !$is_chunked;    # HTTP/1.0: the end of the connection ends the body
    $self->{out} .= $self->_head($status, @{$fields}, $is_chunked ? ('Transfer-Encoding' => 'chunked') : ());
    if ($self->{request}{is_head}) {
        $self->_end_of_answer;
    }
    else {
        @{$self}{qw(state next interval)} = ('stream', $next, $interval);
    }
    $self->_proceed;
    return;
}

# Runs $code later, unless the client is gone by then.
sub after {
    my ($self, $seconds, $code) = @_;
    weaken(my $weak = $self);
    my $id;
    $id = $self->{loop}->watch_time(
        after => $seconds,
        code  => sub {
            my $connection = $weak or return;
            delete $connection->{jobs}{$id};
            $connection->_call($code);
            $connection->_proceed;
        },
    );
    $self->{jobs}{$id} = 1;
    return;
}

# ---- what happens, and what to wait for next

# Does all that can be done now. A handler that answers at once comes back here: the outer call goes on.
sub _proceed {
    my ($self) = @_;
    return if $self->{is_busy} || $self->{state} eq 'closed';
    {
        local $self->{is_busy} = 1;
        my $steps = 0;
        while ($steps < STEPS_AT_ONCE && $self->_has_room) {
            my $step = $STEP{ $self->{state} } or last;
            last if !$self->$step;
            $steps++;
        }
        $self->{has_more} = $steps == STEPS_AT_ONCE;    # the others come first
        $self->_flush;
    }
    if ($self->{state} eq 'finish' && $self->{out} eq '') {
        shutdown $self->{socket}, SHUT_WR;
        @{$self}{qw(state in drop)} = ('linger', '', LINGER_BYTES);
    }
    return $self->close_now if $self->{is_broken} || $self->{state} eq 'linger' && $self->{is_ended};

    my $has_room = length $self->{out} < OUT_HIGH_WATER;
    my $reads    = $self->{state} eq 'linger'
        || $self->{state} =~ /\A(?:head|body)\z/ && $has_room && !$self->{is_ended} && !$self->{has_more};
    $self->_watch(read => $reads, write => $self->{out} ne '' || $self->{has_more});
    $self->_set_deadline;
    return;
}

sub _watch {
    my ($self, %wanted) = @_;
    for my $kind (keys %wanted) {
        next if !$wanted{$kind} == !$self->{watched}{$kind};
        $self->{watched}{$kind} = $wanted{$kind};
        if ($wanted{$kind}) {
            weaken(my $weak = $self);
            $self->{loop}->watch_io(
                handle             => $self->{socket},
                "on_${kind}_ready" => $kind eq 'read'
                ? sub { $weak && $weak->_on_readable }
                : sub { $weak && $weak->_proceed },
            );
        }
        else {
            $self->{loop}->unwatch_io(handle => $self->{socket}, "on_${kind}_ready" => 1);
        }
    }
    return;
}

sub _on_readable {
    my ($self) = @_;
    return if $self->{state} eq 'closed';
    my $count = sysread $self->{socket}, $self->{in}, READ_BYTES, length $self->{in};
    if (!defined $count) {
        return if $! == EAGAIN || $! == EINTR || $! == EWOULDBLOCK;
        return $self->close_now;
    }
    $self->{is_ended} = 1 if $count == 0;
    if ($self->{state} eq 'linger') {
        $self->{in} = '';
        $self->{drop} -= $count;
        return $self->close_now if $count == 0 || $self->{drop} <= 0;
        return;
    }
    return $self->_proceed;
}

sub _has_room {
    my ($self) = @_;
    $self->_flush if length $self->{out} >= OUT_HIGH_WATER;
    return length $self->{out} < OUT_HIGH_WATER && !$self->{is_broken};
}

sub _flush {
    my ($self) = @_;
    while ($self->{out} ne '') {
        my $count = syswrite $self->{socket}, $self->{out};
        if (!defined $count) {
            next   if $! == EINTR;
            return if $! == EAGAIN || $! == EWOULDBLOCK;
            $self->{is_broken} = 1;
            return;
        }
        substr $self->{out}, 0, $count, '';
        $self->{sent} += $count;
    }
    return;
}

# One timer for each connection. A deadline that moves back leaves it alone; it looks again when it fires.
sub _set_deadline {
    my ($self) = @_;
    my ($phase, $seconds) = $self->_phase;
    return if $phase eq $self->{phase};
    $self->{phase} = $phase;
    $self->{due}   = defined $seconds ? clock_gettime(CLOCK_MONOTONIC) + $seconds : undef;
    $self->_arm if defined $seconds && (!defined $self->{timer} || $self->{timer_due} > $self->{due});
    return;
}

# What the connection waits for, in a string that is new whenever the wait begins anew, and for how long.
sub _phase {
    my ($self) = @_;
    my ($state, $limit, $number) = @{$self}{qw(state limit requests)};
    return ('linger', LINGER_SECONDS)                       if $state eq 'linger';
    return ("write $self->{sent}", $limit->{write_timeout}) if $self->{out} ne '';
    return ("body $number", $limit->{body_timeout})         if $state eq 'body';
    return ('')                                             if $state ne 'head';
    return ("header $number", $limit->{header_timeout})     if $self->{in} ne '';
    return ("drain $number", DRAIN_SECONDS)                 if $self->{is_draining};
    return ("idle $number", $limit->{idle_timeout});
}

sub _arm {
    my ($self) = @_;
    my $loop = $self->{loop};
    $loop->unwatch_time($self->{timer}) if defined $self->{timer};
    $self->{timer_due} = $self->{due};
    my $seconds = $self->{due} - clock_gettime(CLOCK_MONOTONIC);
    weaken(my $weak = $self);
    $self->{timer} = $loop->watch_time(after => $seconds > 0 ? $seconds : 0, code => sub { $weak && $weak->_on_timer });
    return;
}

sub _on_timer {
    my ($self) = @_;
    undef $self->{timer};
    return             if !defined $self->{due};
    return $self->_arm if $self->{due} > clock_gettime(CLOCK_MONOTONIC);
    my $phase = $self->{phase};
    if ($phase =~ /\A(?:header|body)/) {
        $self->_reject(408);
        return $self->_proceed;
    }
    $self->_on_readable if $phase =~ /\A(?:idle|drain)/;    # a request that came in this very turn
    $self->close_now    if $phase eq $self->{phase};
    return;
}

# ---- reading a request. Each step returns true when it got somewhere.

sub _read_head {
    my ($self) = @_;
    $self->{in} =~ s/\A(?:\r?\n)+//;                        # RFC 9112, 2.2: empty lines before a request are ignored
    return $self->_wait_for_more if $self->{in} eq '';
    my %field;
    my $size  = parse_http_request($self->{in}, \%field);
    my $limit = $self->{limit}{header_limit};
    return $self->_reject(431)   if $size > $limit || $size < 0 && length $self->{in} > $limit;
    return $self->_wait_for_more if $size == -2;
    return $self->_reject(_status_of_broken_head($self->{in})) if $size < 0;

    my $head = substr $self->{in}, 0, $size, '';
    $self->{requests}++;
    my $request = $self->{request} = { is_head => $field{REQUEST_METHOD} eq 'HEAD', body => '' };
    my $error   = $self->_interpret($request, \%field, $head);
    return $self->_reject($error) if $error;
    $self->{is_last} = !$request->{keep_alive};
    $self->{state}   = 'body';
    $self->{out} .= "HTTP/1.1 100 Continue\r\n\r\n" if $request->{expects} && $self->{in} eq '';
    return 1;
}

# The parser only says "broken". This picks the status, it accepts nothing.
sub _status_of_broken_head {
    my ($head) = @_;
    return 505 if $head =~ m{\A[^\r\n]* HTTP/(?!1\.)[0-9]};
    $head =~ s/\n\r?\n.*//s;
    return 431 if ($head =~ tr/\n//) > FIELDS_LIMIT;
    return 400;
}

# Fills in $request. Returns the status of the error, if any. What a proxy in front of us may frame
# differently is refused, not repaired.
sub _interpret {
    my ($self, $request, $field, $head) = @_;
    my ($minor) = $field->{SERVER_PROTOCOL} =~ m{\AHTTP/1\.([0-9])\z} or return 400;
    return 400 if grep { /[ \t]\z/ } keys %{$field};    # "Name : value"
    if ($minor > 0) {
        return 400 if ($field->{HTTP_HOST} // ',') =~ m{[,\s/]};    # none, two, or not a host
    }
    my $connection = lc($field->{HTTP_CONNECTION} // '');
    my ($path) = $field->{PATH_INFO} =~ m{\A(?:https?://[^/]*)?(.*)\z}is;
    %{$request} = (
        %{$request},
        method     => $field->{REQUEST_METHOD},
        path       => $path eq '' ? '/' : $path,
        query      => $field->{QUERY_STRING},
        type       => $field->{CONTENT_TYPE},
        minor      => $minor,
        keep_alive => $connection !~ /\bclose\b/ && ($minor > 0 || $connection =~ /\bkeep-alive\b/) ? 1 : 0,
    );
    if ($minor > 0 && defined $field->{HTTP_EXPECT}) {
        return 417 if lc $field->{HTTP_EXPECT} ne '100-continue';
        $request->{expects} = 1;
    }
    return $self->_interpret_framing($request, $field, $head);
}

sub _interpret_framing {
    my ($self, $request, $field, $head) = @_;
    my ($coding, $length) = @{$field}{qw(HTTP_TRANSFER_ENCODING CONTENT_LENGTH)};
    return 400 if defined $field->{HTTP_CONTENT_LENGTH};                      # "Content_Length"
    return 400 if defined $coding  && $head =~ /^transfer(?!-encoding)/im;    # the parser takes "_" for "-"
    return     if !defined $coding && !defined $length;
    if (defined $coding) {
        return 400 if defined $length || $request->{minor} == 0;
        return 501 if lc $coding ne 'chunked';
        $self->{chunks} = Example::HTTP::Chunks->new(
            body_limit    => $self->{limit}{body_limit},
            trailer_limit => $self->{limit}{header_limit},
        );
        return;
    }
    return 400 if $length !~ /\A[0-9]+\z/;
    $length =~ s/\A0+(?=.)//;
    return 413 if length $length > 12 || $length > $self->{limit}{body_limit};
    $request->{length} = $length;
    return;
}

sub _read_body {
    my ($self) = @_;
    my $request = $self->{request};
    if (my $chunks = $self->{chunks}) {
        my $result = $chunks->feed(\$self->{in});
        return $self->_wait_for_more if $result == 0;
        delete $self->{chunks};
        return $self->_reject($result) if $result != 1;
        $request->{body} = $chunks->body;
    }
    elsif ($request->{length}) {
        return $self->_wait_for_more if length $self->{in} < $request->{length};
        $request->{body} = substr $self->{in}, 0, $request->{length}, '';
    }
    $self->{state}      = 'answer';
    $self->{is_counted} = 1;
    $self->{on_request}->() if $self->{on_request};
    $self->_call(sub { $self->{handler}->($request, $self) });
    return 1;
}

sub _answered {
    my ($self) = @_;
    return unless delete $self->{is_counted};
    $self->{on_answer}->() if $self->{on_answer};
    return;
}

sub _wait_for_more {
    my ($self) = @_;
    $self->{state} = 'finish' if $self->{is_ended};
    return 0;
}

# ---- writing an answer

# The request cannot be used, and where the next one begins is unknown: answer, then leave.
sub _reject {
    my ($self, $status) = @_;
    $self->{is_last} = 1;
    my $body = "$status $REASON{$status}\n";
    $self->{out} .= $self->_head($status, 'Content-Type' => 'text/plain', 'Content-Length' => length $body);
    $self->{out} .= $body if !$self->{request} || !$self->{request}{is_head};
    @{$self}{qw(state in)} = ('finish', '');
    return 0;
}

# A handler that dies costs its client an answer, nobody else.
sub _call {
    my ($self, $code) = @_;
    return if eval { $code->(); 1 };
    warn "[$$] handler: $@";
    return $self->_reject(500) if $self->{state} eq 'answer';
    $self->{is_broken} = 1     if $self->{state} eq 'stream';    # half an answer: only the end of the connection tells
    return;
}

sub _write_piece {
    my ($self) = @_;
    return 0 if $self->{is_waiting};
    my $piece;
    $self->_call(sub { $piece = $self->{next}->() });
    return 0 if $self->{is_broken};
    if (!defined $piece) {
        $self->{out} .= "0\r\n\r\n" if $self->{is_chunked};
        $self->_end_of_answer;
        return 1;
    }
    $self->{out} .= $self->{is_chunked} ? sprintf("%x\r\n%s\r\n", length $piece, $piece) : $piece if $piece ne '';
    if ($self->{interval}) {
        $self->{is_waiting} = 1;
        $self->after($self->{interval}, sub { $self->{is_waiting} = 0 });
    }
    return 1;
}

sub _end_of_answer {
    my ($self) = @_;
    delete @{$self}{qw(next request)};
    $self->_answered;
    $self->{state} = $self->{is_last} ? 'finish' : 'head';
    return;
}

sub _head {
    my ($self, $status, @fields) = @_;
    $self->{is_last} = 1 if $self->{is_draining};
    push @fields, Connection => 'close'      if $self->{is_last};
    push @fields, Connection => 'keep-alive' if !$self->{is_last} && $self->{request}{minor} == 0;
    my $head = "HTTP/1.1 $status $REASON{$status}\r\nDate: " . _date() . "\r\n";
    while (my ($name, $value) = splice @fields, 0, 2) {
        $head .= "$name: $value\r\n";
    }
    return "$head\r\n";
}

my ($date, $date_of) = ('', 0);

sub _date {
    my $now = time;
    return $date if $date_of == $now;
    $date_of = $now;
    my ($second, $minute, $hour, $day, $month, $year, $weekday) = gmtime $now;
    return $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[$weekday],
        $day, (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$month], $year + 1900, $hour, $minute, $second;
}

1;
