# The incident: a pool of connections is inherited while a query is in flight. The parent's query must end with the right
# rows, whatever 20 children do and however they end; its connections must be as good as before; and no child may have
# used one of them.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use PostgreSQL;
use Test2::V0;

BEGIN {
    has_module('DBD::Pg') or skip_all 'DBD::Pg is not installed';
    my $missing = PostgreSQL::missing();
    skip_all $missing if defined $missing;
}
use DBI ();

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use DBI ();
use DBD::Pg qw(:async);
use EventLoop::Fork qw(guard);
use EventLoop::Fork::Loop;
use POSIX ();

my ($dsn, $is_guarded) = @ARGV;
my $patience = $is_guarded ? 2 * BOUND : 2;
$| = 1;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";

{
    package Pool;

    sub new { return bless { generation => 0, idle => [] }, shift }

    sub connection {
        my ($self) = @_;
        my $dbh = shift @{ $self->{idle} };
        return $dbh if $dbh;
        $dbh = DBI->connect($dsn, '', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0 });
        main::guard($dbh) if $is_guarded;
        return $dbh;
    }

    sub give_back { my ($self, $dbh) = @_; push @{ $self->{idle} }, $dbh; return }

    sub use_one {
        my ($self) = @_;
        my $dbh = $self->connection;
        my $sth = $dbh->prepare_cached('insert into uses values (?, ?, pg_backend_pid())');
        $sth->execute($self->{generation}, $$);
        $self->give_back($dbh);
        return 'used';
    }

    sub forget { my ($self) = @_; $self->{idle} = []; $self->{generation}++; return }
}

my $loop = EventLoop::Fork::Loop->new;
my $pool = Pool->new;
guard($pool, sub { $_[0]->forget }) if $is_guarded;

my $holder = $pool->connection;
$holder->do('select pg_advisory_lock(1)');
my $slow     = $pool->connection;
my $plus_one = $slow->prepare('select ?::int + 1');
for (1 .. 3) { $plus_one->execute($_); $plus_one->fetchall_arrayref }    # now prepared in the server, too
my $third = $pool->connection;
my @backends = map { $_->{pg_pid} } $holder, $slow, $third;
my @sockets  = map { $_->{pg_socket} } $holder, $slow, $third;
$pool->give_back($third);
$pool->use_one;

my $query = $slow->prepare(
    'select n, n * n from (select pg_advisory_lock_shared(1)) as wait, generate_series(1, 1000) as n order by n',
    { pg_async => PG_ASYNC });
$query->execute;

my %ends = (
    'works, exits'    => sub { $pool->use_one; exit 0 },
    'exits'           => sub { exit 0 },
    'works, dies'     => sub { $pool->use_one; $! = 0; die "for a reason\n" },
    'works, killed'   => sub { $pool->use_one; kill KILL => $$ },
    'closes, works'   => sub { $_->disconnect for $slow, $third; $plus_one->finish; $pool->use_one; exit 0 },
    'drops, works'    => sub { undef $_ for $query, $plus_one, $slow, $holder, $third; $pool->use_one; exit 0 },
    'asks the parent' => sub {
        # The message that ends a connection, from somebody who only knows the number.
        if ($is_guarded) { POSIX::write($_, "X\0\0\0\4", 5) for @sockets }
        eval { $slow->selectrow_array('select 1') }; print $@; exit 4 },
);
my %by_us = (
    'returns'                => sub { 0 },
    'works, returns'         => sub { $pool->use_one; 0 },
    'uses the query, throws' => sub { $query->pg_result },
);
my (%status, %name_of);
for my $round (1, 2) {
    for my $end (sort keys %ends) {
        my $pid = fork;
        defined $pid or die "fork: $!";
        if (!$pid) { alarm $patience; $ends{$end}->(); exit 3 }
        $name_of{$pid} = $end;
    }
    for my $end (sort keys %by_us) {
        EventLoop::Fork->fork(
            loop    => $loop,
            name    => $end,
            code    => sub { alarm $patience; $by_us{$end}->() },
            on_exit => sub { $status{$end}{ $_[1] }++ },
        );
    }
}
while (%name_of) {
    my ($pid) = keys %name_of;
    waitpid $pid, 0;
    $status{ delete $name_of{$pid} }{$?}++;
}
wait_until($loop, sub { keys %status == keys(%ends) + keys(%by_us) && !grep { my ($sum) = (0); $sum += $_ for values %$_; $sum != 2 } values %status });
for my $end (sort keys %status) {
    print "child $end: ", join(', ', map { "$status{$end}{$_} x $_" } sort keys %{ $status{$end} }), "\n";
}

alarm $patience * 2;
print "in flight: ", eval { $holder->selectrow_array("select wait_event_type from pg_stat_activity where pid = $backends[1]") } // 'no', "\n";
print "unlocked: ", eval { $holder->selectrow_array('select pg_advisory_unlock(1)') } // "no, $@", "\n";
print "rows: ", eval {
    my $count = $query->pg_result;
    my $rows  = $query->fetchall_arrayref;
    my @wrong = grep { $rows->[ $_ - 1 ][0] != $_ || $rows->[ $_ - 1 ][1] != $_ * $_ } 1 .. 1000;
    "$count, wrong " . @wrong;
} // "no, $@", "\n";
print "prepared: ", eval { $plus_one->execute(41); ($plus_one->fetchrow_array)[0] } // "no, $@", "\n";
print "pool: ", eval { $pool->use_one } // "no, $@", ", generation $pool->{generation}\n";
print "backends: ", join(' ', map { eval { $_->selectrow_array('select pg_backend_pid()') } // 'none' } $holder, $slow, $third) eq "@backends" ? 'the same' : 'others', "\n";
print "parent $$ @backends\n";
EOP

my $server = PostgreSQL->new;

sub story {
    my ($is_guarded) = @_;
    my $observer = DBI->connect($server->dsn, '', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0 });
    $observer->do('drop table if exists uses');
    $observer->do('create table uses (generation int, process int, backend int)');
    my $result = run_program($program, $server->dsn, $is_guarded);
    my %story  = $result->{stdout} =~ /^([^:\n]+): (.*)$/mg;
    @story{qw(stdout stderr status)} = @$result{qw(stdout stderr status)};
    ($story{process}, my @backends) = $result->{stdout} =~ /^parent ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+)$/m;
    my %is_parents = map { $_ => 1 } @backends;

    for my $row (@{ $observer->selectall_arrayref('select generation, process, backend from uses') }) {
        my ($generation, $process, $backend) = @$row;
        my $who = $process == ($story{process} // 0) ? 'parent' : 'child';
        $story{uses}{ "$who, generation $generation, on "
                . ($is_parents{$backend} ? 'a connection of the parent' : 'its own') }++;
    }
    $observer->disconnect;
    return \%story;
}

my $story = story(1);
note $story->{stdout}, $story->{stderr};
my %statuses = (
    'asks the parent' => '2 x 1024', 'closes, works' => '2 x 0', 'drops, works' => '2 x 0', 'exits'         => '2 x 0',
    'returns'         => '2 x 0', 'works, dies' => '2 x 65280', 'works, exits'  => '2 x 0', 'works, killed' => '2 x 9',
    'works, returns'  => '2 x 0', 'uses the query, throws' => '2 x 65280',
);
for my $child (sort keys %statuses) {
    is $story->{"child $child"}, $statuses{$child},
        "a child that $child" =~ s/a child that asks the parent/a child that asks on a connection of the parent/r;
}
my @refusals = $story->{stdout} =~
    /this (DBI::\w+) belongs to process ([0-9]+), which forked at \S+ line [0-9]+; make a new one here/g;
is { @refusals }, { 'DBI::db' => $story->{process}, 'DBI::st' => $story->{process} }, 'they are told whose it is';
is $story->{'in flight'}, 'Lock', 'the query was in flight all the time';
is $story->{unlocked}, 1, 'the connection that held it up works';
is $story->{rows}, '1000, wrong 0', 'the query ends with the right rows';
is $story->{prepared}, 42, 'a statement prepared before works';
is $story->{pool}, 'used, generation 0', 'the pool works, and is still the first one';
is $story->{backends}, 'the same', 'every connection of the parent is the one it was';
is $story->{uses},
    { 'parent, generation 0, on a connection of the parent' => 2, 'child, generation 1, on its own' => 12 },
    'no child has used a connection of the parent';

# The same without guards.
$story = story(0);
note $story->{stdout}, $story->{stderr};
ok !(  ($story->{rows} // '') eq '1000, wrong 0'
    && ($story->{prepared} // '') eq '42'
    && ($story->{backends} // '') eq 'the same'),
    'control: without guards the parent loses its query or its connections';
ok scalar(grep { /\Achild, generation 0/ } keys %{ $story->{uses} }) || ($story->{pool} // '') !~ /\Aused/,
    'control: children have used the connections of the parent, or nobody can any more';

$server->stop;
is children_left(), '', 'no child is left';
done_testing;
