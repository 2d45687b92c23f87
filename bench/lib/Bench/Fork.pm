package Bench::Fork;

# Children that do nothing but exit, against raw perl's fork and waitpid: what the loop adds to a fork.

use strict;
use warnings;

use POSIX ();

use constant EXIT_CODE => 7;

sub rows {
    my %common = (
        unit         => 'child',
        takes        => sub { $_[0]{kind} ne 'family' },
        against      => 'same_modules',
        also_against => 'perl',
        clock        => 'wall',
        target       => 0.9,
        judged       => sub { $_[0]{is_ours} },
    );
    return (
        {
            %common,
            name    => 'fork-serial',
            title   => 'fork, exit and on_exit, one child after the other; raw perl: fork and waitpid',
            count   => 200,
            prepare => sub { my ($loop) = @_; return $loop ? _loop_serial($loop) : \&_raw_serial },
        },
        {
            %common,
            name    => 'fork-burst',
            title   => '300 children at once, until the last on_exit',
            count   => 300,
            prepare => sub { my ($loop) = @_; return $loop ? _loop_burst($loop) : \&_raw_burst },
        },
    );
}

sub _raw_fork {
    my $pid = fork;
    defined $pid or die "cannot fork: $!\n";
    POSIX::_exit(EXIT_CODE) if $pid == 0;
    return $pid;
}

sub _check {
    my ($wait_status) = @_;
    $wait_status == EXIT_CODE << 8 or die "a child ended with wait status $wait_status\n";
    return;
}

sub _raw_serial {
    my ($count) = @_;
    for (1 .. $count) {
        waitpid _raw_fork(), 0;
        _check($?);
    }
    return;
}

sub _loop_serial {
    my ($loop) = @_;
    my $code = sub { return EXIT_CODE };
    my $wait_status;
    my $on_exit = sub { $wait_status = $_[1]; $loop->stop };
    return sub {
        my ($count) = @_;
        for (1 .. $count) {
            $loop->fork(code => $code, on_exit => $on_exit);
            $loop->run;
            _check($wait_status);
        }
    };
}

sub _raw_burst {
    my ($count) = @_;
    for my $pid (map { _raw_fork() } 1 .. $count) {
        waitpid $pid, 0;
        _check($?);
    }
    return;
}

sub _loop_burst {
    my ($loop) = @_;
    my $code = sub { return EXIT_CODE };
    my ($left, @wait_statuses);
    my $on_exit = sub {
        push @wait_statuses, $_[1];
        $loop->stop if --$left == 0;
    };
    return sub {
        my ($count) = @_;
        ($left, @wait_statuses) = $count;
        $loop->fork(code => $code, on_exit => $on_exit) for 1 .. $count;
        $loop->run if $left;
        _check($_) for @wait_statuses;
    };
}

1;
