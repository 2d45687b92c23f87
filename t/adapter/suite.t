# The shipped tests of an adapter themselves: one for a loop of somebody else passes, and one that breaks a promise fails
# the test of that promise.
use strict;
use warnings;

use lib 't/lib';
use ForkTest qw(children_left open_fds);
use Test2::V0;
use Test2::API qw(intercept);

use EventLoop::Fork::Test::Loop;
use ToyLoop;

use EventLoop::Fork::Adapter;

# Which adapter the toy has; only that of the moment is in the list.
my $adapter;
{

    package ToyLoop::Chosen;
    our @ISA = ('ToyLoop::Adapter');
    sub accepts { return $adapter->accepts($_[1]) }
    sub new     { return $adapter->new($_[1]) }
    sub family  { return $adapter->family }
    sub renew   { return $adapter->renew($_[1]) }
    sub rearm   { return $adapter->rearm(@_[ 1, 2 ]) }
}
EventLoop::Fork::Adapter::register('ToyLoop::Chosen');

sub results_of {
    my ($class, @only) = @_;
    $adapter = $class;
    my $events = intercept {
        run_adapter_tests(sub { ToyLoop->new }, @only ? { only => \@only } : ())
    };
    my %result;
    for my $event (grep { $_->isa('Test2::Event::Subtest') } @$events) {
        my ($name) = $event->name =~ /\A(\w+):/;
        $result{$name} = $event->pass ? 'passes' : 'fails';
    }
    return \%result;
}

my @names = map { $_->{name} } EventLoop::Fork::Test::Adapter::adapter_tests()
    if require EventLoop::Fork::Test::Adapter;

# A process keeps a descriptor from its first fork on, and another one from the first signal that it watches.
results_of('ToyLoop::Adapter', 'fork', 'unwatch_signal');
my @before = open_fds();
is(results_of('ToyLoop::Adapter'), { map { $_ => 'passes' } @names }, 'a good adapter passes all');
is([ open_fds() ], \@before, 'and leaves no descriptor');

# What does not come does not come later.
no warnings 'once';
$EventLoop::Fork::Test::Adapter::bound = 4 * ($ENV{EVF_TEST_SLOW} ? 10 : 1);
my %breaks = (
    'ToyLoop::Nameless'   => [qw(class)],
    'ToyLoop::Greedy'     => [qw(class)],
    'ToyLoop::Writer'     => [qw(io)],
    'ToyLoop::Deaf'       => [qw(unwatch_io)],
    'ToyLoop::Forgetful'  => [qw(held)],
    'ToyLoop::Hasty'      => [qw(time)],
    'ToyLoop::Coarse'     => [qw(time)],
    'ToyLoop::Tardy'      => [qw(time)],
    'ToyLoop::Stuttering' => [qw(time)],
    'ToyLoop::Stubborn'   => [qw(unwatch_time)],
    'ToyLoop::Impatient'  => [qw(run)],
    'ToyLoop::Late'       => [qw(signal)],
    'ToyLoop::Keeping'    => [qw(unwatch_signal)],
    'ToyLoop::Clinging'   => [qw(renew)],
    'ToyLoop::Broken'     => [qw(child_loop in_callback generations)],
    'ToyLoop::Fragile'    => [qw(stale)],
    'ToyLoop::Repeating'  => [qw(fork)],
    'ToyLoop::Emptying'   => [qw(keep raw)],
);
for my $class (sort keys %breaks) {
    my @expected = @{ $breaks{$class} };
    is(results_of($class, @expected), { map { $_ => 'fails' } @expected }, "$class fails @expected");
}

like(dies { run_adapter_tests('No::Code') }, qr/needs code/, 'an argument that is no code');
like(
    dies {
        run_adapter_tests(sub { }, only => ['none'])
    },
    qr/No test 'none'/,
    'an unknown test'
);
like(
    dies {
        run_adapter_tests(sub { }, what => 1)
    },
    qr/Unknown option 'what'/,
    'an unknown option'
);

{
    my $path = $INC{'EventLoop/Fork/Test/Adapter.pm'};
    open my $source, '<', $path or die "$path: $!";
    my %is_listed = map { /^=item (\w+)$/ ? ($1 => 1) : () } readline $source;
    is([ grep { !$is_listed{$_} } @names ], [], 'the manual lists every test');
}

is(children_left(), '', 'no child is left');

done_testing;
