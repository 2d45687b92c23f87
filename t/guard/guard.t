# What a guard is: one for each thing, without keeping the thing alive, until it is cancelled. What cannot be guarded is
# refused by name, with the way out.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(at_fork guard);
use ForkTest;
use GuardTest;
use Test2::V0;

my $sees_leaks;
BEGIN { $sees_leaks = has_module('Test::LeakTrace') }

{

    package Client;
    my $destroyed = 0;
    sub new       { my ($class, %self) = @_; return bless {%self}, $class }
    sub DISOWN    { my ($self) = @_; push @{ $self->{calls} }, 'DISOWN'; return }
    sub DESTROY   { $destroyed++; return }
    sub destroyed { my $count = $destroyed; $destroyed = 0; return $count }
}

# ---- Bad input ------------------------------------------------------------------------------------------------------

my $way_out = 'guard($object, sub { my ($object) = @_; ... })';
my %refused = (
    'undef'    => [ [undef], 'EVF_EINVAL: what to guard is undef; wanted is a handle, a connection or an object' ],
    'nothing'  => [ [], 'EVF_EINVAL: what to guard is undef; wanted is a handle, a connection or an object' ],
    'a string' => [
        ['STDIN'],
        q(EVF_EINVAL: what to guard is the plain value 'STDIN'; wanted is a handle, a connection or an object)
    ],
    'a string with a callback' => [
        [ '7', sub { } ],
        q(EVF_EINVAL: what to guard is the plain value '7'; wanted is a handle, a connection or an object)
    ],
    'an object' => [
        [ bless {}, 'Some::Class' ],
        "EVF_ENOTSUP: how a child forgets a Some::Class is not known; give the class a method DISOWN, or guard a code reference with it: $way_out"
    ],
    'a hash' => [
        [ {} ],
        'EVF_ENOTSUP: a plain HASH reference has nothing to guard by itself; guard what is in it, or give a code reference that makes '
            . 'the child forget it: guard($thing, sub { my ($thing) = @_; ... })'
    ],
    'a loop' => [
        [ EventLoop::Fork::Loop->new ],
        'EVF_ENOTSUP: EventLoop::Fork::Loop is a loop; forks make loops safe without a guard'
    ],
    'no code' => [ [ \*STDIN, 'code' ], qr/\AEVF_EINVAL: .*code/ ],
);
for my $what (sort keys %refused) {
    my ($arguments, $expected) = @{ $refused{$what} };
    like thrown_by(sub { guard(@$arguments) }), ref $expected ? $expected : qr/\A\Q$expected\E\z/, "$what is refused";
}
eval { guard(undef) };
is [ $@->operation, $@->file, $@->line ], [ 'guard', __FILE__, __LINE__ - 1 ], 'from the line of the caller';
like thrown_by(sub { EventLoop::Fork::Guard->register('No::Such') }),
    qr/\AEVF_EINVAL: 'No::Such' is not a loaded class with the method 'accepts'; see EventLoop::Fork::Guard::Kind\z/,
    'a kind that is none';
like thrown_by(sub { EventLoop::Fork::Guard->disown({}) }), qr/\AEVF_ENOTSUP: a plain HASH/, 'disown of what cannot be';
like thrown_by(sub { EventLoop::Fork::Guard->poison('x') }), qr/\AEVF_EINVAL: not an object: x\z/,
    'poison of what is no object';

# ---- Life -----------------------------------------------------------------------------------------------------------

each_fork 'once' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my @guards = (guard($socket), guard($socket), guard(*$socket{IO}), guard($socket));
    is "$guards[1]", "$guards[0]", 'guarding twice is one guard';
    my $client = Client->new;
    my $calls  = 0;
    guard($client);
    guard($client, sub { $calls++ });
    guard($client, sub { $calls += 10 });
    guard($client);
    is $run->(sub { [ $client->{calls}, $calls ] }), [ ['DISOWN'], 10 ],
        'DISOWN is called once, and the code that was given last';
    is [ $client->{calls}, $calls ], [ undef, 0 ], 'in the child only';
};

each_fork 'without keeping it alive' => sub {
    my ($run)  = @_;
    my $client = Client->new;
    my $called = 0;
    Client->destroyed;
    my $guard = guard($client, sub { $called++ });
    undef $client;
    is(Client->destroyed, 1, 'the thing goes when its owner drops it');
    is $run->(sub { $called }), 0, 'and its guard does nothing';
    ok lives { $guard->cancel }, 'it can be cancelled';

    my ($socket, $peer) = connected();
    guard($socket);
    undef $socket;
    is nothing_to_read($peer), 'the end', 'a handle is closed as ever';
};

each_fork 'cancelled' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $client = Client->new;
    my @guards = (guard($socket), guard($client, sub { push @{ $client->{calls} }, 'code' }));
    $_->cancel for @guards, @guards;
    is $run->(sub { syswrite $socket, 'daemon'; $client->{calls} || 'none' }), 'none', 'a cancelled guard does nothing';
    is nothing_to_read($peer), "'daemon'", 'the child speaks';
    guard($socket);
    is $run->(sub {
        refusal(handle => syswrite => sub { syswrite $socket, 'x' });
        }),
        {}, 'it can be guarded again';
    $guards[0]->cancel;
    is $run->(sub {
        refusal(handle => syswrite => sub { syswrite $socket, 'x' });
        }),
        {}, 'and the old guard is not the new one';

    my $guard = guard($client);
    is $run->(sub { $guard->cancel; $client->{calls} }), ['DISOWN'],
        'cancelling in the child is too late, and harmless';
    my $again;
    is $run->(sub {
        $again = guard($client);
        $again->cancel;
        my ($below) = in_raw_child(sub { $client->{calls} });
        $below;
        }),
        ['DISOWN'],
        'what the child has got from DISOWN it can guard itself, or not';
};

# ---- Order and failures ---------------------------------------------------------------------------------------------

{

    package Talker;

    # One that says good-bye from inside of its DISOWN, over a connection that somebody else guards.
    my $order = 0;

    sub DISOWN {
        my ($self) = @_;
        eval { syswrite $self->{socket}, 'good-bye' };
        $self->{order} = ++$order;
        return;
    }
}
each_fork 'order' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my @talkers = map { bless { socket => $socket }, 'Talker' } 1 .. 5;
    my @seen;
    guard($_, sub { push @seen, $_[0]{order} }) for @talkers;
    guard($socket);
    my $hook = at_fork(priority => 0, child => sub { push @seen, 'hook' });
    is $run->(sub { [ (sort { $a cmp $b } @seen[ 0 .. 4 ]), @seen[ 5 .. $#seen ] ] }), [ 1 .. 5, 'hook' ],
        'every callback has run, then the hooks of the program';
    $hook->cancel;
    is nothing_to_read($peer), 1, 'every connection is cut off before any code of a guard runs';
};

my $program = <<'EOP';
use strict;
use warnings;
use EventLoop::Fork qw(guard);
use GuardTest;
{
    package Fails;
    sub DISOWN { die "no way\n" }
}
my ($socket, $peer) = connected();
my @clients = map { bless {}, 'Fails' } 1 .. 3;
my @guards  = (guard($clients[0]), guard($socket, sub { die { code => 7 } }), guard($clients[1]), guard([], sub { }), guard($clients[2]));
my $pid = fork;
if (!$pid) {
    print join ' ', values %{ refusal(handle => print => sub { print {$socket} 'x' }) };
    exit 0;
}
waitpid $pid, 0;
print "status $?\n";
EOP
my $result = run_program($program);
is $result->{stdout}, "status 0\n", 'a DISOWN that fails does not stop the others, nor the child';
is [ sort map { s/process [0-9]+/process N/r =~ s/HASH\(.*/HASH/r } split /\n/, $result->{stderr} ],
    [
    ('EventLoop::Fork: process N: guard of Fails failed: no way') x 3,
    'EventLoop::Fork: process N: guard of GLOB failed: HASH'
    ],
    'each is reported';

# ---- Authors --------------------------------------------------------------------------------------------------------

{

    package Wrapper;
    sub new { my ($class, $socket) = @_; return bless { socket => $socket }, $class }
    sub say { my ($self, $text)    = @_; return syswrite $self->{socket}, $text }

    sub DISOWN {
        my ($self) = @_;
        EventLoop::Fork::Guard->disown(delete $self->{socket});
        EventLoop::Fork::Guard->poison($self);
        return;
    }

    package Wrapper::Kind;
    use parent -norequire, 'EventLoop::Fork::Guard::Kind';
    sub accepts     { my ($kind, $thing) = @_; return Scalar::Util::blessed($thing) && $thing->isa('Foreign') }
    sub descriptors { my ($kind, $thing) = @_; return fileno $thing->{socket} }
}
each_fork 'DISOWN' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $wrapper = Wrapper->new($socket);
    guard($wrapper);
    my $wrong = $run->(sub {
        +{
            %{ refusal(Wrapper => say   => sub { $wrapper->say('x') }) },
            %{ refusal(handle  => print => sub { print {$socket} 'x' }) }
        };
    });
    is $wrong, {}, 'disown and poison: what it holds and the object are not usable';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with it';
};

EventLoop::Fork::Guard->register('Wrapper::Kind');
EventLoop::Fork::Guard->register('Wrapper::Kind');
each_fork 'a kind of one\'s own' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $foreign = bless { socket => $socket }, 'Foreign';
    guard($foreign);
    is $run->(sub {
        syswrite $socket, 'x';
        refusal(Foreign => say => sub { $foreign->say('x') });
        }),
        {}, 'it is poisoned';
    is nothing_to_read($peer), 1, 'its descriptor is cut off';
};

each_fork 'a pool' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $pool = { generation => 0, connections => [$socket] };
    guard(
        $pool,
        sub {
            my ($own) = @_;
            EventLoop::Fork::Guard->disown(@{ $own->{connections} });
            $own->{connections} = [];
            $own->{generation}++;
        }
    );
    is $run->(sub { [
        $pool->{generation}, scalar @{ $pool->{connections} },
        thrown_by(sub { syswrite $socket, 'x' }) =~ /(process [0-9]+)/
    ] }),
        [ 1, 0, "process $$" ], 'a plain reference with code of its own';
    is nothing_to_read($peer), 1, 'nothing arrives';
};

# ---- Memory ---------------------------------------------------------------------------------------------------------

subtest 'memory' => sub {
    skip_all 'Test::LeakTrace is not installed' unless $sees_leaks;
    my $count = sub {
        my ($code) = @_;
        $code->();
        EventLoop::Fork::Guard::_sweep();
        return &Test::LeakTrace::leaked_count($code);
    };
    is $count->(sub { my ($one, $other) = connected(); my $guard = guard($one); guard($one)->cancel }), 0,
        'guarded and cancelled';
    is $count->(sub {
        my $client = Client->new;
        guard($client, sub { })->cancel;
        }),
        0, 'with code';
    is $count->(sub {
        local $@;
        eval { guard($_) } for undef, 'x', {}, bless {}, 'Some::Class';
        }),
        0, 'bad input';
    my $dropped = sub {
        for (1 .. 500) { my $client = Client->new; guard($client) }
    };
    $dropped->() for 1 .. 3;
    ok $count->($dropped) < 500, 'guards of things that have gone are swept out';
    my ($in_child) = in_raw_child(sub {
        $count->(sub {
            my ($one, $other) = connected();
            my $object = bless {}, 'Some::Class';
            EventLoop::Fork::Guard->disown($one);
            EventLoop::Fork::Guard->poison($object);
            local $@;
            eval { print {$one} 'x' };
            eval { $object->method };
            eval { $object->close };
            close $one;
        });
    });
    ok $in_child <= 0, 'disowned' or diag $in_child;
};

# No name is left out, and none of ours, nor of what we import, is among them.
each_fork 'every method throws' => sub {
    my ($run)  = @_;
    my $client = Client->new;
    my $guard  = guard($client, sub { EventLoop::Fork::Guard->poison($_[0]) });
    my @names =
        qw(anything has take take_handle take_hash complain blessed refaddr reftype forget throw_for _throw _description new);
    my $class = ref $client;
    is $run->(sub {
        refusal(
            $class,
            map {
                my $name = $_;
                ($name => sub { $client->$name })
            } @names
        );
        }),
        {}, "@names";
};

done_testing;
