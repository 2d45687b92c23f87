package ToyLoop;

# A small loop of somebody else over select, as the tests of the contract need one: with an adapter, and with adapters
# that break one promise each.

use strict;
use warnings;

use Scalar::Util qw(weaken);
use Time::HiRes  ();

my @all;

sub new {
    my ($class) = @_;
    my $self = bless { handles => {}, timers => {} }, $class;
    @all = ((grep { defined } @all), $self);
    weaken $_ for @all;    # a copy of a weak reference is a strong one
    return $self;
}

sub everything {
    return grep { defined } @all;
}

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub run {
    my ($self) = @_;
    local $self->{is_running} = 1;
    $self->turn while $self->{is_running};
    return;
}

sub turn {
    my ($self) = @_;
    my $bits = '';
    vec($bits, fileno $_->[0], 1) = 1 for values %{ $self->{handles} };
    my ($next) = sort { $a <=> $b } map { $_->[0] } values %{ $self->{timers} };
    my $wait   = defined $next ? $next - now() : undef;
    select $bits, undef, undef, defined $wait && $wait < 0 ? 0 : $wait;
    for my $id (keys %{ $self->{handles} }) {
        my $watch = $self->{handles}{$id} or next;
        $watch->[1]->() if vec $bits, fileno $watch->[0], 1;
    }
    my $now = now();
    for my $id (sort { $self->{timers}{$a}[0] <=> $self->{timers}{$b}[0] } keys %{ $self->{timers} }) {
        my $timer = $self->{timers}{$id} or next;
        next if $timer->[0] > $now;
        delete $self->{timers}{$id};
        $timer->[1]->();
    }
    return;
}

package ToyLoop::Adapter;

our @ISA = ('EventLoop::Fork::Adapter');

my $last_id = 0;

sub family    { return 'Toy' }
sub is_loaded { return 1 }
sub is_in_use { return 0 }
sub accepts   { return ref $_[1] eq 'ToyLoop' }
sub new       { my ($class, $loop) = @_; return bless { loop => $loop }, $class }

sub renew {
    for my $loop (ToyLoop::everything()) {
        $_[0]->_freeze({%$loop});
        %$loop = (handles => {}, timers => {});
    }
    return;
}
sub rearm { return }

sub watch_io {
    my ($self, $handle, $code) = @_;
    $self->{loop}{handles}{ ++$last_id } = [ $handle, $code ];
    return $last_id;
}

sub watch_time {
    my ($self, $seconds, $code) = @_;
    $self->{loop}{timers}{ ++$last_id } = [ ToyLoop::now() + $seconds, $code ];
    return $last_id;
}
sub unwatch_io   { my ($self, $id) = @_; delete $self->{loop}{handles}{$id}; return }
sub unwatch_time { my ($self, $id) = @_; delete $self->{loop}{timers}{$id};  return }
sub run          { my ($self) = @_; $self->{loop}->run;            return }
sub stop         { my ($self) = @_; $self->{loop}{is_running} = 0; return }

sub loop_for_child { my ($self, $keep) = @_; return $keep ? $self->{loop} : ToyLoop->new }

# ---- Each breaks one promise ----------------------------------------------------------------------------------------

package ToyLoop::Nameless;
our @ISA = ('ToyLoop::Adapter');
sub family { return $_[0]->SUPER::family x (caller !~ /\AEventLoop::Fork::Test::Adapter\b/) }

package ToyLoop::Greedy;
our @ISA = ('ToyLoop::Adapter');
sub accepts { my ($class, $loop) = @_; return ref $loop eq 'ToyLoop' || defined $loop && "$loop" =~ /NoLoop/ }

package ToyLoop::Writer;    # looks for the wrong kind of readiness
our @ISA = ('ToyLoop::Adapter');
sub watch_io { my ($self, $handle, $code) = @_; return $self->watch_time(0, $code) }

package ToyLoop::Deaf;      # unwatches nothing
our @ISA = ('ToyLoop::Adapter');
sub unwatch_io { return }

package ToyLoop::Forgetful;    # a watch lives as long as the adapter
our @ISA = ('ToyLoop::Adapter');
my %ids;

sub watch_io {
    my ($self, @arguments) = @_;
    push @{ $ids{$self} }, my $id = $self->SUPER::watch_io(@arguments);
    return $id;
}
sub DESTROY { my ($self) = @_; $self->unwatch_io($_) for @{ delete $ids{$self} || [] }; return }

package ToyLoop::Hasty;
our @ISA = ('ToyLoop::Adapter');
sub watch_time { my ($self, $seconds, $code) = @_; return $self->SUPER::watch_time($seconds * 0.8, $code) }

package ToyLoop::Coarse;    # looks each 50 ms, and fires what is due then in the wrong order
our @ISA = ('ToyLoop::Adapter');

sub watch_time {
    my ($self, $seconds, $code) = @_;
    my $now  = ToyLoop::now();
    my $due  = ($now + $seconds) / 0.05;
    my $look = int($due) + 1;
    return $self->SUPER::watch_time(0.05 * $look - $now + 0.0001 * ($look - $due), $code);
}

package ToyLoop::Tardy;     # one timer is so late that another one, far from it, comes first
our @ISA = ('ToyLoop::Adapter');

sub watch_time {
    my ($self, $seconds, $code) = @_;
    return $self->SUPER::watch_time($seconds + ($seconds > 0.05 && $seconds < 0.1 ? 0.25 : 0), $code);
}

package ToyLoop::Stuttering;    # fires once more
our @ISA = ('ToyLoop::Adapter');

sub watch_time {
    my ($self, $seconds, $code) = @_;
    return $self->SUPER::watch_time($seconds, sub { $code->(); $self->SUPER::watch_time(0.01, $code) });
}

package ToyLoop::Stubborn;
our @ISA = ('ToyLoop::Adapter');
sub unwatch_time { return }

package ToyLoop::Impatient;     # returns when nothing happens for a while
our @ISA = ('ToyLoop::Adapter');

sub run {
    my ($self) = @_;
    $self->watch_time(0.03, sub { $self->stop });
    return $self->SUPER::run;
}

package ToyLoop::Late;          # calls for a signal at its leisure
our @ISA = ('ToyLoop::Adapter');

sub watch_signal {
    my ($self, $name, $code) = @_;
    return $self->SUPER::watch_signal($name, sub { $self->watch_time($ENV{EVF_TEST_SLOW} ? 3 : 0.3, $code) });
}

package ToyLoop::Keeping;       # unwatches no signal
our @ISA = ('ToyLoop::Adapter');
sub unwatch_signal { return }

package ToyLoop::Clinging;      # does nothing in a child
our @ISA = ('ToyLoop::Adapter');
sub renew          { return }
sub loop_for_child { return $_[0]{loop} }

package ToyLoop::Broken;        # a child has no loop
our @ISA = ('ToyLoop::Adapter');
sub loop_for_child { return bless { handles => {}, timers => {} }, 'ToyLoop::None' }

package ToyLoop::Fragile;       # minds a watch that the child has not started
our @ISA = ('ToyLoop::Adapter');
sub unwatch_io { my ($self, $id) = @_; delete $self->{loop}{handles}{$id} or die "no watch $id\n"; return }

package ToyLoop::Repeating;     # tells of the end of a child twice
our @ISA = ('ToyLoop::Adapter');

sub watch_process {
    my ($self, $pid, $fd, $code) = @_;
    return $self->SUPER::watch_process($pid, $fd, sub { $code->(@_) for 1, 2 });
}

package ToyLoop::Emptying;      # takes the watchers of a daemon
our @ISA = ('ToyLoop::Adapter');
sub rearm { return $_[0]->renew }

1;
