# Mojolicious in each worker.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ServerTest;
use Test2::V0;

needs_server('Mojo');

contract('Mojo', <<"PERL");
use Mojolicious::Lite;
app->log->level('fatal');
get '/' => sub { \$_[0]->render(text => "\$\$ " . \$_[0]->worker->slot . "\\n") };
get '/slow' => sub {
    my (\$c) = \@_;
    open my \$file, '>', '$ServerTest::begun';
    \$c->render_later;
    my \$id;
    \$id = Mojo::IOLoop->recurring(0.01 => sub {
        return unless -e '$ServerTest::gate';
        Mojo::IOLoop->remove(\$id);
        \$c->render(text => "slow\\n");
    });
};
app->start;
PERL

done_testing;
