package PreforkServer;

# A server with workers that is written for IO::Async alone, the way PAGI::Server's own multi-worker mode is: one listener
# for all, $loop->fork, watch_process, watch_signal, a start that takes a future, a pipe for heartbeats, and $SIG{INT} set
# aside around each fork. It knows nothing of EventLoop::Fork. t/pagi/prefork.t runs it on every loop.
#
#     perl -MPreforkServer -e 'PreforkServer->run(@ARGV)' CLASS-OF-LOOP WORKERS
#
# It writes a line for what happens: listening ADDRESS; ready PID NUMBER CLASS; ended PID STATUS; stopped.

use strict;
use warnings;

use IO::Async::Listener;
use IO::Async::Loop;
use IO::Async::Timer::Periodic;
use IO::Socket::INET;
use Scalar::Util qw(weaken);

use constant { GRACE => 20, HEARTBEAT => 2 };    # seconds

sub say_line { syswrite STDOUT, "@_\n"; return }

sub run {
    my ($class, $loop_class, $workers) = @_;
    (my $file = "$loop_class.pm") =~ s{::}{/}g;
    require $file;
    $IO::Async::Loop::LOOP = $loop_class =~ s/\AIO::Async::Loop:://r;
    my $self = bless { loop => IO::Async::Loop->new, workers => {}, wanted => $workers, last => 0 }, $class;
    $self->{socket} = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100) or die "listen: $@";
    say_line(listening => '127.0.0.1:' . $self->{socket}->sockport);
    $self->spawn(++$self->{last}) for 1 .. $workers;
    $self->watch_signals;
    $self->watch_heartbeats;
    say_line('running');
    $self->{loop}->run;
    say_line('stopped');
    return;
}

# ---- The parent -----------------------------------------------------------------------------------------------------

sub spawn {
    my ($self, $number) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $before = $SIG{INT};
    $SIG{INT} = 'IGNORE';
    my $pid = $self->{loop}->fork(
        code => sub {
            close $reader;
            $self->work($number, $writer);
            return 0;
        }
    );
    $SIG{INT} = $before;
    close $writer;
    $reader->blocking(0);
    $self->{workers}{$pid} = { number => $number, heart => $reader, seen => time };
    $self->{loop}->watch_process($pid => sub { $self->ended(@_) });
    return;
}

sub ended {
    my ($self, $pid, $status) = @_;
    my $worker = delete $self->{workers}{$pid};
    say_line(ended => $pid, $status);
    $self->{loop}->unwatch_time($worker->{kill_timer}) if $worker->{kill_timer};
    my $is_left = !keys %{ $self->{workers} };
    return $self->{loop}->stop                 if $self->{is_stopping} && $is_left;
    return                                     if $self->{is_stopping} || $worker->{is_last};
    return $is_left ? $self->{loop}->stop : () if $status >> 8 == 2;
    $self->spawn($worker->{number});
    return;
}

sub end {
    my ($self, $pid) = @_;
    kill TERM => $pid;
    $self->{workers}{$pid}{kill_timer} ||= $self->{loop}->watch_time(after => GRACE, code => sub { kill KILL => $pid });
    return;
}

sub stop {
    my ($self) = @_;
    return if $self->{is_stopping}++;
    $self->end($_) for keys %{ $self->{workers} };
    return;
}

sub watch_signals {
    my ($self) = @_;
    my %does = (
        TERM => sub { $self->stop },
        INT  => sub { $self->stop },
        HUP  => sub { $self->end($_) for keys %{ $self->{workers} } },
        TTIN => sub { $self->spawn(++$self->{last}) },
        TTOU => sub {
            my ($pid) = sort { $b <=> $a } keys %{ $self->{workers} };
            $self->{workers}{$pid}{is_last} = 1;
            $self->end($pid);
        },
    );
    $self->{loop}->watch_signal($_ => $does{$_}) for sort keys %does;
    return;
}

sub watch_heartbeats {
    my ($self) = @_;
    my $timer = IO::Async::Timer::Periodic->new(
        interval => HEARTBEAT / 4,
        on_tick  => sub {
            return if $self->{is_stopping};
            for my $pid (keys %{ $self->{workers} }) {
                my $worker = $self->{workers}{$pid};
                $worker->{seen} = time if sysread $worker->{heart}, my $beats, 100;
                kill KILL => $pid if time - $worker->{seen} > HEARTBEAT;
            }
        },
    );
    $self->{loop}->add($timer->start);
    return;
}

# ---- A worker -------------------------------------------------------------------------------------------------------

sub work {
    my ($self, $number, $heart) = @_;
    my $loop = IO::Async::Loop->new;
    my $is_stopping;
    my %streams;
    my $listener;
    my $leave = sub { $loop->stop if $is_stopping && !keys %streams };
    $loop->watch_signal(
        TERM => sub {
            return                   if $is_stopping++;
            $loop->remove($listener) if $listener;
            $leave->();
        }
    );
    my $started = $loop->delay_future(after => 0.01);
    $loop->loop_once until $started->is_ready;
    my $requests = 0;
    $listener = IO::Async::Listener->new(
        handle    => $self->{socket},
        on_stream => sub {
            my ($from, $stream) = @_;
            $streams{$stream} = $stream;
            $stream->configure(
                on_read => sub {
                    my ($stream, $buffer) = @_;
                    while ($$buffer =~ s/\A(\w+)\n//) {
                        exit 7 if $1 eq 'die';
                        $stream->write("$$ $number " . ref($loop) . "\n");
                    }
                    return 0;
                },
                on_closed => sub { delete $streams{ $_[0] }; $leave->() },
            );
            $loop->add($stream);
        },
    );
    $loop->add($listener);
    $loop->add(
        IO::Async::Timer::Periodic->new(
            interval => HEARTBEAT / 8,
            on_tick  => sub { syswrite $heart, 'x' },
        )->start
    );
    say_line(ready => $$, $number, ref $loop);
    $loop->run;
    exit 0;
}

1;
