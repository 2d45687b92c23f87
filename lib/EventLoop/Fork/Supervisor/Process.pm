package EventLoop::Fork::Supervisor::Process;

# What can be said of another process: for messages that name who is in the way, and for pid files. Signals nobody.

use strict;
use warnings;

use Errno qw(EPERM);
use POSIX ();

our $VERSION = '0.001';

our $PROC = '/proc';    # where there is none, less is known

sub describe {
    my ($pid) = @_;
    my $words = _text("$pid/cmdline");
    if (defined $words && length $words) {
        $words =~ s/\0+\z//;
        $words =~ s/\0/ /g;
    }
    else {
        $words = _text("$pid/comm");    # the kernel's own, and those of other users where they are hidden
        $words =~ s/\n\z// if defined $words;
    }
    return "process $pid" unless defined $words && length $words;
    $words =~ s/[^\x20-\x7e]/?/g;
    $words = substr($words, 0, 77) . '...' if length $words > 80;
    return "process $pid ($words)";
}

# A zombie has ended.
sub is_alive {
    my ($pid) = @_;
    local $!;
    return 0 unless kill(0, $pid) || $! == EPERM;
    my ($state) = _stat($pid);
    return !(defined $state && $state =~ /\A[ZX]\z/);
}

sub started_at {
    my ($pid) = @_;
    my (undef, undef, $ticks) = _stat($pid) or return;
    my ($boot) = (_text('stat') // '') =~ /^btime ([0-9]+)$/m;
    my $rate = POSIX::sysconf(POSIX::_SC_CLK_TCK());
    return defined $ticks && defined $boot && $rate ? $boot + $ticks / $rate : undef;
}

sub holding_socket {
    my ($inode) = @_;
    local $!;
    opendir my $processes, $PROC or return;
    my @pids = sort { $a <=> $b } grep { /\A[0-9]+\z/ && _has_socket($_, $inode) } readdir $processes;
    closedir $processes;
    # Workers have it, too. The one that is no child of another one is who can be told to stop.
    my %has = map { $_ => 1 } @pids;
    for my $pid (@pids) {
        my (undef, $parent) = _stat($pid);
        return $pid unless defined $parent && $has{$parent};
    }
    return $pids[0];
}

sub _has_socket {
    my ($pid, $inode) = @_;
    opendir my $descriptors, "$PROC/$pid/fd" or return 0;
    my @found = grep { (readlink "$PROC/$pid/fd/$_" // '') eq "socket:[$inode]" } readdir $descriptors;
    closedir $descriptors;
    return @found > 0;
}

# The first field is a number, or "running"; who may not look into the process gets nothing.
sub activity {
    my ($pid)  = @_;
    my ($call) = (_text("$pid/syscall") // '') =~ /\A(\w+)/ or return;
    return 'running' if $call eq 'running';
    return           if $call !~ /\A[0-9]+\z/;
    require EventLoop::Fork;
    return 'in system call ' . (EventLoop::Fork::_syscall_name($call) // $call);
}

# Of that process, which may be this one.
sub zombies_of {
    my ($parent) = @_;
    my $children = _text("$parent/task/$parent/children");    # not in every kernel
    return grep { ((_stat($_))[0] // '') eq 'Z' } split / /, $children if defined $children;
    opendir my $processes, $PROC or return;
    my @pids = grep { /\A[0-9]+\z/ } readdir $processes;
    closedir $processes;
    return grep { my ($state, $its_parent) = _stat($_); ($state // '') eq 'Z' && $its_parent == $parent } @pids;
}

# State, parent, start in ticks since boot. The name may hold blanks and brackets.
sub _stat {
    my ($pid)  = @_;
    my ($rest) = (_text("$pid/stat") // '') =~ /.*\) (.*)/s or return;
    return (split / /, $rest)[ 0, 1, 19 ];
}

sub _text {
    my ($path) = @_;
    local ($!, $/);
    open my $handle, '<', "$PROC/$path" or return;
    my $text = readline $handle;
    close $handle;
    return $text;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Process - what can be said of another process

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Process;

    print EventLoop::Fork::Supervisor::Process::describe(1234), "\n";    # process 1234 (perl server.pl)

=head1 DESCRIPTION

Messages of the supervisor name who is in the way. Where the system does not tell (there is no F</proc>, or it hides the
processes of others), less is said.

=head1 FUNCTIONS

=head2 describe($pid)

The process in words: its number and its command line, shortened, on one line.

=head2 is_alive($pid)

True for a running process of whichever user. A zombie has ended.

=head2 started_at($pid)

When it was started, in seconds of the epoch; C<undef> where that is not known.

=head2 activity($pid)

C<running>, or C<in system call read>; C<undef> where the system does not tell it.

=head2 zombies_of($pid)

Children of that process that have ended and were not asked for yet. None where there is no F</proc>.

=head2 holding_socket($inode)

The process that has the socket with this inode number open; of several, the one that is not a child of the others.
C<undef>: nobody whose descriptors this process may see.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::PidFile>

=cut
