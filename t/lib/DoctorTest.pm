package DoctorTest;

# For t/doctor: programs in a perl of their own that have a fault, and that have not, and what the doctor says of them.

use strict;
use warnings;

use Exporter  qw(import);
use ForkTest  qw(run_program);
use JSON::PP  ();
use Test2::V0 ();

our @EXPORT = qw(app examine finds finds_not);

# The report, as data, of a program that has run this code first. The options are those of doctor, as text.
sub examine {
    my ($code, $options) = @_;
    $options = '' unless defined $options;
    my $result = run_program(<<"PROGRAM");
        use strict;
        use warnings;
        use EventLoop::Fork qw(at_fork guard);
        use POSIX ();
        # What a shell or a harness has left open is no finding about this program.
        POSIX::close(\$_) for 3 .. 300;
        my \$bound = alarm 0;    # that of the test
        my \@kept;
        $code;
        my \$report = EventLoop::Fork->doctor($options);
        alarm \$bound;
        print \$report->as_json;
        STDOUT->flush;
        POSIX::_exit(\$report->exit_code);
PROGRAM
    my $report  = eval { JSON::PP->new->decode($result->{stdout}) };
    my $context = Test2::V0::context();
    $context->diag("no report: $result->{stdout}$result->{stderr} (status $result->{status})") unless $report;
    $context->release;
    $report ||= { findings => [] };
    return { %$report, stderr => $result->{stderr}, status => $result->{status} };
}

sub _matching {
    my ($report, $severity, $check, $pattern) = @_;
    return
        grep { $_->{severity} eq $severity && $_->{check} eq $check && $_->{what} =~ $pattern }
        @{ $report->{findings} };
}

# That the program has the finding, once, with what it can cause and what to write; and that one without the fault has
# none of that subject. Returns the finding.
sub finds {
    my ($severity, $check, $pattern, $code, %how) = @_;
    my $context = Test2::V0::context();
    my $report  = examine($code, $how{options});
    my ($found, @others) = _matching($report, $severity, $check, $pattern);
    my $name = $how{name} || "$severity, $check";
    $context->ok(
        $found && !@others, "$name: found",
        [ map { "$_->{severity} $_->{check}: $_->{what}" } @{ $report->{findings} } ]
    );
    $context->ok(
        0 == (grep { !length($found->{$_} // '') || $found->{$_} =~ /\n/ } qw(cause write)),
        "$name: a line each for cause and remedy"
    );
    $context->release;
    finds_not($check, $how{without}, name => $name, options => $how{options}) if defined $how{without};
    return $found || {};
}

sub finds_not {
    my ($check, $code, %how) = @_;
    my $context = Test2::V0::context();
    my $report  = examine($code, $how{options});
    my @found =
        map { "$_->{severity} $_->{check}: $_->{what}" } grep { $_->{check} eq $check } @{ $report->{findings} };
    $context->ok(exists $report->{worst} && !@found, ($how{name} || $check) . ': not without the fault', \@found);
    $context->release;
    return $report;
}

1;
