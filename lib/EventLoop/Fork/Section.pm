package EventLoop::Fork::Section;

# A section that prevents forks, as long as this object lives; and what is to be done when no section is left. Which
# sections there are, and what they refuse, is in C (xs/glue_sections.c).

use strict;
use warnings;

use EventLoop::Fork::Loop;

our $VERSION = '0.001';

my @afterwards;    # [ pid, code ]

sub CLONE      { @afterwards = (); return }
sub CLONE_SKIP { return 1 }

sub enter {
    my ($class, $code) = @_;
    my $number = EventLoop::Fork::_section_enter($code);
    return bless \$number, $class;
}

sub DESTROY {
    my ($self) = @_;
    EventLoop::Fork::_section_leave($$self);
    return if !@afterwards || is_open() || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    local $SIG{__DIE__};
    for my $entry (splice @afterwards) {
        my ($pid, $code) = @$entry;
        next if $pid != $$;    # a child that C code has forked inside
        eval { $code->(); 1 }
            or EventLoop::Fork::Loop::_complain('after prevent_fork: ' . EventLoop::Fork::Loop::_exception_text($@));
    }
    return;
}

sub is_open { return defined EventLoop::Fork::_section_place() }

# At the end of the outermost section. The code is called wherever that is, in a destructor: it does little.
sub afterwards {
    my ($class, $code) = @_;
    push @afterwards, [ $$, $code ];
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Section - a section that prevents forks

=head1 SYNOPSIS

    use EventLoop::Fork;

    sub start_child {
        return EventLoop::Fork::Section->afterwards(\&start_child) if EventLoop::Fork::Section->is_open;
        my $child = EventLoop::Fork->fork(code => sub { return 0 });
        return;
    }
    EventLoop::Fork->prevent_fork(sub { start_child() });    # a child is started when this is over

=head1 DESCRIPTION

What C<prevent_fork> of L<EventLoop::Fork> is made of, and what a program uses that forks on events of a loop: one that
comes inside of a section waits for its end. L<EventLoop::Fork::Supervisor> does so.

=head1 CLASS METHODS

=head2 is_open

Whether this thread is in a section now.

=head2 afterwards

    EventLoop::Fork::Section->afterwards($code);

Calls the code at the end of the outermost section, in the order of these calls; outside of a section, at the end of the
next one. It runs in a destructor, in the middle of whatever code had the section: best it only starts a timer. An
exception is reported on STDERR. A child that C code forks inside of the section drops it.

=head2 enter

    my $section = EventLoop::Fork::Section->enter($code);

A section as long as the object lives. The code gives it its place. For C<prevent_fork>, which cannot be left without
its end.

=head1 SEE ALSO

L<EventLoop::Fork>

=cut
