# examples/ffi-loop.pl: the core by its C functions alone, on every backend that was built; and what it takes for granted
# about the memory of watchers.

use strict;
use warnings;

use Config;
use File::Spec::Functions qw(catfile);
use File::Temp            ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test2::V0;

use ForkTest;

skip_all('FFI::Platypus is not installed') unless has_module('FFI::Platypus');

my $root    = "$FindBin::Bin/../..";
my $example = "$root/examples/ffi-loop.pl";

# In a perl of its own, which the functions of ours are not loaded into by anything else.
sub run_example {
    my (@arguments) = @_;
    return run_program('my $program = shift @ARGV; do $program; die $@ if $@', $example, @arguments);
}

require EventLoop::Fork::Loop;
my $backends = EventLoop::Fork::Loop->backends;
for my $backend (sort keys %$backends) {
    my $result = run_example($backend);
    is($result->{status}, 0, "$backend: exit 0") or diag($result->{stderr});
    my ($first, @others) = split /\n/, $result->{stdout};
    is($first, "loop on $backend/$backends->{$backend}[0]", 'the loop is on its best method');
    is([ sort @others ], [ 'child ended: exit 3', 'timer fired' ], 'the timer and the child are told of, once');
    is($result->{stderr}, '', 'no complaint');
}

my $result = run_example('wishful');
isnt($result->{status}, 0, 'a backend that is not there');
like($result->{stderr}, qr{^ffi-loop\.pl: no auto/\S+Wishful/Wishful\.\S+ in \@INC; }, 'is named');

subtest 'a watcher is not larger than the memory it gets' => sub {
    my $dir = File::Temp->newdir('evf-ffi-XXXXXX', TMPDIR => 1);
    my ($source, $program) = map { catfile($dir, $_) } 'sizes.c', "sizes$Config{exe_ext}";
    open my $fh, '>', $source or die "$source: $!";
    print {$fh} "#include <stdio.h>\n#include \"evf.h\"\nint main(void) {\n",
        (map { qq{    printf("$_ %d\\n", (int)sizeof(struct evf_$_));\n} } qw(io timer idle signal process)),
        qq{    printf("monotonic %d\\n", EVF_CLOCK_MONOTONIC);\n    return 0;\n\}\n};
    close $fh or die "$source: $!";
    system("$Config{cc} -D_GNU_SOURCE -I$root/xs/core -o $program $source") == 0
        or skip_all("'$Config{cc}' does not build programs here");
    my %of = map { split } `$program`;
    my ($bytes) = slurp_file($example) =~ /WATCHER_BYTES => (\d+)/;
    cmp_ok($of{$_}, '<=', $bytes, "struct evf_$_") for qw(io timer idle signal process);
    my ($clock) = slurp_file($example) =~ /CLOCK_MONOTONIC => (\d+)/;
    is($clock, $of{monotonic}, 'the number of the clock');
};

sub slurp_file {
    my ($path) = @_;
    open my $fh, '<', $path or die "$path: $!";
    local $/;
    return scalar readline $fh;
}

done_testing;
