package EventLoop::Fork::Test::Adapter::Contract;

# The tests of an adapter: which there are. Knows neither how they are run nor what they do.

use strict;
use warnings;

our $VERSION = '0.001';

use Exporter qw(import);

our @EXPORT    = qw(contract);
our @EXPORT_OK = qw(contracts);

my @contracts;

sub contract {
    my ($name, $promise, $code) = @_;
    push @contracts, { name => $name, promise => $promise, code => $code };
    return;
}

sub contracts { return @contracts }

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Contract - the tests of an adapter

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Adapter::Contract;

    contract held => 'a watch goes on when the adapter object goes' => sub { ... };

=head1 DESCRIPTION

A suite of L<EventLoop::Fork::Test::Adapter> says here what its tests are, and the runner asks for them.

=head1 FUNCTIONS

=head2 contract

Exported by default. A test: its name, what it promises, and its code.

=head2 contracts

Exported on request. The tests in the order in which they were loaded: for each a hash with its C<name>, its C<promise>
and its C<code>.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
