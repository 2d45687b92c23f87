package EventLoop::Fork::Command::Owner;

# The living owner of a status file, for commands that ask it for something. Signals nobody else: before each signal the
# kernel is asked who holds the lock of the file.

use strict;
use warnings;

use Errno qw(ESRCH);
use EventLoop::Fork::Command;
use EventLoop::Fork::Command::StatusFile;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

use constant {
    INTERVAL => 0.02,    # seconds between looks: what is waited for takes a fork at least
    FAREWELL => 5,       # a supervisor that has ended may be a part of a program that goes on
};

sub new {
    my ($class, $wish, %how) = @_;
    my $path = EventLoop::Fork::Command::StatusFile::find($wish);
    my $self = bless {
        path  => $path,
        board => EventLoop::Fork::Command::StatusFile::open_board($path, %how),
    }, $class;
    $self->{pid} = $self->{board}->owner or $self->_fail_not_running;
    return $self;
}

sub path   { return $_[0]{path} }
sub pid    { return $_[0]{pid} }
sub board  { return $_[0]{board} }
sub header { return $_[0]{board}->header }
sub name   { return EventLoop::Fork::Command::StatusFile::name_of($_[0]{path}) }
sub state  { return EventLoop::Fork::Scoreboard::pool_state_name($_[0]->header->{pool_state}) }

# For people.
sub who { my ($self) = @_; return sprintf '%s (pid %d)', $self->name, $self->{pid} }

sub is_running { my ($self) = @_; return $self->{board}->owner == $self->{pid} ? 1 : 0 }

sub _fail_not_running {
    my ($self) = @_;
    return EventLoop::Fork::Command::fail(
        $self->name . ' is not running: nobody holds ' . $self->{path},
        EventLoop::Fork::Command::NOT_RUNNING
    );
}

sub refuse_while_stopping {
    my ($self, $verb) = @_;
    my $state = $self->state;
    return if $state =~ /\A(?:running|reloading)\z/;
    return EventLoop::Fork::Command::fail($self->who . " does not $verb: it is $state");
}

sub signal {
    my ($self, $signal) = @_;
    $self->is_running or $self->_fail_not_running;
    return if kill $signal, $self->{pid};
    return EventLoop::Fork::Command::fail("cannot signal $self->{pid}: $!");
}

# True when the code is, false when the time is over. Without a timeout it waits for as long as it takes.
sub wait_until {
    my ($self, $code, $timeout) = @_;
    my $deadline = defined $timeout ? _now() + $timeout : undef;
    until ($code->()) {
        return 0 if defined $deadline && _now() >= $deadline;
        Time::HiRes::sleep(INTERVAL);
    }
    return 1;
}

# The supervisor has ended, and so has its process, unless that is a program that does something else now.
sub wait_until_ended {
    my ($self, $timeout) = @_;
    $self->wait_until(sub { !$self->is_running }, $timeout) or return 0;
    $self->wait_until(sub { _is_gone($self->{pid}) }, FAREWELL);
    return 1;
}

# A zombie is gone, too: whose child it is may have other things to do.
sub _is_gone {
    my ($pid) = @_;
    return 1 if !kill(0, $pid) && $! == ESRCH;
    CORE::open my $file, '<', "/proc/$pid/stat" or return 0;
    my $line = readline $file;
    return defined $line && $line =~ /.*\) [ZX]/ ? 1 : 0;
}

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

# Reads changes that are made of several stores: twice the same is one that is complete.
sub wait_until_settled {
    my ($self, $code, $timeout) = @_;
    my $before = '';
    return $self->wait_until(
        sub {
            my $now     = $code->();
            my $is_same = defined $now && $now eq $before;
            $before = defined $now ? $now : '';
            return $is_same && length $now;
        },
        $timeout,
    );
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Owner - the supervisor that a status file belongs to

=head1 SYNOPSIS

    use EventLoop::Fork::Command::Owner;

    my $owner = EventLoop::Fork::Command::Owner->new('/run/app.status');
    $owner->signal('TERM');
    $owner->wait_until(sub { !$owner->is_running }, 60);

=head1 DESCRIPTION

For C<evfork stop>, C<reload>, C<restart> and C<scale>. Where no supervisor runs, the command fails with exit code 3.

=head1 METHODS

=head2 new

    my $owner = EventLoop::Fork::Command::Owner->new($file_or_name_or_undef, writable => 1);

=head2 path, pid, name, who, board, header, state

C<who> is the name with the pid, for messages.

=head2 is_running

Whether it is still this process that holds the lock.

=head2 refuse_while_stopping

    $owner->refuse_while_stopping('reload');

Fails unless it serves.

=head2 signal

=head2 wait_until_ended

=head2 wait_until, wait_until_settled

    $owner->wait_until($code, $seconds)

True when the code has returned true; C<wait_until_settled> when it has returned the same non-empty text twice.

=cut
