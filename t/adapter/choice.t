# Which adapter serves a loop: an object, the name of a class, or nothing. Several loops in use are reported once; a loop
# that nobody knows is refused with the contract's name; other authors' adapters are asked first.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left has_module run_program);
use Test2::V0;

use EventLoop::Fork;
use EventLoop::Fork::Adapter;
use EventLoop::Fork::Loop;

my $for_loop = \&EventLoop::Fork::Adapter::for_loop;

subtest 'loops of ours' => sub {
    my $loop = EventLoop::Fork::Loop->new;
    is($for_loop->($loop)->loop, exact_ref($loop), 'the object itself');
    isa_ok($for_loop->('EventLoop::Fork::Loop')->loop, ['EventLoop::Fork::Loop'], 'by class');
    my $default = $for_loop->();
    isa_ok($default->loop, ['EventLoop::Fork::Loop'], 'with none in use');
    is($for_loop->()->loop, exact_ref($default->loop), 'and it stays the same');
};

subtest 'what is no loop' => sub {
    for my $wrong ('No::Such::Loop', '', 0, 'IO::Async::Loop; die', [], {}, sub { }, bless({}, 'Some::Thing')) {
        my $error = dies { EventLoop::Fork->fork(loop => $wrong, code => sub { 0 }) };
        isa_ok($error, ['EventLoop::Fork::Error'], 'refused');
        is($error->name, 'EVF_ENOTSUP', 'with the right error');
        like($error->message, qr/EventLoop::Fork::Adapter\b.*EventLoop::Fork::Adapter::register/, 'that names the contract');
        like("$error", qr/\Q$0\E line/, 'and the place of the call');
    }
    is(children_left(), '', 'nothing was forked');
};

subtest 'register' => sub {
    my $error = dies { EventLoop::Fork::Adapter::register('Half::An::Adapter') };
    is($error->name, 'EVF_EINVAL', 'an adapter without the methods is refused');
    like($error->message, qr/Half::An::Adapter.*lacks.*watch_io/, 'by name');
    {
        package Whole::Adapter;
        our @ISA = 'EventLoop::Fork::Adapter::Native';
        sub accepts { return ref $_[1] eq 'Whole::Loop' }
        sub new { my ($class, $loop) = @_; return bless { loop => $loop }, $class }
    }
    EventLoop::Fork::Adapter::register('Whole::Adapter') for 1, 2;
    my $loop = bless {}, 'Whole::Loop';
    isa_ok($for_loop->($loop), ['Whole::Adapter'], 'a registered one is asked');
    isa_ok($for_loop->(EventLoop::Fork::Loop->new), ['EventLoop::Fork::Adapter::Native'], 'the others still are');
};

each_family(
    qr/./,
    sub {
        my ($family) = @_;
        # Not given, and given by object or name.
        program_says(
            'without a name, and with one', "$family->{family} same\n",
            <<'PROGRAM', $family->{source}
            use EventLoop::Fork::Adapter;
            my $made   = eval 'no strict; ' . shift() or die $@;
            no warnings 'once';
            $IO::Async::Loop::ONE_TRUE_LOOP = $made if ref $made && $made->isa('IO::Async::Loop');
            my $chosen = EventLoop::Fork::Adapter::for_loop();
            my $named  = EventLoop::Fork::Adapter::for_loop($made);
            print $chosen->family, ' ', $named->family eq $chosen->family ? 'same' : $named->family, "\n";
PROGRAM
        );
    }
);

# Merely on top of each other they are one choice.
for (
    [ 'EV alone',              'use EV;',                                                            'EV',       0 ],
    [ 'Mojo on EV',            'use Mojo::IOLoop; use EV;',                                          'Mojo',     0 ],
    [ 'AnyEvent on EV',        'use EV; use AnyEvent; AnyEvent::detect();',                          'AnyEvent', 0 ],
    [ 'IO::Async and EV',      'use EV; use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new;',     'IO::Async', 1 ],
    [ 'IO::Async, not in use', 'use IO::Async::Loop;',                                     'EventLoop::Fork', 0 ],
    [ 'IO::Async on Mojo', 'use IO::Async::Loop::Mojo; IO::Async::Loop::Mojo->new;', 'IO::Async', 0 ],
    )
{
    my ($name, $source, $expected, $warnings) = @$_;
    my ($missing) = grep { !defined ForkTest::has_version($_) } $source =~ /use ([\w:]+);/g;
SKIP: {
        skip("$name: $missing is not installed", 1) if defined $missing;
        my $result = run_program("$source; use EventLoop::Fork::Adapter; "
                . 'print EventLoop::Fork::Adapter::for_loop()->family for 1 .. 2; ');
        is($result->{stdout}, $expected x 2, $name);
        my @reports = $result->{stderr} =~ /several event loops are in use \((.*)\).*'loop =>'/g;
        is(scalar @reports, $warnings, $warnings ? 'which is reported, once' : 'without a report');
    }
}

done_testing;
