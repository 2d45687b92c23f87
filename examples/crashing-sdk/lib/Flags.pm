package Flags;

# The Perl side of the stand-in SDK, as its authors would have it: it starts a client once for each process, and has a hook
# for forks, because their documentation says so. The fault is in Flags.xs.

use strict;
use warnings;

use EventLoop::Fork qw(at_fork);
use XSLoader;

our $VERSION = '0.01';

XSLoader::load('Flags', $VERSION);

my $hook;

# use Flags -start;
sub import {
    my ($class, @words) = @_;
    $class->start if grep { $_ eq '-start' } @words;
    return;
}

sub start {
    my ($class) = @_;
    _start();
    $hook ||= at_fork(name => 'flags', child => sub { _after_fork() });
    return $class;
}

1;
