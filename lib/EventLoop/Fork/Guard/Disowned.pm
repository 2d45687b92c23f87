package EventLoop::Fork::Guard::Disowned;

# What a guarded thing is in a child. Using it throws and says whose it is; closing it and dropping it do nothing.

use strict;
use warnings;

our $VERSION = '0.001';
our $AUTOLOAD;

# Each name in this package answers as a method of somebody's object. So what is no such method lives in another one.
{

    package EventLoop::Fork::Guard::Disowned::Registry;

    use EventLoop::Fork::Loop ();
    use Scalar::Util          qw(blessed refaddr reftype);

    use constant DISOWNED => 'EventLoop::Fork::Guard::Disowned';

    my %was;    # address => { class, pid, place }

    # ---- To and fro -------------------------------------------------------------------------------------------------

    sub take {
        my (undef, $object, $owner) = @_;
        return if $object->isa(DISOWNED);
        $was{ refaddr $object } = _description($object, $owner);
        bless $object, DISOWNED;
        return;
    }

    # A handle keeps its class unless it is an object: the tie is what throws.
    sub take_handle {
        my ($class, $handle, $owner) = @_;
        my $what = _description($handle, $owner);
        tie *$handle, 'EventLoop::Fork::Guard::Disowned::Handle', $handle, $what;
        $class->take($handle, $owner) if blessed $handle && reftype $handle eq 'GLOB';
        return;
    }

    # $kept goes with the hash.
    sub take_hash {
        my ($class, $hash, $owner, $kept) = @_;
        tie %$hash, 'EventLoop::Fork::Guard::Disowned::Hash', _description($hash, $owner), $kept;
        $class->take($hash, $owner);
        return;
    }

    sub _description {
        my ($object, $owner) = @_;
        my $class = blessed $object;
        $class = 'handle' if !defined $class || $class =~ /\A(?:GLOB|IO::File)\z/ && reftype $object eq 'IO';
        return { class => $class, %$owner };
    }

    sub has {
        my (undef, $thing) = @_;
        return 1 if blessed $thing && $thing->isa(DISOWNED);
        my $type = ref $thing ? reftype $thing : ref \$thing;
        return 0 unless $type eq 'GLOB' || $type eq 'IO';
        my $tied = $type eq 'IO'        || *$thing{IO} ? tied *$thing : undef;
        return ref $tied eq DISOWNED . '::Handle' ? 1 : 0;
    }

    # ---- Complaints -------------------------------------------------------------------------------------------------

    # Of an object in our class.
    sub throw_for {
        my (undef, $operation, $thing) = @_;
        my $what = blessed $thing && $was{ refaddr $thing } || { class => 'object', pid => getppid };
        _throw($operation, $thing, $what);
        return;
    }

    sub forget {
        my (undef, $thing) = @_;
        delete $was{ refaddr $thing };
        return;
    }

    sub _throw {
        my ($operation, $value, $what) = @_;
        my $text = "this $what->{class} belongs to process $what->{pid}";
        $text .= ", which forked at $what->{place}" if defined $what->{place};
        EventLoop::Fork::Loop::_throw('EVF_EDISOWNED', $operation, $value, "$text; make a new one here");
    }

    sub complain {
        my (undef, $operation, $thing) = @_;
        my $tied = ref $thing && $was{ refaddr $thing } ? undef : tied *$thing;
        _throw($operation, $thing, $tied ? $tied->{what} : $was{ refaddr $thing });
    }
}

sub AUTOLOAD {
    my ($thing) = @_;
    my ($name)  = $AUTOLOAD =~ /([^:]+)\z/;
    EventLoop::Fork::Guard::Disowned::Registry->throw_for($name, $thing);
    return;
}

sub DESTROY {
    my ($thing) = @_;
    EventLoop::Fork::Guard::Disowned::Registry->forget($thing);
    return;
}

# An end in every library's word.
sub close {
    my ($thing) = @_;
    CORE::close($thing) if Scalar::Util::reftype($thing) eq 'GLOB';
    return 1;
}

BEGIN {
    no strict 'refs';
    *$_ = \&close for qw(close_gracefully close_now close_read close_when_empty close_write destroy disconnect finish
        kill_socket shutdown stop_SSL);
}

{

    package EventLoop::Fork::Guard::Disowned::Handle;

    sub TIEHANDLE {
        my ($class, $handle, $what) = @_;
        my $self = bless { handle => $handle, what => $what }, $class;
        Scalar::Util::weaken($self->{handle});
        return $self;
    }

    my %OPERATIONS = (
        PRINT => 'print', PRINTF => 'printf', WRITE => 'syswrite', READ => 'read', READLINE => 'readline',
        GETC  => 'getc',
        EOF   => 'eof', SEEK => 'seek', TELL => 'tell', BINMODE => 'binmode', FILENO => 'fileno',
    );
    for my $method (keys %OPERATIONS) {
        my $operation = $OPERATIONS{$method};
        no strict 'refs';
        *$method = sub {
            my ($self) = @_;
            EventLoop::Fork::Guard::Disowned::Registry::_throw($operation, $self->{handle}, $self->{what});
        };
    }

    # Its buffers are empty and its number leads nowhere: perl may close it. Then it is a closed handle that still says
    # whose it was.
    sub CLOSE {
        my ($self) = @_;
        my ($handle, $what) = @$self{qw(handle what)};
        return 1 unless defined $handle;
        no warnings 'untie';
        untie *$handle;
        CORE::close($handle);
        tie *$handle, __PACKAGE__, $handle, $what;
        return 1;
    }

    # A new file under the old name is the child's own.
    sub OPEN {
        my ($self, $mode, @rest) = @_;
        my $handle = $self->{handle};
        no warnings 'untie';
        untie *$handle;
        return @rest ? CORE::open($handle, $mode, @rest) : CORE::open($handle, $mode);
    }

    sub UNTIE   { return }
    sub DESTROY { return }
}

{

    package EventLoop::Fork::Guard::Disowned::Hash;

    sub TIEHASH {
        my ($class, $what, $kept) = @_;
        return bless { what => $what, kept => $kept }, $class;
    }

    for my $method (qw(FETCH STORE EXISTS DELETE CLEAR FIRSTKEY NEXTKEY SCALAR)) {
        no strict 'refs';
        *$method = sub {
            my ($self, $key) = @_;
            EventLoop::Fork::Guard::Disowned::Registry::_throw(lc $method, $key, $self->{what});
        };
    }

    sub UNTIE   { return }
    sub DESTROY { return }
}

1;

__END__

=head1 NAME

EventLoop::Fork::Guard::Disowned - what a guarded thing is in a child

=head1 SYNOPSIS

    use EventLoop::Fork qw(guard);
    use IO::Socket::UNIX;
    use Socket;

    my ($socket, $peer) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC);
    guard($socket);
    my $pid = fork;
    if (!$pid) {
        eval { $socket->print("hello\n") };
        print $@->name, "\n" if ref $@;    # EVF_EDISOWNED
        $socket->close;                    # silent, and nothing happens at the peer
        exit 0;
    }
    waitpid $pid, 0;

=head1 DESCRIPTION

An object that its parent guards is blessed into this class in a child. Every method throws an L<EventLoop::Fork::Error> of
the name C<EVF_EDISOWNED>: what it was, whose it is, and where that process forked. So do the attributes of a DBI handle, and
perl's functions on a handle; a handle can be opened again, and then is the child's own. The destructor does nothing.

=head1 METHODS

These end things in their libraries. Here they do nothing, return true, and leave a handle closed.

=head2 close

=head2 close_gracefully

=head2 close_now

=head2 close_read

=head2 close_when_empty

=head2 close_write

=head2 destroy

=head2 disconnect

=head2 finish

=head2 kill_socket

=head2 shutdown

=head2 stop_SSL

=head1 SEE ALSO

L<EventLoop::Fork::Guard>

=cut
