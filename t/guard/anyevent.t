# Guarded AnyEvent::Handle objects, on AnyEvent's own loop and on EV. Their destructor lingers: it writes what is still to
# be written, for up to an hour.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

BEGIN { has_module('AnyEvent') or skip_all 'AnyEvent is not installed' }

# The model is chosen once for each process.
my $program = <<'EOP';
use strict;
use warnings;
BEGIN { $ENV{PERL_ANYEVENT_MODEL} = $ARGV[0] }
use AnyEvent;
use AnyEvent::Handle;
use EventLoop::Fork qw(guard);
use ForkTest;
use GuardTest;

my ($model, $how, $is_guarded, $end) = @ARGV;
$| = 1;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";
AnyEvent::detect();
print "model $AnyEvent::MODEL\n";
my $native = EventLoop::Fork::Loop->new;

sub turns {
    for (1 .. 3) {
        my $turn  = AnyEvent->condvar;
        my $timer = AnyEvent->timer(after => 0.001, cb => sub { $turn->send });
        $turn->recv;
    }
    return;
}

sub until_true {
    my ($condition) = @_;
    my $deadline = now() + BOUND;
    turns() until $condition->() || now() > $deadline;
    return;
}

my ($socket, $peer) = connected();
my ($got, @events) = ('');
our $handle = AnyEvent::Handle->new(
    fh       => $socket,
    timeout  => 3600,
    on_read  => sub { $got .= $_[0]{rbuf}; $_[0]{rbuf} = '' },
    on_error => sub { my ($self, $is_fatal, $message) = @_; push @events, "error $message"; $self->destroy },
    on_eof   => sub { push @events, 'eof' },
    on_drain => sub { push @events, 'drain' },
);
turns();
@events = ();
# More than the socket takes, so that something waits.
my $size = 1_000_000;
$handle->push_write('x' x $size);
print 'waits: ', length $handle->{wbuf} ? 'some' : 'nothing', "\n";
guard($handle) if $is_guarded;
# A child that makes room would write more.
my $seen_by_child = 0;
my %ends = (
    uses => sub {
        my $wrong = refusal(
            'AnyEvent::Handle' => push_write => sub { $handle->push_write('x') }, push_read => sub { $handle->push_read(line => sub { }) },
            fh => sub { $handle->fh }, on_read => sub { $handle->on_read(sub { }) }
        );
        return { %$wrong, %{ refusal(handle => print => sub { print {$socket} 'x' }) } };
    },
    drops    => sub { undef $handle; return {} },
    destroys => sub { $handle->destroy; return {} },
    closes   => sub { close $socket; return {} },
);
my $inner = sub {
    my $wrong = $ends{$end}->();
    # The child alone reads now, and all that it is sent is the beginning of the parent's.
    $peer->blocking(0);
    if ($how eq 'raw') {
        for (1 .. 20) {
            while (my $count = sysread $peer, my $text, 65536) { $seen_by_child += $count }
            turns();
        }
    }
    $wrong->{events} = "@events" if @events;
    $wrong->{seen} = $seen_by_child > 900_000 ? 'all of it' : 'the beginning' if $how eq 'raw';
    return join ', ', map { "$_: $wrong->{$_}" } sort keys %$wrong;
};
my ($said, $status) = $how eq 'raw' ? in_raw_child($inner) : in_child($native, $inner);
print 'child: ', $said // 'nothing', " status $status\n";
my ($all, $deadline) = (0, now() + BOUND);
$peer->blocking(0);
until_true(
    sub {
        while (my $count = sysread $peer, my $text, 65536) { $all += $count }
        return !length($handle->{wbuf} // '');
    }
);
while (my $count = sysread $peer, my $text, 65536) { $all += $count }
print 'parent: ', $how eq 'raw' ? ($all > 500_000 ? 'the rest' : "only $all") : $all == $size ? 'all of it' : "$all of it", ", @events\n";
syswrite $peer, 'answer';
until_true(sub { length $got });
print "got $got\n";
EOP

for my $model (qw(Perl EV)) {
    for my $how (qw(raw ours)) {
        subtest "$model, $how" => sub {
            skip_all 'EV is not installed' if $model eq 'EV' && !ForkTest::has_version('EV');
            for my $end (qw(uses drops destroys closes)) {
                my $result = run_program($program, $model, $how, 1, $end);
                is [ split /\n/, $result->{stdout} ],
                    [
                    "model AnyEvent::Impl::$model",
                    'waits: some',
                    'child: ' .  ($how eq 'raw' ? 'seen: the beginning' : '') . ' status 0',
                    'parent: ' . ($how eq 'raw' ? 'the rest'            : 'all of it') . ', drain',
                    'got answer',
                    ],
                    "the child $end it";
            }
            if ($how eq 'raw') {
                my $result = run_program($program, $model, $how, 0, 'drops');
                like $result->{stdout}, qr/^child: seen: all of it status 0$/m,
                    'control: the destructor in the child writes what is the parent\'s';
            }
        };
    }
}

done_testing;
