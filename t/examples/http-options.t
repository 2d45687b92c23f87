# How examples/multiworker-http.pl is started: the addresses that it listens on, and options that it refuses.

use strict;
use warnings;

use Test2::V0;

use File::Temp qw(tempdir);
use FindBin;

use lib "$FindBin::Bin/../lib";

BEGIN {
    plan skip_all => 'HTTP::Parser::XS is not installed (libhttp-parser-xs-perl)' if !eval { require HTTP::Parser::XS };
}

use HTTPClient;
use HTTPTest;

subtest 'UNIX socket' => \&listens_on_unix_socket;
subtest 'options'     => \&refuses_bad_options;

done_testing;

sub listens_on_unix_socket {
    my $path   = tempdir(CLEANUP => 1) . '/socket';
    my $listen = [ '--workers', 1, '--listen', "unix:$path", '--listen', '127.0.0.1:0' ];
    my $server = HTTPClient::Server->start(listen => 1, workers => 1, arguments => $listen);
    is($server->url, "unix:$path", 'the log names it');
    is((stat $path)[2] & 0777, 0600, 'for its owner only');
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'it answers');
    my ($tcp) = $server->log =~ m{(http://\S+)};
    is(text(HTTPClient->new($tcp), '/pid'), match(qr/^\d+$/), 'and so does the second address');

    my $second = HTTPClient::Server->start(listen => 1, fails => 1, arguments => $listen);
    is($second->wait_for_end >> 8, 1, 'a second server does not start');
    like($second->log, qr/another server listens there/, 'and says why');
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'the first one is unharmed');

    kill KILL => $server->pid, $server->workers;
    $server->wait_for_end;
    ok(-S $path, 'a killed server leaves its file');
    $server = HTTPClient::Server->start(listen => 1, workers => 1, arguments => $listen);
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'the next one replaces it');
    stops_clean($server);
    ok(!-e $path, 'and removes it when it stops');
    return;
}

sub refuses_bad_options {
    my $taken  = HTTPClient::Server->start(arguments => [ '--workers', 1 ], workers => 1);
    my ($port) = $taken->url =~ /:(\d+)/;
    my @cases  = (
        [ [ '--backend', 'glib' ]           => qr/backend 'glib'/ ],
        [ [ '--method', 'wishful' ]         => qr/method 'wishful'/ ],
        [ [ '--workers', '0' ]              => qr/--workers .* '0'/ ],
        [ [ '--workers', '2x' ]             => qr/--workers .* '2x'/ ],
        [ [ '--graceful-timeout', '-1' ]    => qr/--graceful-timeout .* '-1'/ ],
        [ [ '--body-limit', 'big' ]         => qr/--body-limit .* 'big'/ ],
        [ [ '--listen', 'nowhere' ]         => qr/'nowhere'/ ],
        [ [ '--listen', '127.0.0.1:70000' ] => qr/'127\.0\.0\.1:70000'/ ],
        [ [ '--listen', "127.0.0.1:$port" ] => qr/'127\.0\.0\.1:$port': Address already in use/ ],
        [ [ '--listen', "unix:$0" ]         => qr/not a socket/ ],
        [ ['--frobnicate']                  => qr/frobnicate/ ],
        [ ['extra']                         => qr/'extra'/ ],
    );
    for my $case (@cases) {
        my ($arguments, $message) = @{$case};
        my $server = HTTPClient::Server->start(listen => 1, fails => 1, arguments => $arguments);
        is($server->wait_for_end, 1 << 8, "@{$arguments}: exit 1");
        like($server->log, qr/\Amultiworker-http\.pl: .*$message.*\n\z/, 'one line that names the value');
    }
    my $help = HTTPClient::Server->start(listen => 1, fails => 1, arguments => ['--help']);
    is($help->wait_for_end, 0, '--help: exit 0');
    like($help->log, qr/--graceful-timeout/, 'the options');
    stops_clean($taken);
    return;
}
