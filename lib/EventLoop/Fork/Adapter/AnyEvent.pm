package EventLoop::Fork::Adapter::AnyEvent;

# AnyEvent on its pure-perl loop, on EV and on IO::Async. It has no way to forget its watchers, so the pure-perl loop's
# own tables are emptied; that they are as expected is checked first.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use B            ();
use Scalar::Util qw(blessed);

my %BASE_FAMILIES = (
    'AnyEvent::Impl::Perl'    => [],
    'AnyEvent::Impl::EV'      => ['EV'],
    'AnyEvent::Impl::IOAsync' => ['IO::Async'],
);

sub family    { return 'AnyEvent' }
sub is_loaded { return exists $INC{'AnyEvent.pm'} }
sub is_in_use { return defined _model() }

sub _model {
    no warnings 'once';
    return length($AnyEvent::MODEL // '') ? $AnyEvent::MODEL : undef;
}

sub base_families { return @{ $BASE_FAMILIES{ _model() // '' } || [] } }

# There is one loop, and it has no object.
sub accepts {
    my ($class, $loop) = @_;
    return defined $loop && !ref $loop && ($loop eq 'AnyEvent' || $loop eq 'AE');
}

sub new {
    my ($class) = @_;
    require AnyEvent;
    my $model = AnyEvent::detect();
    $BASE_FAMILIES{$model}
        or EventLoop::Fork::Adapter::_refuse(
        'EVF_ENOTSUP', 'fork', 'AnyEvent',
        "AnyEvent uses $model here; supported are " . join(', ', sort keys %BASE_FAMILIES)
        );
    return bless { loop => 'AnyEvent' }, $class;
}

# ---- Around a fork --------------------------------------------------------------------------------------------------

sub before_fork {
    no warnings 'once';
    return { handlers => { map { $_ => $SIG{$_} } grep { ref $SIG{$_} } keys %AnyEvent::Base::SIG_CB } };
}

sub renew {
    my ($class) = @_;
    return unless _model();
    no warnings 'once';
    $class->_empty_loop if _model() eq 'AnyEvent::Impl::Perl';
    $class->_empty_base;
    undef $AnyEvent::CondVar::Base::WAITING;      # a recv that the fork happened in never comes back
    $class->_freeze($AnyEvent::DNS::RESOLVER);    # its sockets are the parent's
    undef $AnyEvent::DNS::RESOLVER;
    $class->_renew_signal_pipe;
    # It installs a handler only where %SIG has none, and takes the word for one.
    for my $signal (keys %SIG) {
        delete $SIG{$signal} if defined $SIG{$signal} && $SIG{$signal} eq 'DEFAULT';
    }
    return;
}

# The tables of the pure-perl loop are lexicals of its file: in the pad of a function that uses them.
sub _tables {
    my ($names, $values) = B::svref_2object(\&AnyEvent::Loop::one_event)->PADLIST->ARRAY;
    my @names  = $names->ARRAY;
    my @values = $values->ARRAY;
    my %tables;
    for my $i (0 .. $#names) {
        my $name = $names[$i]->can('PV') ? $names[$i]->PV : undef;
        next unless defined $name && $name =~ /\A(?:\@(?:fds|timer|idle)|\$need_sort)\z/;
        $tables{$name} ||= $values[$i]->object_2svref;
    }
    my @missing = grep { !$tables{$_} } '@fds', '@timer', '@idle', '$need_sort'; ## no critic (InterpolationOfMetachars)
    die "AnyEvent::Loop has no @missing\n" if @missing;
    die "AnyEvent::Loop's \@fds is not what it was\n"
        if @{ $tables{'@fds'} } != 2 || grep { ref ne 'ARRAY' } @{ $tables{'@fds'} };
    return \%tables;
}

sub _empty_loop {
    my ($class) = @_;
    my $tables = _tables();
    $class->_disarm('AnyEvent::Loop::io');
    $class->_freeze(map { [@$_] } @$tables{qw(@fds @timer @idle)});
    @{ $tables->{'@fds'} }       = ([], []);
    @{ $tables->{$_} }           = () for qw(@timer @idle);
    ${ $tables->{'$need_sort'} } = 1e300;
    return;
}

sub _empty_base {
    my ($class) = @_;
    no warnings 'once';
    $class->_disarm("AnyEvent::Base::$_") for qw(signal child);
    my @scalars = map { \$_ } $AnyEvent::POSTPONE_W, $AnyEvent::Base::SIG_TW, $AnyEvent::Base::CHLD_W,
        $AnyEvent::Base::CHLD_DELAY_W;
    my @hashes = (\%AnyEvent::Base::SIG_CB, \%AnyEvent::Base::SIG_EV, \%AnyEvent::Base::PID_CB);
    $class->_freeze(
        (map { $$_ } @scalars),
        (
            map {
                { %$_ }
            } @hashes
        ),
        [@AnyEvent::POSTPONE]
    );
    undef $$_ for @scalars;
    %$_                        = () for @hashes;
    @AnyEvent::POSTPONE        = ();
    $AnyEvent::Base::SIG_COUNT = 0;
    return;
}

# The destructor of an inherited watcher would take out of the tables what a new one has put there.
sub _disarm {
    my ($class, $of) = @_;
    bless $_, __PACKAGE__ . '::Inherited' for EventLoop::Fork::Adapter::_instances($of);
    return;
}

# The pipe through which handlers of signals tell the loop.
sub _renew_signal_pipe {
    my ($class) = @_;
    no warnings 'once';
    my ($reader, $writer) = ($AnyEvent::Base::SIGPIPE_R, $AnyEvent::Base::SIGPIPE_W);
    return unless defined $reader;
    if   (blessed $reader && $reader->can('renew')) { $reader->renew }                          # of Async::Interrupt
    else                                            { $class->_renew_pipe($reader, $writer) }
    my $handle = blessed $reader && $reader->can('fileno') ? $reader->fileno : $reader;
    $class->_freeze($AnyEvent::Base::SIG_IO);
    $AnyEvent::Base::SIG_IO = AE::io($handle, 0, \&AnyEvent::Base::_signal_exec);
    return;
}

sub rearm {
    my ($class, $state, $mode) = @_;
    return unless _model();
    no warnings 'once';
    my $reader = $AnyEvent::Base::SIGPIPE_R;
    if    (blessed $reader && $reader->can('renew')) { $class->_renew_signal_pipe }
    elsif (defined $reader)                          { $class->_renew_pipe($reader, $AnyEvent::Base::SIGPIPE_W) }
    return if $mode eq 'raw';
    undef $AnyEvent::CondVar::Base::WAITING;
    my $handlers = $state && $state->{handlers} || {};
    $SIG{$_} = $handlers->{$_} for keys %$handlers;    ## no critic (LocalizedPunctuationVars): they go on
    return;
}

# ---- The loop -------------------------------------------------------------------------------------------------------

sub watch_io {
    my ($self, $handle, $code) = @_;
    return $self->_hold(AnyEvent->io(fh => $handle, poll => 'r', cb => sub { $code->() }));
}

sub watch_time {
    my ($self, $seconds, $code) = @_;
    AnyEvent->now_update;
    my $id;
    $id = $self->_hold(AnyEvent->timer(after => $seconds, cb => sub { __PACKAGE__->_release($id); $code->() }));
    return $id;
}

sub unwatch_io   { my ($self, $id) = @_; $self->_release($id); return }
sub unwatch_time { my ($self, $id) = @_; $self->_release($id); return }

# What each run under way waits for, the innermost last.
my @runs;

sub run {
    push @runs, my $condition = AnyEvent->condvar;
    local $AnyEvent::CondVar::Base::WAITING;    # a run inside of a callback is one of its own
    my $done  = eval { $condition->recv; 1 };
    my $error = $@;
    @runs = grep { $_ != $condition } @runs;
    die $error unless $done;
    return;
}

sub stop { $runs[-1]->send if @runs; return }

sub loop_for_child { return $_[0]{loop} }

sub loop_kind { return { class => 'AnyEvent', model => _model() } }

# Whoever detects first chooses.
sub loop_maker {
    my ($class, $kind) = @_;
    (my $model = $kind->{model}) =~ s/\AAnyEvent::Impl:://;
    local $ENV{PERL_ANYEVENT_MODEL} = $model;
    require AnyEvent;
    AnyEvent::detect();
    return sub { 'AnyEvent' };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::AnyEvent - forks through AnyEvent

=head1 SYNOPSIS

    use AnyEvent;
    use EventLoop::Fork;

    my $done = AnyEvent->condvar;
    EventLoop::Fork->fork(
        loop    => 'AnyEvent',
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is the name AnyEvent
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; $done->send },
    );
    $done->recv;

=head1 DESCRIPTION

AnyEvent on its own loop (C<AnyEvent::Impl::Perl>), on EV and on IO::Async; other models are refused. In the child of a
fork through us

=over 4

=item *

no inherited watcher is called. Their objects may be dropped, which does nothing;

=item *

C<recv> works, in a child that was forked inside of another C<recv>, too;

=item *

the pipe for signals is private, and signals and children can be watched;

=item *

postponed code is gone, and AnyEvent::DNS makes a resolver of its own.

=back

The tables of AnyEvent's own loop are lexical variables of its file. They are looked up by name in a function that uses
them, as AnyEvent 7.17 has them. With an AnyEvent that has others the fork works and reports what it could not empty.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 family, is_loaded, is_in_use, accepts, new, base_families, before_fork

=head2 renew, rearm, loop_for_child, loop_kind, loop_maker

=head2 watch_io, unwatch_io, watch_time, unwatch_time, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork>

=cut
