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
    _refuse($app, -e _ ? -d _ ? "'$app' is a folder" : "cannot read '$app': $!" : "there is no file '$app'");
    return;
}

sub _refuse {
    my ($value, $message) = @_;
    return EventLoop::Fork::Loop::_throw(EventLoop::Fork::Loop::_error_code('EVF_EINVAL'), 'app', $value, $message);
}

# The code, which gets the worker. What the file or the module's code throws goes on as it is.
sub load {
    my ($app) = @_;
    my $got = is_file($app) ? _do_file($app) : _require($app);
    return $got if ref $got eq 'CODE';
    return sub { $got->worker(@_) } if (blessed $got || !ref $got) && defined $got && $got->can('worker');
    my $what = is_file($app) ? "'$app' returned " . (defined $got ? ref $got || "'$got'" : 'undef') : "module $app has no worker";
    die "$what; what is wanted is code, or an object or a module with a method 'worker'\n";
}

sub _do_file {
    my ($app) = @_;
    my $path = File::Spec->rel2abs($app);
    local $0 = $path;    # FindBin and the like
    my $got = do $path;
    return $got if defined $got;
    die $@ if length $@;               ## no critic (RequireCarping): as it is
    die "cannot read '$app': $!\n" if $!;
    return $got;
}

sub _require {
    my ($app) = @_;
    (my $file = "$app.pm") =~ s{::}{/}g;
    require $file;
    return $app;
}

1;
