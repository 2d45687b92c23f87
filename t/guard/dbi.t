# Connections of DBI: statements, caches, handles that nobody holds any more. Without a server; t/guard/postgresql.t has
# one.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(guard);
use File::Temp      ();
use ForkTest;
use GuardTest;
use Test2::V0;

BEGIN {
    for my $module (qw(DBI DBD::SQLite)) {
        has_module($module) or skip_all "$module is not installed";
    }
}

my $folder = File::Temp->newdir;
my $number = 0;
my %plain  = (RaiseError => 1, PrintError => 0);

sub connect_new {
    my $dbh = DBI->connect("dbi:SQLite:dbname=$folder/$$-" . $number++, '', '', {%plain});
    $dbh->do('create table t (n)');
    return $dbh;
}

each_fork 'a connection' => sub {
    my ($run) = @_;
    my $dbh   = connect_new();
    my $old   = $dbh->prepare('insert into t values (?)');
    guard($dbh);
    my $sth  = $dbh->prepare('select count(*) from t');
    my $busy = $dbh->prepare('select 1 union select 2');
    $busy->execute;
    $busy->fetchrow_array;
    my $wrong = $run->(sub {
        my $wrong = refusal(
            'DBI::db' => do => sub { $dbh->do('insert into t values (1)') },
            prepare   => sub { $dbh->prepare('select 1') },
            attribute => sub { my $active         = $dbh->{Active} },
            change    => sub { $dbh->{AutoCommit} = 0 },
            ping      => sub { $dbh->ping },
            guard     => sub { guard($dbh) },
        );
        $wrong = {
            %$wrong,
            %{
                refusal(
                    'DBI::st' => execute => sub { $old->execute(1) },
                    fetch     => sub { $busy->fetchrow_array },
                    later     => sub { $sth->execute },
                    names     => sub { my $names = $sth->{NAME} },
                )
            },
        };
        $SIG{__WARN__} = sub { $wrong->{warning} = $_[0] };
        $busy->finish;
        $dbh->disconnect;
        undef $_ for $busy, $sth, $old, $dbh;
        return $wrong;
    });
    is $wrong, {}, 'every use of it and its statements throws; finish, disconnect and dropping are silent';
    is $busy->fetchrow_array, 2, 'the statement of the parent goes on';
    $old->execute(5);
    is $dbh->selectrow_array($sth), 1, 'so do the others';
    is ref $dbh, 'DBI::db', 'it is what it was';

    my $seen = $run->(sub {
        my $own = connect_new();
        $own->do('insert into t values (1)');
        scalar $own->selectrow_array('select count(*) from t');
    });
    is $seen, 1, 'a new connection works in the child';
};

# The transaction's journal goes when it is rolled back.
my $open_transaction = sub {
    my ($run, $is_guarded) = @_;
    my $dbh  = connect_new();
    my $file = $dbh->sqlite_db_filename;
    $dbh->do('pragma cache_size = 1');
    $dbh->begin_work;
    $dbh->do('insert into t select zeroblob(10000) from (select 1 union select 2 union select 3)');
    my $guard = guard($dbh);
    $guard->cancel   unless $is_guarded;
    die 'no journal' unless -e "$file-journal";
    $run->(sub { open STDERR, '>', '/dev/null'; undef $dbh; 'done' });
    my $journal = -e "$file-journal" ? 'there' : 'gone';
    my $done    = eval { $dbh->commit; $dbh->selectrow_array('select count(*) from t') };
    return "journal $journal";
};

each_fork 'a transaction' => sub {
    my ($run) = @_;
    is $open_transaction->($run, 1), 'journal there', 'dropping the connection in the child does not roll back';
    is $open_transaction->($run, 0), 'journal gone', 'control: without a guard it does';
};

each_fork 'disowned by hand' => sub {
    my ($run) = @_;
    my $dbh   = connect_new();
    my $file  = $dbh->sqlite_db_filename;
    $dbh->do('pragma cache_size = 1');
    $dbh->begin_work;
    $dbh->do('insert into t select zeroblob(10000) from (select 1 union select 2 union select 3)');
    is $run->(sub { EventLoop::Fork::Guard->disown($dbh); undef $dbh; -e "$file-journal" ? 'there' : 'gone' }), 'there',
        'a connection without a guard is quiet, too';
    $dbh->commit;
};

each_fork 'a statement' => sub {
    my ($run) = @_;
    my $sth   = connect_new()->prepare('select 7');
    my $guard = guard($sth);
    is $run->(sub {
        refusal('DBI::st' => execute => sub { $sth->execute });
        }),
        {}, 'guards its connection, also when nobody else holds that';
    $sth->execute;
    is [ $sth->fetchrow_array ], [7], 'the parent goes on with it';

    my $dbh = connect_new();
    my ($one, $other) = map { $dbh->prepare("select $_") } 1, 2;
    guard($_) for $one, $dbh, $other;
    is $run->(sub {
        +{
            map { %$_ } refusal('DBI::db' => ping => sub { $dbh->ping }),
            map {
                my $sth = $_;
                refusal('DBI::st' => execute => sub { $sth->execute })
            } $one,
            $other
        };
        }),
        {}, 'with its connection and another statement of it';
    undef $dbh;
    is $run->(sub {
        refusal('DBI::st' => execute => sub { $one->execute });
        }),
        {}, 'the connection is guarded when only statements hold it';
};

each_fork 'caches' => sub {
    my ($run) = @_;
    my @how   = ("dbi:SQLite:dbname=$folder/cached", '', '', {%plain});
    my $dbh   = DBI->connect_cached(@how);
    $dbh->do('create table if not exists t (n)');
    my $sth = $dbh->prepare_cached('select 8');
    guard($dbh);
    my $seen = $run->(sub {
        my $own    = DBI->connect_cached(@how);
        my $second = DBI->connect_cached(@how);
        return [ ref $dbh, ref $own, $own == $second ? 'the same' : 'another', $own->selectrow_array('select 9') ];
    });
    is $seen, [ 'EventLoop::Fork::Guard::Disowned', 'DBI::db', 'the same', 9 ],
        'connect_cached makes the child a connection of its own';
    is(DBI->connect_cached(@how) == $dbh ? 'the same' : 'another', 'the same', 'the parent has the one it had');
    is [ $dbh->selectrow_array($sth) ], [8], 'which works';
    %{ $dbh->{Driver}{CachedKids} } = ();

    my ($first, $second) = (connect_new(), connect_new());
    guard($first);
    is $run->(sub { [ eval { $second->selectrow_array('select 3') }, ref $first ] }),
        [ 3, 'EventLoop::Fork::Guard::Disowned' ], 'a connection beside it is not touched';
};

each_fork 'a class of one\'s own' => sub {
    my ($run) = @_;
    {

        package Own::DBI;
        our @ISA = 'DBI';

        package Own::DBI::db;
        our @ISA = 'DBI::db';
        sub answer { my ($self) = @_; return $self->selectrow_array('select 42') }

        package Own::DBI::st;
        our @ISA = 'DBI::st';
    }
    my $dbh = Own::DBI->connect("dbi:SQLite:dbname=$folder/own", '', '', {%plain});
    guard($dbh);
    is $run->(sub {
        refusal('Own::DBI::db' => answer => sub { $dbh->answer });
        }),
        {}, 'RootClass';
    is $dbh->answer, 42, 'the parent goes on with it';
};

subtest 'AutoInactiveDestroy' => sub {
    my $flags = sub {
        join '', map { $_->{AutoInactiveDestroy} ? 1 : 0 } @_;
    };
    my $dbh   = connect_new();
    my $sth   = $dbh->prepare('select 1');
    my $guard = guard($dbh);
    is $flags->($dbh, $sth, my $later = $dbh->prepare('select 2')), '111',
        'is set while the guard holds, if no hook should run';
    $guard->cancel;
    is $flags->($dbh, $sth, $later), '000', 'and back when it is cancelled';
    $dbh->{AutoInactiveDestroy} = 1;
    guard($dbh)->cancel;
    is $flags->($dbh), '1', 'unless it was set before';
};

each_fork 'cancelled' => sub {
    my ($run) = @_;
    my $dbh = connect_new();
    guard($dbh)->cancel;
    is $run->(sub { scalar $dbh->selectrow_array('select 5') }), 5, 'a daemon goes on with its connection';
};

each_fork 'many' => sub {
    my ($run)      = @_;
    my @all        = map { connect_new() } 1 .. 20;
    my @statements = map {
        my $dbh = $_;
        map { $dbh->prepare("select $_") } 1 .. 5
    } @all;
    guard($_) for @all;
    is $run->(sub {
        scalar grep { ref eq 'EventLoop::Fork::Guard::Disowned' } @all, @statements;
        }),
        120, 'all of them';
    is [ map { $_->execute; $_->fetchrow_array } @statements ], [ (1 .. 5) x 20 ], 'and all go on';
};

done_testing;
