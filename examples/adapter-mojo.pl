#!/usr/bin/env perl
# A program on Mojo::IOLoop forks through it, on either of its reactors. The child starts the singleton anew.
#
#     perl -Mblib examples/adapter-mojo.pl
use strict;
use warnings;

use Mojo::IOLoop;
use EventLoop::Fork;

$| = 1;

# The child ends after the parent's timer: then the parent has closed its end.
pipe my $gate, my $door or die "pipe: $!";

Mojo::IOLoop->timer(0.005 => sub { print "parent: goes on\n"; close $door });

EventLoop::Fork->fork(
    loop => 'Mojo::IOLoop',    # or an object
    name => 'counter',
    code => sub {
        my ($self) = @_;
        my $count = 0;
        $self->loop->recurring(
            0.01 => sub {
                my ($loop) = @_;
                print "child: ", ++$count, "\n";
                $loop->stop if $count == 3;
            }
        );
        $self->loop->start;
        close $door;
        readline $gate;
        return 0;
    },
    on_exit => sub {
        my ($child) = @_;
        print 'parent: ', $child->name, ': ', $child->exit_reason, "\n";
        Mojo::IOLoop->stop;
    },
);

Mojo::IOLoop->start;
