package EventLoop::Fork::Server;

# An HTTP server of somebody else's in each worker. This is what all of them share: how one is found by its name, what it
# needs, and where its app comes from. Each kind is a class below.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Loop            ();
use EventLoop::Fork::Supervisor::App ();
use Scalar::Util                     qw(blessed);

my @KINDS = qw(Mojo NetAsyncHTTP PAGI PSGI Twiggy);

sub kinds { return @KINDS }

# The class of a kind, or a class by its full name, with all that it needs loaded.
sub find {
    my ($name)  = @_;
    my $class   = $name =~ /::/ ? $name : __PACKAGE__ . "::$name";
    my $problem = _load($class);
    refuse($name, "there is no server '$name'; there are " . join(', ', @KINDS) . ', and classes of your own')
        if $problem && $problem eq 'missing';
    refuse($name, "server '$name': $problem")             if $problem;
    refuse($name, "$class is no EventLoop::Fork::Server") if !$class->isa(__PACKAGE__);
    for my $module ($class->needs) {
        $problem = _load($module) or next;
        refuse($name, "server '$name' needs $module, which "
                . ($problem eq 'missing' ? 'is not installed' : "does not load: $problem"));
    }
    return $class;
}

# 'missing', or what went wrong in words.
sub _load {
    my ($module) = @_;
    (my $file = "$module.pm") =~ s{::}{/}g;
    local $@;
    return if $module->can('new') || eval { require $file; 1 };
    return $@ =~ /\ACan't locate \Q$file\E / ? 'missing' : EventLoop::Fork::Loop::_exception_text($@);
}

sub refuse { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'server', @_) }

# What somebody else's code has said of them, in one line.
sub refuse_options {
    my ($options, $error) = @_;
    my $text = EventLoop::Fork::Loop::_exception_text($error);
    $text =~ s/ at \S+ line [0-9]+[.]?\s*\z//;
    $text =~ s/\s+/ /g;
    return refuse($options, "server_options: $text");
}

# ---- What a kind may say of itself ----------------------------------------------------------------------------------

sub needs        { return }
sub default_loop { return }
sub check_loop   { return }

# Options of its own that the supervisor has taken over: theirs => ours.
sub taken { return () }

# Before anything is started: throws what can be told of its options.
sub check {
    my ($class, %options) = @_;
    my %taken = $class->taken;
    for my $name (sort grep { exists $taken{$_} } keys %options) {
        refuse(
            $options{$name},
            "server_options: '$name' is not for the server; the supervisor's option '$taken{$name}' takes its place"
        );
    }
    return;
}

# From a file or a module.
sub load_app { return EventLoop::Fork::Supervisor::App::read_app($_[1]) }

# ---- In a worker ----------------------------------------------------------------------------------------------------

# An app file may also give such an object, with options of its own.
sub for_app {
    my ($class, $app, %options) = @_;
    my $got = $class->load_app($app);
    return $got if blessed $got && $got->isa(__PACKAGE__);
    return $class->new(app => $got, %options);
}

sub new {
    my ($class, %options) = @_;
    my $app = delete $options{app};
    defined $app or refuse(undef, "what to serve is missing; give 'app'");
    find($class);
    $class->check(%options);
    return bless { app => $app, options => \%options }, $class;
}

sub worker { my ($self) = @_; return refuse(undef, ref($self) . ' has no method worker') }

1;

__END__

=head1 NAME

EventLoop::Fork::Server - HTTP servers in the workers of a supervisor

=head1 SYNOPSIS

    $ evfork run --pagi app.pl --workers 4 --listen 127.0.0.1:5000

    my $supervisor = EventLoop::Fork::Supervisor->new(
        server         => 'PAGI',
        server_options => { timeout => 5 },
        app            => 'app.pl',
        listen         => ['127.0.0.1:5000'],
    );

=head1 DESCRIPTION

A supervisor starts, watches and replaces workers; what a worker does is up to its app. These classes are such apps: each
runs the server of a framework, single-process, on the listeners that all workers share.

=over

=item L<EventLoop::Fork::Server::PAGI>

PAGI::Server.

=item L<EventLoop::Fork::Server::Mojo>

Mojolicious, by Mojo::Server::Daemon.

=item L<EventLoop::Fork::Server::NetAsyncHTTP>

Net::Async::HTTP::Server, on IO::Async.

=item L<EventLoop::Fork::Server::Twiggy>

PSGI apps by Twiggy, on AnyEvent.

=item L<EventLoop::Fork::Server::PSGI>

PSGI apps by a Plack handler of your choice that answers one request at a time.

=back

The worker is ready when the server has started. A request is counted when it begins and when it is answered, so that
C<max_requests> and C<evfork status> know of it. When the worker is to stop, it accepts nothing more, and what is under way
is finished.

=head1 A SERVER OF YOUR OWN

A subclass with a method C<worker>, which gets the L<EventLoop::Fork::Worker>. C<server> then is the name of the class.

=head1 METHODS

=head2 new

    EventLoop::Fork::Server::PAGI->new(app => $app, timeout => 5);

What a file may return in place of its app, to set options of the server.

=head2 worker

    return $server->worker($worker);

The whole life of a worker.

=head2 for_app

    my $server = $class->for_app('app.pl', %options);

=head2 load_app

    my $app = $class->load_app('app.pl');

A subclass has its own if a file or a module gives its app in another way.

=head2 needs

The modules that are loaded before the first worker is started.

=head2 default_loop

The loop for a supervisor that was given none. None of these: that of L<EventLoop::Fork::Loop>.

=head2 check_loop

    $class->check_loop($loop);

Throws if it cannot run on that.

=head2 check

    $class->check(%options);

Throws what can be told of its options before anything is started.

=head2 taken

Names of its own options, each with the name of the supervisor's option that takes its place.

=head1 FUNCTIONS

=head2 find

    my $class = EventLoop::Fork::Server::find('PAGI');

Throws an L<EventLoop::Fork::Error> if there is no such server, or what it needs is not installed.

=head2 kinds

The names of those that are here.

=head2 refuse

    EventLoop::Fork::Server::refuse($value, 'why');

Throws C<EVF_EINVAL>, as the supervisor does for an option.

=head2 refuse_options

    EventLoop::Fork::Server::refuse_options(\%options, $exception);

The same, in the words of an exception.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>, L<evfork>

=cut
