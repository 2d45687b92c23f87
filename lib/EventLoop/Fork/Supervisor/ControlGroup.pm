package EventLoop::Fork::Supervisor::ControlGroup;

# Limits of the control groups (Linux) that this process is in: its own, and those above it as far as they can be seen from
# here. What a limit is of, CPU or memory, is in CPU.pm and Memory.pm.

use strict;
use warnings;

use Exporter qw(import);

our $VERSION = '0.001';

our @EXPORT_OK = qw(limits_of text_of);

# The readers get the folder of a group of version 2 or 1, and return its limit, or nothing.
sub limits_of {
    my ($root, $controller, %readers) = @_;
    my ($old, $new) = _paths($root, $controller);
    my @limits;
    for my $mount (_mounts($root, $controller)) {
        my ($is_old, $top, $point) = @$mount;
        my $path = $is_old ? $old : $new;
        next if !defined $path;
        my $reader = $readers{ $is_old ? 'old' : 'new' };
        push @limits, map { $reader->($_) } _groups("$root$point", $top, $path);
    }
    return @limits;
}

sub _paths {
    my ($root, $controller) = @_;
    my ($old, $new);
    for my $line (split /\n/, text_of("$root/proc/self/cgroup")) {
        my (undef, $controllers, $path) = split /:/, $line, 3;
        next if !defined $path;
        if    ($controllers eq '') { $new = $path }
        elsif (grep { $_ eq $controller } split /,/, $controllers) {
            $old = $path;
        }
    }
    return ($old, $new);
}

sub _mounts {
    my ($root, $controller) = @_;
    my @mounts;
    for my $line (split /\n/, text_of("$root/proc/self/mountinfo")) {
        my ($before, $after) = split / - /, $line, 2;
        next if !defined $after;
        my (undef, undef, undef, $top, $point) = split / /, $before;
        my ($type, undef, $options) = split / /, $after;
        s/\\([0-7]{3})/chr oct $1/ge for $top, $point;
        push @mounts, [ 0, $top, $point ] if $type eq 'cgroup2';
        push @mounts, [ 1, $top, $point ] if $type eq 'cgroup' && grep { $_ eq $controller } split /,/, $options // '';
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

# '' of what is not there.
sub text_of {
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

EventLoop::Fork::Supervisor::ControlGroup - limits of this process' control groups

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::CPU> and L<EventLoop::Fork::Supervisor::Memory>. Both versions of L<cgroups(7)>.

=head1 FUNCTIONS

=head2 limits_of

    my @limits = limits_of($root, 'cpu', new => sub { my ($folder) = @_; ... }, old => sub { ... });

What the readers return for each group, from ours up to the topmost one that can be seen from here. C<$root> is put before
every path; for tests.

=head2 text_of($path)

What is in that file; the empty string where there is none.

=cut
