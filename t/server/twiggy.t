# Twiggy in each worker.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ServerTest;
use Test2::V0;

needs_server('Twiggy');

contract('Twiggy', <<"PERL");
use AnyEvent;
sub {
    my (\$env) = \@_;
    my \$answer = sub { [ 200, [ 'Content-Type' => 'text/plain', 'Content-Length' => length \$_[0] ], [ \$_[0] ] ] };
    return \$answer->("\$\$ " . \$env->{'eventloop_fork.worker'}->slot . "\\n") if \$env->{PATH_INFO} ne '/slow';
    open my \$file, '>', '$ServerTest::begun';
    return sub {
        my (\$respond) = \@_;
        my \$timer;
        \$timer = AE::timer 0, 0.01, sub {
            return unless -e '$ServerTest::gate';
            undef \$timer;
            \$respond->(\$answer->("slow\\n"));
        };
    };
};
PERL

done_testing;
