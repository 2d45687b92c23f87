package Bench::Hooks;

# What at_fork costs, beyond the fork: forks with hooks and without them take turns, and the difference of their medians
# counts. It is processor time, of the parent and, where hooks run there, of the child: on the wall a microsecond is lost
# among those of the fork itself.

use strict;
use warnings;

use POSIX       ();
use Time::HiRes qw(clock_gettime CLOCK_PROCESS_CPUTIME_ID);

use constant {
    HOOKS   => 100,
    OBJECTS => 10_000,
    FORKS   => 40,       # of each kind, in a batch
};

sub rows {
    my %common = (
        takes          => sub { $_[0]{name} eq 'poll' },    # no loop takes part; one that is always there
        clock          => 'processor',
        judged         => sub { 1 },
        measures_count => 1,
        count          => 1,
    );
    return (
        {
            %common,
            name    => 'hook-empty',
            title   => 'a hook whose prepare, parent and child do nothing, beyond the fork: one of ' . HOOKS,
            unit    => 'hook',
            limit   => 1e-6,
            prepare => \&_prepare_empty,
        },
        {
            %common,
            name    => 'hook-registry',
            title   => '10,000 objects with hooks for the child: what the parent pays for them',
            unit    => 'fork',
            limit   => 0.5e-3,
            prepare => \&_prepare_registry,
        },
    );
}

# Seconds of processor time in the parent and in the child.
sub _fork {
    my ($reader, $writer) = @_;
    my $before = clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    my $pid    = fork;
    defined $pid or die "cannot fork: $!\n";
    if ($pid == 0) {
        syswrite $writer, pack 'd', clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
        POSIX::_exit(0);
    }
    my $parent = clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $before;
    sysread $reader, my $text, 8;
    waitpid $pid, 0;
    $? == 0 or die "a child ended with wait status $?\n";
    return ($parent, unpack 'd', $text);
}

# What forks with the hooks take more than those without: of the parent and of the child. Bench::Measure is loaded: it
# measures us.
sub _difference {
    my ($register) = @_;
    pipe my $reader, my $writer or die "pipe: $!\n";
    my (@parent, @child);
    for (1 .. FORKS) {
        my ($parent, $child) = _fork($reader, $writer);
        my @hooks = $register->();
        my ($more_parent, $more_child) = _fork($reader, $writer);
        $_->cancel for @hooks;
        push @parent, $more_parent - $parent;
        push @child, $more_child - $child;
    }
    return (Bench::Measure::median(@parent), Bench::Measure::median(@child));
}

sub _prepare_empty {
    require EventLoop::Fork;
    my $nothing = sub { };
    my @phases  = map { $_ => $nothing } qw(prepare parent child);
    return sub {
        my ($parent, $child) = _difference(sub {
            map { EventLoop::Fork::at_fork(@phases) } 1 .. HOOKS;
        });
        return ($parent + $child) / HOOKS;
    };
}

sub _prepare_registry {
    require EventLoop::Fork;
    my @objects = map { +{} } 1 .. OBJECTS;
    my $nothing = sub { };
    return sub {
        my ($parent) = _difference(sub {
            map { EventLoop::Fork::at_fork(object => $_, child => $nothing) } @objects;
        });
        return $parent;
    };
}

1;
