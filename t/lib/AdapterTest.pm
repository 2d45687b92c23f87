package AdapterTest;

# Helpers of t/adapter: every family of loops on this machine, the contract that each of them keeps, and programs that
# run in a perl of their own, because a process settles some of it once (the model of AnyEvent, the reactor of Mojo, EV's
# handler of SIGCHLD).

use strict;
use warnings;

use Exporter qw(import);
use ForkTest ();
use LoopTest ();
use Test2::V0;

our @EXPORT = qw(contract_is_kept each_family families program_says);

# Its label, what must be installed, the source of what makes its loop, and the family and class of a loop that it gives.
# Without a name of the loop the source is what a program of that family does at its start.
my @FAMILIES = (
    (
        map { {
            label   => "IO::Async::Loop::$_",
            modules => ["IO::Async::Loop::$_"],
            source  => "use IO::Async::Loop::$_; undef \$IO::Async::Loop::ONE_TRUE_LOOP; IO::Async::Loop::$_->new",
            family  => 'IO::Async',
        } } qw(Poll Select Epoll Glib Mojo Libev Libevent)
    ),
    { label => 'EV, default loop', modules => ['EV'], source => 'use EV; EV::default_loop', family => 'EV' },
    { label => 'EV, another loop', modules => ['EV'], source => 'use EV; EV::Loop->new', family    => 'EV' },
    {
        label   => 'AnyEvent, pure perl',
        modules => ['AnyEvent'],
        source  => 'BEGIN { $ENV{PERL_ANYEVENT_MODEL} = "Perl" } use AnyEvent; AnyEvent::detect(); "AnyEvent"',
        family  => 'AnyEvent',
    },
    {
        label   => 'AnyEvent on EV',
        modules => [ 'AnyEvent', 'EV' ],
        source  => 'BEGIN { $ENV{PERL_ANYEVENT_MODEL} = "EV" } use AnyEvent; AnyEvent::detect(); "AnyEvent"',
        family  => 'AnyEvent',
    },
    {
        label   => 'Mojo::Reactor::Poll',
        modules => ['Mojolicious'],
        source  => 'BEGIN { $ENV{MOJO_REACTOR} = "Mojo::Reactor::Poll" } use Mojo::IOLoop; Mojo::IOLoop->singleton',
        family  => 'Mojo',
    },
    {
        label   => 'Mojo::Reactor::EV',
        modules => [ 'Mojolicious', 'EV' ],
        source  => 'BEGIN { $ENV{MOJO_REACTOR} = "Mojo::Reactor::EV" } use Mojo::IOLoop; Mojo::IOLoop->singleton',
        family  => 'Mojo',
    },
    {
        label   => 'EventLoop::Fork::Loop',
        modules => [],
        source  => 'use EventLoop::Fork::Loop; EventLoop::Fork::Loop->new',
        family  => 'EventLoop::Fork',
    },
);

sub families { return @FAMILIES }

# A subtest for each of those of the pattern; skipped, with the reason, where something is not installed.
sub each_family {
    my ($pattern, $code) = @_;
    for my $family (grep { $_->{label} =~ $pattern } @FAMILIES) {
        my ($missing) = grep { !defined ForkTest::has_version($_) } @{ $family->{modules} };
    SKIP: {
            skip("$family->{label}: $missing is not installed", 1) if defined $missing;
            subtest($family->{label} => sub { $code->($family) });
        }
    }
    return;
}

# The whole of a test: the acceptance tests of an adapter on each family of the pattern.
sub contract_is_kept {
    my ($pattern) = @_;
    my $program = <<'PROGRAM';
    use Test::More;
    use EventLoop::Fork::Test::Loop;
    my $make = eval 'sub { ' . shift() . ' }' or die $@;
    run_adapter_tests($make);
    done_testing;
PROGRAM
    each_family(
        $pattern,
        sub {
            my ($family) = @_;
            my ($output, $status) = LoopTest::run_perl({}, '-e', $program, $family->{source});
            my @failed = $output =~ /^(\s*not ok.*)/mg;
            is(\@failed, [], 'no test fails');
            my $passed = () = $output =~ /^ok/mg;
            is($passed, 19, 'all are run');
            is($status, 0, 'the process ends well');
        }
    );
    is(ForkTest::children_left(), '', 'no child is left');
    done_testing;
    return;
}

# What a program writes to STDOUT; it must end well and say nothing on STDERR.
sub program_says {
    my ($name, $expected, $program, @arguments) = @_;
    my $context = context();
    my $result  = ForkTest::run_program("use strict; use warnings; use lib 't/lib'; $program", @arguments);
    # There is no pidfd there: GLib watches processes in a thread, and a fork reports that. The thread may not have got to
    # give itself its name yet.
    $result->{stderr} =~ s/^EventLoop::Fork: fork with 2 threads; [^\n]*\((?:gmain|memcheck[^\n()]*)\)\n//m
        if ForkTest::under_valgrind();
    my $is_good = is($result, { stdout => $expected, stderr => '', status => 0 }, $name);
    $context->release;
    return $is_good;
}

1;
