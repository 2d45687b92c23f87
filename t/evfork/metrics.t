# evfork metrics: what it prints is read by a small parser of the exposition format, with all of its rules.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EvforkTest;
use Test2::V0;

# By family: type, help, samples by their labels. Dies of the first line that breaks a rule.
sub parse {
    my ($text) = @_;
    die "the last line does not end\n" if length $text && $text !~ /\n\z/;
    my (%families, $name);
    for my $line (split /\n/, $text, -1) {
        next if $line eq '';
        if (my ($word, $of, $rest) = $line =~ /\A# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)\z/) {
            die "$of: $word comes again, or after a sample\n" if $families{$of}{ lc $word } || $families{$of}{samples};
            die "$of: bad escape in $rest\n"
                if $word eq 'HELP' && $rest =~ /\\(?![\\n])/ && $rest !~ /\A(?:[^\\]|\\[\\n])*\z/;
            die "$of: type $rest\n" if $word eq 'TYPE' && $rest !~ /\A(?:counter|gauge|histogram|summary|untyped)\z/;
            $families{$of}{ lc $word } = $rest;
            $name = $of;
            next;
        }
        my ($of, $labels, $value) = $line =~ /\A([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\z/
            or die "no sample: $line\n";
        die "$of: a sample of another family than the lines before\n" if !defined $name || $of ne $name;
        die "$of: no type\n" unless $families{$of}{type};
        die "$of: no number: $value\n" unless $value =~ /\A(?:-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|NaN|[+-]Inf)\z/;
        die "$of: a counter that does not end in _total\n" if $families{$of}{type} eq 'counter' && $of !~ /_total\z/;
        my $key = join ',', map { "$_->[0]=$_->[1]" } sort { $a->[0] cmp $b->[0] } parse_labels($labels // '');
        die "$of: {$key} comes again\n" if exists $families{$of}{samples}{$key};
        $families{$of}{samples}{$key} = $value;
    }
    return \%families;
}

sub parse_labels {
    my ($text) = @_;
    my @labels;
    while (length $text) {
        $text =~ s/\A([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|\z)// or die "no label: $text\n";
        my ($name, $value) = ($1, $2);
        $value =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
        push @labels, [ $name, $value ];
    }
    return @labels;
}

my $path  = "$EvforkTest::folder/made-up.status";
my $board = BoardTest::fill(EventLoop::Fork::Scoreboard->new(path => $path, rows => 8));

subtest 'a supervisor that runs' => sub {
    my ($exit_code, $out, $err) = EvforkTest::evfork('metrics', $path);
    is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
    my $families = eval { parse($out) } or return fail("not the format: $@");
    my %samples  = map { $_ => $families->{$_}{samples} } keys %$families;
    is($samples{evfork_up}, { '' => 1 }, 'it is up');
    is(
        $samples{evfork_info},
        { 'loop=EventLoop::Fork,name=made-up app,perl=5.36.0,program=evfork,version=0.001' => 1 }, 'what it is'
    );
    is($samples{evfork_workers_wanted}, { '' => 3 }, 'workers wanted');
    is(
        $samples{evfork_workers},
        {
            'state=starting' => 0, 'state=ready' => 2, 'state=draining' => 0, 'state=killing' => 0,
            'state=backoff'  => 1
        },
        'workers by state'
    );
    is(
        $samples{evfork_worker_starts_total}, { 'cause=start' => 3, 'cause=died' => 2, 'cause=reload' => 1 },
        'starts by cause'
    );
    is($samples{evfork_worker_requests_total}, { 'slot=0' => 1200, 'slot=1' => 5, 'slot=2' => 0 }, 'requests by slot');
    is($samples{evfork_worker_requests_in_flight}{'slot=0'}, 2, 'in flight');
    is($samples{evfork_counter_hits_total}, { '' => 20 }, "the program's counters");
    is($samples{evfork_requests_total}, { '' => 1305 }, 'requests of all time');
    is($samples{evfork_breaker_open}, { '' => 1 }, 'the breaker');
    cmp_ok(abs($samples{evfork_start_time_seconds}{''} - time), '<', 3600, 'the start, since the epoch');
    is([ grep { !length($families->{$_}{help} // '') } keys %$families ], [], 'a help for each');
};

subtest 'what has to be escaped' => sub {
    $board->counter_index($_) for 'a.b', 'a-b', 'jobs_total', 't.';
    $board->set_header(info => q({"name":"a \\"quoted\\" \\\\ name\nof two lines"}));
    my (undef, $out) = EvforkTest::evfork('metrics', $path);
    my $families = eval { parse($out) } or return fail("not the format: $@");
    is(
        [ map { /name=(.*)\z/s } keys %{ $families->{evfork_info}{samples} } ], [qq(a "quoted" \\ name\nof two lines)],
        'labels'
    );
    is(
        [ sort grep { /counter/ } keys %$families ],
        [ sort map { "evfork_counter_${_}_total" } qw(a_b a_b_ hits jobs misses t_) ], 'names of counters'
    );
};

subtest 'one that was killed' => sub {
    my $stale = "$EvforkTest::folder/stale.status";
    BoardTest::leave_stale($stale);
    my ($exit_code, $out, $err) = EvforkTest::evfork('metrics', $stale);
    is([ $exit_code, $err ], [ 3, '' ], 'exit code 3');
    is(parse($out)->{evfork_up}{samples}, { '' => 0 }, 'it is not up');
    is([ keys %{ parse($out) } ], ['evfork_up'], 'and nothing else is said');
};

done_testing;
