# A PSGI app by a handler of Plack that waits for one request at a time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ServerTest;
use Test2::V0;

needs_server('PSGI');
eval { require Plack::Handler::Starlet; 1 } or skip_all 'Starlet is not installed';

contract('PSGI', <<"PERL", is_blocking => 1);
sub {
    my (\$env) = \@_;
    my \$answer = sub { [ 200, [ 'Content-Type' => 'text/plain', 'Content-Length' => length \$_[0] ], [ \$_[0] ] ] };
    return \$answer->("\$\$ " . \$env->{'eventloop_fork.worker'}->slot . "\\n") if \$env->{PATH_INFO} ne '/slow';
    open my \$file, '>', '$ServerTest::begun';
    select undef, undef, undef, 0.01 until -e '$ServerTest::gate';
    return \$answer->("slow\\n");
};
PERL

done_testing;
