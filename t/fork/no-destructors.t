# The end of a child runs no END block and no destructor of an object that its parent made, however it ends. Its own
# objects are destroyed as everywhere.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

# Forks in the presence of objects in each place that can hold one. Destructors and END blocks say in which process they
# run.
my $program = <<'EOP';
use strict;
use warnings;
{
    package Object;
    sub new { my ($class, $name) = @_; return bless { name => $name, made_in => $$ }, $class }
    sub DESTROY { main::say_where("destructor of $_[0]{name}", $_[0]{made_in}) }
    sub TIESCALAR { my ($class, $name) = @_; return $class->new($name) }
    sub FETCH { return 1 }
}
my $parent = $$;
$| = 1;
sub say_where {
    my ($what, $made_in) = @_;
    local ($?, $!, $@);
    my $where = $$ == $parent ? 'parent' : 'child';
    print "$where: $what", defined $made_in && $made_in == $parent ? ' of the parent' : '', "\n";
}
my ($source, @ends) = @ARGV;
my $loop = eval $source or die;
our $global   = Object->new('global');
our %in_hash  = (key => Object->new('global hash'));
my $file_wide = Object->new('file-wide lexical');
our $changed  = 'before';
tie my $tied, 'Object', 'tie';
$loop->watch_time(after => 3600, code => do { my $held = Object->new('callback'); sub { $held } });
END { say_where('END block') }
BEGIN { eval 'END { main::say_where("END block of a string") }' }

sub forks {
    my ($argument, $code) = @_;
    my $lexical  = Object->new('lexical of a sub');
    my $captured = Object->new('captured lexical');
    local $changed = Object->new('localised value');
    my $status;
    for my $looped (Object->new('loop variable')) {
        my @list = map {
            $loop->fork(code => sub { my $used = $captured; $code->() }, on_exit => sub { $status = $_[1] });
            1;
        } Object->new('element of a list');
        $loop->loop_once until defined $status;
    }
    return;
}
my %ends = (
    'returns'        => sub { my $own = Object->new('lexical of the child'); 0 },
    'exits'          => sub { my $own = Object->new('lexical of the child'); exit 0 },
    'exits in calls' => sub { my $exit = sub { eval { exit 0 } }; $exit->(); 0 },
    'dies'           => sub { my $own = Object->new('lexical of the child'); open STDERR, '>', '/dev/null'; die "x\n" },
    'leaves'         => sub { open STDERR, '>', '/dev/null'; no warnings; last },
    'has globals'    => sub { our $made_here = Object->new('global of the child'); 0 },
);
for my $end (@ends) {
    print "$end\n";
    forks(Object->new('argument'), $ends{$end});
    print "$end, in a callback of a nested run\n";
    $loop->later(
        sub {
            $loop->later(sub { forks(Object->new('argument'), $ends{$end}); $loop->stop });
            $loop->run;
            $loop->stop;
        }
    );
    $loop->run;
}
print "end of the program\n";
EOP

my @ends = ('returns', 'exits', 'exits in calls', 'dies', 'leaves', 'has globals');
my %own  = map { $_ => ['destructor of lexical of the child'] } qw(returns exits dies);

# The lines between a mark and the next one that begin with a word.
sub said_by {
    my ($who, $output, $mark) = @_;
    my ($part) = $output =~ /^\Q$mark\E\n((?:(?:child|parent): .*\n)*)/m or return ["no '$mark'"];
    return [ sort $part =~ /^$who: (.*)$/mg ];
}

my @of_forks = sort map { "destructor of $_ of the parent" } 'argument', 'captured lexical', 'element of a list',
    'lexical of a sub', 'localised value', 'loop variable';
my @of_program = sort 'END block', 'END block of a string', map { "destructor of $_ of the parent" } 'callback',
    'file-wide lexical', 'global', 'global hash', 'tie';

each_loop sub {
    my ($new, $kind) = @_;
    my $result = run_program($program, $kind->{source}, @ends);
    for my $mark (map { ($_, "$_, in a callback of a nested run") } @ends) {
        my ($end) = split /,/, $mark;
        is said_by(child  => $result->{stdout}, $mark), $own{$end} || [], "a child that $mark";
        is said_by(parent => $result->{stdout}, $mark), \@of_forks, 'everything is destroyed in the parent, once';
    }
    is said_by(child  => $result->{stdout}, 'end of the program'), [], 'at the end of the program no child is left';
    is said_by(parent => $result->{stdout}, 'end of the program'), \@of_program, 'and the rest is destroyed, once';
    is [ $result->{status}, $result->{stderr} ], [ 0, '' ], 'without a complaint';
};

control 'exit in a child of IO::Async::Loop::Poll runs the END blocks and destructors of the parent',
    ['IO::Async::Loop::Poll'], qr/^child: END block\n.*^child: destructor of global of the parent\n/ms, $program,
    'use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new', 'exits';

done_testing;
