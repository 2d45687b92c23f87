#!/usr/bin/env perl

# For hypnotoad: which process answers. EVF_BENCH_SOCKET and EVF_BENCH_WORKERS say where, and how many.
use Mojolicious::Lite -signatures;

use Mojo::Util qw(url_escape);

app->config(
    hypnotoad => {
        listen   => [ 'http+unix://' . url_escape($ENV{EVF_BENCH_SOCKET}) ],
        pid_file => "$ENV{EVF_BENCH_SOCKET}.pid",
        workers  => $ENV{EVF_BENCH_WORKERS},
    }
);
app->log->level('fatal');
get '/' => sub ($c) { $c->render(text => "hello from process $$\n") };
app->start;
