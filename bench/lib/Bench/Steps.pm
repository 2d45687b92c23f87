package Bench::Steps;

# The decisions alone, in C: what a step costs at 1,000 slots, and how fast the simulation of t/core runs.

use strict;
use warnings;

use Config;
use Cwd            qw(abs_path);
use File::Basename qw(dirname);
use File::Temp     ();

my $root = dirname(dirname(dirname(dirname(abs_path(__FILE__)))));

# Seconds of a step, by number of slots.
sub step {
    my $text = qx('$root/bench/supervisor-step' 2>&1);
    die _first_line($text) if $?;
    my %seconds = $text =~ /^\s*(\d+) slots .*?([0-9.]+) ns a step/mg;
    $seconds{1000} or die "no line about 1000 slots\n";
    return { map { $_ => $seconds{$_} / 1e9 } keys %seconds };
}

# Steps in a second of processor time, with the model that checks each.
sub simulation {
    my ($steps) = @_;
    my $folder  = File::Temp->newdir('evf-bench-XXXXXX', TMPDIR => 1);
    my @sources = (
        (map { "t/core/$_.c" } qw(supervisor_sim supervisor_world helpers sim tap)),
        map { s{\A\Q$root\E/}{}r } glob("$root/t/core/supervisor_check*.c"), glob "$root/xs/core/*.c"
    );
    _build("$folder/simulation", @sources);
    my @before = times;
    local $ENV{EVF_STEPS} = $steps;
    my $output = qx($folder/simulation 2>&1);
    my @after  = times;
    die _first_line($output) if $?;
    my ($done) = $output =~ /(\d+) steps in \d+ worlds/ or die "the simulation does not tell its steps\n";
    my $seconds = $after[2] + $after[3] - $before[2] - $before[3];
    return $done / $seconds;
}

# Seconds of a step of the recorder, and of what a hook costs more with it.
sub recorder {
    my $folder = File::Temp->newdir('evf-bench-XXXXXX', TMPDIR => 1);
    _build("$folder/recorder", 'bench/recorder.c', glob "$root/xs/core/*.c");
    my $text = qx($folder/recorder 2>&1);
    die _first_line($text) if $?;
    my %nanoseconds = $text =~ /^(\w+) (-?[0-9.]+) ns$/mg;
    return { map { $_ => $nanoseconds{$_} / 1e9 } keys %nanoseconds };
}

sub _build {
    my ($program, @sources) = @_;
    my @command = (
        (split ' ', $ENV{CC} || $Config{cc}),
        qw(-std=c11 -O2 -D_GNU_SOURCE -o), $program, @sources, qw(-lpthread -lm)
    );
    my $output = qx(cd '$root' && @command 2>&1);
    die _first_line($output) if $?;
    return;
}

sub _first_line {
    my ($text) = @_;
    return $text =~ /^(.*(?:error|undefined|not ).*)$/m || $text =~ /^(.+)$/m ? "$1\n" : "exit status $?\n";
}

1;
