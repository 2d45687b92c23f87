# The options of the supervisor: what each accepts, where a value may come from and which source counts, what is said of
# a wrong one, and the switches and the help that come from the same table.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Options;
use ForkTest;
use Getopt::Long ();
use ListenerTest;
use POSIX ();
use Test2::V0;

delete @ENV{ grep { /^EVENTLOOP_FORK_/ || $_ eq 'WEB_CONCURRENCY' } keys %ENV };

sub checked { return EventLoop::Fork::Supervisor::Options::check(app => 'My::App', @_) }

sub refused {
    my ($code, $pattern, $what) = @_;
    my $error   = error_of($code);
    my $context = context();
    is [ ref $error, ref $error && $error->name, ref $error && $error->file ],
        [ 'EventLoop::Fork::Error', 'EVF_EINVAL', __FILE__ ], "$what: an error of the caller";
    like ref $error ? $error->message : $error, $pattern, "$what: the reason";
    $context->release;
    return $error;
}

# What the design says. The rest has no default.
my %default = (
    listen => [], startup_timeout     => 60, heartbeat_timeout       => 30, graceful_timeout => 30, max_requests => 0,
    max_requests_jitter => 0, max_rss => 0, max_lifetime             => 0, min_lifetime => 10, max_unavailable   => 1,
    respawn_delay       => 0.1, respawn_delay_max => 30, crash_limit => 5, crash_window => 10, start_method => 'fork',
    spawn_fallback      => 1, reuseport           => 0, backlog      => 1024, server_options => {},
);
my @none =
    qw(status_file pid_file trace_file name user group server worker loop on_worker_started on_worker_ready on_worker_exited
    on_worker_stuck on_event);

checked(listen => [ '127.0.0.1:0', 'unix:/a' ]);    # loads what it needs
pass 'the test library opens what it writes to';
my @before = open_fds();

subtest 'defaults' => sub {
    my $options = checked();
    is $options, { %default, (map { $_ => undef } @none), app => 'My::App', workers => match(qr/\A[1-9][0-9]*\z/) },
        'every option is there';
    is EventLoop::Fork::Supervisor::Options::check(%$options), $options, 'checked again, it is the same';
    push @{ $options->{listen} }, 'x';
    is checked()->{listen}, [], 'a list is the caller\'s own';
    is checked(workers => undef, max_rss => undef)->{max_rss}, 0, 'undef is as if it were not given';
};

subtest 'what is accepted' => sub {
    my @cases = (
        [ workers         => 1       => 1 ], [ workers => 512 => 512 ], [ workers => '007' => 7 ],
        [ startup_timeout => 0       => 0 ], [ startup_timeout => '0.25' => 0.25 ], [ startup_timeout => '.5' => 0.5 ],
        [ startup_timeout => '250ms' => 0.25 ], [ startup_timeout => '30s' => 30 ], [ startup_timeout => '1.5m' => 90 ],
        [ startup_timeout => '1h'    => 3600 ], [ startup_timeout => '2d' => 172_800 ],
        [ respawn_delay   => 1e-05   => 0.00001 ],
        [ startup_timeout => 366 * 86_400 => 31_622_400 ],
        [ max_rss     => 0         => 0 ], [ max_rss => '512M' => 536_870_912 ], [ max_rss => '1.5g' => 1_610_612_736 ],
        [ max_rss     => '1024K'   => 1_048_576 ], [ max_rss => '1GiB' => 1_073_741_824 ],
        [ max_rss     => 1_048_576 => 1_048_576 ],
        [ crash_limit => 0         => 0 ], [ max_requests => 2_147_483_647 => 2_147_483_647 ],
        [ start_method => 'spawn'  => 'spawn' ],
        (map { [ spawn_fallback => $_ => 1 ] } 1, 'yes', 'True', 'ON'),
        (map { [ spawn_fallback => $_ => 0 ] } 0, 'no', 'false', 'off', ''),
        [ listen   => '127.0.0.1:80' => ['127.0.0.1:80'] ], [ listen => [qw(:80 unix:/a)] => [qw(:80 unix:/a)] ],
        [ pid_file => '/run/a.pid'   => '/run/a.pid' ], [ pid_file => 'a.pid' => POSIX::getcwd() . '/a.pid' ],
        [ name     => 'shop'         => 'shop' ], [ name => 'x' x 64 => 'x' x 64 ],
    );
    for my $case (@cases) {
        my ($name, $value, $wanted) = @$case;
        is checked($name => $value)->{$name}, $wanted, "$name " . (ref $value ? "@$value" : $value);
    }
    my $auto = checked(workers => 'auto')->{workers};
    like $auto, qr/\A[1-9][0-9]*\z/, "auto is a number: $auto";
    my $code = sub { };
    is EventLoop::Fork::Supervisor::Options::check(worker => $code, on_event => $code)->{on_event}, $code, 'callbacks';
    my $loop = bless {}, 'A::Loop';
    is checked(loop => $loop)->{loop}, $loop, 'a loop';
    my $socket = opened('127.0.0.1:0')->socket;
    is checked(listen => $socket)->{listen}, [$socket], 'a socket';
};

subtest 'what is not' => sub {
    my @cases = (
        (
            map { [ workers => $_ => qr/accepted is a whole number from 1 to 512 or 'auto'/ ] } 0, 513, -1, '1.5',
            '4 ', "4\n", 'many', '', [], '1e3'
        ),
        (
            map { [ max_requests => $_ => qr/accepted is a whole number from 0 to 2147483647/ ] } 2_147_483_648, '-1',
            'auto', '9' x 16
        ),
        (
            map { [ startup_timeout => $_ =>
                    qr/accepted is a number of seconds from 0 up to 31622400, or a time such as .* \(0: off\)/ ] } -1,
            '30 s', '1w', 'nan', 'inf', '1.2.3', '.', '',
            31_622_401,
            '367d',
            {}
        ),
        [ crash_window => 0         => qr/above 0/ ],
        [ max_rss      => 512       => qr/from 1M \(0: off\); did you mean '512M'\?/ ],
        [ max_rss      => 1_048_575 => qr/from 1M/ ],
        (
            map { [ max_rss => $_ => qr/accepted is a number of bytes such as 512M/ ] } '-1', '1.5', '512MM', '1P', '',
            'x'
        ),
        [ spawn_fallback => 2 => qr/accepted is 1 or 0/ ],
        (map { [ server_options => $_ => qr/accepted is name=value/ ] } 'timeout', '', ['a b=c'], '=1'),
        [ server_options => { a => 1 } => qr/argument 'server_options' is given, but no 'server'/ ],
        [ spawn_fallback => []         => qr/accepted is 1 or 0/ ],
        [ start_method   => 'thread'   => qr/accepted is 'fork' or 'spawn'/ ],
        [ backlog        => 0          => qr/from 1 to 65535/ ],
        [ backlog        => 65_536     => qr/from 1 to 65535/ ],
        [ name           => ''         => qr/up to 64 characters/ ],
        [ name           => 'x' x 65   => qr/up to 64 characters/ ],
        [ name           => "a\nb"     => qr/'a\?b'.*on one line/ ],
        [ pid_file       => ''         => qr/path of a file/ ],
        [
            listen => 'nonsense' =>
                qr/argument 'listen': 'nonsense' is not an address to listen on: the port is missing/
        ],
        [ listen   => [ ':80', undef ] => qr/argument 'listen': the address is undef/ ],
        [ user     => 'no-such-user'   => qr/argument 'user': there is no user 'no-such-user'/ ],
        [ group    => 'no-such-group'  => qr/argument 'group': there is no group 'no-such-group'/ ],
        [ on_event => 1                => qr/argument 'on_event' is '1'; accepted is a code reference/ ],
        [ on_event => {}    => qr/argument 'on_event' is a reference to HASH; accepted is a code reference/ ],
        [ loop     => 'x y' => qr/argument 'loop' is 'x y'; accepted is an object/ ],
    );
    for my $case (@cases) {
        my ($name, $value, $pattern) = @$case;
        my $error =
            refused(sub { checked($name => $value) }, $pattern, "$name " . (defined $value ? "'$value'" : 'undef'));
        is $error->value, ref $value eq 'ARRAY' && $name eq 'listen' ? $value->[1] : $value, 'with the value';
        is $error->operation, 'new', 'and the operation';
    }
    refused(sub { EventLoop::Fork::Supervisor::Options::check('x') }, qr/not pairs of name => value/, 'one argument');
};

subtest 'names' => sub {
    my %meant = (
        worker_s     => qr/unknown option 'worker_s'; did you mean 'workers?'\?/,
        max_rs       => qr/did you mean 'max_rss'\?/,
        'max-rss'    => qr/did you mean 'max_rss'\?/,
        timeout      => qr/did you mean 'startup_timeout' or 'heartbeat_timeout' or 'graceful_timeout'\?/,
        worker_count => qr/did you mean 'worker' or 'workers'|did you mean 'workers' or 'worker'/,
        on_exit      => qr/unknown option 'on_exit'/,
        xyz          => qr/unknown option 'xyz'; there are: app backlog crash_limit/,
    );
    refused(sub { checked($_ => 1) }, $meant{$_}, $_) for sort keys %meant;
};

subtest 'options together' => sub {
    my $check = EventLoop::Fork::Supervisor::Options->can('check');
    refused(sub { $check->() }, qr/what a worker does is missing; give 'worker'.* or 'app'/, 'neither worker nor app');
    refused(
        sub {
            checked(worker => sub { });
        },
        qr/'worker' and 'app' both say/,
        'both'
    );
    refused(
        sub {
            $check->(worker => sub { }, server => 'PAGI');
        },
        qr/\Aargument 'server': a server serves an 'app'/,
        'a server without an app'
    );
    refused(
        sub {
            $check->(worker => sub { }, start_method => 'spawn');
        },
        qr/give 'app'/,
        'spawn without app'
    );
    refused(
        sub {
            $check->(worker => sub { }, server => 'PAGI');
        },
        qr/\Aargument 'server': a server serves an 'app'/,
        'a server without an app'
    );
    refused(
        sub {
            $check->(worker => sub { }, start_method => 'spawn');
        },
        qr/'start_method' is 'spawn', a new perl for each worker, and that cannot have a code reference; give 'app'/,
        'it says why'
    );
    refused(
        sub { checked(respawn_delay => 5, respawn_delay_max => 1) },
        qr/argument 'respawn_delay' is 5 s, above respawn_delay_max, which is 1 s/, 'delays'
    );
    is checked(respawn_delay => 60)->{respawn_delay_max}, 60, 'a default gives way';
    refused(sub { checked(min_lifetime => 5, max_lifetime => 1) }, qr/above max_lifetime/, 'lifetimes');
    is checked(max_lifetime => 5)->{min_lifetime}, 5, 'a default gives way';
    local $ENV{EVENTLOOP_FORK_APP} = 'Other::App';
    is $check->(worker => sub { })->{app}, undef, 'a variable does, too';
    is $check->()->{app}, 'Other::App', 'it counts where nothing else says it';
};

subtest 'variables' => sub {
    local $ENV{WEB_CONCURRENCY} = 3;
    is checked()->{workers}, 3, 'WEB_CONCURRENCY';
    local $ENV{EVENTLOOP_FORK_WORKERS} = 5;
    is checked()->{workers}, 5, 'counts less than the own variable';
    is checked(workers => 7)->{workers}, 7, 'which counts less than an argument';
    $ENV{EVENTLOOP_FORK_WORKERS} = '';
    is checked()->{workers}, 3, 'an empty one is as if it were not there';
    $ENV{WEB_CONCURRENCY} = 'many';
    refused(sub { checked() }, qr/\Avariable WEB_CONCURRENCY is 'many'; accepted is/, 'a wrong WEB_CONCURRENCY');
    is checked(workers => 2)->{workers}, 2, 'but not when nobody asks it';
    $ENV{WEB_CONCURRENCY} = 'auto';
    cmp_ok checked()->{workers}, '>=', 1, 'auto';
    delete $ENV{WEB_CONCURRENCY};

    my %value = (
        count  => [ 2     => 2 ], seconds    => [ '20s' => 20 ], bytes    => [ '1G' => 2**30 ], flag => [ 'yes' => 1 ],
        choice => [ spawn => 'spawn' ], text => [ text  => 'text' ], path => [ '/a' => '/a' ],
        list   => [ ':80, unix:/a' => [ ':80', 'unix:/a' ] ], pairs => [ 'a=1, b=' => { a => 1, b => '' } ],
    );
    for my $option (EventLoop::Fork::Supervisor::Options::table()) {
        my ($name, $kind) = @$option{qw(name kind)};
        if (!$option->{has_variable}) {
            local $ENV{ 'EVENTLOOP_FORK_' . uc $name } = 1;
            is checked()->{$name}, undef, "$name is an argument only";
            next;
        }
        my ($text, $wanted) = @{ $value{$kind} };
        ($text, $wanted) = ((getpwuid $>)[0]     // 'root') x 2 if $name eq 'user';
        ($text, $wanted) = ((getgrgid $( + 0)[0] // 'root') x 2 if $name eq 'group';
        is $option->{variable}, 'EVENTLOOP_FORK_' . uc $name, "$name: its variable";
        local $ENV{ $option->{variable} } = $text;
        is EventLoop::Fork::Supervisor::Options::check($name eq 'app' ? () : (app => 'x'))->{$name}, $wanted, $text;
        next if $kind =~ /\A(?:text|path)\z/;
        local $ENV{ $option->{variable} } = '*';
        refused(sub { checked() }, qr/\Avariable $option->{variable}/, 'a wrong one names it');
    }
};

subtest 'switches' => sub {
    my $parse = sub {
        my (@words) = @_;
        Getopt::Long::Configure(qw(default no_ignore_case));
        my $is_right = Getopt::Long::GetOptionsFromArray(
            \@words, EventLoop::Fork::Supervisor::Options::getopt_spec(\my %given),
            'other' => \my $other
        );
        return $is_right ? \%given : 'wrong';
    };
    is $parse->(), {}, 'none given, none there';
    is $parse->(
        qw(--workers 4 --listen :80 -l unix:/a --max-rss=512M --no-spawn-fallback --reuseport --respawn-delay 0.01),
        '--other'
        ),
        {
        workers       => 4, listen => [ ':80', 'unix:/a' ], max_rss => '512M', spawn_fallback => 0, reuseport => 1,
        respawn_delay => '0.01'
        },
        'with dashes for underscores';
    is $parse->(qw(-w 2 --spawn-fallback --crash-limit 0)), { workers => 2, spawn_fallback => 1, crash_limit => 0 },
        'short ones, and zero';
    my $check = EventLoop::Fork::Supervisor::Options->can('check_switches');
    my $given = $parse->(qw(--app My::App --max-rss 1G));
    is $check->($given)->{max_rss}, 2**30, 'are checked';
    is $given, { app => 'My::App', max_rss => '1G' }, 'and left as they are';
    local $ENV{EVENTLOOP_FORK_MAX_RSS} = '2G';
    is $check->($given)->{max_rss}, 2**30, 'a switch counts more than a variable';
    my $error = refused(
        sub { $check->($parse->(qw(--app x --max-rss 7))) }, qr/\Aswitch --max-rss is '7'; accepted is/,
        'a wrong one'
    );
    is $error->operation, 'run', 'of the command';
    is [
        map      { $_->{switch} }
            grep { $_->{has_switch} && $_->{switch} !~ /\A--[a-z]+(?:-[a-z]+)*\z/ }
            EventLoop::Fork::Supervisor::Options::table()
        ],
        [], 'no underscore in a switch';
};

subtest 'help' => sub {
    my $help = EventLoop::Fork::Supervisor::Options::help_text();
    for my $option (grep { $_->{has_switch} } EventLoop::Fork::Supervisor::Options::table()) {
        my $words = substr $option->{switch}, 2;
        like $help, qr/^  (?:-\w, |    )--(?:no-)?$words /m, "$option->{switch} has a line";
    }
    is [ grep { length > 120 } split /\n/, $help ], [], 'no line is too long';
    like $help, qr/--startup-timeout SECONDS +time for .* \[60 s\]$/m, 'with its default';
    like $help, qr/--max-rss BYTES +.* \[off\]$/m, 'off';
    my $pod = EventLoop::Fork::Supervisor::Options::pod_text();
    is scalar(() = $pod =~ /^=item /mg),
        scalar(grep { $_->{has_switch} } EventLoop::Fork::Supervisor::Options::table()), 'and so in POD';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
