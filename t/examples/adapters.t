# The examples of the adapters run as they are, on each variant of their loop.
use strict;
use warnings;

use lib 't/lib';
use ForkTest qw(children_left run_program);
use Test2::V0;

my %examples = (
    native     => [ [] ],
    'io-async' =>
        [ map { [ 'IO::Async::Loop', { IO_ASYNC_LOOP => $_ }, "IO::Async::Loop::$_" ] } qw(Poll Epoll Libev) ],
    ev       => [ ['EV'] ],
    anyevent => [ map { [ 'AnyEvent', { PERL_ANYEVENT_MODEL => $_ }, $_ eq 'EV' ? 'EV' : () ] } qw(Perl EV) ],
    mojo => [ map { [ 'Mojolicious', { MOJO_REACTOR => "Mojo::Reactor::$_" }, $_ eq 'EV' ? 'EV' : () ] } qw(Poll EV) ],
);

for my $name (sort keys %examples) {
    for my $variant (@{ $examples{$name} }) {
        my ($module, $environment, $other) = @$variant;
        my $label = join ' ', "examples/adapter-$name.pl", map { "$_=$environment->{$_}" } keys %{ $environment || {} };
    SKIP: {
            my ($missing) = grep { defined && !defined ForkTest::has_version($_) } $module, $other;
            skip("$label: $missing is not installed", 1) if defined $missing;
            local @ENV{ keys %{ $environment || {} } } = values %{ $environment || {} };
            my $result = run_program('my $path = shift; do $path; die $@ if $@', "./examples/adapter-$name.pl");
            is(
                {
                    %$result,
                    child  => [ $result->{stdout} =~ /^child: (.*)/mg ],
                    parent => [ $result->{stdout} =~ /^parent: (.*)/mg ],
                },
                {
                    stdout => D(),
                    stderr => '',
                    status => 0,
                    child  => [ 1, 2, 3 ],
                    parent => [ 'goes on', 'counter: exit 0' ],
                },
                $label
            );
        }
    }
}

is(children_left(), '', 'no child is left');

done_testing;
