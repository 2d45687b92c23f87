# EventLoop::Fork->doctor: its options, and the report as data, text and JSON.

use strict;
use warnings;

use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Doctor::Report;
use JSON::PP ();
use Test2::V0;

for my $case (
    [ ['timeout'], qr/arguments are not pairs/ ],
    [ [ timeuot => 1 ], qr/unknown option 'timeuot'/ ],
    [ [ timeout => 0 ], qr/'timeout' is a number of seconds .*, not '0'/ ],
    [ [ timeout => 'soon' ], qr/not 'soon'/ ],
    [ [ request => 'GET /' ], qr/'request' is not code/ ],
    )
{
    my ($options, $expected) = @$case;
    my $error = dies { EventLoop::Fork->doctor(@$options) };
    isa_ok($error, 'EventLoop::Fork::Error');
    is(
        [ $error->name, $error->operation, $error->file ], [ 'EVF_EINVAL', 'doctor', __FILE__ ],
        "(@$options): code, operation, place"
    );
    like($error->message, $expected, 'and words');
}

subtest 'inside of a hook' => sub {
    my $error;
    my $hook = at_fork(
        prepare => sub {
            $error = dies { EventLoop::Fork->doctor }
        }
    );
    my $pid = fork // die "fork: $!";
    require POSIX;
    POSIX::_exit(0) unless $pid;
    waitpid $pid, 0;
    $hook->cancel;
    isa_ok($error, 'EventLoop::Fork::Error');
    is($error && $error->name, 'EVF_EBUSY', 'it is refused');
};

my $report = EventLoop::Fork::Doctor::Report->new(app => 'app.pl');
is(
    [ $report->worst, $report->exit_code, $report->counts ], [ undef, 0, { error => 0, warning => 0, note => 0 } ],
    'clean'
);
my %finding = (what => "one\nline\x07", cause => 'it', write => 'that');
my @steps   = ([ note => 0 ], [ warning => 2 ], [ error => 3 ]);
for my $step (@steps) {
    my ($severity, $exit_code) = @$step;
    $report->add($severity => 'hooks', %finding);
    is([ $report->worst, $report->exit_code ], [ $severity, $exit_code ], "exit code with a $severity");
}
$report->set(hooks => [ { label => "'x' (y line 3)", child => 0.001 } ]);
is([ map { $_->{severity} } $report->findings ], [qw(error warning note)], 'the worst is first');
is([ map { $_->{severity} } $report->findings(severity => 'note') ], ['note'], 'some of them');
like(
    $report->as_text,
    qr/\Aapp\.pl: 1 error, 1 warning, 1 note \(.*\)\n\nerror: one line\\x07\n  can cause: it\n  write:     that\n\nwarning: /,
    'as text'
);
like(
    $report->as_text(verbose => 1), qr/\nhooks \(ms: prepare, parent, child\)\n  'x' \(y line 3\): -, -, 1\.00\n/,
    'with all that was seen'
);
like($report->as_text(colour => sub { "<$_[0]>$_[1]" }), qr/^<error>error: one/m, 'with colours of the caller');

my $data = JSON::PP->new->decode($report->as_json);
is([ @$data{qw(app worst exit_code)} ], [ 'app.pl', 'error', 3 ], 'as JSON');
is($data->{counts}, { error => 1, warning => 1, note => 1 }, 'how many');
is([ sort keys %{ $data->{findings}[0] } ], [qw(cause check severity what write)], 'a finding');
is(EventLoop::Fork::Doctor::Report->from_data($report->as_data)->as_json, $report->as_json, 'and back from data');

$data = JSON::PP->new->decode(EventLoop::Fork->doctor->as_json);
is(
    [ grep { !exists $data->{$_} } qw(app worst exit_code counts findings seconds forks hooks) ], [],
    'what a real one has'
);

done_testing;
