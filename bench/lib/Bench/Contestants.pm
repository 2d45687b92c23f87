package Bench::Contestants;

# Who takes part. A contestant is a name, a label for the table, the modules it loads and how its loop is made; raw perl
# has no loop. Nothing is loaded here: each measurement loads its contestant in a process of its own.

use strict;
use warnings;

sub _raw {
    my ($name, $label, @modules) = @_;
    return { name => $name, label => $label, kind => 'raw', modules => \@modules };
}

# A fork copies the tables of all that is loaded. So a loop is compared with raw perl in a process of the same size.
sub _native {
    my ($backend) = @_;
    return {
        name         => $backend,
        label        => "EventLoop::Fork::Loop, $backend",
        kind         => 'native',
        modules      => ['EventLoop::Fork::Loop'],
        make         => sub { EventLoop::Fork::Loop->new(backend => $backend) },
        is_ours      => 1,
        same_modules => 'perl-native',
    };
}

sub _io_async {
    my ($name, $label, $module, @needs) = @_;
    return {
        name         => $name,
        label        => $label,
        kind         => 'io_async',
        modules      => [ @needs, $module ],
        make         => sub { $module->new },
        is_ours      => scalar $module =~ /::Libev(ent)?\z/,
        same_modules => 'perl-io-async',
    };
}

# The loop of somebody else, and children of it: by the way of its family, and by ours.
sub _family {
    my ($name, $label, $own, $loop, @modules) = @_;
    my %common = (kind => 'family', modules => \@modules, loop => $loop, own => $own, own_way => "$name-own");
    return (
        { %common, name => "$name-own", label  => "$label, its own way" },
        { %common, name => "$name-ours", label => "$label, EventLoop::Fork->fork", is_ours => 1 },
    );
}

# In the order of the table, which is the order of each round: what is compared stands close together.
my @CONTESTANTS = (
    _raw('perl', 'raw perl'),
    _raw('perl-native', 'raw perl, EventLoop::Fork loaded', 'EventLoop::Fork::Loop'),
    _raw('perl-io-async', 'raw perl, IO::Async loaded', 'IO::Async::Loop'),
    _io_async('ev', 'EV through IO::Async', 'IO::Async::Loop::BenchEV', 'EV'),
    _io_async('io-libev', 'IO::Async::Loop::Libev', 'IO::Async::Loop::Libev'),
    _io_async('io-libevent', 'IO::Async::Loop::Libevent', 'IO::Async::Loop::Libevent'),
    _native('libev'),
    _native('libevent'),
    _native('poll'),
    _io_async('io-epoll', 'IO::Async::Loop::Epoll', 'IO::Async::Loop::Epoll'),
    _io_async('io-poll', 'IO::Async::Loop::Poll', 'IO::Async::Loop::Poll'),
    _io_async('io-select', 'IO::Async::Loop::Select', 'IO::Async::Loop::Select'),
    _family('f-ev', 'EV', sub { Bench::Families::ev() }, sub { 'EV' }, 'EV'),
    _family('f-anyevent', 'AnyEvent', sub { Bench::Families::anyevent() }, sub { 'AnyEvent' }, 'AnyEvent'),
    _family('f-mojo', 'Mojo', sub { Bench::Families::mojo() }, sub { 'Mojo::IOLoop' }, 'Mojo::IOLoop'),
    map {
        my $class = "IO::Async::Loop::$_";
        _family(
            'f-io-' . lc, $class,
            sub { Bench::Families::io_async($class) },
            sub { $class->new }, $class
        )
    } qw(Poll Epoll),
);

sub all { return @CONTESTANTS }

sub named {
    my ($name)       = @_;
    my ($contestant) = grep { $_->{name} eq $name } @CONTESTANTS;
    return $contestant || die "no contestant '$name'\n";
}

# Loads the modules and returns the loop, undef for raw perl, the contestant itself for a family. Dies if something is not installed.
sub start {
    my ($contestant) = @_;
    for my $module (@{ $contestant->{modules} }) {
        (my $file = "$module.pm") =~ s{::}{/}g;
        require $file;
    }
    return $contestant if $contestant->{kind} eq 'family';    # the row chooses how
    return $contestant->{make} ? $contestant->{make}->() : undef;
}

# What was loaded, in words.
sub versions {
    my ($contestant) = @_;
    my @modules = grep { $_ ne 'IO::Async::Loop::BenchEV' } @{ $contestant->{modules} };
    unshift @modules, 'IO::Async::Loop' if $contestant->{kind} eq 'io_async';
    return { map { $_ => $_->VERSION } @modules };
}

1;
