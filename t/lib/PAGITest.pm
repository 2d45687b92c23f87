package PAGITest;

# PAGI apps for the tests of t/pagi: a preamble with what they share.

use strict;
use warnings;

use Exporter qw(import);
use ServerTest;

our @EXPORT = qw(app);

my $preamble = <<'PERL';
use strict; use warnings;
use Future::AsyncAwait;
use IO::Async::Loop;
sub note { my ($name, $text) = @_; open my $file, '>>', "FOLDER/$name" or die $!; syswrite $file, ($text // '') . "\n"; return }
sub there { return -e "FOLDER/$_[0]" }
async sub until_there { my ($name) = @_; await IO::Async::Loop->new->delay_future(after => 0.01) until there($name); return }
async sub answer {
    my ($send, $text) = @_;
    await $send->({ type => 'http.response.start', status => 200, headers => [ [ 'content-length', length $text ] ] });
    await $send->({ type => 'http.response.body', body => $text });
    return;
}
async sub lifespan {
    my ($receive, $send, %on) = @_;
    while (1) {
        my $event = await $receive->();
        my ($what) = $event->{type} =~ /\Alifespan\.(\w+)/;
        my $failure = $on{$what} ? await $on{$what}->() : undef;
        await $send->({ type => "lifespan.$what." . (defined $failure ? 'failed' : 'complete'), message => $failure });
        last if $what eq 'shutdown';
    }
    return;
}
PERL

# Its text, with FOLDER filled in: of the code of a handler by path, and of startup and shutdown.
sub app {
    my (%how) = @_;
    my $text = $preamble;
    $text .= $how{before} // '';
    $text .= "my %page = (\n" . join(
        '',
        map { "    '$_' => async sub { my (\$scope, \$worker) = \@_; $how{pages}{$_} },\n" }
            sort keys %{ $how{pages} || {} }
    ) . ");\n";
    my @phases = map { defined $how{$_} ? "$_ => async sub { $how{$_} }" : () } qw(startup shutdown);
    $text .=
          "async sub {\n    my (\$scope, \$receive, \$send) = \@_;\n    return await lifespan(\$receive, \$send, "
        . join(', ', @phases)
        . ") if \$scope->{type} eq 'lifespan';\n"
        . "    my \$page = \$page{ \$scope->{path} };\n    my \$text = \$page ? await \$page->(\$scope, \$scope->{state}{worker}) : \"\$\$ \" . \$scope->{state}{worker}->slot;\n    await answer(\$send, \"\$text\\n\");\n};\n";
    $text =~ s/FOLDER/$ServerTest::folder/g;
    return $text;
}

1;
