# Siblings that draw the same numbers: perl's rand, modules that are known, one that is made known.

use strict;
use warnings;

use File::Temp ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module);
use Test2::V0;

finds(
    error => 'random', qr/\Atwo children drew the same random numbers from rand\z/,
    'at_fork(child => sub { srand 7 })',
    name    => 'srand in a hook',
    without => 'at_fork(child => sub { srand }); rand',
);
finds(
    warning => 'random', qr/\Arand has a seed that perl's own fork leaves to each child\z/,
    'srand 42',
    name    => 'a seed of the program',
    without => 'srand; rand',
);

# As generators are that are seeded once: a module of that name, with what is asked of it.
my $folder = File::Temp->newdir;
mkdir $_                                           or die "$_: $!" for "$folder/Math", "$folder/Math/Random";
open my $file, '>', "$folder/Math/Random/ISAAC.pm" or die "$folder: $!";
print {$file} <<'PERL';
package Math::Random::ISAAC;
sub new  { return bless { state => 17 }, shift }
sub rand { my ($self) = @_; return $self->{state} = $self->{state} * 16_807 % 2_147_483_647 }
1;
PERL
close $file;
my $object = "unshift \@INC, '$folder'; require Math::Random::ISAAC; push \@kept, Math::Random::ISAAC->new;";
finds(
    error => 'random', qr/\Atwo children drew the same random numbers from an object of Math::Random::ISAAC\z/, $object,
    name  => 'an object of a known class',
    without => "$object at_fork(child => sub { \$kept[0]{state} = 1 + \$\$ })",
);

my $registered = <<'CODE';
    $INC{'My/Random.pm'} = 1;
    my $state = 5;
    require EventLoop::Fork::Doctor::Check::Random;
    EventLoop::Fork::Doctor::Check::Random->register('My::Random' => sub { $state = $state * 16_807 % 2_147_483_647 });
CODE
finds(
    error   => 'random', qr/\Atwo children drew the same random numbers from My::Random\z/, $registered,
    name    => 'one that was made known',
    without => "$registered at_fork(child => sub { \$state = \$\$ })",
);

SKIP: {
    skip 'Net::SSLeay is not installed' unless has_module('Net::SSLeay');
    finds_not(
        random => q{require Net::SSLeay; Net::SSLeay::RAND_bytes(my $bytes, 16)},
        name   => 'OpenSSL looks for forks itself'
    );
}

done_testing;
