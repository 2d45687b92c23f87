use strict;
use warnings;

# A class that is made of one of ours may have a turn of its own: run calls it.

use lib 't/lib';
use EventLoop::Fork::Loop;
use ForkTest qw(loop_kinds);
use Test2::V0;

my $count = 0;
for my $kind (grep { $_->{is_best} } loop_kinds()) {
    subtest $kind->{label} => sub {
        my $base  = ref $kind->{new}->();
        my $class = 'Test::Counting' . ++$count;
        my $turns = 0;
        {
            no strict 'refs';
            @{"${class}::ISA"}       = $base;
            *{"${class}::loop_once"} = sub { $turns++; return $base->can('loop_once')->(@_) };
        }
        my $loop = bless $kind->{new}->(), $class;
        $loop->later(sub {
            $loop->later(sub { $loop->stop(qw(a b)) });
        });
        is [ $loop->run ], [qw(a b)], 'run gives what stop was given';
        is $turns, 2, 'each turn was of that class';
    };
}

done_testing;
