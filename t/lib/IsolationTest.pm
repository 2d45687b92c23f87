package IsolationTest;

# One kind of event loop under all checks of t/isolation: each with the plain tools, which go wrong as the table in
# ForkSafety.pod says, and with this distribution, which does not. Every check runs in a perl of its own.

use strict;
use warnings;

use Exporter              qw(import);
use ForkTest              qw(BOUND end_program start_program under_valgrind);
use IsolationTest::Checks ();
use IsolationTest::Family ();
use POSIX                 ();
use Test2::V0;

our @EXPORT = qw(isolation_tests);

# How many run at a time; they mostly wait.
use constant AT_A_TIME => 4;

# Seconds for what never comes; more each time, because a busy machine may only be slow.
my @SHORT = map { $_ * ($ENV{EVF_TEST_SLOW} ? 8 : 1) } 0.4, 1, 3;

my $PROGRAM = 'use IsolationTest::Run; IsolationTest::Run::main(@ARGV)';

sub isolation_tests {
    my @names = @_;
    my $table = read_table();
    for my $name (@names) {
        my $family    = IsolationTest::Family->for_name($name);
        my ($missing) = grep { !defined ForkTest::has_version($_) } $family->needs;
        my $why       = defined $missing ? "$missing is not installed" : $family->lacks;
        subtest $name => sub {
            skip_all $why if $why;
            test_family($family, $table->{$name} || {});
        };
    }
    done_testing;
    return;
}

sub test_family {
    my ($family, $rows) = @_;
    local @ENV{ keys %{ { $family->environment } } } = values %{ { $family->environment } };
    my @jobs;
    for my $name (IsolationTest::Checks->names) {
        next if $ENV{ISOLATION_CHECKS} && $name !~ $ENV{ISOLATION_CHECKS};
        next if $family->{leaves_out}{$name};
        my $check = IsolationTest::Checks->for_name($name);
        for my $tool (@{ $check->{plain} }, @{ $check->{with} }) {
            next if $tool eq 'own' && !$family->has_own_fork;
            next if $tool eq 'raw' && $family->is_ours;         # is the same as 'fork'
            my $cell = $rows->{ $tool eq 'keep' ? 'ours' : $tool }{$name};
            push @jobs,
                {
                family   => $family,
                check    => $check,
                tool     => $tool,
                is_ours  => $family->is_ours || $tool ne 'fork' && $tool ne 'own',
                expected => defined $cell ? $cell : '-',
                };
        }
    }
    # What is not ours need not be looked at there; a fault that is one of time may not be one.
    @jobs = grep { $_->{is_ours} && is_right($_) } @jobs if under_valgrind();
    run_jobs(@jobs);
    report($_) for @jobs;
    return;
}

# ---- Programs -------------------------------------------------------------------------------------------------------

# Keeps some going at a time, in order.
sub run_jobs {
    my @waiting = @_;
    my @running;
    while (@waiting || @running) {
        while (@waiting && @running < AT_A_TIME) {
            my $job = shift @waiting;
            start_job($job, 0);
            push @running, $job;
        }
        my $job = shift @running;
        end_job($job);
        # What is wrong in another way than the table says may have met a busy machine.
        for my $try (1 .. $#SHORT) {
            last if is_as_expected($job) || $job->{is_ours} && is_right($job);
            start_job($job, $try);
            end_job($job);
        }
    }
    return;
}

sub start_job {
    my ($job, $try) = @_;
    my $bound = is_right($job) ? BOUND : $SHORT[$try];
    delete local $ENV{LD_PRELOAD} unless $job->{is_ours};    # no sanitizer: nothing of ours runs in it
    $job->{program} = start_program($PROGRAM, $job->{family}{name}, $job->{tool}, $job->{check}{name}, $bound);
    return;
}

sub is_right { my ($job) = @_; return $job->{expected} =~ /\A[.-]\z/ }

sub end_job {
    my ($job)   = @_;
    my $program = delete $job->{program};
    my $result  = eval { end_program($program) };
    my $error   = $@;
    if (!$result) {                                          # its children may hold the pipe open, too
        kill KILL => $program->{pid};
        waitpid $program->{pid}, 0;
        $result = { stdout => "fault h\ndone\n", stderr => $error, status => 0 };
    }
    my %faults = map { $_ => 1 } $result->{stdout} =~ /^fault (.)$/mg;
    my $signal = $result->{status} & 127;
    if    ($signal == POSIX::SIGALRM())               { $faults{h}   = 1 }
    elsif ($result->{status})                         { $faults{'!'} = 1 }
    elsif ($result->{stdout} !~ /^(?:done|nothing)/m) { $faults{'!'} = 1 }
    $job->{is_nothing} = $result->{stdout} =~ /^nothing to check$/m;
    $job->{seen}       = join('', sort keys %faults) || '-';
    $job->{seen}       = '.' if $job->{is_nothing};
    $job->{details}    = "$result->{stdout}$result->{stderr}(wait status $result->{status})";
    return;
}

# ---- Results --------------------------------------------------------------------------------------------------------

# A cell has the letters of the faults; those in brackets come now and then. No letter is "-", nothing to check ".".
sub is_as_expected {
    my ($job) = @_;
    my ($expected, $seen) = @$job{qw(expected seen)};
    return $expected =~ /\A[.-]\z/ if $job->{is_nothing};
    (my $always = $expected) =~ s/\(([^)]*)\)//;
    my $sometimes = defined $1 ? $1 : '';
    $always = '-' if $always eq '';
    return 1 if $seen eq $always;
    my %allowed = map { $_ => 1 } split //, $always . $sometimes;
    return 0 if grep { !$allowed{$_} } grep { $_ ne '-' } split //, $seen;
    return !grep { $_ ne '-' && index($seen, $_) < 0 } split //, $always;
}

my %TOOLS = (
    fork => 'perl\'s fork',
    own  => 'its own way',
    ours => 'EventLoop::Fork',
    keep => 'EventLoop::Fork with loop_in_child => \'keep\'',
    raw  => 'perl\'s fork with EventLoop::Fork loaded',
);

sub report {
    my ($job) = @_;
    my $name = "$job->{check}{name}: $job->{check}{title} ($TOOLS{$job->{tool}})";
    $name = "control: $name: $job->{seen}" unless $job->{is_ours};
    return if ok(is_as_expected($job), $name);
    diag "ForkSafety.pod says $job->{expected}, and this is $job->{seen}";
    diag $job->{details};
    return;
}

# ---- The table ------------------------------------------------------------------------------------------------------

# The columns of the table, and which families each stands for.
my %COLUMNS = (
    Poll   => [qw(io-async-poll io-async-select io-async-mojo)],
    Epoll  => ['io-async-epoll'],
    Glib   => ['io-async-glib'],
    EV     => ['ev-default'],
    EVdyn  => ['ev-dynamic'],
    uring  => ['ev-io_uring'],
    AEperl => ['anyevent-perl'],
    AEev   => ['anyevent-ev'],
    MjPoll => ['mojo-poll'],
    MjEV   => ['mojo-ev'],
    LEpoll => ['linux-epoll'],
    Ours   => [qw(native-libev native-libevent native-poll io-async-libev io-async-libevent)],
);

# Family => tool => check => cell, from the documentation. What is not there is right.
sub read_table {
    my ($path) = grep { -e } map { "$_/EventLoop/Fork/ForkSafety.pod" } 'lib', @INC;
    open my $pod, '<', $path or die "ForkSafety.pod: $!";
    my (%table, $tool, @columns);
    while (my $line = readline $pod) {
        my ($first, @cells) = $line =~ /\A    \S/ ? split ' ', $line : ();
        if    (!defined $first)                                                { undef $tool }
        elsif ($first =~ /\A(?:fork|own|ours|raw)\z/ && $COLUMNS{ $cells[0] }) { ($tool, @columns) = ($first, @cells) }
        elsif (defined $tool) {
            @cells == @columns or die "$path line $.: " . @cells . ' cells, not ' . @columns . "\n";
            for my $index (0 .. $#columns) {
                $table{$_}{$tool}{$first} = $cells[$index] for @{ $COLUMNS{ $columns[$index] } };
            }
        }
    }
    return \%table;
}

1;
