# PAGI::Server in each worker of a supervisor.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ServerTest;
use Test2::V0;

needs_server('PAGI');

contract('PAGI', <<"PERL");
use Future::AsyncAwait;
use IO::Async::Loop;
my \$answer = async sub {
    my (\$send, \$text) = \@_;
    await \$send->({ type => 'http.response.start', status => 200, headers => [ [ 'content-length', length \$text ] ] });
    await \$send->({ type => 'http.response.body', body => \$text });
};
async sub {
    my (\$scope, \$receive, \$send) = \@_;
    die "not for \$scope->{type}\\n" if \$scope->{type} ne 'http';
    return await \$answer->(\$send, "\$\$ " . \$scope->{state}{worker}->slot . "\\n") if \$scope->{path} ne '/slow';
    open my \$file, '>', '$ServerTest::begun';
    await IO::Async::Loop->new->delay_future(after => 0.01) until -e '$ServerTest::gate';
    await \$answer->(\$send, "slow\\n");
};
PERL

done_testing;
