package Bench::Machine;

# Where it was measured, and what a user sees meanwhile: what the programs in bench/ share.

use strict;
use warnings;

use POSIX ();

sub look {
    my ($system, undef, $release, undef, $hardware) = POSIX::uname();
    my $cpus = $^O eq 'linux' ? POSIX::sysconf(84) : undef;    # _SC_NPROCESSORS_ONLN, which POSIX.pm does not name
    my $load;
    if (open my $file, '<', '/proc/loadavg') {
        ($load) = split ' ', <$file>;
    }
    return {
        system => "$system $release $hardware",
        cpus   => $cpus,
        load   => defined $load ? 0 + $load : undef,
        perl   => sprintf '%vd', $^V
    };
}

# More programs than processors make every time longer than it is.
sub is_busy {
    my ($machine) = @_;
    return ($machine->{load} || 0) > ($machine->{cpus} || 1) / 2;
}

sub progress {
    my ($text) = @_;
    print STDERR "\r\e[K$text" if -t STDERR;
    return;
}

1;
