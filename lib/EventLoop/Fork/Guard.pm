package EventLoop::Fork::Guard;

# Which things of this process a child must not touch, and what happens to them in a child. What that means for one
# kind of thing is in Guard/*.pm.

use strict;
use warnings;

use EventLoop::Fork                  ();
use EventLoop::Fork::Guard::AnyEvent ();
use EventLoop::Fork::Guard::DBI      ();
use EventLoop::Fork::Guard::Disowned ();
use EventLoop::Fork::Guard::Handle   ();
use EventLoop::Fork::Guard::IOAsync  ();
use EventLoop::Fork::Guard::Mojo     ();
use EventLoop::Fork::Guard::Object   ();
use EventLoop::Fork::Guard::TLS      ();
use EventLoop::Fork::Loop            ();
use POSIX                            ();
use Scalar::Util                     qw(blessed refaddr weaken);

our $VERSION = '0.001';

# The first that accepts a thing has it.
my @KINDS = map { "EventLoop::Fork::Guard::$_" } qw(DBI TLS IOAsync Mojo AnyEvent Handle);

# Fields of Hash::Util::FieldHash would go by themselves, but what they attach to an object confuses DBI.
my %guards;       # address of the anchor => guard
my $most = 64;    # so many, and those whose anchor has gone are swept out
my $hook;         # from the first guard on
our $owner;       # while things are disowned: { pid, place } of the process they belong to

# ---- Which kind -----------------------------------------------------------------------------------------------------

sub _kind_of {
    my ($thing, $code) = @_;
    return 'EventLoop::Fork::Guard::Object' if blessed $thing && $thing->can('DISOWN');
    for my $kind (@KINDS) {
        return $kind if $kind->accepts($thing);
    }
    return $code && ref $thing ? 'EventLoop::Fork::Guard::Object' : undef;
}

sub _reject {
    my ($operation, $thing) = @_;
    my $wanted = 'wanted is a handle, a connection or an object';
    defined $thing
        or EventLoop::Fork::Loop::_throw('EVF_EINVAL', $operation, $thing, "what to guard is undef; $wanted");
    ref $thing
        or EventLoop::Fork::Loop::_throw(
        'EVF_EINVAL', $operation, $thing,
        "what to guard is the plain value '$thing'; $wanted"
        );
    my $class = blessed $thing;
    defined $class
        or EventLoop::Fork::Loop::_throw(
        'EVF_ENOTSUP', $operation, $thing,
        'a plain '
            . ref($thing)
            . ' reference has nothing to guard by itself; guard what is in it, or give a code reference '
            . 'that makes the child forget it: guard($thing, sub { my ($thing) = @_; ... })'
        );
    EventLoop::Fork::Loop::_throw(
        'EVF_ENOTSUP', $operation, $thing,
        "$class is a loop; forks make loops safe without a guard"
    ) if $class =~ /\A(?:IO::Async::Loop|Mojo::IOLoop|EventLoop::Fork::Loop|EV::Loop)\b/;
    EventLoop::Fork::Loop::_throw(
        'EVF_ENOTSUP', $operation, $thing,
        "how a child forgets a $class is not known; give the class a method DISOWN, or guard a code reference with it: "
            . 'guard($object, sub { my ($object) = @_; ... })'
    );
}

sub register {
    my ($class, $kind) = @_;
    for my $method (qw(accepts anchor prepare release unwatch descriptors disown)) {
        next if defined $kind && !ref $kind && $kind->can($method);
        EventLoop::Fork::Loop::_throw(
            'EVF_EINVAL', 'register', $kind,
            "'"
                . ($kind // 'undef')
                . "' is not a loaded class with the method '$method'; see EventLoop::Fork::Guard::Kind"
        );
    }
    @KINDS = ($kind, grep { $_ ne $kind } @KINDS);
    return;
}

# ---- In the parent --------------------------------------------------------------------------------------------------

sub new {
    my ($class, $thing, $code) = @_;
    EventLoop::Fork::_fork_check();    # a child forgets what its parent has guarded, and not this
    EventLoop::Fork::Loop::_check_code('guard', code => $code) if defined $code;
    EventLoop::Fork::Guard::Disowned::Registry->complain('guard', $thing)
        if EventLoop::Fork::Guard::Disowned::Registry->has($thing);
    my $kind    = _kind_of($thing, $code) or _reject('guard', $thing);
    my $anchor  = $kind->anchor($thing);
    my $address = refaddr $anchor;

    my $self = $guards{$address};
    if (!$self || !defined $self->{anchor}) {
        $self = bless { kind => $kind, anchor => $anchor, pid => $$ }, $class;
        weaken $self->{anchor};
        $self->{undo} = $kind->prepare($anchor);
        _sweep() if keys %guards >= $most;
        $guards{$address} = $self;
        $hook ||= EventLoop::Fork::_internal_hook('guards', child => \&_in_child);
    }
    $self->{what} = ref $thing || 'glob';
    $self->{code} = $code if $code;
    # A glob that is given as it is is a copy of the caller's.
    $self->{thing} = ref $thing ? $thing : $anchor;
    weaken $self->{thing};
    return $self;
}

sub cancel {
    my ($self) = @_;
    EventLoop::Fork::_fork_check();
    my $address = defined $self->{anchor} ? refaddr $self->{anchor} : undef;
    if (defined $address && $guards{$address} && $guards{$address} == $self) {
        delete $guards{$address};
        $self->{kind}->release($self->{anchor}, $self->{undo});
    }
    delete @$self{qw(anchor thing code undo)};
    return;
}

sub _sweep {
    delete @guards{ grep { !defined $guards{$_}{anchor} } keys %guards };
    $most = 2 * keys %guards;
    $most = 64 if $most < 64;
    return;
}

# A thread has copies of everything, at other addresses.
sub CLONE {
    %guards = map { defined $_->{anchor} ? (refaddr $_->{anchor}, $_) : () } values %guards;
    return;
}

# ---- In the child ---------------------------------------------------------------------------------------------------

# The loops are this process's own by now: they forget what is guarded while its number is still the one they know. Then
# every connection is cut off from its peer, and only then other code of a library runs. What is guarded lives until all
# are done: no destructor finds the work half done.
sub _in_child {
    my @guards = grep { defined $_->{anchor} } values %guards;
    %guards = ();
    return unless @guards;
    local ($@, $!, $?);
    local $SIG{__DIE__};
    local $SIG{PIPE} = 'IGNORE';
    my @anchors = map { $_->{anchor} } @guards;
    my @things  = map { $_->{thing} } @guards;
    my $place   = EventLoop::Fork::_fork_place();
    my $each    = sub {
        my ($step) = @_;
        for my $guard (@guards) {
            local $owner = { pid => $guard->{pid}, place => $place };
            eval { $step->($guard, $guard->{anchor}); 1 } or _report($guard, $@);
        }
    };
    $each->(sub { my ($guard, $anchor) = @_; $guard->{kind}->unwatch($anchor) });
    $each->(sub { my ($guard, $anchor) = @_; _cut($guard->{kind}->descriptors($anchor)) });
    EventLoop::Fork::Guard::Handle::_with_null(sub {
        $each->(sub { my ($guard, $anchor) = @_; $guard->{kind}->disown($anchor) });
    });
    $each->(sub { my ($guard) = @_; $guard->{code}->($guard->{thing}) if $guard->{code} && defined $guard->{thing} });
    delete @$_{qw(anchor thing code undo)} for @guards;
    return;
}

sub _report {
    my ($guard, $error) = @_;
    EventLoop::Fork::Loop::_complain(
        "process $$: guard of $guard->{what} failed: " . EventLoop::Fork::Loop::_exception_text($error));
    return;
}

# The numbers stay open, and lead nowhere.
sub _cut {
    my (@numbers) = @_;
    for my $fd (@numbers) {
        next unless defined $fd && $fd =~ /\A[0-9]+\z/;
        eval { EventLoop::Fork::_disown_fd($fd); 1 } or POSIX::close($fd);
    }
    return;
}

# For those who write DISOWN, a callback or a kind.

sub disown {
    my ($class, @things) = @_;
    EventLoop::Fork::_fork_check();
    for my $thing (@things) {
        next if !defined $thing || EventLoop::Fork::Guard::Disowned::Registry->has($thing);
        my $kind   = _kind_of($thing) or _reject('disown', $thing);
        my $anchor = $kind->anchor($thing);
        $kind->unwatch($anchor);
        _cut($kind->descriptors($anchor));
        $kind->disown($anchor);
    }
    return;
}

# Those inside of a guarded thing, of whatever class: what is no handle of perl is only cut off.
sub _disown_handles {
    my (@handles) = @_;
    for my $handle (@handles) {
        next unless ref $handle;
        if (_kind_of($handle)) { __PACKAGE__->disown($handle) }
        else {
            _cut(eval { $handle->fileno });
        }
    }
    return;
}

sub poison {
    my ($class, $object) = @_;
    blessed $object
        or EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'poison', $object, 'not an object: ' . ($object // 'undef'));
    EventLoop::Fork::Guard::Disowned::Registry->take($object, owner());
    return;
}

# The process whose things are disowned now.
sub owner { return $owner || { pid => getppid, place => EventLoop::Fork::_fork_place() } }

1;

__END__

=head1 NAME

EventLoop::Fork::Guard - what a child must not touch

=head1 SYNOPSIS

    use DBI;
    use EventLoop::Fork qw(guard);

    my $dbh = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1 });
    guard($dbh);

    my $pool = { generation => 0, connections => [$dbh] };
    guard($pool, sub {
        my ($own) = @_;
        $own->{connections} = [];
        $own->{generation}++;
    });

    my $pid = fork;
    if (!$pid) {
        eval { $dbh->do('select 1') };
        print $@;    # ... this DBI::db belongs to process 123, which forked at app.pl line 14; make a new one here ...
        exit 0;      # nothing is rolled back, nothing is sent
    }
    waitpid $pid, 0;
    print $dbh->selectrow_array('select 42'), "\n";    # 42

=head1 DESCRIPTION

A child of C<fork> has copies of its parent's connections: the same socket below, the same buffers, the same destructors.
One word from the child, and the parent's conversation is lost.

What is guarded is forgotten in every child, before any other code runs there:

=over 4

=item *

Loops of the child let go of it. None of its events fires.

=item *

Its descriptors lead nowhere: no byte and no end can reach the peer, whatever any library still does. Bytes in buffers are
the parent's to write.

=item *

Using it throws C<EVF_EDISOWNED>, see L<EventLoop::Fork::Guard::Disowned>. Closing it, or dropping it, is silent.

=back

The parent goes on as if there had been no fork, and what the child opens itself is its own.

This holds for forks through this distribution and for perl's own. A fork that a C library makes runs no Perl code; for
database handles C<AutoInactiveDestroy> then still keeps destructors quiet.

=head1 WHAT CAN BE GUARDED

=over 4

=item Connections of L<DBI>

C<DBI::db> with all its statements, or a C<DBI::st>, which stands for its connection. C<connect_cached> makes the child a
new one. Descriptors are known for DBD::Pg, DBD::MariaDB and DBD::mysql; with other drivers the child's handles are silent,
but the socket stays open there until the child ends.

=item Handles

Sockets, pipes and files, with or without a class. C<send>, C<recv>, C<shutdown> and other built-ins that perl does not
let one replace do not throw: they work on a descriptor without a peer.

=item L<IO::Socket::SSL>

No C<close_notify>, and no record under a number that is the parent's.

=item L<IO::Async::Notifier>

Streams, handles, listeners, timers, and whatever is a child of the notifier.

=item L<Mojo::IOLoop::Stream>, L<Mojo::IOLoop::Server>, L<Mojo::IOLoop::Client>

And L<Mojo::UserAgent>, which is a pool: it forgets its connections, and works in the child with new ones. Mojo::Pg
notices a fork by itself.

=item L<AnyEvent::Handle>

It does not linger in the child.

=item Your objects

That have a method C<DISOWN>, or that come with code.

=back

A loop needs no guard.

=head1 CONSTRUCTION

=head2 new

    my $guard = guard($thing);
    my $guard = guard($thing, sub { my ($thing) = @_; ... });

C<guard> of L<EventLoop::Fork> calls this. The guard holds C<$thing> weakly, and lives as long as it, also when the return
value is dropped. Guarding a thing again returns its guard; code replaces the code that was given before.

The code runs in the child, after everything that is guarded has been disowned, and before the hooks of C<at_fork>. An
exception is printed to STDERR; the fork and other guards are not affected.

What cannot be guarded is refused by an L<EventLoop::Fork::Error>: C<EVF_EINVAL> (not a thing), C<EVF_EBADF> (a closed
handle), C<EVF_ENOTSUP> (nobody knows how).

=head1 METHODS

=head2 cancel

    $guard->cancel;

From now on children may use the thing. A program that becomes a daemon and goes on with its connections cancels first,
and guards them again in the child.

=head1 FOR AUTHORS

An object that holds connections has a method C<DISOWN>. It is called in the child, once:

    sub DISOWN {
        my ($self) = @_;
        EventLoop::Fork::Guard->disown(@{ $self->{connections} });
        $self->{connections} = [];    # the next caller gets a new one
        return;
    }

When it is called, every guarded thing has been cut off from its peer. It must not wait, and it has no loop. After it, the
object is as usable as it has been left. One that makes no sense in a child says so: C<< EventLoop::Fork::Guard->poison($self) >>.

=head2 disown

    EventLoop::Fork::Guard->disown(@things);

Does here and now to each thing what a guard does in a child. C<undef>, and what is disowned already, is passed over.

=head2 poison

    EventLoop::Fork::Guard->poison($object);

Makes the object a L<EventLoop::Fork::Guard::Disowned>.

=head2 owner

    my $owner = EventLoop::Fork::Guard->owner;    # { pid => 123, place => 'app.pl line 14' }

In a C<DISOWN> or a callback: whose the thing is, and where that process forked.

=head2 register

    EventLoop::Fork::Guard->register('My::Kind');

Teaches C<guard> a class of somebody else's. My::Kind is an L<EventLoop::Fork::Guard::Kind>. The kind that came last is
asked first.

=head1 SEE ALSO

L<EventLoop::Fork>, L<EventLoop::Fork::Guard::Disowned>, L<EventLoop::Fork::Guard::Kind>

=cut
