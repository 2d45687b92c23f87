package EventLoop::Fork::Supervisor::CPU;

# How many CPUs this process may use: those it is allowed to run on, and as many as its control groups pay for. A
# container on a machine of 64 with a quota of 2 gets 2 workers, not 64.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::ControlGroup qw(limits_of text_of);

our $VERSION = '0.001';

# Where there is no /proc. Each prints a number.
our @COMMANDS = ([qw(getconf _NPROCESSORS_ONLN)], [qw(getconf NPROCESSORS_ONLN)], [qw(sysctl -n hw.ncpu)]);

sub usable {
    my ($root) = @_;
    $root = '' if !defined $root;
    my $allowed = _affinity($root);
    $allowed = _online($root) if !defined $allowed;
    $allowed = _by_command()  if !defined $allowed;
    $allowed = 1              if !$allowed;
    for my $quota (_quotas($root)) {
        my $count = int $quota;
        $count++ if $quota > $count;
        $count   = 1      if $count < 1;
        $allowed = $count if $count < $allowed;
    }
    return $allowed;
}

# "0-3,8"
sub _affinity {
    my ($root) = @_;
    my ($list) = text_of("$root/proc/self/status") =~ /^Cpus_allowed_list:\s*([0-9,-]+)\s*$/m or return;
    my $count  = 0;
    for my $range (split /,/, $list) {
        my ($first, $last) = split /-/, $range;
        $last = $first if !defined $last;
        $count += $last - $first + 1;
    }
    return $count || undef;
}

sub _online {
    my ($root) = @_;
    my $count = () = text_of("$root/proc/cpuinfo") =~ /^processor\s*:/mg;
    return $count || undef;
}

sub _by_command {
    local ($!, $?);
    for my $command (@COMMANDS) {
        no warnings 'exec';
        open my $output, '-|', @$command or next;
        my $line = readline $output;
        close $output;
        return $1 if defined $line && $line =~ /\A([1-9][0-9]*)\n?\z/;
    }
    return;
}

# ---- Control groups -------------------------------------------------------------------------------------------------

# CPUs that are paid for.
sub _quotas { return limits_of($_[0], 'cpu', new => \&_new_quota, old => \&_old_quota) }

sub _new_quota {
    my ($group) = @_;
    return text_of("$group/cpu.max") =~ /\A([0-9]+) ([1-9][0-9]*)$/m ? $1 / $2 : ();
}

sub _old_quota {
    my ($group)  = @_;
    my ($quota)  = text_of("$group/cpu.cfs_quota_us")  =~ /\A([1-9][0-9]*)$/m or return;    # -1: none
    my ($period) = text_of("$group/cpu.cfs_period_us") =~ /\A([1-9][0-9]*)$/m or return;
    return $quota / $period;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::CPU - how many CPUs there are for workers

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::CPU;

    my $workers = EventLoop::Fork::Supervisor::CPU::usable();

=head1 DESCRIPTION

What C<< workers => 'auto' >> means.

=head1 FUNCTIONS

=head2 usable($root)

A number of at least 1: the CPUs that this process is allowed to run on (C<taskset>, cpusets), or fewer if a control
group it is in has a quota: C<cpu.max> (version 2) or C<cpu.cfs_quota_us> (version 1), its own or one further up,
rounded up. Where there is no F</proc>, the system's C<getconf> or C<sysctl> says how many there are.

C<$root> is put before every path that is read; for tests.

=cut
