package EventLoop::Fork::Loop;

use strict;
use warnings;

use EventLoop::Fork::Error;
use Time::HiRes ();

our $VERSION = '0.001';

require XSLoader;
XSLoader::load('EventLoop::Fork', $VERSION);

# In a forked child: what the parent's loop was on. Set by the fork.
our ($PARENT_BACKEND, $PARENT_METHOD);

# Best first. The built-in one is always there.
my @BACKENDS = qw(libev libevent poll);
my %MODULES  = (libev => 'EventLoop::Fork::Backend::Libev', libevent => 'EventLoop::Fork::Backend::Libevent');
my %PACKAGES = (libev => 'libev-dev', libevent => 'libevent-dev');

# The address of a backend's table (0: the built-in one), or nothing where it was not built.
sub _address {
    my ($backend) = @_;
    return 0 if $backend eq 'poll';
    my $module = $MODULES{$backend};
    local ($@, $!);
    return eval "require $module; 1" ? $module->can('address')->() : undef;    ## no critic: a fixed list of names
}

sub _fail {
    my ($name, $value, $message) = @_;
    _throw(_error_code($name), 'new', $value, $message);
}

# Backend and method of a new loop: what was asked for, or what the parent's loop had, or the environment, or the best.
sub _choose {
    my ($backend, $method) = @_;
    my ($from, $method_from) = ('', '');
    if (!defined $backend && defined $PARENT_BACKEND) {
        $backend = $PARENT_BACKEND;
    }
    elsif (!defined $backend && length($ENV{EVENTLOOP_FORK_BACKEND} // '')) {
        ($backend, $from) = ($ENV{EVENTLOOP_FORK_BACKEND}, ' (from EVENTLOOP_FORK_BACKEND)');
    }
    my $address;
    if (defined $backend) {
        grep { $_ eq $backend } @BACKENDS
            or _fail('EVF_EINVAL', $backend, "unknown backend '$backend'$from; there are: @BACKENDS");
        $address = _address($backend);
        defined $address
            or _fail('EVF_ENOTSUP', $backend,
                "backend '$backend'$from was not built; install $PACKAGES{$backend} and build EventLoop::Fork again");
    }
    else {
        for (@BACKENDS) {
            ($backend, $address) = ($_, _address($_));
            last if defined $address;
        }
    }

    if (!defined $method && defined $PARENT_METHOD && $backend eq $PARENT_BACKEND) {
        $method = $PARENT_METHOD;
    }
    elsif (!defined $method && length($ENV{EVENTLOOP_FORK_METHOD} // '')) {
        ($method, $method_from) = ($ENV{EVENTLOOP_FORK_METHOD}, ' (from EVENTLOOP_FORK_METHOD)');
    }
    if (defined $method) {
        my @methods = _methods($address);
        grep { $_ eq $method } @methods
            or _fail('EVF_EINVAL', $method, "backend '$backend' has no method '$method'$method_from here; "
                . "there are: @methods");
    }
    return ($address, $method);
}

sub new {
    my ($class, %args) = @_;
    my ($backend, $method) = delete @args{qw(backend method)};
    for my $name (sort keys %args) {
        _fail('EVF_EINVAL', $name, "unknown option '$name'");
    }
    my ($address, $chosen) = _choose($backend, $method);
    my $self = bless {}, $class;
    $self->_attach($address, $chosen, 0, 0);
    return $self;
}

sub backends {
    my %methods;
    for my $backend (@BACKENDS) {
        my $address = _address($backend);
        $methods{$backend} = [ _methods($address) ] if defined $address;
    }
    return \%methods;
}

sub run {
    my ($self) = @_;
    local $self->{running} = 1;
    local $self->{result}  = [];
    $self->loop_once while $self->{running};
    return wantarray ? @{ $self->{result} } : $self->{result}[0];
}

sub stop {
    my ($self, @result) = @_;
    @{ $self->{result} } = @result;
    $self->{running} = 0;
    return;
}

sub is_running { return $_[0]{running} ? 1 : 0 }

sub time { return Time::HiRes::time() }

*later = \&_later;

# For a child that has died or returned what is no exit code: the parent sees only 255.
sub _child_name {
    my ($name) = @_;
    return defined $name ? "child '$name' (pid $$)" : "child (pid $$)";
}

sub _report_exception {
    my ($name, $error) = @_;
    my $text = "$error";
    $text .= "\n" unless $text =~ /\n\z/;
    print STDERR 'EventLoop::Fork: ', _child_name($name), ": $text";
    return;
}

sub _report_exit_value {
    my ($name, $value) = @_;
    print STDERR 'EventLoop::Fork: ', _child_name($name), ": '$value' is not an exit code (0 to 255)\n";
    return;
}

1;
