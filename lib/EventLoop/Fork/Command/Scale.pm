package EventLoop::Fork::Command::Scale;

# evfork scale: writes the number into the scoreboard and rings. Signals merge and a number does not, so it is exact.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Owner;
use Fcntl          qw(LOCK_EX LOCK_NB O_RDONLY);
use File::Basename qw(dirname);

our $VERSION = '0.001';

use constant { WORKERS_MAX => 512, TIMEOUT => 30 };

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options(['timeout=s'], @arguments);
    my ($count, @rest) = @{ $options->{''} };
    $self->refuse('how many workers? evfork scale N [FILE]') unless defined $count;
    my $wanted  = $self->number('the number of workers', $count, min => 1, max => WORKERS_MAX, whole => 1);
    my $wish    = $self->only_argument(@rest);
    my $timeout = $self->timeout(defined $options->{timeout} ? $options->{timeout} : TIMEOUT);
    my $owner   = EventLoop::Fork::Command::Owner->new($wish, writable => 1);
    my $before  = $self->_scale($owner, $wanted, $timeout);
    EventLoop::Fork::Command::put(
        sprintf "%s: %d worker%s wanted, %d before\n", $owner->who, $wanted,
        $wanted == 1 ? '' : 's', $before
    );
    return $self->OK;
}

# One wish at a time: a TTIN for which there is no wish any more is "one more".
sub _scale {
    my ($self, $owner, $wanted, $timeout) = @_;
    my $lock = $self->_lock($owner, $timeout);
    $owner->refuse_while_stopping('scale');
    my $before = $owner->header->{workers};
    my $board  = $owner->board;
    $board->set_header(wanted_workers => $wanted);
    if (!eval { $owner->signal('TTIN'); 1 }) {
        my $error = $@;
        $board->set_header(wanted_workers => 0);
        die $error;    ## no critic (RequireCarping): an object, thrown on
    }
    my $header;
    my $is_taken = $owner->wait_until(
        sub {
            $header = $owner->header;
            return 1 unless $owner->is_running;
            return !$header->{wanted_workers} && $header->{workers} == $wanted;
        },
        $timeout,
    );
    return $before if $header->{workers} == $wanted && !$header->{wanted_workers};
    # The signal may be on its way, and without a wish it would mean "one more": the wish is the number that there is.
    $board->set_header(wanted_workers => $header->{workers});
    return EventLoop::Fork::Command::fail(
        $owner->who . ($is_taken ? ' has ended before it had scaled' : " has not answered within $timeout s"));
}

# Of the folder: it leaves no file, and is not the owner's lock. Where the folder cannot be read it goes without.
sub _lock {
    my ($self, $owner, $timeout) = @_;
    sysopen my $folder, dirname($owner->path), O_RDONLY or return;
    $owner->wait_until(sub { flock $folder, LOCK_EX | LOCK_NB }, $timeout)
        or EventLoop::Fork::Command::fail(sprintf 'somebody else scales %s for more than %s s', $owner->name, $timeout);
    return $folder;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Scale - evfork scale

=head1 SYNOPSIS

    evfork scale N [FILE] [--timeout SECONDS]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
