# Net::Async::HTTP::Server in each worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ServerTest;
use Test2::V0;

needs_server('NetAsyncHTTP');

contract('NetAsyncHTTP', <<"PERL");
use HTTP::Response;
sub {
    my (\$server, \$request, \$worker) = \@_;
    my \$answer = sub {
        my \$response = HTTP::Response->new(200);
        \$response->add_content(\$_[0]);
        \$response->content_length(length \$_[0]);
        \$request->respond(\$response);
    };
    return \$answer->("\$\$ " . \$worker->slot . "\\n") if \$request->path ne '/slow';
    open my \$file, '>', '$ServerTest::begun';
    my \$look;
    \$look = sub {
        return \$server->loop->watch_time(after => 0.01, code => \$look) unless -e '$ServerTest::gate';
        undef \$look;
        \$answer->("slow\\n");
        undef \$answer;
    };
    \$look->();
};
PERL

done_testing;
