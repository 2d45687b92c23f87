package Bench::Starts;

# How long the start of a worker takes, by fork and by spawn, when the supervisor is small and when it is large.

use strict;
use warnings;

use Bench::Measure ();
use Bench::Servers ();
use File::Temp     ();
use JSON::PP       ();
use Time::HiRes    qw(CLOCK_MONOTONIC clock_gettime);

use constant MEGABYTE => 2**20;

my $APP = 'sub { my ($worker) = @_; my $loop = $worker->loop; $worker->ready; $loop->run; return 0 };';

# Seconds from the end of a worker until the next one is ready, in the middle; in a perl of its own that has so many
# megabytes besides.
sub measure {
    my ($method, $megabytes, $count) = @_;
    my $folder = File::Temp->newdir('evf-bench-XXXXXX', TMPDIR => 1);
    open my $file, '>', "$folder/app.pl" or die "app.pl: $!\n";
    print {$file} $APP;
    close $file or die "app.pl: $!\n";
    my @command = (Bench::Servers::perl(), '-MBench::Starts', '-e', 'Bench::Starts::inner(@ARGV)', '--');
    open my $pipe, '-|', @command, $method, $megabytes, $count, "$folder/app.pl" or die "cannot start $^X: $!\n";
    my $text = do { local $/; <$pipe> };
    close $pipe;
    die 'it ends with status ' . $? . "\n" if $?;
    return Bench::Measure::median(@{ JSON::PP::decode_json($text) });
}

sub inner {
    my ($method, $megabytes, $count, $app) = @_;
    require EventLoop::Fork::Supervisor;
    alarm 120;
    my @ballast = map { 'x' x MEGABYTE } 1 .. $megabytes;
    my (@seconds, $exited, $supervisor);
    $supervisor = EventLoop::Fork::Supervisor->new(
        workers       => 1,
        respawn_delay => 0,
        crash_limit   => 0,
        start_method  => $method,
        app           => $app,
        on_event      => sub {
            my ($event) = @_;
            my $now = clock_gettime(CLOCK_MONOTONIC);
            $exited = $now if $event->{event} eq 'worker_exited';
            return unless $event->{event} eq 'worker_ready';
            push @seconds, $now - $exited if defined $exited;
            return $supervisor->stop      if @seconds == $count;
            kill KILL => $event->{pid};
        },
    );
    $supervisor->run;
    print JSON::PP->new->encode(\@seconds), "\n";
    return;
}

1;
