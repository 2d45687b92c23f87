package EventLoop::Fork::Doctor::Check;

# One subject of the doctor: what it looks at before the fork, in the canary, and at the canary from outside; and what it
# makes of that.

use strict;
use warnings;

our $VERSION = '0.001';

sub before    { return }
sub in_canary { return }
sub inspect   { return }
sub findings  { return }

# What the check saw before the fork; in a canary of a kind, from inside and from outside.
sub _name { my ($class) = @_; return $class =~ /(\w+)\z/ ? $1 : $class }

sub _keep {
    my ($class, $doctor, $data) = @_;
    $doctor->{parent}{ $class->_name } = $data;
    return;
}

sub _kept { my ($class, $doctor)        = @_; return $doctor->{parent}{ $class->_name } }
sub _told { my ($class, $doctor, $kind) = @_; return ($doctor->{$kind}{facts} || {})->{ $class->_name } }
sub _seen { my ($class, $doctor, $kind) = @_; return ($doctor->{$kind}{seen}  || {})->{ $class->_name } }

# Open before the program was loaded: the business of whoever started it.
sub _is_outsider {
    my ($class, $doctor, $fd) = @_;
    my $outsiders = $doctor->option('outsiders') or return 0;
    return $outsiders->{$fd} ? 1 : 0;
}

# FILE line N of a piece of code.
sub _place {
    my ($class, $code) = @_;
    require B;
    my $start = B::svref_2object($code)->START;
    return 'an unknown place' unless $start->can('line');
    return $start->file . ' line ' . $start->line;
}

# The handles of perl by descriptor, the most telling first.
sub _handles {
    my ($class, $doctor, $fd) = @_;
    return sort { defined $b->{class} <=> defined $a->{class} || $a->{name} cmp $b->{name} }
        grep { $_->{fd} == $fd } @{ $doctor->{handles} };
}

# Who opened it, where perl knows: a class, a name, a place in the program.
sub _opener {
    my ($class, $doctor, $fd) = @_;
    my ($handle) = $class->_handles($doctor, $fd) or return;
    my @words;
    push @words, $handle->{class} if defined $handle->{class};
    push @words, $handle->{name} if $handle->{name} !~ /\A_?GEN_?[0-9]+\z/;
    my $has_place = $handle->{line} && $handle->{file} !~ m{/(?:Symbol|IO/\w+|IO/Socket/\w+|FileHandle)\.pm\z};
    push @words, "at $handle->{file} line $handle->{line}" if $has_place;
    return @words ? join ' ', @words : undef;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check - one subject of the doctor

=head1 DESCRIPTION

Base class of the checks in L<EventLoop::Fork::Doctor>. All methods are class methods, and do nothing here.

=head1 METHODS

=head2 before

    $check->before($doctor);

In the parent, before the first fork.

=head2 in_canary

    my $facts = $check->in_canary($doctor, $kind);

In the canary, C<ours> or C<raw>. Returns plain data.

=head2 inspect

    my $seen = $check->inspect($doctor, $kind, $pid);

In the parent, while the canary waits.

=head2 findings

    $check->findings($doctor);

Adds to C<< $doctor->report >>.

=cut
