# A signal at the worst moments is obeyed, on every loop: while the supervisor opens what it needs, and when it is done with
# an event and only has to set its timer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

use EventLoop::Fork::Supervisor;

# Sends itself a TERM when that function is called, as soon as the code is true of the supervisor; once.
sub term_in {
    my ($function, $is_time) = @_;
    return sub {
        no strict 'refs';
        no warnings 'redefine';
        my $original = \&$function;
        my $is_done;
        *$function = sub {
            kill TERM => $$ if $is_time->($_[0]) && !$is_done++;
            return $original->(@_);
        };
    };
}

my @MOMENTS = (
    [ 'while it opens', term_in('EventLoop::Fork::Supervisor::_bind', sub {1}) ],
    [ 'after an event', term_in('EventLoop::Fork::Supervisor::Driver::_arm', sub { $_[0]{machine}->pool->{ready} }) ],
);

for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    for my $moment (@MOMENTS) {
        my ($when, $before) = @$moment;
        my $supervisor = SupervisorTest->start(
            before            => $before,
            loop_of           => $loop_of,
            workers           => 1,
            heartbeat_timeout => 0,    # no timer comes to help
            worker            => sub { my ($worker) = @_; $worker->ready; SupervisorTest::run_loop($worker); return 0 },
        );
        is($supervisor->exit_code(bound => SupervisorTest::BOUND / 4), 0, "$name: TERM $when");
    }
}

done_testing;
