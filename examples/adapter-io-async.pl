#!/usr/bin/env perl
# A program on IO::Async, whatever class its loop has, forks through that loop. The child gets a loop of the same class.
#
#     perl -Mblib examples/adapter-io-async.pl
use strict;
use warnings;

use IO::Async::Loop;
use IO::Async::Timer::Countdown;
use EventLoop::Fork;

$| = 1;

my $loop = IO::Async::Loop->new;

# The child ends after the parent's timer: then the parent has closed its end.
pipe my $gate, my $door or die "pipe: $!";

$loop->add(
    IO::Async::Timer::Countdown->new(
        delay     => 0.005,
        on_expire => sub { print "parent: goes on\n"; close $door },
    )->start
);

EventLoop::Fork->fork(
    loop => $loop,
    name => 'counter',
    code => sub {
        my ($self) = @_;
        my $own = $self->loop;       # the one that IO::Async::Loop->new gives here, too
        for my $count (1 .. 3) {
            $own->delay_future(after => 0.01)->get;
            print "child: $count\n";
        }
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

$loop->run;
