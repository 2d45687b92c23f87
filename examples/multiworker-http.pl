#!/usr/bin/env perl

# An HTTP/1.1 server with several workers: the parent binds, forks and watches, the workers serve.
# This file is the parent; what a worker does is in lib/Example/HTTP/Worker.pm.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use lib grep { -d } map { "$FindBin::Bin/../blib/$_" } qw(arch lib);    # a built checkout needs no installation

use Getopt::Long qw(GetOptionsFromArray);
use POSIX        qw(SIGINT SIGTERM SIG_BLOCK SIG_UNBLOCK sigprocmask);
use Pod::Usage   qw(pod2usage);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

use EventLoop::Fork::Loop;
use Example::HTTP::Limits;
use Example::HTTP::Listener;

use constant {
    SHORT_LIFE    => 1,     # seconds; a worker that lived so long is replaced at once
    BACKOFF_FIRST => 0.1,
    BACKOFF_MAX   => 5,
    KILL_AFTER    => 1,     # seconds past the graceful timeout, for a worker that is stuck
};

$SIG{PIPE} = 'IGNORE';      # a client or a reader of our log that left is no reason to die

my $option = read_options(@ARGV);
load_worker();
my $loop      = attempt(sub { EventLoop::Fork::Loop->new(%{ $option->{loop} }) });
my @listeners = map { listen_on($_) } @{ $option->{listen} };

# Only the parent keeps the writing end: a worker that finds the other one at its end has lost its parent.
pipe my $parent_reader, my $parent_writer or fail("pipe: $!");

my %worker;                                     # by pid: slot, started
my @quick_deaths = (0) x $option->{workers};    # by slot, in a row
my %respawn;                                    # by slot: timer of a start that is put off
my $is_stopping;
my $stop_signals = POSIX::SigSet->new(SIGTERM, SIGINT);

# Signals first: one that comes while the workers start is not lost.
$loop->watch_signal($_ => \&stop) for qw(TERM INT);
say_that('%s/%s, listening on %s', $loop->backend, $loop->method, join ' ', map { $_->name } @listeners);
start_worker($_) for 0 .. $option->{workers} - 1;
$loop->run;
$_->remove_file for @listeners;
say_that('stopped, every worker reaped');
exit 0;

sub start_worker {
    my ($slot) = @_;
    sigprocmask(SIG_BLOCK, $stop_signals);    # the child unblocks them when it can follow them
    my $pid   = eval { $loop->fork(code => \&serve, on_exit => \&on_worker_exited) };  # by watch_process, without a gap
    my $error = $@;
    sigprocmask(SIG_UNBLOCK, $stop_signals);
    if (!$pid) {
        say_that('worker in slot %d not started: %s', $slot, message_of($error));
        return put_off($slot);
    }
    $worker{$pid} = { slot => $slot, started => now() };
    return say_that('worker %d started in slot %d', $pid, $slot);
}

# In the child. The loop of the parent stays behind; this one is new.
sub serve {
    local $SIG{INT} = 'IGNORE';    # Ctrl-C reaches the whole group; the parent says when to stop
    close $parent_writer;
    my $worker = Example::HTTP::Worker->new(
        loop      => EventLoop::Fork::Loop->new(%{ $option->{loop} }),
        listeners => \@listeners,
        parent    => $parent_reader,
        limit     => $option,
    );
    $worker->start;
    sigprocmask(SIG_UNBLOCK, $stop_signals);
    return $worker->run;
}

sub on_worker_exited {
    my ($pid, $status) = @_;
    my $gone  = delete $worker{$pid};
    my $slot  = $gone->{slot};
    my $lived = now() - $gone->{started};
    say_that('worker %d in slot %d exited after %.2f s: %s', $pid, $slot, $lived, reason($status));
    if ($is_stopping) {
        $loop->stop if !%worker;
        return;
    }
    if ($lived >= SHORT_LIFE) {
        $quick_deaths[$slot] = 0;
        return start_worker($slot);
    }
    return put_off($slot);
}

sub put_off {
    my ($slot) = @_;
    my $delay = BACKOFF_FIRST * 2**$quick_deaths[$slot]++;
    $delay = BACKOFF_MAX if $delay > BACKOFF_MAX;
    say_that('slot %d starts again in %.1f s', $slot, $delay);
    $respawn{$slot} = $loop->watch_time(
        after => $delay,
        code  => sub {
            delete $respawn{$slot};
            start_worker($slot);
        },
    );
    return;
}

# The first call asks, the second one does not.
sub stop {
    if ($is_stopping++) {
        return kill_workers('asked again');
    }
    say_that('stopping %d workers', scalar keys %worker);
    $loop->unwatch_time($_) for values %respawn;
    $_->release for @listeners;
    kill TERM => keys %worker;
    $loop->watch_time(after => $option->{graceful_timeout} + KILL_AFTER, code => sub { kill_workers('still there') });
    $loop->stop if !%worker;
    return;
}

sub kill_workers {
    my ($why) = @_;
    say_that('killing worker %d: %s', $_, $why) for sort { $a <=> $b } keys %worker;
    kill KILL => keys %worker;
    return;
}

sub reason {
    my ($status) = @_;
    return 'status unknown' if $status < 0;
    my $signal = $status & 127 or return 'exit ' . ($status >> 8);
    require Config;
    my @name = split ' ', $Config::Config{sig_name};
    return "killed by SIG$name[$signal]";
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub say_that {
    my ($format, @values) = @_;
    print {*STDERR} sprintf("[$$] $format\n", @values);
    return;
}

# ---- options

sub read_options {
    my @arguments = @_;
    my %option    = (workers => 4, Example::HTTP::Limits::default());
    my (@listen, %loop, $help);
    my @problems;
    {
        local $SIG{__WARN__} = sub { push @problems, $_[0] };
        Getopt::Long::Configure(qw(no_ignore_case no_auto_abbrev));
        GetOptionsFromArray(
            \@arguments,
            'backend=s' => \$loop{backend},
            'method=s'  => \$loop{method},
            'listen=s'  => \@listen,
            'help'      => \$help,
            map { my $key = $_; (tr/_/-/r . '=s' => \$option{$key}) } keys %option,
        );
    }
    pod2usage(-verbose => 1, -exitval => 0, -output => \*STDOUT) if $help;
    fail(lcfirst $problems[0] =~ s/\s+\z//r)                     if @problems;
    fail("unexpected argument '$arguments[0]'")                  if @arguments;

    check_number($_, $option{$_}, 1, 1024)           for qw(workers);
    check_number($_, $option{$_}, 64, 1_073_741_824) for qw(header_limit body_limit);
    check_seconds($_, $option{$_})                   for grep { /_timeout\z/ } keys %option;
    delete $loop{$_}                                 for grep { !defined $loop{$_} } keys %loop;
    return { %option, loop => \%loop, listen => @listen ? \@listen : ['127.0.0.1:8080'] };
}

sub check_number {
    my ($name, $value, $min, $max) = @_;
    return if $value =~ /\A[0-9]{1,10}\z/ && $value >= $min && $value <= $max;
    fail(sprintf "--%s must be a whole number from %d to %d, not '%s'", $name =~ tr/_/-/r, $min, $max, $value);
}

sub check_seconds {
    my ($name, $value) = @_;
    return if $value =~ /\A(?:[0-9]{1,5}(?:\.[0-9]*)?|\.[0-9]+)\z/;
    fail(sprintf "--%s must be a number of seconds, not '%s'", $name =~ tr/_/-/r, $value);
}

# Before the fork: the workers share the code.
sub load_worker {
    return if eval { require Example::HTTP::Worker };
    die $@ if $@ !~ m{locate HTTP/Parser/XS\.pm};
    fail('HTTP::Parser::XS is missing: apt-get install libhttp-parser-xs-perl, or cpanm HTTP::Parser::XS');
}

sub listen_on {
    my ($address) = @_;
    return attempt(sub { Example::HTTP::Listener->bind_to($address) });
}

sub attempt {
    my ($code) = @_;
    my $result = eval { $code->() };
    return $result if $result;
    fail(message_of($@));
}

# Without the line it comes from: EventLoop::Fork::Error, or text that ends in a newline.
sub message_of {
    my ($error) = @_;
    return ref $error ? $error->message : $error =~ s/\s+\z//r;
}

sub fail {
    my ($message) = @_;
    print {*STDERR} "$FindBin::Script: $message\n";
    exit 1;
}

__END__

=head1 NAME

multiworker-http.pl - an HTTP/1.1 server with several workers

=head1 SYNOPSIS

    multiworker-http.pl --workers 4 --listen 127.0.0.1:8080
    multiworker-http.pl --backend libevent --method poll --listen unix:/tmp/app.sock
    curl http://127.0.0.1:8080/

=head1 DESCRIPTION

The parent binds once, forks the workers through its loop, replaces each one that dies, and stops on TERM or INT.
It does nothing but run its loop. Each worker runs a loop of its own and serves the shared sockets.

=head1 OPTIONS

=over 4

=item B<--backend> I<name>

C<libev>, C<libevent> or C<poll>. Default: C<EVENTLOOP_FORK_BACKEND>, else the first one that is built.

=item B<--method> I<name>

How the backend waits: C<epoll>, C<poll>, C<select> ... Default: C<EVENTLOOP_FORK_METHOD>, else the backend's best.

=item B<--workers> I<count>

Workers to keep alive. Default: 4.

=item B<--listen> I<address>

C<host:port>, C<[ipv6]:port> or C<unix:/path>; may be repeated. Port 0 takes a free port and logs it.
The socket file is for the same user only. Default: C<127.0.0.1:8080>.

=item B<--graceful-timeout> I<seconds>

How long a stopping worker may finish its requests. It then cuts them off; a worker that is still there one second
later is killed. Default: 30.

=item B<--header-timeout>, B<--body-timeout>, B<--idle-timeout>, B<--write-timeout> I<seconds>

Longest time for a request's head and for its body (408 after that), for a connection without a request, and for a
client that takes nothing of its answer. Defaults: 10, 30, 60, 30.

=item B<--header-limit>, B<--body-limit> I<bytes>

Largest head (431) and body (413) of a request. Defaults: 16384, 1048576.

=item B<--help>

Prints this text.

=back

=head1 SIGNALS

TERM and INT stop the server: workers accept nothing more, finish what they have and exit. A second one kills them.
TERM to one worker makes that worker finish and exit; the parent replaces it. Workers ignore INT.
A worker whose parent is gone finishes its requests and exits.

=head1 EXIT STATUS

0 after a stop with every worker reaped, 1 for a wrong option or an address that cannot be used.

=head1 PAGES

C</> and C</pid> say who answers. C</echo> returns the body of a POST or PUT. C</chunked?chunks=5&size=16&ms=0>
streams, C</sized?bytes=65536> sends a body of that size, C</slow?ms=1000> waits before it answers.

=cut
