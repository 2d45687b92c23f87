package HookTest;

# For t/hooks: a log that hooks of all processes write to, line by line.

use strict;
use warnings;

use Exporter   qw(import);
use File::Temp ();
use POSIX      ();
use Test2::V0  ();

our @EXPORT = qw(hooks_that_log logged note_line reset_log with_stderr);

my $file  = File::Temp->new;
my $first = $$;
open my $log, '>>', $file->filename or die "$file: $!";

# Who writes: P is the test's process, C any other.
sub note_line {
    my ($text) = @_;
    my $line = ($$ == $first ? 'P' : 'C') . " $text\n";
    syswrite($log, $line) == length $line or die "$file: $!";
    return;
}

# The three callbacks of a hook, which write its name, the phase, and what they get.
sub hooks_that_log {
    my ($name) = @_;
    return map {
        my $phase = $_;
        (
            $phase => sub {
                note_line(join ' ', $name, $phase, map { ref } @_);
            }
        )
    } qw(prepare parent child);
}

sub reset_log {
    truncate $file->filename, 0 or die "$file: $!";
    return;
}

# The lines so far, the parent's and the children's, each in their order; starts anew.
sub logged {
    open my $reader, '<', $file->filename or die "$file: $!";
    chomp(my @lines = readline $reader);
    reset_log();
    return { P => [ map { /\AP (.*)/ ? $1 : () } @lines ], C => [ map { /\AC (.*)/ ? $1 : () } @lines ] };
}

# What the code prints to STDERR, its children too.
sub with_stderr {
    my ($code) = @_;
    my $errors = File::Temp->new;
    open my $saved, '>&', \*STDERR or die "STDERR: $!";
    open STDERR, '>&', $errors     or die "STDERR: $!";
    my $ok    = eval { $code->(); 1 };
    my $error = $@;
    open STDERR, '>&', $saved or die "STDERR: $!";
    die $error unless $ok;
    open my $reader, '<', $errors->filename or die "$errors: $!";
    local $/;
    my $text = readline $reader;
    return defined $text ? $text : '';
}

1;
