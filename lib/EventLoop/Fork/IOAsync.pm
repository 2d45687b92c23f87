package EventLoop::Fork::IOAsync;

# IO::Async's own fork and its watches of processes, on every class of loops, through us. Replaces methods where they are
# defined: in the base class, in the classes that override them, and in those that are loaded later.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                      qw(croak);
use EventLoop::Fork           ();
use EventLoop::Fork::Adapter  ();
use IO::Async::Loop           ();
use IO::Async::Metrics '$METRICS';
use mro;

our @CARP_NOT = qw(IO::Async::Loop);

use constant KEY => 'EventLoop::Fork/processes';    # in the loop, as IO::Async keeps its own

my %METHODS = (
    fork            => sub { return \&_fork },
    watch_process   => \&_watcher,
    watch_child     => \&_watcher,
    unwatch_process => \&_unwatcher,
    unwatch_child   => \&_unwatcher,
);

my (%is_done, $is_installed);

sub install {
    return if $is_installed++;
    _replace_in($_) for 'IO::Async::Loop', @{ mro::get_isarev('IO::Async::Loop') };
    my $constructor = \&IO::Async::Loop::__new;
    no warnings 'redefine';
    *IO::Async::Loop::__new = sub {
        my ($class) = @_;
        _replace_in($_) for @{ mro::get_linear_isa(ref $class || $class) };
        goto &$constructor;
    };
    return;
}

# Our own classes do it in C.
sub _replace_in {
    my ($package) = @_;
    return if $is_done{$package}++ || !$package->isa('IO::Async::Loop') || $package->isa('EventLoop::Fork::Loop::IOAsync');
    no strict 'refs';
    no warnings 'redefine';
    for my $name (keys %METHODS) {
        my $glob = ${"${package}::"}{$name};
        next unless defined $glob && ref \$glob eq 'GLOB' && defined *{$glob}{CODE};
        # The base class' watch_child calls watch_process; a subclass may have one that does the work.
        next if $package eq 'IO::Async::Loop' && $name =~ /_child\z/;
        *{"${package}::$name"} = $METHODS{$name}->(*{$glob}{CODE});
    }
    return;
}

# ---- fork -----------------------------------------------------------------------------------------------------------

sub _fork {
    my ($self, %params) = @_;
    my $code    = $params{code} or croak "Expected 'code' as a CODE reference";
    my $on_exit = $params{on_exit};
    my $child   = EventLoop::Fork->fork(
        loop => $self,
        (map { exists $params{$_} ? ($_ => $params{$_}) : () } qw(keep_signals name)),
        code => sub { return $code->() },
        ($on_exit ? (on_exit => sub { my ($of, $status) = @_; _exited($self, $of->pid, $status, $on_exit) }) : ()),
    );
    $METRICS and $METRICS->inc_counter('forks');
    return $child->pid;
}

1;
