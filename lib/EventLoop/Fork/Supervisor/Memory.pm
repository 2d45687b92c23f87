package EventLoop::Fork::Supervisor::Memory;

# How much memory this process and its children may have: that of the machine, or what its control groups leave of it.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::ControlGroup qw(limits_of text_of);
use List::Util                                qw(min);

our $VERSION = '0.001';

sub usable {
    my ($root) = @_;
    $root = '' if !defined $root;
    my ($total) = text_of("$root/proc/meminfo") =~ /^MemTotal:\s*([0-9]+) kB$/m;
    my @limits = limits_of(
        $root, 'memory',
        new => sub { _number("$_[0]/memory.max") },
        old => sub { _number("$_[0]/memory.limit_in_bytes") },
    );
    return min(defined $total ? $total * 1024 : (), @limits);
}

# "max", or a number that is as good as that, is no limit.
sub _number {
    my ($path) = @_;
    return text_of($path) =~ /\A([1-9][0-9]*)$/m ? $1 + 0 : ();
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Memory - how much memory there is for workers

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Memory;

    my $bytes = EventLoop::Fork::Supervisor::Memory::usable();

=head1 DESCRIPTION

What C<< max_rss => '20%' >> is a part of.

=head1 FUNCTIONS

=head2 usable($root)

Bytes: the memory of the machine, or the least that a control group of this process allows: C<memory.max> (version 2) or
C<memory.limit_in_bytes> (version 1), its own or one further up. C<undef> where there is no F</proc>.

C<$root> is put before every path that is read; for tests.

=cut
