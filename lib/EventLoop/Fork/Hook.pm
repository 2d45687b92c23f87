package EventLoop::Fork::Hook;

use strict;
use warnings;

use EventLoop::Fork::Loop;
use Scalar::Util qw(looks_like_number);

our $VERSION = '0.001';

my %KNOWN = map { $_ => 1 } qw(name prepare parent child object priority timeout on_failure fork_safe);

sub _fail { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'at_fork', @_) }

sub _number {
    my ($name, $value, $most) = @_;
    return $value
        if defined $value
        && looks_like_number($value)
        && $value == $value
        && $value >= 0
        && (!defined $most || $value <= $most);
    _fail(
        $value,
        "'$name' is not a number from 0"
            . (defined $most  ? " to $most" : '') . ': '
            . (defined $value ? "'$value'"  : 'undef')
    );
}

# What at_fork of EventLoop::Fork does.
sub register {
    my ($class, @pairs) = @_;
    @pairs % 2 and _fail(undef, 'arguments are not pairs of name => value');
    my %args = @pairs;
    for my $name (sort keys %args) {
        $KNOWN{$name} or _fail($name, "unknown option '$name'");
    }
    my @codes = grep { defined $args{$_} } qw(prepare parent child);
    @codes || exists $args{fork_safe}
        or _fail(undef, "one of 'prepare', 'parent', 'child', 'fork_safe' is needed");
    EventLoop::Fork::Loop::_check_code('at_fork', $_ => $args{$_}) for @codes;
    if (exists $args{object}) {
        ref $args{object}
            or _fail(
            $args{object},
            "'object' is not a reference: " . (defined $args{object} ? "'$args{object}'" : 'undef')
            );
    }
    my $priority = exists $args{priority}    ? _number(priority => $args{priority}, 100) : 50;
    my $timeout  = exists $args{timeout}     ? _number(timeout => $args{timeout})        : 0;
    my $failure  = defined $args{on_failure} ? $args{on_failure}                         : 'report';
    $failure =~ /\A(?:report|cancel|skip)\z/
        or _fail($failure, "'on_failure' is 'report', 'cancel' or 'skip', not '$failure'");
    return $class->_new(
        $args{name}, @args{qw(prepare parent child object)},
        $priority, $timeout, $failure eq 'cancel', $failure eq 'skip', _say(%args)
    );
}

# What is asked before a fork, as a list: none if the hook has no say.
sub _say {
    my (%args) = @_;
    return                          unless exists $args{fork_safe};
    return $args{fork_safe} ? 1 : 0 unless ref $args{fork_safe};
    EventLoop::Fork::Loop::_check_code('at_fork', fork_safe => $args{fork_safe});
    return $args{fork_safe};
}

# For the glue: the answer of such code; what it dies of becomes a text, whatever it is.
sub _ask {
    my ($code, $answer, @object) = @_;
    eval { $$answer = $code->(@object) ? 1 : 0; 1 } or die EventLoop::Fork::Loop::_exception_text($@);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Hook - what runs at every fork of this process

=head1 SYNOPSIS

    use EventLoop::Fork qw(at_fork);

    my $hook = at_fork(
        name    => 'numbers',
        prepare => sub { print "before\n" },
        parent  => sub { print "after, in the parent\n" },
        child   => sub { print "after, in the child\n" },
    );
    defined(my $pid = fork) or die "fork: $!";
    exit 0 unless $pid;
    waitpid $pid, 0;
    $hook->cancel;

=head1 DESCRIPTION

C<at_fork> of L<EventLoop::Fork> returns an object of this class. The hook stays when the object goes away; C<cancel>, or
the end of the hook's C<object>, removes it.

=head1 METHODS

=head2 register

    my $hook = EventLoop::Fork::Hook->register(child => sub { ... }, %options);

What C<at_fork> does.

=head2 cancel

The hook is not called any more, from now on, also in a fork under way.

=head2 name

As it was given, or C<undef>.

=head1 SEE ALSO

L<EventLoop::Fork>

=cut
