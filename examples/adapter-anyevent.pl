#!/usr/bin/env perl
# A program on AnyEvent forks, on AnyEvent's own loop or on EV. The child may wait for conditions of its own.
#
#     perl -Mblib examples/adapter-anyevent.pl
use strict;
use warnings;

use AnyEvent;
use EventLoop::Fork;

$| = 1;

# The child ends after the parent's timer: then the parent has closed its end.
pipe my $gate, my $door or die "pipe: $!";

my $done         = AnyEvent->condvar;
my $parent_timer = AnyEvent->timer(after => 0.005, cb => sub { print "parent: goes on\n"; close $door });

EventLoop::Fork->fork(
    loop => 'AnyEvent',
    name => 'counter',
    code => sub {
        my ($self) = @_;
        my ($enough, $count) = ($self->loop->condvar, 0);
        my $timer;
        $timer = AnyEvent->timer(
            after    => 0.01,
            interval => 0.01,
            cb       => sub {
                print "child: ", ++$count, "\n";
                return if $count < 3;
                undef $timer;    # one that is late is called several times
                $enough->send;
            },
        );
        $enough->recv;
        close $door;
        readline $gate;
        return 0;
    },
    on_exit => sub {
        my ($child) = @_;
        print 'parent: ', $child->name, ': ', $child->exit_reason, "\n";
        $done->send;
    },
);

$done->recv;
