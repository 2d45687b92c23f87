# The shipped acceptance tests themselves: a loop that breaks a promise fails the test of that promise, the options do
# what they say, and the manual lists every test.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;
use Test2::API qw(intercept);

use EventLoop::Fork::Loop;
use EventLoop::Fork::Test::Loop qw(run_tests suites tests);
use POSIX                       ();

# Runs the tests on a loop and keeps the results to itself: names of tests with true or false, and what is skipped.
sub results_of {
    my ($new, @arguments) = @_;
    my $events = intercept { run_tests($new, @arguments) };
    my (%result, %skipped);
    for my $suite (grep { $_->isa('Test2::Event::Subtest') } @$events) {
        for my $event (@{ $suite->subevents }) {
            if ($event->isa('Test2::Event::Subtest')) {
                my ($name) = $event->name =~ /\A([\w.]+):/;
                $result{$name} = $event->pass ? 1 : 0;
            }
            elsif ($event->isa('Test2::Event::Skip')) { push @{ $skipped{ $suite->name } }, $event->reason }
        }
    }
    return (\%result, \%skipped);
}

sub poll_loop { return EventLoop::Fork::Loop->new(backend => 'poll') }

# Each breaks one promise.
{

    package Faulty;
    our @ISA     = ('EventLoop::Fork::Loop');
    our $process = $$;

    package Faulty::Deaf;    # unwatches in the next turn
    our @ISA = ('Faulty');
    my @late;

    sub unwatch_io {
        my ($self, @arguments) = @_;
        push @late, \@arguments;
        return;
    }

    sub loop_once {
        my ($self, @arguments) = @_;
        my $count = $self->SUPER::loop_once(@arguments);
        $self->SUPER::unwatch_io(@$_) for splice @late;
        return $count;
    }

    package Faulty::Early;
    our @ISA = ('Faulty');
    sub loop_once { my ($self, $timeout) = @_; return $self->SUPER::loop_once(defined $timeout ? $timeout / 2 : ()) }

    package Faulty::Spinning;
    our @ISA = ('Faulty');

    sub loop_once {
        my ($self, $timeout) = @_;
        my $end = Time::HiRes::time() + (defined $timeout ? $timeout : 1);
        my $count;
        do { $count = $self->SUPER::loop_once(0) } until $count || Time::HiRes::time() > $end;
        return $count;
    }

    package Faulty::Swallowing;
    our @ISA = ('Faulty');

    sub loop_once {
        my ($self, @timeout) = @_;
        return eval { $self->SUPER::loop_once(@timeout) } || 0;
    }

    package Faulty::Reaper;
    our @ISA = ('Faulty');

    sub loop_once {
        my ($self, @timeout) = @_;
        1 while waitpid(-1, POSIX::WNOHANG()) > 0;
        return $self->SUPER::loop_once(@timeout);
    }

    package Faulty::Blocking;
    our @ISA = ('Faulty');

    sub watch_io {
        my ($self, %arguments) = @_;
        $self->SUPER::watch_io(%arguments);
        $arguments{handle}->blocking(1);
        return;
    }

    package Faulty::Hasty;
    our @ISA = ('Faulty');

    sub watch_time {
        my ($self, %arguments) = @_;
        $arguments{after} /= 2 if defined $arguments{after};
        return $self->SUPER::watch_time(%arguments);
    }

    package Faulty::Unordered;
    our @ISA = ('Faulty');
    my $number = 0;

    sub watch_time {
        my ($self, %arguments) = @_;
        $arguments{at} -= $number++ % 2 if defined $arguments{at};
        return $self->SUPER::watch_time(%arguments);
    }

    package Faulty::Hidden;    # as if the handler were installed behind perl's back
    our @ISA = ('Faulty');

    sub watch_signal {
        my ($self, @arguments) = @_;
        $self->SUPER::watch_signal(@arguments);
        $SIG{USR1} = 'DEFAULT';
        return;
    }

    package Faulty::Masking;
    our @ISA = ('Faulty');

    sub watch_signal {
        my ($self, $name, $code) = @_;
        $self->SUPER::watch_signal($name => $code);
        POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGTERM())) if $name eq 'TERM';
        return;
    }

    package Faulty::Leaking;
    our @ISA = ('Faulty');
    my @leaked;

    sub new {
        my ($class, @arguments) = @_;
        open my $file, '<', $0 or die "$0: $!";
        push @leaked, $file;
        return $class->SUPER::new(@arguments);
    }

    package Faulty::Parental;    # of no use after a fork
    our @ISA = ('Faulty');

    sub loop_once {
        my ($self, @timeout) = @_;
        die "no loop of this process\n" if $$ != $Faulty::process;
        return $self->SUPER::loop_once(@timeout);
    }

    package Faulty::Sharing;     # a child reads what belongs to its parent
    our @ISA = ('Faulty');
    my %handles;

    sub watch_io {
        my ($self, %arguments) = @_;
        $handles{ fileno $arguments{handle} } = $arguments{handle};
        return $self->SUPER::watch_io(%arguments);
    }

    sub loop_once {
        my ($self, @timeout) = @_;
        kill USR1 => getppid if $$ != $Faulty::process && getppid == $Faulty::process;
        return $self->SUPER::loop_once(@timeout);
    }
}

my %faults = (
    Deaf       => ['turn.unwatch'],
    Early      => ['control.idle_wait'],
    Spinning   => ['io.closed'],
    Swallowing => ['exception.loop_once'],
    Reaper     => [ 'process.own_pids_only', 'process.unwatch' ],
    Blocking   => ['io.nonblocking'],
    Hasty      => ['timer.after'],
    Unordered  => [ 'timer.order', 'timer.thousands' ],
    Hidden     => ['signal.visible'],
    Masking    => ['signal.not_blocked'],
    Leaking    => ['idle.order'],
    Parental   => ['inherit.closed_descriptors'],
    Sharing    => ['inherit.child_runs'],
);

for my $fault (sort keys %faults) {
    my $class = "Faulty::$fault";
    my $mask  = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask);
    my $result;
    # What comes too early may look right once on a busy machine, because everything is late there.
    for (1 .. 10) {
        ($result) = results_of(sub { $class->new(backend => 'poll') }, { only => $faults{$fault} });
        POSIX::sigprocmask(POSIX::SIG_SETMASK(), $mask);
        last unless grep { $_ } values %$result;
    }
    is($result, { map { $_ => 0 } @{ $faults{$fault} } }, "$class fails its test");
}
my ($sound) = results_of(\&poll_loop, { only => [ map { @$_ } values %faults ] });
is($sound, { map { $_ => 1 } map { @$_ } values %faults }, 'a sound loop passes them');

subtest options => sub {
    my ($result, $skipped) = results_of(\&poll_loop, 'idle', { skip => { 'idle.order' => 'it has no order' } });
    is([ sort keys %$result ], [ grep { $_ ne 'idle.order' } sort map { $_->{name} } tests('idle') ], 'one suite');
    is($skipped, { idle => ['idle.order: it has no order'] }, 'less what is skipped, with the reason');
    ($result) = results_of(\&poll_loop, { only => [ 'idle.order', 'timer.order' ] });
    is([ sort keys %$result ], [ 'idle.order', 'timer.order' ], 'only these');
    ($result) = results_of(\&poll_loop, 'timer', { only => [ 'idle.order', 'timer.order' ] });
    is([ sort keys %$result ], ['timer.order'], 'only these of a suite');

    my $events  = intercept { run_tests(\&poll_loop, { only => ['timer.thousands'], seed => 4_711 }) };
    my ($suite) = grep { $_->isa('Test2::Event::Subtest') } @$events;
    my @notes   = map  { $_->message } grep { $_->isa('Test2::Event::Note') } @{ $suite->subevents };
    ok((grep { /EVENTLOOP_FORK_TEST_SEED=4711/ } @notes), 'the seed is printed');

    my @wrong = (
        [ sub { run_tests() }, qr/code that makes a loop/ ],
        [ sub { run_tests('EventLoop::Fork::Loop') }, qr/code that makes a loop/ ],
        [ sub { run_tests(\&poll_loop, 'nonsense') }, qr/No suite 'nonsense'/ ],
        [ sub { run_tests(\&poll_loop, { skip => { 'io.x' => 'why' } }) }, qr/No test 'io\.x'/ ],
        [ sub { run_tests(\&poll_loop, { only => ['io.x'] }) }, qr/No test 'io\.x'/ ],
        [ sub { run_tests(\&poll_loop, { skips => {} }) }, qr/Unknown option 'skips'/ ],
        [ sub { tests('nonsense') }, qr/No suite 'nonsense'/ ],
    );
    for my $wrong (@wrong) {
        my ($try, $message) = @$wrong;
        like(
            dies {
                intercept { $try->() }
            },
            $message,
            "$message"
        );
        like(dies { $try->() }, qr/\Q$0\E line/, 'from the line of the caller');
    }
    my $made = 0;
    results_of(sub { $made++; return poll_loop() }, { only => ['idle.order'] });
    ok($made >= 1, 'the constructor is called for each');
    like(
        dies {
            intercept {
                run_tests(sub { die "no loop today\n" }, 'idle')
            }
        },
        qr/no loop today/,
        'its exception comes out'
    );
    ($result) = results_of(\&poll_loop, { only => ['idle.order'] });
    is($result, { 'idle.order' => 1 }, 'and leaves nothing behind');
};

subtest manual => sub {
    my $text_of = sub {
        my ($module) = @_;
        open my $source, '<', $INC{"$module.pm"} or die "$module: $!";
        local $/;
        return readline $source;
    };
    my $text    = $text_of->('EventLoop/Fork/Test/Loop');
    my ($index) = $text  =~ /^=head1 SUITES\n(.*?)^=head1/ms;
    my @suites  = $index =~ /^=item (?:L<)?(\w+)/mg;
    my @modules = $index =~ /^=item L<\w+\|([\w:]+)>/mg;
    my @documented;
    for my $module (@modules) {
        my ($manual) = $text_of->($module =~ s{::}{/}gr) =~ /^=head1 SUITES?\n(.*?)^=head1/ms;
        push @documented, $manual =~ /^=(?:head2|item) (\S+)$/mg;
    }
    is(\@suites, [ suites() ], 'lists all suites, in their order');
    my @there;
    for my $suite (suites()) {
        push @there, $suite;
        next if $suite eq 'sigchld';    # those of process, once more
        push @there, map { $_->{name} } tests($suite);
    }
    is(\@documented, \@there, 'and the modules their tests');
    is(
        [ map { $_->{name} } tests('sigchld') ],
        [ map { my $name = $_->{name}; $name =~ s/\Aprocess/sigchld/; $name } tests('process') ],
        'the suite sigchld is that of process'
    );
    is([ grep { $_->{promise} !~ /\w/ } map { tests($_) } suites() ], [], 'each test has a promise');

    my ($synopsis) = $text =~ /^=head1 SYNOPSIS\n\n((?:    .*\n|\n)+)/m;
    my ($output, $status) = run_perl({}, '-e', $synopsis);
    is($status, 0, 'the synopsis runs') or diag($output);
    is(
        [ grep { /\A(?:not )?ok|\A1\.\./ } split /\n/, $output ], [ 'ok 1 - timer', 'ok 2 - idle', '1..2' ],
        'and prints results'
    );
};

done_testing;
