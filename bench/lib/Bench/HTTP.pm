package Bench::HTTP;

# One server on a loop of IO::Async, and a moment of wrk: requests a second, latency, and what has failed.

use strict;
use warnings;

use Cwd            qw(abs_path);
use File::Basename qw(dirname);
use IO::Select;
use POSIX ();

use constant WAIT => 20;    # seconds

my $servers = dirname(dirname(dirname(abs_path(__FILE__)))) . '/servers';

# What is missing on this machine, in words; nothing if all is there.
sub why_not {
    return 'wrk is not installed; ./dev setup bench' if !grep { -x "$_/wrk" } split /:/, $ENV{PATH};
    return eval { require HTTP::Parser::XS; 1 } ? undef : 'HTTP::Parser::XS is not installed; ./dev setup bench';
}

# Of a class of loops: { rate, p50, p99 (seconds), errors }. Throws where it does not run.
sub measure {
    my ($class, $workers, %how) = @_;
    my $server = _start($class, $workers);
    my $result = eval {
        _wrk($server->{port}, 1, $how{connections});    # to warm up
        _wrk($server->{port}, @how{qw(seconds connections)});
    };
    my $error = $@;
    close $server->{door};
    waitpid $server->{pid}, 0;
    die $error if !$result;
    return $result;
}

sub _start {
    my ($class, $workers) = @_;
    pipe my $gate, my $door     or die "pipe: $!\n";
    pipe my $reader, my $writer or die "pipe: $!\n";
    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        close $door;
        delete @ENV{ grep { /\A(?:EVENTLOOP_FORK_|IO_ASYNC_|LIBEV_|MOJO_)/ } keys %ENV };
        open STDIN, '<&', $gate                                                                   or POSIX::_exit(99);
        open STDOUT, '>&', $writer                                                                or POSIX::_exit(99);
        exec $^X, (map { "-I$_" } grep { !ref } @INC), "$servers/http-io-async", $class, $workers or POSIX::_exit(99);
    }
    close $writer;
    my $line = IO::Select->new($reader)->can_read(WAIT) ? readline $reader : undef;
    if (!defined $line) {
        kill KILL => $pid;
        waitpid $pid, 0;
        die "the server on $class did not start\n";
    }
    chomp $line;
    return { pid => $pid, door => $door, port => $line };
}

my %SECONDS = (us => 1e-6, ms => 1e-3, s => 1, m => 60);

sub _wrk {
    my ($port, $seconds, $connections) = @_;
    my $text = qx(wrk --latency -t 1 -c $connections -d ${seconds}s http://127.0.0.1:$port/ 2>&1);
    die "wrk: $text\n" if $? || $text !~ m{^Requests/sec:\s+([0-9.]+)$}m;
    my %result = (rate => $1 + 0, errors => 0);
    for my $percent (50, 99) {
        $text =~ /^\s+$percent%\s+([0-9.]+)(us|ms|s|m)$/m or die "wrk tells no latency:\n$text\n";
        $result{"p$percent"} = $1 * $SECONDS{$2};
    }
    $result{errors} += $_ for $text =~ /^\s+Non-2xx or 3xx responses: ([0-9]+)$/m;
    if (my ($errors) = $text =~ /^\s+Socket errors: (.*)$/m) { $result{errors} += $_ for $errors =~ /([0-9]+)/g }
    return \%result;
}

1;
