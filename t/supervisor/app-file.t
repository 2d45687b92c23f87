# An app file is code of the program: it is compiled in package main, and messages about it name its own lines.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::App;
use File::Temp ();
use Test2::V0;

my $file = File::Temp->new(SUFFIX => '.pl');
print {$file} <<'PERL';
use EventLoop::Fork qw(at_fork);
our $package = __PACKAGE__;
our @arguments = @_;
our $place = eval { at_fork(name => 'wrong') } || $@;
sub { return 3 }
PERL
close $file;

my $code = EventLoop::Fork::Supervisor::App::load($file->filename);
is($code->(), 3, 'what it returns is the code');
{
    no warnings 'once';
    is($main::package, 'main', 'its package');
    like("$main::place", qr/ at \Q@{[ $file->filename ]}\E line 4/, 'its place');
}

done_testing;
