#!/usr/bin/env perl
# Forks through the loop of this distribution: the child counts in a loop of its own, and its end arrives in ours.
#
#     perl -Mblib examples/adapter-native.pl
use strict;
use warnings;

use EventLoop::Fork::Loop;
use EventLoop::Fork;

$| = 1;

my $loop = EventLoop::Fork::Loop->new;

# The child ends after the parent's timer: then the parent has closed its end.
pipe my $gate, my $door or die "pipe: $!";

my $child = EventLoop::Fork->fork(
    loop => $loop,
    name => 'counter',
    code => sub {
        my ($self) = @_;
        my ($own, $count) = ($self->loop, 0);
        my $tick;
        $tick = sub {
            print "child: ", ++$count, "\n";
            return $own->stop if $count == 3;
            $own->watch_time(after => 0.01, code => $tick);
        };
        $tick->();
        $own->run;
        close $door;
        readline $gate;
        return 0;
    },
    on_exit => sub {
        my ($child) = @_;
        print 'parent: ', $child->name, ': ', $child->exit_reason, "\n";
        $loop->stop;
    },
);

$loop->watch_time(after => 0.005, code => sub { print "parent: goes on\n"; close $door });
$loop->run;
