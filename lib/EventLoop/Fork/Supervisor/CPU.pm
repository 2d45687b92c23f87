package EventLoop::Fork::Supervisor::CPU;

# How many CPUs this process may use: those it is allowed to run on, and as many as its control groups pay for. A
# container on a machine of 64 with a quota of 2 gets 2 workers, not 64.

use strict;
use warnings;

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
    my ($list) = _text("$root/proc/self/status") =~ /^Cpus_allowed_list:\s*([0-9,-]+)\s*$/m or return;
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
    my $count = () = _text("$root/proc/cpuinfo") =~ /^processor\s*:/mg;
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

# CPUs that are paid for, by each group from ours up to the topmost one that can be seen from here.
sub _quotas {
    my ($root) = @_;
    my ($old, $new);
    for my $line (split /\n/, _text("$root/proc/self/cgroup")) {
        my (undef, $controllers, $path) = split /:/, $line, 3;
        next if !defined $path;
        if    ($controllers eq '') { $new = $path }
        elsif (grep { $_ eq 'cpu' } split /,/, $controllers) {
            $old = $path;
        }
    }
    my @quotas;
    for my $mount (_mounts($root)) {
        my ($is_old, $top, $point) = @$mount;
        my $path = $is_old ? $old : $new;
        next if !defined $path;
        push @quotas, map { $is_old ? _old_quota($_) : _new_quota($_) } _groups("$root$point", $top, $path);
    }
    return @quotas;
}

sub _mounts {
    my ($root) = @_;
    my @mounts;
    for my $line (split /\n/, _text("$root/proc/self/mountinfo")) {
        my ($before, $after) = split / - /, $line, 2;
        next if !defined $after;
        my (undef, undef, undef, $top, $point) = split / /, $before;
        my ($type, undef, $options) = split / /, $after;
        s/\\([0-7]{3})/chr oct $1/ge for $top, $point;
        push @mounts, [ 0, $top, $point ] if $type eq 'cgroup2';
        push @mounts, [ 1, $top, $point ] if $type eq 'cgroup' && grep { $_ eq 'cpu' } split /,/, $options // '';
    }
    return @mounts;
}

# In a container the mount may show a part of the tree only, and the path may lie outside of it.
sub _groups {
    my ($point, $top, $path) = @_;
    if    ($top eq '/')                { }
    elsif ($path eq $top)              { $path = '/' }
    elsif (index($path, "$top/") == 0) { $path = substr $path, length $top }
    else                               { $path = '/' }
    my @names = grep { length } split m{/}, $path;
    @names = () if grep { $_ eq '..' } @names;
    return map { join '/', $point, @names[ 0 .. $_ - 1 ] } 0 .. @names;
}

sub _new_quota {
    my ($group) = @_;
    return _text("$group/cpu.max") =~ /\A([0-9]+) ([1-9][0-9]*)$/m ? $1 / $2 : ();
}

sub _old_quota {
    my ($group)  = @_;
    my ($quota)  = _text("$group/cpu.cfs_quota_us")  =~ /\A([1-9][0-9]*)$/m or return;    # -1: none
    my ($period) = _text("$group/cpu.cfs_period_us") =~ /\A([1-9][0-9]*)$/m or return;
    return $quota / $period;
}

sub _text {
    my ($path) = @_;
    local ($!, $/);
    open my $handle, '<', $path or return '';
    my $text = readline $handle;
    close $handle;
    return defined $text ? $text : '';
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
