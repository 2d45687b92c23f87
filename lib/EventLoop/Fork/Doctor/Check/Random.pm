package EventLoop::Fork::Doctor::Check::Random;

# Random numbers: two children draw, and must not draw alike. perl's own rand, and the generators of modules that are
# loaded, by how each is asked.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use EventLoop::Fork ();

use constant OBJECTS => 20;    # of a class, at most

# Those with a function of their own; then those that are objects. Each returns what is compared.
my %FUNCTIONS = (
    'Bytes::Random::Secure'  => sub { Bytes::Random::Secure::random_bytes_hex(16) },
    'Crypt::OpenSSL::Random' => sub { unpack 'H*', Crypt::OpenSSL::Random::random_pseudo_bytes(16) },
    'Crypt::PRNG'            => sub { Crypt::PRNG::random_bytes_hex(16) },
    'Data::UUID'             => sub { Data::UUID->new->create_str },
    'Data::GUID'             => sub { Data::GUID->new->as_string },
    'Math::Random'           => sub {
        join ' ', map { Math::Random::random_uniform() } 1 .. 4;
    },
    'Math::Random::MT' => sub {
        join ' ', map { Math::Random::MT::rand() } 1 .. 4;
    },
    'Math::Random::MT::Auto' => sub {
        join ' ', map { Math::Random::MT::Auto::rand() } 1 .. 4;
    },
    'Math::Random::Secure' => sub {
        join ' ', map { Math::Random::Secure::rand() } 1 .. 4;
    },
    'Net::SSLeay' => sub { Net::SSLeay::RAND_bytes(my $bytes, 16); unpack 'H*', $bytes },
);
my %OBJECTS = (
    'Bytes::Random::Secure'       => sub { $_[0]->bytes_hex(16) },
    'Bytes::Random::Secure::Tiny' => sub { $_[0]->bytes_hex(16) },
    'Crypt::PRNG'                 => sub { $_[0]->bytes_hex(16) },
    'Data::UUID::MT'              => sub { $_[0]->create_hex },
    'Math::Random::ISAAC'         => sub {
        join ' ', map { $_[0]->rand } 1 .. 4;
    },
    'Math::Random::MT' => sub {
        join ' ', map { $_[0]->rand } 1 .. 4;
    },
    'Math::Random::MT::Auto' => sub {
        join ' ', map { $_[0]->rand } 1 .. 4;
    },
    'Session::Token' => sub { $_[0]->get },
);

# For generators that are not known here.
sub register {
    my ($class, $module, $code, %how) = @_;
    EventLoop::Fork::Loop::_check_code('register', code => $code);
    ($how{is_object} ? \%OBJECTS : \%FUNCTIONS)->{$module} = $code;
    return;
}

sub _is_loaded {
    my ($module) = @_;
    (my $file = "$module.pm") =~ s{::}{/}g;
    return exists $INC{$file};
}

sub in_canary {
    my ($class) = @_;
    my %draws = (rand => join ' ', map { rand } 1 .. 4);
    for my $module (grep { _is_loaded($_) } keys %FUNCTIONS) {
        $draws{$module} = eval { $FUNCTIONS{$module}->() };
    }
    for my $module (grep { _is_loaded($_) } keys %OBJECTS) {
        my @objects = EventLoop::Fork::_instances($module);
        splice @objects, OBJECTS if @objects > OBJECTS;
        my $number = 0;
        for my $object (@objects) {
            $draws{ "an object of $module" . ($number++ ? " ($number)" : '') } = eval { $OBJECTS{$module}->($object) };
        }
    }
    return \%draws;
}

sub findings {
    my ($class, $doctor) = @_;
    my ($first, $second) = map { $class->_told($doctor, $_) || {} } qw(ours raw);
    for my $source (sort keys %$first) {
        next if !defined $first->{$source} || !defined $second->{$source} || $first->{$source} ne $second->{$source};
        my $is_rand = $source eq 'rand';
        $doctor->report->add(
            error => 'random',
            what  => "two children drew the same random numbers from $source",
            cause => 'the same session ids, tokens and file names in all workers',
            write => $is_rand
            ? 'no srand with a number in a child hook; srand alone, if at all'
            : 'at_fork(child => sub { seed it, or make a new one })',
        );
    }
    $doctor->report->add(
        warning => 'random',
        what    => 'rand has a seed that perl\'s own fork leaves to each child',
        cause   => 'children of a raw fork draw the same numbers; those of EventLoop::Fork->fork and workers do not',
        write   => 'EventLoop::Fork->fork(code => sub { ... }), or srand; in the child',
    ) if EventLoop::Fork::Doctor::_has_own_seed();
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Random - siblings that draw the same numbers

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, in_canary

=head2 register

    EventLoop::Fork::Doctor::Check::Random->register("My::Generator" => sub { My::Generator::bytes(16) });

How to draw from a generator that is not known here, once its module is loaded: code that returns what is compared. With
C<< is_object => 1 >> the code gets each object of the class.

=cut
