#!/usr/bin/env perl
# A program on EV forks through its default loop. In the child the watchers of the parent are stopped, and the loop is private.
#
#     perl -Mblib examples/adapter-ev.pl
use strict;
use warnings;

use EV;
use EventLoop::Fork;

$| = 1;

# The child ends after the parent's timer: then the parent has closed its end.
pipe my $gate, my $door or die "pipe: $!";

my $parent_timer = EV::timer(0.005, 0, sub { print "parent: goes on\n"; close $door });

EventLoop::Fork->fork(
    loop => 'EV',        # or an EV::Loop
    name => 'counter',
    code => sub {
        my ($self) = @_;
        my $count  = 0;
        my $timer  = $self->loop->timer(
            0.01, 0.01,
            sub {
                my ($timer) = @_;
                print "child: ", ++$count, "\n";
                $timer->stop if $count == 3;
            }
        );
        $self->loop->run;    # until there is no watcher left
        close $door;
        readline $gate;
        return 0;
    },
    on_exit => sub {
        my ($child) = @_;
        print 'parent: ', $child->name, ': ', $child->exit_reason, "\n";
        EV::break;
    },
);

EV::run;
