# Every public function and method of the product is documented.
use strict;
use warnings;
use Test::More ();    # a module that is looked at loads it, and that is too late after Test2::V0
use Test2::V0;
use Test2::Require::Module 'Pod::Coverage';

use blib;
use File::Find ();

# A base class whose methods are documented where users meet them.
my %documented_in = ('EventLoop::Fork::Loop::IOAsync' => 'lib/IO/Async/Loop/Libev.pm');

# A suite of tests is loaded and not called.
my $is_suite = qr/\AEventLoop::Fork::Test::(?:Adapter|Loop)::/;

my @modules;
File::Find::find({ no_chdir => 1, wanted => sub { push @modules, $1 if m{\Alib/(.+)\.pm\z} } }, 'lib');

for my $module (sort map { s{/}{::}gr } @modules) {
    my $coverage = Pod::Coverage->new(
        package => $module,
        ($documented_in{$module} ? (pod_from => $documented_in{$module}) : ()),
    );
    my $rating = $coverage->coverage;
    if (!defined $rating) {
        my $why = $coverage->why_unrated;
        ok($why =~ /no public symbols/, "$module: $why");
        next;
    }
    my @naked = $coverage->naked;
    if ($module->isa('IO::Async::Loop')) {    # IO::Async::Loop documents its own methods, abstract ones too
        @naked =
            grep { !IO::Async::Loop->can($_) && !/\A(?:is_running|(?:un)?watch_\w+|loop_once|post_fork)\z/ } @naked;
    }
    no strict 'refs';
    my @exports = (@{"${module}::EXPORT"}, @{"${module}::EXPORT_OK"});
    if (@exports || $module =~ $is_suite) {    # the rest is not for callers
        my %is_exported = map { $_ => 1 } @exports;
        @naked = grep { $is_exported{$_} } @naked;
    }
    is(\@naked, [], "$module: every method is documented");
}

done_testing;
