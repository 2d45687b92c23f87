#!/usr/bin/env perl

# The table of README.md: memory of two leaking workers under load, with rotation and without. Starts `evfork run`, loads
# it with wrk, and reads the scoreboard as `evfork status` does. Exits 1 if a request failed, or memory grew in spite of
# the rotation.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib grep { -d } map { "$FindBin::Bin/../../blib/$_" } qw(arch lib);    # a built checkout needs no installation

use EventLoop::Fork::Scoreboard;
use Getopt::Long qw(GetOptions);
use JSON::PP     ();
use List::Util   qw(max sum0);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime sleep);

use constant { WORKERS => 2, WAIT => 30 };

my %option = (seconds => 10, 'max-requests' => 600, 'max-requests-jitter' => 400, 'most-mb' => 1500);
GetOptions(\%option, qw(seconds=i max-requests=i max-requests-jitter=i most-mb=i help)) && !@ARGV && !$option{help}
    or usage();

my $folder = File::Temp->newdir;
my $server;                  # pid, while it runs
$SIG{$_} = sub { exit 1 }
    for qw(INT TERM HUP);    # by way of END

my @runs = (
    measure('without rotation'),
    measure('with rotation', map { ("--$_" => $option{$_}) } qw(max-requests max-requests-jitter)),
);
print_table(@runs);
exit verdict(@runs);

sub usage {
    print {*STDERR} <<"USAGE";
usage: measure.pl [options]

  --seconds N               how long each of the two runs takes (default 10)
  --max-requests N          a worker is replaced after so many requests (default 600)
  --max-requests-jitter N   and its share of these (default 400)
  --most-mb N               end the run without rotation at this (default 1500)
USAGE
    exit($option{help} ? 0 : 2);
}

# ---- One run

sub measure {
    my ($name, @options) = @_;
    my $board     = start($name, @options);
    my ($address) = @{ JSON::PP->new->decode($board->header->{info})->{listeners} };
    my $wrk       = open my $output, '-|', qw(wrk -t1 -c16 --timeout 20), "-d$option{seconds}", "http://$address/"
        or die "wrk: $!\n";
    my $began   = now();
    my @samples = (sample($board));
    for my $second (1 .. $option{seconds}) {
        my $left = $began + $second - now();
        sleep $left if $left > 0;
        push @samples, sample($board);
        next if $samples[-1]{mb} <= $option{'most-mb'};    # before the machine has none left
        kill INT => $wrk;
        last;
    }
    my $text = do { local $/; <$output> };
    close $output;
    my ($requests) = $text =~ /(\d+) requests in/ or die "$name: wrk did not work\n";
    my @errors     = $text =~ /^\s*((?:Socket errors|Non-2xx).*)/mg;
    my $starts     = sum0 @{ $board->header->{starts} };
    stop($name);
    my $most = max map { $_->{mb} } @samples;
    printf "%s: %d requests, failed: %s; workers started: %d; most memory: %.0f MB\n", $name, $requests,
        @errors ? "@errors" : 'none', $starts, $most;
    return { name => $name, samples => \@samples, starts => $starts, most => $most, failed => scalar @errors };
}

sub start {
    my ($name, @options) = @_;
    my $status_file = "$folder/status";
    my @command     = ($^X, (map { "-I$_" } grep { !ref } @INC), "$FindBin::Bin/../../script/evfork", 'run');
    $server = fork // die "fork: $!\n";
    if (!$server) {
        open STDERR, '>', "$folder/log" or die "$folder/log: $!\n";
        exec @command, '--workers', WORKERS, '--listen', '127.0.0.1:0', '--min-lifetime', 0, '--status-file',
            $status_file, @options, "$FindBin::Bin/leaky.pl";
        die "evfork: $!\n";
    }
    my $deadline = now() + WAIT;
    while (now() < $deadline) {
        my $board = -e $status_file && eval { EventLoop::Fork::Scoreboard->open($status_file) };
        return $board if $board && WORKERS == grep { $_->{is_ready} } rows($board);
        last if waitpid $server, 1;    # WNOHANG
        sleep 0.05;
    }
    die "$name: no workers; evfork run says:\n", do { local (@ARGV, $/) = "$folder/log"; <> };
}

sub stop {
    my ($name) = @_;
    kill TERM => $server;
    waitpid $server, 0;
    undef $server;
    die "$name: the server ended with status $?\n" if $?;
    return;
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# A worker and its replacement are in two rows.
sub rows {
    my ($board) = @_;
    return map { $board->row($_) } 0 .. 2 * WORKERS - 1;
}

# Processes alive, and the memory that is theirs alone.
sub sample {
    my ($board) = @_;
    my @pids    = grep { $_ } map { $_->{pid} } rows($board);
    my $bytes   = 0;
    for my $pid (@pids) {
        my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($pid);
        $bytes += $private || $rss || 0;
    }
    return { processes => scalar @pids, mb => $bytes / 1e6 };
}

# ---- Both

sub print_table {
    my (@all) = @_;
    print "\n| second | ", join(' | ', map { "$_->{name}: MB (processes)" } @all), " |\n|---:|", '---:|' x @all, "\n";
    for my $second (0 .. max map { $#{ $_->{samples} } } @all) {
        my @cells = map { $_->{samples}[$second] } @all;
        print "| $second | ", join(' | ', map { $_ ? sprintf '%.0f (%d)', @$_{qw(mb processes)} : 'ended' } @cells),
            " |\n";
    }
    return;
}

sub verdict {
    my ($without, $with) = @_;
    my @problems;
    push @problems, 'requests failed'                                 if grep { $_->{failed} } @_;
    push @problems, 'no worker was replaced'                          if $with->{starts} <= WORKERS;
    push @problems, 'workers were replaced without rotation'          if $without->{starts} != WORKERS;
    push @problems, 'with rotation it took as much memory as without' if $with->{most} >= $without->{most};
    print {*STDERR} map { "measure.pl: $_\n" } @problems;
    return @problems ? 1 : 0;
}

END {
    if ($server) {
        local $?;
        kill TERM => $server;
        waitpid $server, 0;
    }
}
