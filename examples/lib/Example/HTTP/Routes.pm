package Example::HTTP::Routes;

# What the server answers. Knows requests and answers, no sockets; one sub for each path.

use strict;
use warnings;

use constant {
    SLOW_LIMIT_MS => 600_000,
    CHUNKS_LIMIT  => 1_000_000,
    BYTES_LIMIT   => 67_108_864,
    PIECE_SIZE    => 16_384,
};

my @TEXT = ('Content-Type' => 'text/plain');

my %ROUTE = (
    '/'        => [ \&_hello, qw(GET HEAD) ],
    '/pid'     => [ \&_pid, qw(GET HEAD) ],
    '/echo'    => [ \&_echo, qw(GET HEAD POST PUT) ],
    '/chunked' => [ \&_chunked, qw(GET HEAD) ],
    '/sized'   => [ \&_sized, qw(GET HEAD) ],
    '/slow'    => [ \&_slow, qw(GET HEAD) ],
);

my %IS_METHOD = map { $_ => 1 } qw(GET HEAD POST PUT DELETE OPTIONS PATCH TRACE);

# The handler of Example::HTTP::Connection.
sub answer {
    my ($request, $connection) = @_;
    my $method = $request->{method};
    return $connection->reply(501, \@TEXT, "method not implemented\n") if !$IS_METHOD{$method};
    my $route = $ROUTE{ $request->{path} }
        or return $connection->reply(404, \@TEXT, "no such page; try @{[sort keys %ROUTE]}\n");
    my ($code, @methods) = @{$route};
    return $connection->reply(405, [ @TEXT, Allow => join(', ', @methods) ], "method not allowed\n")
        if !grep { $_ eq $method } @methods;
    return if eval { $code->($request, $connection); 1 };
    die $@ if ref $@ ne 'Example::HTTP::BadQuery';
    return $connection->reply(400, \@TEXT, ${$@});
}

sub _hello {
    my (undef, $connection) = @_;
    return $connection->reply(200, \@TEXT, "Hello from worker $$\n");
}

sub _pid {
    my (undef, $connection) = @_;
    return $connection->reply(200, \@TEXT, "$$\n");
}

sub _echo {
    my ($request, $connection) = @_;
    return $connection->reply(
        200, [ 'Content-Type' => $request->{type} // 'application/octet-stream' ],
        $request->{body}
    );
}

# ?chunks=5&size=16&ms=0: so many chunks of so many bytes, one every so many milliseconds.
sub _chunked {
    my ($request, $connection) = @_;
    my $left  = _number($request, chunks => 5, CHUNKS_LIMIT);
    my $size  = _number($request, size   => 16, PIECE_SIZE);
    my $ms    = _number($request, ms     => 0, SLOW_LIMIT_MS);
    my $piece = $size ? 'x' x ($size - 1) . "\n" : '';
    return $connection->stream(200, \@TEXT, sub { $left-- > 0 ? $piece : undef }, $ms / 1000);
}

# ?bytes=65536: a body of that size, with its length announced.
sub _sized {
    my ($request, $connection) = @_;
    return $connection->reply(200, \@TEXT, 'x' x _number($request, bytes => 65_536, BYTES_LIMIT));
}

# ?ms=1000: answers so much later.
sub _slow {
    my ($request, $connection) = @_;
    my $ms = _number($request, ms => 1000, SLOW_LIMIT_MS);
    return $connection->after($ms / 1000, sub { $connection->reply(200, \@TEXT, "$$ after $ms ms\n") });
}

sub _number {
    my ($request, $name, $default, $limit) = @_;
    my ($value) = $request->{query} =~ /(?:\A|&)\Q$name\E=([^&]*)/;
    return $default if !defined $value;
    return $value   if $value =~ /\A[0-9]{1,9}\z/ && $value <= $limit;
    my $message = "$name must be a number up to $limit\n";
    die bless \$message, 'Example::HTTP::BadQuery';
}

1;
