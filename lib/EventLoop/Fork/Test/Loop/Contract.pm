package EventLoop::Fork::Test::Loop::Contract;

# The tests of a loop by suite: which there are. Knows neither how they are run nor what they do.

use strict;
use warnings;

our $VERSION = '0.001';

use Exporter qw(import);

our @EXPORT    = qw(contract);
our @EXPORT_OK = qw(suites tests_of);

my (@suites, %tests);

sub contract {
    my ($suite, $name, $promise, $code) = @_;
    push @suites, $suite unless $tests{$suite};
    push @{ $tests{$suite} }, { name => "$suite.$name", promise => $promise, code => $code };
    return;
}

sub suites { return @suites }

sub tests_of {
    my ($suite) = @_;
    return @{ $tests{$suite} || [] };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Contract - the tests of a loop by suite

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop::Contract;

    contract idle => order => 'in the order of their start' => sub { ... };

=head1 DESCRIPTION

A suite of L<EventLoop::Fork::Test::Loop> says here what its tests are, and the runner asks for them.

=head1 FUNCTIONS

=head2 contract

Exported by default. A test: its suite, its name in it, what it promises, and its code.

=head2 suites

Exported on request. The names of the suites, in the order in which they were loaded.

=head2 tests_of

Exported on request. The tests of a suite in their order, none if there is no such suite: for each a hash with its
C<name>, in which the suite comes first, its C<promise> and its C<code>.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
