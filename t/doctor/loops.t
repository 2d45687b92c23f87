# Event loops of the parent: watches that a child does not have, singletons, families that nobody knows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module);
use Test2::V0;

SKIP: {
    skip 'IO::Async is not installed' unless has_module('IO::Async::Loop');
    my $start = 'require IO::Async::Loop; push @kept, IO::Async::Loop->new;';
    finds(
        note => 'loops', qr/\A1 watch was made on the loop of IO::Async before the fork\z/,
        "$start \$kept[0]->watch_io(handle => \\*STDIN, on_read_ready => sub { })",
        name => 'a watch of IO::Async'
    );
    my $found = finds(
        note    => 'loops', qr/\Aafter perl's own fork the child has its parent's IO::Async::Loop::\w+:/, $start,
        name    => 'the singleton of IO::Async',
        without => 'require IO::Async::Loop',
    );
}
SKIP: {
    skip 'Mojolicious is not installed' unless has_module('Mojo::IOLoop');
    finds(
        note => 'loops', qr/\A1 watch was made on the loop of Mojo before the fork\z/,
        'require Mojo::IOLoop; Mojo::IOLoop->timer(100 => sub { })',
        name    => 'a timer of Mojo',
        without => 'require Mojo::IOLoop',
    );
}
SKIP: {
    skip 'EV is not installed' unless has_module('EV');
    finds(
        note => 'loops', qr/\A1 watch was made on the loop of EV before the fork\z/,
        'require EV; push @kept, EV::timer(100, 0, sub { })',
        name    => 'a timer of EV',
        without => 'require EV',
    );
}

# Known by the file that is loaded; what it does is not asked.
finds(
    warning => 'loops', qr/\ADanga::Socket is loaded, and how a child gets a new loop of it is not known here\z/,
    q{$INC{'Danga/Socket.pm'} = 1},
    name    => 'a loop without an adapter',
    without => '',
);

done_testing;
