package EventLoop::Fork::Supervisor::App;

# The 'app' of a supervisor: a file or a module that gives the code of a worker.

use strict;
use warnings;

our $VERSION = '0.001';

use File::Spec   ();
use Scalar::Util qw(blessed);

sub is_file { return $_[0] =~ m{[/.]} ? 1 : 0 }

# Before anything is started: what can be told without running it.
sub check {
    my ($app) = @_;
    if (!is_file($app)) {
        return if $app =~ /\A[A-Za-z_]\w*(?:::\w+)*\z/;
        _refuse($app, "'$app' is neither a file nor the name of a module");
    }
    return if -f $app && -r _;
    my $error = "$!";
    my $what =
         !-e $app ? "there is no file '$app'"
        : -d _    ? "'$app' is a folder"
        : -f _    ? "cannot read '$app': $error"
        :           "'$app' is not a file";
    return _refuse($app, $what);
}

sub _refuse { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'app', @_) }

# What the file returned, or the name of the module. What their code throws goes on as it is.
sub read_app {
    my ($app) = @_;
    return is_file($app) ? _do_file($app) : _require($app);
}

# The code, which gets the worker.
sub load {
    my ($app) = @_;
    my $got = read_app($app);
    return $got if ref $got eq 'CODE';
    return sub { $got->worker(@_) }
        if (blessed $got || !ref $got) && defined $got && $got->can('worker');
    my $what =
        is_file($app)
        ? "'$app' returned " . (defined $got ? ref $got || "'$got'" : 'undef')
        : "module $app has no worker";
    die "$what; what is wanted is code, or an object or a module with a method 'worker'\n";
}

sub _do_file {
    my ($app) = @_;
    my $path = File::Spec->rel2abs($app);
    local $0 = $path;                                 # FindBin and the like
    my $got = _do_in_main($path);
    return $got                    if defined $got;
    die $@                         if length $@;      ## no critic (RequireCarping): as it is
    die "cannot read '$app': $!\n" if $!;
    return $got;
}

# perl compiles a file in the package of who loads it. Code of the program is not ours: places in messages depend on it.
{

    package main;                                     ## no critic (ProhibitMultiplePackages): the program's

    sub EventLoop::Fork::Supervisor::App::_do_in_main { return do $_[0] }
}

sub _require {
    my ($app) = @_;
    (my $file = "$app.pm") =~ s{::}{/}g;
    require $file;
    return $app;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::App - what C<app> of a supervisor may be

=head1 DESCRIPTION

A file, by a name with a C</> or a C<.> in it, that returns code or an object with a method C<worker>; or a module that has
one. It is loaded in each worker.

=head1 FUNCTIONS

=head2 is_file

=head2 check

    EventLoop::Fork::Supervisor::App::check('app.pl');

Throws what can be told without running it.

=head2 read_app

    my $got = EventLoop::Fork::Supervisor::App::read_app('app.pl');

What the file returned, or the name of the module, which is loaded.

=head2 load

    my $code = EventLoop::Fork::Supervisor::App::load('app.pl');

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>

=cut
