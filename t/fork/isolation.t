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

# A loop with a pipe to read, one to write, a signal and a process; both sides can tell that each works.
{
    package Watched;

    sub new {
        my ($class, $loop) = @_;
        my $self = bless { loop => $loop, got => '', signals => 0, writes => 0 }, $class;
        pipe $self->{reader}, $self->{writer} or die "pipe: $!";
        pipe $self->{back},   $self->{full}   or die "pipe: $!";
        $loop->watch_io(handle => $self->{reader}, on_read_ready => sub { sysread $self->{reader}, $self->{got}, 10, length $self->{got} });
        $loop->watch_signal(USR1 => sub { $self->{signals}++ });
        $loop->loop_once(0);    # the backend has been told
        return $self;
    }

    sub works {
        my ($self) = @_;
        my ($loop, $timer) = ($self->{loop});
        @$self{qw(got signals writes)} = ('', 0, 0);
        syswrite $self->{writer}, 'x';
        kill USR1 => $$;
        $loop->watch_io(handle => $self->{full}, on_write_ready => sub { $self->{writes}++; $loop->unwatch_io(handle => $self->{full}, on_write_ready => 1) });
        $loop->watch_time(after => 0.001, code => sub { $timer = 1 });
        ForkTest::wait_until($loop, sub { $self->{got} && $self->{signals} && $self->{writes} && $timer });
        return "got '$self->{got}', $self->{signals} signals, $self->{writes} writes, " . ($timer ? 'timer' : 'no timer');
    }

    sub stop {
        my ($self) = @_;
        $self->{loop}->unwatch_io(handle => $self->{reader}, on_read_ready => 1);
        $self->{loop}->unwatch_signal('USR1');
        delete $self->{loop};
        return;
    }
}
my $all_work = "got 'x', 1 signals, 1 writes, timer";

# In a child: everything that has damaged a parent somewhere.
sub meddle {
    my ($loop, $watched, $new) = @_;
    my $in_child = $new->();
    $in_child->watch_io(handle => $watched->{reader}, on_read_ready => sub { });
    $in_child->watch_io(handle => $watched->{full}, on_write_ready => sub { });
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
    my $watched = Watched->new($loop);
    my $before  = epoll_sets();

    my ($done) = in_child($loop, sub { meddle($loop, $watched, $new) });
    is $done, 'done', 'a child of the loop starts and stops watches of its own, and stops its parent\'s';
    is epoll_sets(), $before, 'the parent\'s epoll sets are what they were';
    is $watched->works, $all_work, 'everything works in the parent';

    ($done) = in_child($loop, sub { my $in_child = $new->(); my $own = Watched->new($in_child); my $works = $own->works; $own->stop; $works });
    is $done, $all_work, 'and in a loop of a child';

    my ($sets) = in_child($loop, sub { [ grep { @$_ } values %{ epoll_sets() } ] });
    is $sets, [], 'a child finds no epoll set with anything in it';

    # What a raw fork inherits goes on there.
    my ($raw, $status) = in_raw_child(
        sub {
            my $works = $watched->works;
            $watched->stop;
            undef $loop;
            no warnings 'once';
            undef $IO::Async::Loop::ONE_TRUE_LOOP;
            return $works;
        }
    );
    is $raw, $all_work, 'a child of perl\'s own fork goes on with the loop, and destroys it';
    is epoll_sets(), $before, 'the parent\'s epoll sets are what they were';
    is $watched->works, $all_work, 'everything works in the parent';

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
    is $watched->works, $all_work, 'everything works in the parent';
    $watched->stop;
};

# Both at once, for a while: each side changes its watches all the time.
each_loop sub {
    my ($new) = @_;
    my $loop    = $new->();
    my $watched = Watched->new($loop);
    my $status;
    for my $raw (0, 1) {
        my $code = sub {
            alarm 2 * BOUND;
            my $in_child = $raw ? $loop : $new->();
            my $own      = $raw ? $watched : Watched->new($in_child);
            my $good     = 1;
            for (1 .. 12) { $good &&= $own->works eq $all_work }
            return $good ? 0 : 1;
        };
        my $pid = $raw ? fork : $loop->fork(code => $code, on_exit => sub { $status = $_[1] });
        defined $pid or die "fork: $!";
        if (!$pid) {
            # A pipe that both read would give each the other's bytes.
            pipe my $reader, my $writer or die "pipe: $!";
            POSIX::dup2(fileno $reader, fileno $watched->{reader});
            POSIX::dup2(fileno $writer, fileno $watched->{writer});
            POSIX::_exit($code->());
        }
        my $good = 1;
        for (1 .. 12) { $good &&= $watched->works eq $all_work }
        ok $good, 'a parent while its child works' . ($raw ? ' with the inherited loop' : ' with a loop of its own');
        if ($raw) { waitpid $pid, 0; $status = $? }
        else      { wait_until($loop, sub { defined $status }) }
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
                my $deleted = defined(scalar $epoll->delete($reader)) ? 'deleted' : 'not there';
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
