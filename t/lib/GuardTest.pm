package GuardTest;

# Helpers of t/guard: children of both kinds of fork, what a use in a child throws, and what a peer has got.

use strict;
use warnings;

use EventLoop::Fork::Guard;
use EventLoop::Fork::Loop;
use Exporter qw(import);
use ForkTest;
use File::Temp ();
use IO::Handle ();
use Socket     qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

our @EXPORT = qw(connected each_fork nothing_to_read refusal sent thrown_by);

# Runs the code in a subtest for perl's own fork and for ours, and counts what it leaves behind. It gets a sub that runs
# code in a child and returns what that returned.
sub each_fork {
    my ($name, $code) = @_;
    require Test2::V0;
    EventLoop::Fork::Loop->new;    # a process keeps a descriptor from its first loop on
    for my $kind ('a raw fork', 'our fork') {
        Test2::V0::subtest(
            "$name, $kind",
            sub {
                my @before = open_fds();
                my $loop   = EventLoop::Fork::Loop->new;
                my $run    = sub {
                    my ($inner) = @_;
                    my ($said, $value, $status) =
                        said_by(sub { $kind eq 'a raw fork' ? in_raw_child($inner) : in_child($loop, $inner) });
                    Test2::V0::is([ $status, $said ], [ 0, '' ], 'the child ends well, and says nothing on STDERR');
                    return $value;
                };
                $code->($run, $kind, $loop);
                undef $loop;
                Test2::V0::is([ open_fds() ], \@before, 'no descriptor is left');
                Test2::V0::is(children_left(), '', 'no child and no zombie is left');
            }
        );
    }
    return;
}

# What is written to STDERR meanwhile, and what the code returns.
sub said_by {
    my ($code) = @_;
    my $file = File::Temp->new;
    open my $kept, '>&', \*STDERR or die "STDERR: $!";
    open STDERR, '>&', $file      or die "STDERR: $!";
    my @result = eval { $code->() };
    my $error  = $@;
    open STDERR, '>&', $kept or die "STDERR: $!";
    die $error if $error;
    seek $file, 0, 0;
    local $/;
    return (readline($file) // '', @result);
}

# Two ends that are handles without a class; for objects, IO::Socket has its own.
sub connected {
    socketpair my $one, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $_->autoflush(1) for $one, $other;
    return ($one, $other);
}

# What the code throws: its name, and the text without the place of the caller.
sub thrown_by {
    my ($code) = @_;
    return 'nothing' if eval { $code->(); 1 };
    return ref $@ eq 'EventLoop::Fork::Error' ? $@->name . ': ' . $@->message : "$@";
}

# In a child: true if each use is refused in the words that it should be; else what happened.
sub refusal {
    my ($class, %uses) = @_;
    my %wrong;
    for my $use (sort keys %uses) {
        my $thrown = thrown_by($uses{$use});
        $wrong{$use} = $thrown
            unless $thrown =~
            /\AEVF_EDISOWNED: this \Q$class\E belongs to process [0-9]+, which forked at \S+ line [0-9]+; make a new one here\z/;
    }
    return \%wrong;
}

# Sends through one end and receives at the other: both ways, what arrives.
sub sent {
    my ($one, $other) = @_;
    my $all = '';
    for my $way ([ $one, $other, 'there' ], [ $other, $one, 'back' ]) {
        my ($from, $to, $text) = @$way;
        defined syswrite $from, $text or return "cannot send $text: $!";
        my $bits = '';
        vec($bits, fileno $to, 1) = 1;
        select($bits, undef, undef, BOUND) > 0 or return "$text does not arrive";
        sysread $to, my $got, 1000             or return "the end comes for $text";
        $all .= $all ? " $got" : $got;
    }
    return $all;
}

# Neither bytes nor an end has come. Whoever could have sent it has ended.
sub nothing_to_read {
    my ($handle) = @_;
    my $bits = '';
    vec($bits, fileno $handle, 1) = 1;
    return 1 unless select $bits, undef, undef, 0;
    sysread $handle, my $got, 1000;
    return $got eq '' ? 'the end' : "'$got'";
}

1;
