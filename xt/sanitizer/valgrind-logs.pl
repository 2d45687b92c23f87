# valgrind-logs.pl FOLDER: leaves in valgrind's logs only what `./dev valgrind` is to fail for.
# Dropped are valgrind's remarks about itself, and leaks of memory that perl took: a child that leaves by _exit has
# perl's memory still in use, and some of it has no pointer left. Leaks of what this distribution takes stay.
use strict;
use warnings;

my ($folder) = @ARGV;

# From the allocator outwards: the first function that is neither one nor inside an event library took the memory.
sub is_ours {
    my ($record) = @_;
    for my $frame ($record =~ /^==\d+==\s+(?:at|by) 0x[0-9A-F]+: (.+)$/mg) {
        next if $frame =~ /\A(?:malloc|calloc|realloc|memalign|posix_memalign|strdup|Perl_safesys\w+)\b/;
        next if $frame =~ m{\(in \S*/libev(?:ent)?[^/]*\)};
        return $frame =~ /\(([^()]+\.(?:c|h|xs|xsi)):\d+\)\z/ && is_source($1);
    }
    return 0;
}

my %sources;

sub is_source {
    my ($name) = @_;
    %sources = map { (m{([^/]+)\z} => 1) } glob('xs/*.* xs/*/*.* t/core/*.c xt/sanitizer/*.c') unless %sources;
    return $sources{$name};
}

for my $file (glob "$folder/*") {
    open my $in, '<', $file or die "$file: $!\n";
    my $text = join '', grep { !/^--\d+-- / } <$in>;
    close $in;
    my @records = grep { /\S/ } split /^==\d+== *\n/m, $text;
    @records = grep { !/^==\d+== [\d,]+ (?:\([^)]*\) )?bytes in [\d,]+ blocks? (?:are|is) /m || is_ours($_) } @records;
    open my $out, '>', $file or die "$file: $!\n";
    print {$out} join "\n", @records;
    close $out or die "$file: $!\n";
}
