# An HTTP server for `evfork run --workers 4 --listen 127.0.0.1:8080 examples/apps/http.pl`: what one worker does is in
# Example::HTTP::Supervised, the pages are those of Example::HTTP::Routes.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->rel2abs('../lib', dirname(__FILE__));

use Example::HTTP::Supervised;

Example::HTTP::Supervised::code();
