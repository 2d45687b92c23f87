#!/usr/bin/env perl

# Starts `evfork run` with apps/http.pl and 4 workers, sends it real requests while workers are killed, rotated and
# reloaded, stops it, and says what happened. Exits 1, with the reason, when anything was not as it should be.
# Its arguments go to evfork run: --backend NAME, --method NAME ...

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib grep { -d } map { "$FindBin::Bin/../blib/$_" } qw(arch lib);    # a built checkout needs no installation

use EventLoop::Fork::Scoreboard;
use IO::Select;
use IO::Socket::INET;
use JSON::PP    ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant {
    WORKERS     => 4,
    REQUESTS    => 1500,
    WAIT        => 30,     # seconds, for anything
    WRK_SECONDS => 3,
    WRK_CLIENTS => 32,
};

my $folder = File::Temp->newdir;    # of the status files
my $server;                         # pid, url, status_file, log; what it writes, line by line in lines
my @problems;

$SIG{$_} = sub { exit 1 }
    for qw(INT TERM HUP);           # by way of END

my $curl      = find_program('curl') or give_up('curl is missing: apt-get install curl');
my $wrk       = find_program('wrk');
my @arguments = @ARGV;

start_server();
show('server', "evfork run, pid $server->{pid}, on $server->{url} with workers @{[running_workers()]}");
show('curl', many_connections());
show('curl', one_connection());
show('pipeline', pipeline());
show('chunked', chunks());
show('kill', $wrk   ? kills_under_load()  : 'wrk is not installed, left out');
show('reload', $wrk ? reload_under_load() : 'wrk is not installed, left out');
show('stop', stop_server());

if ($wrk) {
    start_server(qw(--max-requests 600 --max-requests-jitter 400 --min-lifetime 0));
    show('rotation', rotation_under_load());
    show('stop', stop_server());
}
give_up(@problems) if @problems;
print "Everything as it should be.\n";
exit 0;

# ---- what is shown

sub many_connections {
    my $count = 200;
    my ($code, $text) = run_curl('-Z', '--parallel-max', 20, '-H', 'Connection: close', "$server->{url}pid?[1-$count]");
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
    my @command = (curl_command(), '--no-buffer', "$server->{url}slow?ms=1&n=[1-@{[REQUESTS]}]");
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
    my $socket = IO::Socket::INET->new(PeerAddr => $server->{url} =~ m{//([^/]+)/}, Timeout => WAIT)
        or give_up("connect: $!");
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
    my ($code, $back) = run_curl('-H', 'Transfer-Encoding: chunked', '--data-binary', "\@$file", "$server->{url}echo");
    my $sent = do { local (@ARGV, $/) = "$file"; <> };
    check($code == 0 && $back eq $sent, "the chunked body came back different, curl exits $code");
    my ($stream_code, $stream) = run_curl("$server->{url}chunked?chunks=1000&size=100");
    check($stream_code == 0 && length $stream == 100_000, "the stream is not complete, curl exits $stream_code");
    return "$bytes bytes sent in chunks, @{[length $back]} came back; 1000 chunks received";
}

# Only connections of the worker that gets KILL may break: it is stopped before, so that they can be counted.
sub kills_under_load {
    my ($lost, @told) = (WRK_CLIENTS);
    my $load = start_load();
    push @told, follow_load($load, 0.25) ? kill_worker('TERM', (running_workers())[0]) : ();
    if (follow_load($load, 0.5)) {
        my ($pid) = sort { (connections_of($b) // 0) <=> (connections_of($a) // 0) } running_workers();
        kill STOP => $pid or give_up("worker $pid is not there: $!");
        $lost = connections_of($pid) // WRK_CLIENTS;
        push @told, kill_worker('KILL', $pid);
    }
    my $result = end_load($load);
    check(@told == 2, 'wrk ended before the kills');
    check($result->{others} == 0, "$result->{others} connections could not be made, or waited too long");
    check($result->{broken} <= $lost, "$result->{broken} connections broken, $lost were of the killed worker");
    return ("$result->{text}; broken connections: $result->{broken} of the $lost that SIGKILL hit", @told);
}

sub reload_under_load {
    my %old  = map { $_ => 1 } running_workers();
    my $load = start_load();
    follow_load($load, 0.2);
    my $began = now();
    my ($code, $text) = evfork('reload', '--wait', '--timeout', WAIT);
    my $took   = now() - $began;
    my $result = end_load($load);
    my @left   = grep { $old{$_} } running_workers();
    check($code == 0, "evfork reload exits $code: $text");
    check(!@left, "workers @left are still there");
    check($result->{failed} == 0, "$result->{failed} requests failed during the reload");
    return sprintf '%s; all %d workers replaced in %.2f s, failed requests: %d', $result->{text}, WORKERS, $took,
        $result->{failed};
}

sub rotation_under_load {
    my $result = end_load(start_load());
    my ($code, $json) = evfork('status', '--json');
    my $starts = $code == 0 ? JSON::PP->new->decode($json)->{starts} : {};
    check($code == 0, "evfork status exits $code: $json");
    check(
        keys %$starts == 2 && ($starts->{'max requests'} || 0) >= WORKERS,
        "workers were not replaced as they should"
    );
    check($result->{failed} == 0, "$result->{failed} requests failed during the rotation");
    my $causes = join ', ', map { "$_ $starts->{$_}" } sort { $starts->{$a} <=> $starts->{$b} } keys %$starts;
    return (
        "$result->{text}; a new worker after 600 to 1000 of them, failed requests: $result->{failed}",
        "evfork status: workers started by cause: $causes",
    );
}

sub stop_server {
    my ($code, $text) = evfork('stop', '--timeout', WAIT);
    check($code == 0, "evfork stop exits $code: $text");
    1 while read_log();    # at its end when supervisor and workers are gone
    waitpid $server->{pid}, 0;
    my $status  = $?;
    my $pid     = delete $server->{pid};
    my $started = grep { /worker \d+ .*\bstarted \(/ } @{ $server->{lines} };
    my $ended   = grep { /worker \d+ .*\bended after/ } @{ $server->{lines} };
    check($status == 0, "the supervisor ends with status $status");
    check($started == $ended && !running_workers(), "$started workers started, $ended ended");
    check(!kill(0, -$pid), 'processes are left');
    check(!-e $server->{status_file}, 'its status file is left');
    return "evfork stop, exit @{[$status >> 8]}: $started workers started, $ended ended, no process left";
}

# Returns a line that says how it went.
sub kill_worker {
    my ($signal, $pid) = @_;
    my $began = now();
    my $seen  = @{ $server->{lines} };
    kill $signal => $pid or give_up("worker $pid is not there: $!");
    my ($slot, $reason) = wait_for($seen, qr/worker (\d+) \(pid $pid, .*\) ended after \S+ s: (.*)/);
    my ($new)    = wait_for($seen, qr/worker $slot \(pid (\d+), .*\) ready after/);
    my $ms       = 1000 * (now() - $began);
    my $expected = $signal eq 'KILL' ? 'killed by SIGKILL' : 'exit 0';
    check($reason eq $expected, "worker $pid got SIG$signal: $reason");
    return sprintf 'SIG%s to worker %d: %s, worker %d ready in its place after %.0f ms', $signal, $pid, $reason, $new,
        $ms;
}

# ---- load: wrk, and meanwhile the log

sub start_load {
    open my $output, '-|', $wrk, '-t1', '-c' . WRK_CLIENTS, '-d' . WRK_SECONDS, '--timeout', WAIT, $server->{url}
        or give_up("wrk: $!");
    return { output => $output, began => now(), text => '' };
}

# Until that part of its time is over. False when it has ended.
sub follow_load {
    my ($load, $part) = @_;
    my $end = $load->{began} + WRK_SECONDS * $part;
    while (now() < $end) {
        read_load($load, $end) or return 0;
    }
    return 1;
}

sub read_load {
    my ($load, $end) = @_;
    my $output = $load->{output};
    for my $handle (IO::Select->new($output, $server->{log})->can_read($end - now())) {
        if ($handle == $output) {
            sysread $output, $load->{text}, 4096, length $load->{text} or return 0;
        }
        else {
            read_log() or give_up('the server ended:', @{ $server->{lines} });
        }
    }
    return 1;
}

sub end_load {
    my ($load) = @_;
    my $end = now() + WAIT;
    while (read_load($load, $end)) {
        give_up('wrk does not end') if now() > $end;
    }
    close $load->{output};
    check($? == 0, "wrk exits with status $?");
    my $text    = $load->{text};
    my ($count) = $text =~ /(\d+) requests in/;
    my ($rate)  = $text =~ m{Requests/sec:\s+(\d+)};
    my $refused = $text =~ /Non-2xx or 3xx responses: (\d+)/ ? $1 : 0;
    my %error   = $text =~ /Socket errors: (.*)/ ? $1 =~ /(\w+) (\d+)/g : ();
    my $broken  = ($error{read}    || 0) + ($error{write}   || 0);
    my $others  = ($error{connect} || 0) + ($error{timeout} || 0);
    check($count, 'wrk got no answer');
    check($refused == 0, "$refused answers with an error status");
    return {
        text   => "@{[$count // 0]} requests on @{[WRK_CLIENTS]} connections, @{[$rate // 0]} a second",
        broken => $broken,
        others => $others,
        failed => $broken + $others + $refused,
    };
}

# Sockets that a process has open, but for the one that listens. undef where the system does not tell.
sub connections_of {
    my ($pid) = @_;
    opendir my $folder, "/proc/$pid/fd" or return;
    return -1 + grep { (readlink("/proc/$pid/fd/$_") // '') =~ /\Asocket:/ } readdir $folder;
}

# ---- the server

sub start_server {
    my @options     = @_;
    my $status_file = File::Temp::tempnam($folder, 'status');
    my @command     = (
        evfork_command(), 'run', '--workers', WORKERS, '--listen', '127.0.0.1:0', '--status-file', $status_file,
        @options,
        @arguments, "$FindBin::Bin/apps/http.pl",
    );
    pipe my $log, my $writer or give_up("pipe: $!");
    my $pid = fork // give_up("fork: $!");
    setpgrp $pid, $pid;    # whoever comes first
    if (!$pid) {
        undef $server;     # nothing of it is this process's
        open STDERR, '>&', $writer or die "STDERR: $!";
        exec @command              or die "exec: $!";
    }
    close $writer;
    $server = { pid => $pid, log => $log, lines => [], partial => '', status_file => $status_file };
    wait_for(0, qr/worker $_ \(.*\) ready after/) for 0 .. WORKERS - 1;
    my $board = EventLoop::Fork::Scoreboard->open($status_file);
    my ($address) = @{ JSON::PP->new->decode($board->header->{info})->{listeners} };
    $server->{url} = "http://$address/";
    return;
}

# The captures of the first line that matches, from line number $first on.
sub wait_for {
    my ($first, $pattern) = @_;
    while (1) {
        for my $line (@{ $server->{lines} }[ $first .. $#{ $server->{lines} } ]) {
            if (my @found = $line =~ $pattern) { return @found }
        }
        $first = @{ $server->{lines} };
        read_log() or give_up('the server ended:', @{ $server->{lines} });
    }
}

sub read_log {
    IO::Select->new($server->{log})->can_read(WAIT)
        or give_up('nothing more from the server; so far:', @{ $server->{lines} });
    my $count = sysread $server->{log}, $server->{partial}, 4096, length $server->{partial};
    push @{ $server->{lines} }, $1 while $server->{partial} =~ s/\A(.*)\n//;
    return $count;
}

sub running_workers {
    1 while IO::Select->new($server->{log})->can_read(0) && read_log();
    my %running;
    for my $line (@{ $server->{lines} }) {
        $running{$1} = 1 if $line =~ /worker \d+ \(pid (\d+), .*\) started/;
        delete $running{$1} if $line =~ /worker \d+ \(pid (\d+), .*\) ended after/;
    }
    my @workers = sort { $a <=> $b } keys %running;
    return @workers;
}

# ---- helpers

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub evfork_command {
    return ($^X, (map { "-I$_" } grep { !ref } @INC), "$FindBin::Bin/../script/evfork");
}

# Exit code and output of a command about the server.
sub evfork {
    my ($command, @options) = @_;
    open my $output, '-|', evfork_command(), $command, @options, $server->{status_file} or give_up("evfork: $!");
    my $text = do { local $/; <$output> };
    close $output;
    return ($? >> 8, $text // '');
}

sub run_curl {
    my @options = @_;
    open my $output, '-|', curl_command(), @options or give_up("curl: $!");
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
    if ($server && $server->{pid}) {
        local $?;
        kill KILL => -$server->{pid};
        waitpid $server->{pid}, 0;
    }
}
