#!/usr/bin/env perl

# Starts multiworker-http.pl with 4 workers, sends it real requests while workers are killed, stops it, and says
# what happened. Exits 1, with the reason, when anything was not as it should be.
# Its arguments go to the server: --backend NAME, --method NAME ...

use strict;
use warnings;

use File::Temp;
use FindBin;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

use constant {
    WORKERS     => 4,
    REQUESTS    => 1500,
    WAIT        => 30,     # seconds, for anything
    WRK_SECONDS => 3,
    WRK_CLIENTS => 32,
};

my $server;    # pid, while it runs
my $log;       # what it writes, line by line in @lines
my @lines;
my $partial = '';
my @problems;

$SIG{$_} = sub { exit 1 }
    for qw(INT TERM HUP);    # by way of END

my $curl = find_program('curl') or give_up('curl is missing: apt-get install curl');
my $wrk  = find_program('wrk');

my ($loop, $url) = start_server(@ARGV);
show('server', "$loop, parent $server, workers @{[running_workers()]}");
show('curl', many_connections());
show('curl', one_connection());
show('pipeline', pipeline());
show('chunked', chunks());
show('wrk', $wrk ? load() : 'not installed, left out');
show('stop', stop_server());
give_up(@problems) if @problems;
print "Everything as it should be.\n";
exit 0;

# ---- what is shown

sub many_connections {
    my $count = 200;
    my ($code, $text) = run_curl('-Z', '--parallel-max', 20, '-H', 'Connection: close', "${url}pid?[1-$count]");
    my %share;
    $share{$_}++ for split /\n/, $text;
    my $answered = 0;
    $answered += $_ for values %share;
    check($code == 0 && $answered == $count, "$answered of $count requests were answered, curl exits $code");
    my $shares = join ', ', map { "$share{$_} by $_" } sort { $a <=> $b } keys %share;
    return "$count requests on $count connections, answered: $shares";
}

# curl prints each answer as it comes, with the pid of the worker. That tells whom to kill.
sub one_connection {
    my @command = (curl_command(), '--no-buffer', "${url}slow?ms=1&n=[1-@{[REQUESTS]}]");
    open my $answers, '-|', @command or give_up("curl: $!");
    my @signals = ([ 'KILL', REQUESTS / 3 ], [ 'TERM', REQUESTS * 2 / 3 ]);
    my ($answered, @told) = (0);
    while (my $answer = <$answers>) {
        $answered++;
        my ($pid) = $answer =~ /\A(\d+) after/ or give_up("not an answer: $answer");
        next if !@signals || $answered < $signals[0][1] || !grep { $_ == $pid } running_workers();
        push @told, kill_worker(shift(@signals)->[0], $pid);
    }
    close $answers;
    my $lost = REQUESTS - $answered;
    check(!@signals, 'curl was too fast for the kills');
    check($lost <= 1, "$lost requests without an answer; only the one that KILL hits may be lost");
    return ("@{[REQUESTS]} requests on one connection while its worker is killed, twice: $answered answered", @told);
}

sub pipeline {
    my $count  = 100;
    my @bodies = map { "number $_\n" } 1 .. $count;
    my $socket = IO::Socket::INET->new(PeerAddr => $url =~ m{//([^/]+)/}, Timeout => WAIT) or give_up("connect: $!");
    print {$socket} map { "POST /echo HTTP/1.1\r\nHost: demo\r\nContent-Length: @{[length]}\r\n\r\n$_" } @bodies;
    $socket->flush;
    shutdown $socket, 1;
    my $answers = do { local $/; <$socket> };
    my @found   = $answers =~ /^(number \d+\n)/mg;
    check("@found" eq "@bodies", 'pipelined requests were not answered one by one in order');
    return "$count requests sent at once on one connection: @{[scalar @found]} answers, in order";
}

sub chunks {
    my $file = File::Temp->new;
    print {$file} map { "line $_\n" } 1 .. 50_000;
    close $file;
    my $bytes = -s "$file";
    my ($code, $back) = run_curl('-H', 'Transfer-Encoding: chunked', '--data-binary', "\@$file", "${url}echo");
    my $sent = do { local (@ARGV, $/) = "$file"; <> };
    check($code == 0 && $back eq $sent, "the chunked body came back different, curl exits $code");
    my ($stream_code, $stream) = run_curl("${url}chunked?chunks=1000&size=100");
    check($stream_code == 0 && length $stream == 100_000, "the stream is not complete, curl exits $stream_code");
    return "$bytes bytes sent in chunks, @{[length $back]} came back; 1000 chunks received";
}

sub load {
    open my $output, '-|', $wrk, '-t1', '-c' . WRK_CLIENTS, '-d' . WRK_SECONDS, $url or give_up("wrk: $!");
    my @told;
    for my $signal (qw(TERM KILL)) {
        sleep WRK_SECONDS / 4;    # into the middle of the run
        push @told, kill_worker($signal, (running_workers())[0]);
    }
    my $text = do { local $/; <$output> };
    close $output;
    check($? == 0, "wrk exits with status $?");
    my ($count)  = $text =~ /(\d+) requests in/;
    my ($rate)   = $text =~ m{Requests/sec:\s+(\d+)};
    my ($status) = $text =~ /Non-2xx or 3xx responses: (\d+)/;
    my %error    = $text =~ /Socket errors: (.*)/ ? $1 =~ /(\w+) (\d+)/g : ();
    my $broken   = 0;
    $broken += $_ for values %error;
    check($count, 'wrk got no answer');
    check(!$status, "@{[$status // 0]} answers with an error status");
    check($broken <= WRK_CLIENTS, "$broken connections broken; KILL may break those of one worker");
    return (
              "$count requests on @{[WRK_CLIENTS]} connections, $rate a second, two workers killed meanwhile: "
            . "broken connections: $broken, error answers: @{[$status // 0]}",
        @told,
    );
}

sub stop_server {
    my $pid = $server;
    kill TERM => $pid;
    1 while read_log();    # at its end when parent and workers are gone
    waitpid $pid, 0;
    my $status = $?;
    undef $server;
    my $started = grep { /worker \d+ started/ } @lines;
    my $reaped  = grep { /worker \d+ .*exited/ } @lines;
    check($status == 0, "the server ends with status $status");
    check($started == $reaped && !running_workers(), "$started workers started, $reaped reaped");
    check(!kill(0, -$pid), 'processes are left');
    return "TERM, exit @{[$status >> 8]}: $started workers started, $reaped reaped, no process left";
}

# Returns a line that says how it went.
sub kill_worker {
    my ($signal, $pid) = @_;
    my $began = clock_gettime(CLOCK_MONOTONIC);
    my $seen  = @lines;
    kill $signal => $pid or give_up("worker $pid is not there: $!");
    my ($slot, $reason) = wait_for($seen, qr/worker $pid in slot (\d+) exited after \S+ s: (.*)/);
    my ($new)    = wait_for($seen, qr/worker (\d+) started in slot $slot\b/);
    my $ms       = 1000 * (clock_gettime(CLOCK_MONOTONIC) - $began);
    my $expected = $signal eq 'KILL' ? 'killed by SIGKILL' : 'exit 0';
    check($reason eq $expected, "worker $pid got SIG$signal: $reason");
    return sprintf 'SIG%s to worker %d: %s, worker %d in its place after %.0f ms', $signal, $pid, $reason, $new, $ms;
}

# ---- the server

sub start_server {
    my @arguments = @_;
    my @command   = ($^X, (map { "-I$_" } @INC), "$FindBin::Bin/multiworker-http.pl");
    pipe $log, my $writer or give_up("pipe: $!");
    $server = fork // give_up("fork: $!");
    setpgrp $server, $server;    # whoever comes first
    if (!$server) {
        open STDERR, '>&', $writer                                                 or die "STDERR: $!";
        exec @command, '--workers', WORKERS, '--listen', '127.0.0.1:0', @arguments or die "exec: $!";
    }
    close $writer;
    my @found = wait_for(0, qr/(\S+), listening on (\S+)/);
    wait_for(0, qr/worker (\d+) started in slot @{[WORKERS - 1]}/);
    return @found;
}

# The captures of the first line that matches, from line number $first on.
sub wait_for {
    my ($first, $pattern) = @_;
    while (1) {
        for my $line (@lines[ $first .. $#lines ]) {
            if (my @found = $line =~ $pattern) { return @found }
        }
        $first = @lines;
        read_log() or give_up('the server ended:', @lines);
    }
}

sub read_log {
    IO::Select->new($log)->can_read(WAIT) or give_up('nothing more from the server; so far:', @lines);
    my $count = sysread $log, $partial, 4096, length $partial;
    push @lines, $1 while $partial =~ s/\A(.*)\n//;
    return $count;
}

sub running_workers {
    my %running;
    for my $line (@lines) {
        $running{$1} = 1 if $line =~ /worker (\d+) started/;
        delete $running{$1} if $line =~ /worker (\d+) .*exited/;
    }
    my @workers = sort { $a <=> $b } keys %running;
    return @workers;
}

# ---- helpers

sub run_curl {
    my @arguments = @_;
    open my $output, '-|', curl_command(), @arguments or give_up("curl: $!");
    my $text = do { local $/; <$output> };
    close $output;
    return ($? >> 8, $text // '');
}

sub curl_command { return ($curl, '-sS', '--no-progress-meter', '--noproxy', '*', '--max-time', WAIT) }

sub find_program {
    my ($name)  = @_;
    my ($found) = grep { -f && -x } map { "$_/$name" } split /:/, $ENV{PATH};
    return $found;
}

sub show {
    my ($what, $first, @more) = @_;
    local $| = 1;
    printf "%-9s %s\n", $what, $first;
    printf "%-9s %s\n", '', $_ for @more;
    return;
}

sub check {
    my ($is_right, $problem) = @_;
    push @problems, $problem if !$is_right;
    return;
}

sub give_up {
    my @reasons = @_;
    print {*STDERR} map { "demo: $_\n" } @reasons;
    exit 1;
}

# Nothing stays behind, whatever went wrong.
END {
    if ($server) {
        local $?;
        kill KILL => -$server;
        waitpid $server, 0;
    }
}
