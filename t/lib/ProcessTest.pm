package ProcessTest;

# A program in a process group of its own that writes lines into a pipe. Tests wait for these lines and for its end, with a
# bound. For what nobody tells of, an end or shared memory, there is no other way than to look again and again.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select;
use POSIX       qw(WNOHANG);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our @EXPORT_OK = qw(BOUND SLOW end_of in_words now wait_until write_file);

use constant SLOW  => $ENV{EVF_TEST_SLOW} ? 1   : 0;
use constant BOUND => SLOW                ? 300 : 40;    # seconds, for anything

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# What the code returns, once that is true or the bound is over.
sub wait_until {
    my ($code, $bound) = @_;
    my $deadline = now() + ($bound || BOUND);
    while (1) {
        my $value = $code->();
        return $value if $value || now() > $deadline;
        select undef, undef, undef, 0.01;
    }
}

# The wait status of a child, when it has ended. undef: it has not, within the bound.
sub end_of {
    my ($pid, $bound) = @_;
    my $status;
    wait_until(sub { waitpid($pid, WNOHANG) == $pid && defined($status = $?) }, $bound);
    return $status;
}

# Another one sees the old text or the new one. Returns the path.
sub write_file {
    my ($path, $text) = @_;
    open my $file, '>', "$path.new" or die "$path: $!";
    print {$file} $text;
    close $file               or die "$path: $!";
    rename "$path.new", $path or die "$path: $!";
    return $path;
}

sub in_words { return $_[0] & 127 ? 'signal ' . ($_[0] & 127) : $_[0] >> 8 }

# Runs the code, which gets the writing end and does not come back.
sub start_process {
    my ($class, $code) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $owner = $$;
    my $pid   = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        close $reader;
        setpgrp;
        $code->($writer);
        POSIX::_exit(99);
    }
    close $writer;
    return bless { pid => $pid, reader => $reader, buffer => '', seen => [], unread => [], owner => $owner }, $class;
}

sub pid { return $_[0]{pid} }

sub signal { my ($self, $signal) = @_; return kill $signal, $self->{pid} }

# What is kept of a line.
sub parse { return $_[1] }

# What the code returns for the next line for which that is not empty; those before are skipped. Nothing: there is none
# within the bound, or there will be none.
sub next_match {
    my ($self, $code, $bound) = @_;
    my $deadline = now() + ($bound || BOUND);
    while (1) {
        while (defined(my $parsed = shift @{ $self->{unread} })) {
            if (my @found = $code->($parsed)) { return @found }
        }
        return unless $self->_read($deadline - now());
    }
}

sub _read {
    my ($self, $seconds) = @_;
    return 0 if $seconds <= 0 || !IO::Select->new($self->{reader})->can_read($seconds);
    sysread $self->{reader}, $self->{buffer}, 65_536, length $self->{buffer} or return 0;
    while ($self->{buffer} =~ s/\A([^\n]*)\n//) {
        my $parsed = $self->parse($1);
        push @{ $self->{$_} }, $parsed for qw(seen unread);
    }
    return 1;
}

# When it has ended; reads on meanwhile. undef: it has not, within the bound.
sub exit_code {
    my ($self, %how) = @_;
    my $deadline = now() + ($how{bound} || BOUND);
    if (!defined $self->{wait_status}) {
        1 while $self->_read($deadline - now());    # its end, and that of its children, closes the pipe
        $self->{wait_status} = end_of($self->{pid}, $deadline - now());
    }
    return defined $self->{wait_status} ? in_words($self->{wait_status}) : undef;
}

# No process of its group is left.
sub is_gone {
    my ($self) = @_;
    return wait_until(sub { !kill 0, -$self->{pid} }) ? 1 : 0;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!);
    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0 unless defined $self->{wait_status};
    return;
}

1;
