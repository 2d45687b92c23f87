package EventLoop::Fork::Adapter::Native;

# EventLoop::Fork::Loop. What its child needs is done in the core.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use EventLoop::Fork::Loop ();
use Scalar::Util          qw(blessed);

use constant CLASS => 'EventLoop::Fork::Loop';

# Made when a program has no loop at all. A child makes its own.
my ($own_loop, $own_pid);

sub family    { return 'EventLoop::Fork' }
sub is_loaded { return 1 }
sub is_in_use { return defined $own_loop && $own_pid == $$ }

sub accepts {
    my ($class, $loop) = @_;
    return blessed $loop ? $loop->isa(CLASS) : !ref $loop && $loop eq CLASS;
}

sub new {
    my ($class, $loop) = @_;
    if (!blessed $loop) {
        ($own_loop, $own_pid) = (CLASS->new, $$) unless defined $own_loop && $own_pid == $$;
        $loop = $own_loop;
    }
    return bless { loop => $loop }, $class;
}

sub renew { return }
sub rearm { return }

sub watch_io {
    my ($self, $handle, $code) = @_;
    $self->{loop}->watch_io(handle => $handle, on_read_ready => $code);
    return $self->_hold($handle, 1);
}

sub unwatch_io {
    my ($self, $id) = @_;
    my $handle = $self->_release($id) or return;
    $self->{loop}->unwatch_io(handle => $handle, on_read_ready => 1);
    return;
}

sub watch_time {
    my ($self, $seconds, $code) = @_;
    return $self->{loop}->watch_time(after => $seconds, code => $code);
}

sub unwatch_time {
    my ($self, $id) = @_;
    $self->{loop}->unwatch_time($id);
    return;
}

sub run  { $_[0]{loop}->run;  return }
sub stop { $_[0]{loop}->stop; return }

sub loop_for_child {
    my ($self, $keep) = @_;
    return $self->{loop} if $keep;
    return (ref $self->{loop})->new;
}

1;
