package Probe;

# Finds out, by compiling and linking, whether a library is here. libev has no pkg-config file, so there is no other
# way that serves both. Used by the Makefile.PLs only.

use strict;
use warnings;

use Config;
use File::Spec;
use File::Temp;

my %LIBRARIES = (
    libev => {
        header   => 'ev.h',
        call     => 'ev_loop_destroy(ev_loop_new(0))',
        link     => ['-lev'],
        packages => { apt => 'libev-dev', dnf => 'libev-devel', brew => 'libev', pkg => 'libev' },
    },
    libevent => {
        header   => 'event2/event.h',
        call     => 'event_base_free(event_base_new())',
        link     => ['-levent_core'],
        packages => { apt => 'libevent-dev', dnf => 'libevent-devel', brew => 'libevent', pkg => 'libevent' },
    },
);

my @PREFIXES = grep { -d "$_/include" } qw(/usr/local /opt/homebrew /opt/local);

sub libraries { return sort keys %LIBRARIES }

# { inc => '-I…', libs => '-L… -l…' }, or nothing. EVENTLOOP_FORK_WITHOUT=libev,libevent leaves libraries out.
sub library {
    my ($name) = @_;
    return if grep { $_ eq $name } split /,/, $ENV{EVENTLOOP_FORK_WITHOUT} || '';
    my $library = $LIBRARIES{$name};
    for my $prefix ('', @PREFIXES) {
        my $inc  = $prefix eq '' ? '' : "-I$prefix/include";
        my $libs = join ' ', ($prefix eq '' ? () : "-L$prefix/lib"), @{ $library->{link} };
        return { inc => $inc, libs => $libs }
            if _links("#include <$library->{header}>\nint main(void) { $library->{call}; return 0; }\n", $inc, $libs);
    }
    return;
}

sub compiles { return _links("int main(void) { return 0; }\n", '', '') }

# How to get a library that is not here, in one line.
sub advice {
    my ($name) = @_;
    my $packages = $LIBRARIES{$name}{packages};
    return "apt-get install $packages->{apt}  |  dnf install $packages->{dnf}  |  "
        . "brew install $packages->{brew}  |  pkg install $packages->{pkg}";
}

sub _links {
    my ($source, $inc, $libs) = @_;
    my $dir  = File::Temp->newdir;
    my $file = File::Spec->catfile($dir, 'probe.c');
    open my $fh, '>', $file or die "Cannot write $file: $!\n";
    print {$fh} $source;
    close $fh or die "Cannot write $file: $!\n";
    my $out  = File::Spec->catfile($dir, "probe$Config{exe_ext}");
    my $null = File::Spec->devnull;
    return system("$Config{cc} $Config{ccflags} $inc -o $out $file $libs >$null 2>&1") == 0;
}

# The sources are C11; compilers of the time of perl 5.18 take C90 unless they are told.
sub ccflags { return $Config{ccflags} . ($Config{gccversion} ? ' -std=gnu11' : '') }

1;
