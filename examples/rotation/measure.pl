#!/usr/bin/env perl

# The table of README.md: memory of two leaking workers under load, with rotation and without. Starts `evfork run`, loads
# it with wrk, and reads the scoreboard as `evfork status` does. Exits 1 if a request failed.
#   measure.pl [seconds] [limit of memory in MB without rotation]

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib grep { -d } map { "$FindBin::Bin/../../blib/$_" } qw(arch lib);    # a built checkout needs no installation

use EventLoop::Fork::Scoreboard;
use JSON::PP    ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

my $seconds = shift // 10;
my $most_mb = shift // 1500;
my $folder  = File::Temp->newdir;
my $failed  = 0;
my $server;

my %rows = (
    'with rotation'    => [ measure('rotating', '--max-requests', 600, '--max-requests-jitter', 400) ],
    'without rotation' => [ measure('plain') ],
);
print_table();
exit($failed ? 1 : 0);

sub measure {
    my ($name, @options) = @_;
    my $board = start($name, @options);
    my ($address) = @{ JSON::PP->new->decode($board->header->{info})->{listeners} };
    my $wrk = open my $output, '-|', qw(wrk -t1 -c16), "-d$seconds", "http://$address/" or die "wrk: $!\n";
    my @samples = ([ sample($board) ]);
    my $began   = now();
    while (now() < $began + $seconds) {
        sleep 1;
        push @samples, [ sample($board) ];
        last if $samples[-1][1] > $most_mb;    # before the machine has none left
    }
    kill INT => $wrk if now() < $began + $seconds;
    my $text = do { local $/; <$output> };
    close $output;
    my ($requests) = $text =~ /(\d+) requests in/;
    my $errors = $text =~ /Socket errors: (.*)/ ? $1 : $text =~ /(Non-2xx.*)/ ? $1 : 'none';
    $failed++ if $errors ne 'none';
    my $starts = 0;
    $starts += $_ for @{ $board->header->{starts} };
    kill TERM => $server;
    waitpid $server, 0;
    die "$name: the server ended with status $?\n" if $?;
    printf "%s: %s requests, failed: %s, workers started: %d\n", $name, $requests // '?', $errors, $starts;
    return @samples;
}

sub start {
    my ($name, @options) = @_;
    my $status_file = "$folder/$name.status";
    $server = fork // die "fork: $!\n";
    if (!$server) {
        open STDERR, '>', "$folder/$name.log" or die "$folder/$name.log: $!\n";
        exec $^X, (map { "-I$_" } @INC), "$FindBin::Bin/../../script/evfork", 'run', '--workers', 2, '--listen', '127.0.0.1:0',
            '--min-lifetime', 0, '--status-file', $status_file, @options, "$FindBin::Bin/leaky.pl";
        die "evfork: $!\n";
    }
    for (1 .. 600) {
        my $board = -e $status_file && eval { EventLoop::Fork::Scoreboard->open($status_file) };
        return $board if $board && 2 == grep { $_->{state} == 2 } map { $board->row($_) } 0 .. 3;
        sleep 0.05;
    }
    die "$name: no workers after 30 seconds\n";
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# Processes alive, and the memory that is theirs alone, in MB.
sub sample {
    my ($board) = @_;
    my @pids = grep { $_ } map { $board->row($_)->{pid} } 0 .. 3;
    my $bytes = 0;
    for my $pid (@pids) {
        my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($pid);
        $bytes += $private || $rss || 0;
    }
    return (scalar @pids, $bytes / 1e6);
}

sub print_table {
    my @names = reverse sort keys %rows;
    print "\n| second | ", join(' | ', map {"$_: MB (workers)"} @names), " |\n|---:|", '---:|' x @names, "\n";
    my ($longest) = sort { $b <=> $a } map { scalar @$_ } values %rows;
    for my $second (0 .. $longest - 1) {
        print "| $second | ", join(
            ' | ',
            map { my $sample = $rows{$_}[$second]; $sample ? sprintf('%.0f (%d)', @$sample[ 1, 0 ]) : 'stopped' } @names
            ),
            " |\n";
    }
    return;
}
