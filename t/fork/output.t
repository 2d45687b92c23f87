# What a child has printed is written, however it ends; what its parent had printed before is written once.
use strict;
use warnings;

use lib 't/lib';
use File::Temp ();
use ForkTest;
use Test2::V0;

# For each code: text before the fork, without a newline so that it stays in the buffers, then the child, then text
# after it. On STDOUT and in a file.
my $program = <<'EOP';
use strict;
use warnings;
my ($source, $log_path, @codes) = @ARGV;
my $loop = eval $source or die;
open our $log, '>>', $log_path or die;
for (@codes) {
    my $code = eval "sub { $_ }" or die;
    print 'before ';
    print {$log} 'before ';
    my $status;
    $loop->fork(code => $code, on_exit => sub { $status = $_[1] });
    $loop->loop_once until defined $status;
    print ' after ', $status >> 8, "\n";
    print {$log} " after\n";
}
EOP

# What the code is, what comes on STDOUT and in the file, and the exit code.
my @cases = (
    [ 'returns', 'print "child"; 0', 'child', '', 0 ],
    [ 'exits', 'print "child"; exit 3', 'child', '', 3 ],
    [ 'exits in a nested sub', 'print "child"; my $sub = sub { eval { exit 4 } }; $sub->()', 'child', '', 4 ],
    [
        'exits deep in calls',
        'print "child"; my $deep; $deep = sub { $_[0] ? $deep->($_[0] - 1) : exit 5 }; $deep->(50)', 'child', '', 5
    ],
    [ 'dies', 'print "child"; open STDERR, ">", "/dev/null"; die "x\n"', 'child', '', 255 ],
    [ 'returns no exit code', 'print "child"; open STDERR, ">", "/dev/null"; "none"', 'child', '', 255 ],
    [ 'flushes itself', 'local $| = 1; print "child"; 0', 'child', '', 0 ],
    [ 'prints to a file', 'print {$log} "child"; 0', '', 'child', 0 ],
    [ 'opens a handle', 'open our $own, ">>&", $log or die; print {$own} "child"; 0', '', 'child', 0 ],
    [ 'prints nothing', '0', '', '', 0 ],
    [ 'is killed', 'kill KILL => $$', '', '', 0 ],
    [ 'executes a program', 'print "child "; exec "printf", "executed"', 'child executed', '', 0 ],
    [
        'runs programs', 'print "child "; system "printf", "system"; print " ", `printf backticks`; 0',
        'child system backticks', '', 0
    ],
    [
        'forks', 'print "child"; my $pid = fork; if (!$pid) { print " grandchild"; exit } waitpid $pid, 0; 0',
        'child grandchild', '', 0
    ],
);

each_loop sub {
    my ($new, $kind) = @_;
    my $file   = File::Temp->new;
    my $result = run_program($program, $kind->{source}, $file->filename, map { $_->[1] } @cases);
    is [ $result->{stderr}, $result->{status} ], [ '', 0 ], 'without a complaint';
    my @lines = split /\n/, $result->{stdout};
    open my $handle, '<', $file->filename or die "$file: $!";
    chomp(my @file_lines = readline $handle);
    for my $i (0 .. $#cases) {
        my ($name, undef, $printed, $written, $code) = @{ $cases[$i] };
        is [ $lines[$i], $file_lines[$i] ], [ "before $printed after $code", "before $written after" ],
            "a child that $name";
    }
};

# Layers, and many children on one handle.
each_loop sub {
    my ($new) = @_;
    my $loop  = $new->();
    my $file  = File::Temp->new;
    open my $out, '>>:utf8', $file->filename or die "$file: $!";
    my $ended = 0;
    print {$out} "parent \x{263a}\n";
    for my $number (1 .. 10) {
        $loop->fork(code => sub { print {$out} "child $number \x{263a}\n"; 0 }, on_exit => sub { $ended++ });
    }
    wait_until($loop, sub { $ended == 10 });
    print {$out} "end\n";
    close $out                             or die "$file: $!";
    open my $in, '<:utf8', $file->filename or die "$file: $!";
    my @lines = readline $in;
    is [ $lines[0], sort(@lines[ 1 .. $#lines - 1 ]), $lines[-1] ],
        [ "parent \x{263a}\n", sort(map { "child $_ \x{263a}\n" } 1 .. 10), "end\n" ], 'a line of each, and each once';
};

for my $class (qw(IO::Async::Loop::Poll IO::Async::Loop::Epoll)) {
    control "the output of a child of $class is lost", [$class], qr/\Abefore  after 0\n\z/, $program,
        "use $class; $class->new", '/dev/null', 'print "child"; 0';
}
control 'a child of IO::Async::Loop::Poll dies without a word', ['IO::Async::Loop::Poll'], qr/\Abefore  after 255\n\z/,
    "open STDERR, '>&', \\*STDOUT;\n$program", 'use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new', '/dev/null',
    'die "on purpose\n"';

done_testing;
