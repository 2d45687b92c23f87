# A guarded socket, pipe or file: the child cannot use it, and whatever the child does to it, neither a byte nor an end
# arrives at the peer. The parent's handle works as before.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(guard);
use File::Temp      ();
use ForkTest;
use GuardTest;
use IO::Socket::UNIX ();
use POSIX            ();
use Socket           qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test2::V0;

# ---- Use ------------------------------------------------------------------------------------------------------------

each_fork 'a socket' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    guard($socket);
    my $wrong = $run->(sub {
        refusal(
            handle   => print => sub { print {$socket} 'x' },
            printf   => sub { printf {$socket} 'x' },
            syswrite => sub { syswrite $socket, 'x' },
            sysread  => sub { sysread $socket, my $got, 1 },
            read     => sub { read $socket, my $got, 1 },
            readline => sub { readline $socket },
            eof      => sub { eof $socket },
            fileno   => sub { fileno $socket },
            binmode  => sub { binmode $socket },
            method   => sub { $socket->print('x') },
            guard    => sub { guard($socket) },
            watch    => sub {
                eval {
                    EventLoop::Fork::Loop->new->watch_io(handle => $socket, on_read_ready => sub { });
                } or die $@->name, "\n";
            },
        );
    });
    is $wrong, { watch => "EVF_EBADF\n" }, 'every use throws, and a loop does not take it';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with it';

    my $seen = $run->(sub {
        my @seen;
        $SIG{__WARN__} = sub { push @seen, @_ };
        shutdown $socket, 2;
        push @seen, 'sent' if send $socket, 'x', 0;
        push @seen, 'not closed'       unless close $socket;
        push @seen, 'not closed again' unless close $socket;
        push @seen, thrown_by(sub { print {$socket} 'x' }) =~ /\AEVF_EDISOWNED/ ? () : 'used';
        undef $socket;
        return \@seen;
    });
    is $seen, [], 'shutting it down does not reach the peer, closing and dropping it is silent';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with it';
};

each_fork 'an object' => sub {
    my ($run) = @_;
    my ($socket, $peer) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    guard($socket);
    my $wrong = $run->(sub {
        my $wrong = refusal(
            'IO::Socket::UNIX' => print => sub { $socket->print('x') },
            fileno             => sub { $socket->fileno },
            send               => sub { $socket->send('x') },
            blocking           => sub { $socket->blocking(0) },
            builtin            => sub { print {$socket} 'x' },
            unheard_of         => sub { $socket->unheard_of },
        );
        $wrong->{class} = ref $socket unless ref $socket eq 'EventLoop::Fork::Guard::Disowned';
        $SIG{__WARN__} = sub { $wrong->{warning} = $_[0] };
        $socket->shutdown(2);
        $socket->close or $wrong->{close} = $!;
        undef $socket;
        return $wrong;
    });
    is $wrong, {}, 'every method throws, but shutdown and close are silent';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with it';
    isa_ok $socket, 'IO::Socket::UNIX';
};

# Each way to name a handle.
our ($bareword_peer, $BAREWORD_IO);
each_fork 'names' => sub {
    my ($run) = @_;
    my %ways = (
        'a reference to a glob' => sub { \*BAREWORD },
        'a glob'                => sub { *BAREWORD },
        'an IO'                 => sub { *BAREWORD{IO} },
    );
    no warnings 'once';
    for my $way (sort keys %ways) {
        socketpair BAREWORD, my $peer, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
        BAREWORD->autoflush(1);
        guard($ways{$way}->());
        is $run->(sub {
            refusal(handle => print => sub { print BAREWORD 'x' }, method => sub { BAREWORD->print('x') });
            }),
            {}, $way;
        is nothing_to_read($peer), 1, 'nothing arrives';
        is sent(\*BAREWORD, $peer), 'there back', 'the parent goes on with it';
        close BAREWORD;
    }
};

{

    package TiedSocket;
    sub TIEHANDLE { my ($class, $socket) = @_; return bless { socket => $socket }, $class }
    sub FILENO    { return fileno $_[0]{socket} }
    sub PRINT     { my ($self, @text) = @_; return syswrite $self->{socket}, join '', @text }
    sub CLOSE     { my ($self) = @_; shutdown $self->{socket}, 2;                             return 1 }
    sub DESTROY   { my ($self) = @_; syswrite $self->{socket}, 'good-bye' if $self->{socket}; return }
}

each_fork 'a tied handle' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $handle = \do { no warnings 'once'; local *HANDLE };
    tie *$handle, 'TiedSocket', $socket;
    guard($handle);
    my $wrong = $run->(sub {
        my $wrong = refusal(handle => print => sub { print {$handle} 'x' });
        close $handle;
        undef $handle;
        $wrong;
    });
    is $wrong, {}, 'it throws';
    is nothing_to_read($peer), 1, 'nothing arrives';
    print {$handle} 'x';
    is sysread($peer, my $got, 10), 1, 'the parent goes on with it';
    (tied *$handle)->{socket} = undef;
};

# ---- Buffers --------------------------------------------------------------------------------------------------------

# Forks of perl, and ours, write every buffer first. What a fork of a C library leaves in one is taken back by hand.
sub tail_after {
    my ($run, $is_disowned, $in_child) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $result = $run->(sub {
        my $warning = 'no warning';
        local $SIG{__WARN__} = sub { $warning = $_[0] };
        print {$writer} 'tail';
        EventLoop::Fork::Guard->disown($writer) if $is_disowned;
        $in_child->($writer);
        return $warning;
    });
    close $writer or die "close: $!";
    return (slurp($reader), $result);
}

my %drops = (
    closes => sub { my ($writer) = @_; close $writer; return 'done' },
    drops  => sub { undef $_[0]; return 'done' },
    keeps  => sub { return 'done' },
    # What perl does at the end of every program.
    flushes => sub {
        my ($writer) = @_;
        eval { IO::Handle::flush($writer) };
        return 'done';
    },
);

each_fork 'a buffer' => sub {
    my ($run) = @_;
    for my $way (sort keys %drops) {
        is [ tail_after($run, 1, $drops{$way}) ], [ '', 'no warning' ],
            "what waits in a buffer does not come: the child $way it";
        is [ tail_after($run, 0, $drops{$way}) ], [ 'tail', 'no warning' ], 'control: it comes' unless $way eq 'keeps';
    }
};

each_fork 'a file' => sub {
    my ($run) = @_;
    my $file = File::Temp->new;
    print {$file} map { "line $_\n" } 1 .. 10;
    close $file;
    for my $is_guarded (1, 0) {
        open my $handle, '<', $file->filename or die "open: $!";
        my @lines = scalar readline $handle;
        guard($handle) if $is_guarded;
        $run->(sub {
            eval { my @stolen = readline $handle };
            close $handle;
            'done';
        });
        push @lines, readline $handle;
        is @lines == 10 ? 'all' : scalar @lines, $is_guarded ? 'all' : 1,
            $is_guarded ? 'the parent reads every line' : 'control: a child reads lines that the parent lacks';
    }
};

each_fork 'a process behind a pipe' => sub {
    my ($run) = @_;
    open my $from, '-|', $^X, '-e', '$| = 1; print "ready\n"; exit 7' or die "open: $!";
    readline $from;
    guard($from);
    is $run->(sub { my $done = close $from; undef $from; $done ? 'closed' : "$! $?" }), 'closed',
        'closing it does not wait for what is not its child';
    close $from;
    is $? >> 8, 7, 'the parent has its status';
};

# ---- The child's own ------------------------------------------------------------------------------------------------

each_fork 'new things' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $file = File::Temp->new;
    guard($socket);
    my $seen = $run->(sub {
        my %seen;
        my $other;
        ($other, my $other_peer) = connected();
        $seen{'a new socket'} = sent($other, $other_peer);
        open $socket, '>', $file->filename or die "open: $!";
        print {$socket} "own\n"            or die "print: $!";
        close $socket                      or die "close: $!";
        $seen{'a new file under the old name'} = -s $file->filename;
        return \%seen;
    });
    is $seen, { 'a new socket' => 'there back', 'a new file under the old name' => 4 }, 'work in the child';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with its own';

    for my $end (sub { undef $socket }, sub { close $socket }) {
        is $run->(sub { my @before = open_fds(); $end->(); scalar(@before) - scalar(open_fds()) }), 1,
            'the number is free when the handle is dropped or closed';
    }
};

each_fork 'generations' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    my $parent = $$;
    guard($socket);
    my $seen = $run->(sub {
        my ($own, $own_peer) = connected();
        guard($own);
        my ($below) = in_raw_child(sub {
            return [
                map { thrown_by($_) =~ /process ([0-9]+), which/ ? $1 : 'nobody' } sub { print {$socket} 'x' },
                sub { print {$own} 'x' }
            ];
        });
        return [ @$below, $$, nothing_to_read($own_peer), sent($own, $own_peer) ];
    });
    my ($first, $second, $child, @rest) = @$seen;
    is [ $first, $second, @rest ], [ $parent, $child, 1, 'there back' ], 'a grandchild is told whose each is';
    is nothing_to_read($peer), 1, 'nothing arrives';
    is sent($socket, $peer), 'there back', 'the parent goes on with its own';
};

each_fork 'closed by the parent' => sub {
    my ($run) = @_;
    my ($socket, $peer) = connected();
    guard($socket);
    close $socket;
    my ($taken, $taken_peer) = connected();
    is $run->(sub { sent($taken, $taken_peer) }), 'there back',
        'a number that has been closed and taken again is not the guard\'s';
};

is [
    map {
        my $handle = $_;
        thrown_by(sub { guard($handle) })
    } do { open my $closed, '<', '/dev/null'; close $closed; $closed },
    \*NEVER,
    *NEVER
    ],
    [ ('EVF_EBADF: the handle is not open on a descriptor') x 3 ], 'what is not open cannot be guarded';
{
    open my $in_memory, '<', \'text' or die "open: $!";
    is thrown_by(sub { guard($in_memory) }), 'EVF_EBADF: the handle is not open on a descriptor',
        'nor a handle on a string';
}

# ---- Controls -------------------------------------------------------------------------------------------------------

subtest 'without a guard' => sub {
    my ($socket, $peer) = connected();
    in_raw_child(sub { shutdown $socket, 2; 'done' });
    is nothing_to_read($peer), 'the end', 'control: a child shuts down what the parent uses';

    ($socket, $peer) = connected();
    in_raw_child(sub { print {$socket} 'x'; 'done' });
    is nothing_to_read($peer), "'x'", 'control: a child writes where the parent does';
};

# A child that ends as programs do, with every destructor.
my $program = <<'EOP';
use strict;
use warnings;
use EventLoop::Fork qw(guard);
use GuardTest;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";
{
    package Polite;
    sub DESTROY { my ($self) = @_; syswrite $self->{socket}, 'good-bye'; return }
    sub DISOWN  { my ($self) = @_; EventLoop::Fork::Guard->disown($self->{socket}); EventLoop::Fork::Guard->poison($self); return }
}
our ($socket, $peer) = connected();
our $object = bless { socket => $socket }, 'Polite';
if ($ARGV[0]) { guard($socket); guard($object) }
my $pid = fork;
exit 0 if !$pid;
waitpid $pid, 0;
print nothing_to_read($peer), ", status $?\n";
undef $object;
print nothing_to_read($peer), "\n";
EOP

is run_program($program, 1), { stdout => "1, status 0\n'good-bye'\n", stderr => '', status => 0 },
    'a child that exits is silent';
is run_program($program, 0)->{stdout}, "'good-bye', status 0\n'good-bye'\n",
    'control: without guards its destructors speak';

done_testing;
