# Whatever a child does with kernel objects that it has inherited, its parent does not notice: not on the loop's own, and
# for forks through the loop not on those of any other library.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# Each epoll instance of this process with what the kernel watches for it.
sub epoll_sets {
    my %sets;
    for my $fd (grep { /eventpoll/ } open_fds()) {
        my ($number) = $fd =~ /\A(\d+)/;
        open my $info, '<', "/proc/self/fdinfo/$number" or die "fdinfo: $!";
        $sets{$number} = [ sort map { /^tfd:\s*(\d+)\s+events:\s*(\w+)/ ? "$1 $2" : () } readline $info ];
    }
    return \%sets;
}

# In a child: everything that has damaged a parent somewhere.
sub meddle {
    my ($loop, $watched, $new) = @_;
    my $in_child = $new->();
    $in_child->watch_io(handle => $watched->{reader}, on_read_ready => sub { });
    $in_child->watch_io(handle => $watched->{full}, on_write_ready  => sub { });
    $in_child->watch_signal(USR1 => sub { });
    $in_child->loop_once(0);
    $in_child->unwatch_io(handle => $watched->{reader}, on_read_ready => 1);
    $in_child->loop_once(0);
    $loop->unwatch_io(handle => $watched->{reader}, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
    close $watched->{reader};
    undef $in_child;
    no warnings 'once';
    undef $IO::Async::Loop::ONE_TRUE_LOOP;
    return 'done';
}

each_loop sub {
    my ($new, $kind) = @_;
    my $loop    = $new->();
    my $watched = ForkTest::Watched->new($loop);
    my $before  = epoll_sets();

    my ($done) = in_child($loop, sub { meddle($loop, $watched, $new) });
    is $done, 'done', 'a child of the loop starts and stops watches of its own, and stops its parent\'s';
    is epoll_sets(), $before, 'the parent\'s epoll sets are what they were';
    is $watched->works, ForkTest::Watched::ALL, 'everything works in the parent';

    ($done) = in_child(
        $loop,
        sub {
            my $in_child = $new->();
            my $own      = ForkTest::Watched->new($in_child);
            my $works    = $own->works;
            $own->stop;
            $works;
        }
    );
    is $done, ForkTest::Watched::ALL, 'and in a loop of a child';

    my ($sets) = in_child($loop, sub { [ grep { @$_ } values %{ epoll_sets() } ] });
    is $sets, [], 'a child finds no epoll set with anything in it';

    # What a raw fork inherits goes on there.
    my ($raw, $status) = in_raw_child(sub {
        my $works = $watched->works;
        $watched->stop;
        undef $loop;
        no warnings 'once';
        undef $IO::Async::Loop::ONE_TRUE_LOOP;
        return $works;
    });
    is $raw, ForkTest::Watched::ALL, 'a child of perl\'s own fork goes on with the loop, and destroys it';
    is epoll_sets(), $before, 'the parent\'s epoll sets are what they were';
    is $watched->works, ForkTest::Watched::ALL, 'everything works in the parent';

    for (1 .. 5) {
        my $pid = fork;
        defined $pid or die "fork: $!";
        if (!$pid) {
            $watched->stop if $_ % 2;
            undef $loop;
            POSIX::_exit(0);
        }
        waitpid $pid, 0;
    }
    is epoll_sets(), $before, 'children that only destroy it';
    system 'true';
    my $output = `echo output`;
    open my $from, '-|', 'echo', 'output' or die "open: $!";
    my @lines = readline $from;
    close $from;
    is [ $output, @lines ], [ ("output\n") x 2 ], 'other programs run';
    is epoll_sets(), $before, 'and leave the epoll sets alone';
    is $watched->works, ForkTest::Watched::ALL, 'everything works in the parent';
    $watched->stop;
};

# Both at once, for a while: each side changes its watches all the time.
each_loop sub {
    my ($new)   = @_;
    my $loop    = $new->();
    my $watched = ForkTest::Watched->new($loop);
    my $status;
    for my $raw (0, 1) {
        my $code = sub {
            alarm 2 * BOUND;
            my $in_child = $raw ? $loop    : $new->();
            my $own      = $raw ? $watched : ForkTest::Watched->new($in_child);
            my $good     = 1;
            for (1 .. 12) { $good &&= $own->works eq ForkTest::Watched::ALL }
            return $good ? 0 : 1;
        };
        my $pid = $raw ? fork : $loop->fork(code => $code, on_exit => sub { $status = $_[1] });
        defined $pid or die "fork: $!";
        if (!$pid) {
            $watched->renew;    # what both read would be the other's in part
            POSIX::_exit($code->());
        }
        my $good = 1;
        for (1 .. 12) { $good &&= $watched->works eq ForkTest::Watched::ALL }
        ok $good, 'a parent while its child works' . ($raw ? ' with the inherited loop' : ' with a loop of its own');
        if ($raw) { waitpid $pid, 0; $status = $? }
        else {
            wait_until($loop, sub { defined $status });
        }
        is $status, 0, 'and the child';
        undef $status;
    }
    $watched->stop;
};

# An epoll object of a library that knows nothing of forks.
SKIP: {
    has_module('Linux::Epoll') or skip 'Linux::Epoll is not installed', 1;
    each_loop sub {
        my ($new) = @_;
        my $loop  = $new->();
        my $epoll = Linux::Epoll->new;
        pipe my $reader, my $writer or die "pipe: $!";
        my $hits = 0;
        $epoll->add($reader, 'in', sub { $hits++ });
        $loop->loop_once(0);
        my $before = epoll_sets();
        my ($seen) = in_child(
            $loop,
            sub {
                my $deleted  = defined(scalar $epoll->delete($reader)) ? 'deleted' : 'not there';
                my $in_child = 0;
                pipe my $own_reader, my $own_writer or die "pipe: $!";
                my $added = $epoll->add($own_reader, 'in', sub { $in_child++ });
                syswrite $own_writer, 'x';
                $epoll->wait(10, BOUND);
                undef $epoll;
                return [ $deleted, $in_child ];
            }
        );
        is $seen, [ 'not there', 1 ], 'the epoll object of another library is empty in the child, and works';
        is epoll_sets(), $before, 'in the parent it is what it was';
        syswrite $writer, 'x';
        $epoll->wait(10, PROMPT);
        is $hits, 1, 'and works';
    };
}

# Under several numbers, and far apart from the others.
SKIP: {
    has_module('Linux::Epoll') or skip 'Linux::Epoll is not installed', 1;
    each_loop sub {
        my ($new) = @_;
        my $loop = $new->();
        pipe my $reader, my $writer or die "pipe: $!";
        my @objects = map {
            my $epoll = Linux::Epoll->new;
            $epoll->add($reader, 'in', sub { });
            $epoll
        } 1 .. 3;
        my @copies = (100, 101, 200);
        POSIX::dup2(fileno $objects[0], $_) or die "dup2: $!" for @copies;
        $loop->loop_once(0);
        my $before = epoll_sets();
        my ($seen) = in_child(
            $loop,
            sub {
                my $sets = epoll_sets();
                { full => [ grep { @{ $sets->{$_} } } keys %$sets ], copies => [ map { $sets->{$_} } @copies ] };
            }
        );
        is $seen, { full => [], copies => [ ([]) x @copies ] },
            'every number of every epoll object has an empty one in the child';
        is epoll_sets(), $before, 'in the parent they are what they were';
        POSIX::close($_) for @copies;
    };
}

# Another loop of the same process, which its child goes on to use.
SKIP: {
    has_module('EV') or skip 'EV is not installed', 1;
    each_loop sub {
        my ($new) = @_;
        my $loop = $new->();
        pipe my $reader, my $writer or die "pipe: $!";
        my $hits    = 0;
        my $watcher = EV::io($reader, EV::READ(), sub { sysread $reader, my $byte, 1; $hits++ });
        EV::run(EV::RUN_NOWAIT());
        my ($seen, $status) = in_child(
            $loop,
            sub {
                pipe my $own_reader, my $own_writer or die "pipe: $!";
                syswrite $own_writer, 'x';
                my $own_hits = 0;
                my $own      = EV::io($own_reader, EV::READ(), sub { $own_hits++; EV::break() });
                undef $watcher;
                EV::run(EV::RUN_ONCE());
                return $own_hits;
            }
        );
        is [ $seen, $status ], [ 1, 0 ], 'EV works in the child';
        syswrite $writer, 'x';
        my $timer = EV::timer(BOUND, 0, sub { EV::break() });
        EV::run(EV::RUN_ONCE()) until $hits || $timer->remaining <= 0;
        is $hits, 1, 'and in the parent';
        undef $watcher;
        EV::run(EV::RUN_NOWAIT());
    };
}

control 'after perl\'s own fork, delete of a Linux::Epoll in the child makes the parent deaf', ['Linux::Epoll'],
    qr/\A0 hits\n\z/, <<'EOP';
use Linux::Epoll;
my $epoll = Linux::Epoll->new;
pipe my $reader, my $writer;
my $hits = 0;
$epoll->add($reader, 'in', sub { $hits++ });
my $pid = fork;
if (!$pid) { my $done = $epoll->delete($reader); exit }
waitpid $pid, 0;
syswrite $writer, 'x';
$epoll->wait(10, 0.2);
print "$hits hits\n";
EOP

done_testing;
