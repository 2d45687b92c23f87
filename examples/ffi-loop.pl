#!/usr/bin/env perl

# The core without its Perl interface: a loop, a timer and a watched child through the C functions of evf.h, by
# FFI::Platypus. The same works from any language that can call C. The argument is the backend: poll (built in), libev
# or libevent.

use strict;
use warnings;

use Config;
use POSIX ();

eval { require FFI::Platypus::Memory; FFI::Platypus->VERSION('1.00') }
    or die "ffi-loop.pl: FFI::Platypus is missing: apt-get install libffi-platypus-perl, or cpanm FFI::Platypus\n";

# The caller owns the memory of a watcher. Nothing here looks inside, so only the size counts: more than any of them has.
use constant WATCHER_BYTES => 512;

# From evf.h.
use constant { CLOCK_MONOTONIC => 0, SECOND => 1_000_000_000 };

my $backend = @ARGV ? shift @ARGV : 'poll';

# ---- the functions

# What perl would load for a module: the object is where its modules are.
sub object_of {
    my ($module) = @_;
    my @parts    = split /::/, $module;
    my $path     = join '/', 'auto', @parts, "$parts[-1].$Config{dlext}";
    my ($found)  = grep { -e } map { "$_/$path" } grep { !ref } @INC;
    return $found // die "ffi-loop.pl: no $path in \@INC; build EventLoop::Fork, and give it by -Mblib\n";
}

my $ffi = FFI::Platypus->new(api => 1, lib => object_of('EventLoop::Fork'));
$ffi->type('(opaque, opaque)->int'      => 'timer_cb');
$ffi->type('(opaque, int, opaque)->int' => 'process_cb');

# const struct evf_backend *backend, const char *method, const struct evf_loop_hooks *hooks, struct evf_loop **ret_loop
$ffi->attach(evf_loop_new      => [qw(opaque string opaque opaque*)]             => 'int');
$ffi->attach(evf_loop_free     => ['opaque']                                     => 'void');
$ffi->attach(evf_loop_backend  => ['opaque']                                     => 'string');
$ffi->attach(evf_loop_method   => ['opaque']                                     => 'string');
$ffi->attach(evf_loop_run_once => [qw(opaque sint64)]                            => 'int');
$ffi->attach(evf_loop_now      => [qw(opaque int)]                               => 'sint64');
$ffi->attach(evf_timer_start   => [qw(opaque opaque int sint64 timer_cb opaque)] => 'int');
$ffi->attach(evf_process_start => [qw(opaque opaque int process_cb opaque)]      => 'int');
$ffi->attach(evf_error_name    => ['int']                                        => 'string');
$ffi->attach(evf_error_text    => ['int']                                        => 'string');

# Negative answers are errors.
sub check {
    my ($call, $answer) = @_;
    return $answer if $answer >= 0;
    die "ffi-loop.pl: $call: ", evf_error_name($answer), ': ', evf_error_text($answer), "\n";
}

# poll is a table of the core; the others are in objects of their own, where a function tells the table. Such an object
# is closed with $backend_ffi.
my $backend_ffi;

sub backend_table {
    my ($name) = @_;
    return $ffi->find_symbol('evf_backend_poll') if $name eq 'poll';
    my $object = object_of('EventLoop::Fork::Backend::' . ucfirst $name);
    $backend_ffi = FFI::Platypus->new(api => 1, lib => $object);
    return $backend_ffi->function("evf_backend_$name" => [] => 'opaque')->call;
}

# ---- the program

local $| = 1;
check('evf_loop_new', evf_loop_new(backend_table($backend), undef, undef, \my $loop));
print 'loop on ', evf_loop_backend($loop), '/', evf_loop_method($loop), "\n";

my $left = 2;

my $timer    = FFI::Platypus::Memory::calloc(1, WATCHER_BYTES);
my $on_timer = $ffi->closure(sub {
    print "timer fired\n";
    $left--;
    return 0;
});
my $deadline = evf_loop_now($loop, CLOCK_MONOTONIC) + int(0.05 * SECOND);
check(
    'evf_timer_start',
    evf_timer_start($loop, $timer, CLOCK_MONOTONIC, $deadline, $on_timer, undef)
);

my $pid = fork // die "ffi-loop.pl: fork: $!\n";
POSIX::_exit(3) if $pid == 0;

my $process    = FFI::Platypus::Memory::calloc(1, WATCHER_BYTES);
my $on_process = $ffi->closure(sub {
    my (undef, $wait_status, undef) = @_;
    print 'child ended: exit ', $wait_status >> 8, "\n";
    $left--;
    return 0;
});
check('evf_process_start', evf_process_start($loop, $process, $pid, $on_process, undef));

# A turn waits until something happens: -1 is for ever.
check('evf_loop_run_once', evf_loop_run_once($loop, -1)) while $left;
evf_loop_free($loop);    # stops what is active; the memory can go then
FFI::Platypus::Memory::free($_) for $timer, $process;
