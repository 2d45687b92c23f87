#!/usr/bin/env perl

# The test files of a checkout of PAGI::Server on one loop after the other: what passes on IO::Async's own Poll loop has to
# pass on ours, and, with EventLoop::Fork's switch -io_async, on the loops of others. Its tests wait for times, so run this on a
# machine that does nothing else. A file that fails is tried again.
#
#     perl -Mblib xt/pagi-suite.pl --checkout /path/to/PAGI-Server
#     perl -Mblib xt/pagi-suite.pl --checkout /path/to/PAGI-Server --loops Poll,Libev --files 't/(1[137]|4[3-8]|50|signal)'
#
# Exit codes: 0 all that pass on Poll pass; 1 not so; 2 wrong usage.

use strict;
use warnings;

use Cwd          qw(abs_path);
use File::Temp   ();
use Getopt::Long qw(GetOptions);
use POSIX        qw(WNOHANG);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

my @WORKERS = qw(11 12 13 17 18 25 26 43 45 46 47 48 50 multiworker signal);

# Name, class as IO_ASYNC_LOOP has it, whether with the switch, other variables.
my @LOOPS = (
    [ 'Poll', 'Poll', 0 ],
    [ 'Libev', 'Libev', 0 ],
    [ 'Libevent', 'Libevent', 0 ],
    [ 'Poll+io_async', 'Poll', 1 ],
    [ 'Select+io_async', 'Select', 1 ],
    [ 'Epoll+io_async', 'Epoll', 1 ],
    [ 'Glib+io_async', 'Glib', 1 ],
    [ 'Mojo+io_async', 'Mojo', 1 ],
    [ 'MojoPoll+io_async', 'Mojo', 1, MOJO_REACTOR => 'Mojo::Reactor::Poll' ],
    [ 'Glib', 'Glib', 0 ],
    [ 'Mojo', 'Mojo', 0 ],
);

my %option = (loops => join(',', map { $_->[0] } @LOOPS[ 0 .. 8 ]), tries => 3, timeout => 180);
GetOptions(\%option, 'checkout=s', 'loops=s', 'files=s', 'tries=i', 'timeout=i', 'all', 'help') or exit 2;
if ($option{help} || !defined $option{checkout}) {
    print
        "usage: xt/pagi-suite.pl --checkout FOLDER [--loops NAMES] [--files PATTERN] [--all] [--tries N] [--timeout S]\n",
        "  --all: every file, not only those with several workers\n  loops: ", join(' ', map { $_->[0] } @LOOPS), "\n";
    exit($option{help} ? 0 : 2);
}
my %loop_of = map { $_->[0] => $_ } @LOOPS;
my @chosen  = map {
    $loop_of{$_}
        || do { print STDERR "there is no loop '$_'\n"; exit 2 }
} split /,/, $option{loops};

my $checkout = abs_path($option{checkout});
my @inc      = map { abs_path($_) // $_ } grep { !ref } @INC;
chdir $checkout or die "$checkout: $!\n";
my $pattern = $option{files} // ($option{all} ? '' : '^t/(?:' . join('|', @WORKERS) . ')');
my @files   = grep { /$pattern/ } sort glob 't/*.t t/*/*.t';
die "no test file in $checkout/t\n" if !@files;

# Each in a process group of its own: what it leaves behind is counted and ended.
sub run_file {
    my ($file, $loop) = @_;
    my (undef, $class, $has_switch, %more) = @$loop;
    my $output = File::Temp->new;
    my $pid    = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        %ENV = (
            %ENV, %more,
            IO_ASYNC_LOOP   => $class,
            RELEASE_TESTING => 1,
            PERL5LIB        => join(':', "$checkout/lib", "$checkout/t/lib", @inc),
            $has_switch ? (PERL5OPT => '-MEventLoop::Fork=-io_async') : (),
        );
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $output;
        open STDERR, '>&', $output;
        exec $^X, '-Ilib', $file or POSIX::_exit(99);
    }
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $option{timeout};
    my $status;
    while (clock_gettime(CLOCK_MONOTONIC) < $deadline) {
        last if waitpid($pid, WNOHANG) == $pid && defined($status = $?);
        select undef, undef, undef, 0.05;
    }
    my $left = members($pid, defined $status ? 0 : $pid);
    kill KILL => -$pid;
    waitpid $pid, 0 if !defined $status;
    seek $output, 0, 0;
    my $text = do { local $/; readline $output }
        // '';
    my @failed = $text =~ /^(not ok .*)$/mg;
    my $word =
          !defined $status            ? 'hangs'
        : $text =~ /^1\.\.0 # SKIP/mi ? 'skipped'
        : $status || @failed          ? 'fails'
        :                               'passes';
    return { word => $word, left => $left, failed => \@failed, text => $text };
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or return;    # it has ended meanwhile
    local $/;
    return readline $file;
}

# Living processes of the group, but for that one.
sub members {
    my ($group, $but) = @_;
    my @stats = map { slurp($_) } glob '/proc/[0-9]*/stat';
    return scalar grep {
        my ($pid, $state, $pgrp) = /\A([0-9]+) .*\) (\S) [0-9]+ ([0-9]+)/s;
        defined $pgrp && $pgrp == $group && $pid != $but && $state !~ /[ZX]/
    } @stats;
}

my %passes_on_poll;
my $failures = 0;
$| = 1;
for my $loop (@chosen) {
    my ($name) = @$loop;
    my %count;
    print "$name\n";
    for my $file (@files) {
        next if $name ne 'Poll' && exists $passes_on_poll{$file} && !$passes_on_poll{$file};
        my ($result, $tries);
        for (1 .. $option{tries}) {
            $tries++;
            $result = run_file($file, $loop);
            last if $result->{word} =~ /passes|skipped/ && !$result->{left};
        }
        $count{ $result->{word} }++;
        $passes_on_poll{$file} = $result->{word} eq 'passes' if $name eq 'Poll';
        my $is_good = $result->{word} =~ /passes|skipped/;
        $failures++ if !$is_good && $name ne 'Poll';
        next if $is_good && $tries == 1 && !$result->{left};
        printf "  %-40s %s, try %d%s\n", $file, $result->{word}, $tries,
            $result->{left} ? ", $result->{left} processes left" : '';
        print map { "      $_\n" }
            @{ $result->{failed} }[ 0 .. ($#{ $result->{failed} } > 4 ? 4 : $#{ $result->{failed} }) ]
            if !$is_good;
    }
    print '  ', join(', ', map { "$count{$_} $_" } sort keys %count), "\n";
}
exit($failures ? 1 : 0);
