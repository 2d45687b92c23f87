package EventLoop::Fork::Supervisor::Options;

# Every option of the supervisor, once: what it accepts, its default, its help. From this come the check of arguments,
# the variables of the environment, the switches of evfork, and its help. Decides nothing.

use strict;
use warnings;

use EventLoop::Fork::Loop               ();
use EventLoop::Fork::Supervisor::Memory ();
use File::Spec                          ();
use overload                            ();
use Scalar::Util                        qw(blessed reftype);

our $VERSION = '0.001';

use constant {
    WORKERS_MAX => 512,             # EVF_SLOTS_MAX / 2
    COUNT_MAX   => 2_147_483_647,
    SECONDS_MAX => 366 * 86_400,
    BYTES_MAX   => 2**53,
    RSS_MIN     => 2**20,           # no perl is smaller: who writes 512 means megabytes
};

# Name, kind, default, help, and what only some have; in the order of the help. zero: what 0 means, where it is no
# number like others. word: what may stand for a number.
my @TABLE = (
    [
        workers => 'count', 'auto', 'worker processes; auto: as many as there are CPUs for them',
        min     => 1, max => WORKERS_MAX, word => 'auto', short => 'w'
    ],
    [
        listen => 'list', [], 'host:port, :port, [ipv6]:port, unix:path?mode=0660 or fd:number; may be repeated',
        meta   => 'ADDRESS', short => 'l'
    ],
    [ app    => 'text', undef, 'what each worker runs: a module, or a file' ],
    [ server => 'text', undef, 'what serves the app: PAGI, Mojo, NetAsyncHTTP, Twiggy, PSGI, or a module of your own' ],
    [ server_options      => 'pairs', {}, 'an option of that server; may be repeated', meta  => 'NAME=VALUE' ],
    [ startup_timeout     => 'seconds', 60, 'time for a worker to become ready', zero        => 'off' ],
    [ heartbeat_timeout   => 'seconds', 30, 'longest silence of a busy worker', zero         => 'off' ],
    [ graceful_timeout    => 'seconds', 30, 'time for a worker to finish what it does', zero => 'killed at once' ],
    [ max_requests        => 'count', 0, 'replace a worker after so many requests', zero     => 'off' ],
    [ max_requests_jitter => 'count', 0, 'and up to so many more, so that not all are replaced together' ],
    [
        max_rss => 'bytes', 0, 'replace a worker that has grown above this; 20%: of the memory there is',
        zero    => 'off', min => RSS_MIN, has_share => 1
    ],
    [ max_lifetime    => 'seconds', 0, 'replace a worker of this age', zero => 'off' ],
    [ min_lifetime    => 'seconds', 10, 'but none of these three before this age' ],
    [ max_unavailable => 'count', 1, 'replacements at a time, whatever the cause', min => 1, max => WORKERS_MAX ],
    [ respawn_delay => 'seconds', 0.1, 'pause before the second replacement in a row; it doubles', zero => 'no pause' ],
    [ respawn_delay_max => 'seconds', 30, 'up to this' ],
    [ crash_limit       => 'count', 5, 'give up after so many failed starts', zero => 'off' ],
    [ crash_window      => 'seconds', 10, 'within this time', above                => 0 ],
    [
        start_method => 'choice', 'fork', 'how workers are started; spawn: a new perl for each, which loads the app',
        among        => [qw(fork spawn)]
    ],
    [ spawn_fallback => 'flag', 1, 'try spawn when workers die of faults after a fork' ],
    [ reuseport      => 'flag', 0, 'a socket for each worker instead of a shared one (Linux)' ],
    [ backlog        => 'count', 1024, 'connections that may wait to be accepted', min => 1, max => 65_535 ],
    [ user           => 'text', undef, 'become this user after the addresses are bound' ],
    [ group          => 'text', undef, q(and this group, instead of the user's own) ],
    [ pid_file       => 'path', undef, 'where the process id of the supervisor is written' ],
    [ status_file    => 'path', undef, 'where evfork status looks' ],
    [ trace_file     => 'path', undef, 'where every event is written, for evfork replay' ],
    [ name           => 'text', undef, 'what it is called in messages and lists of processes', max => 64 ],
);

# Only as arguments.
my @CALLBACKS =
    map { [ $_ => 'code' ] } qw(worker on_worker_started on_worker_ready on_worker_exited on_worker_stuck on_event);
my @OBJECTS = ([ loop => 'object' ]);

my @NAMES;
my %OPTION = map {
    my ($name, $kind, $default, $help, %rest) = @$_;
    push @NAMES, $name;
    ($name => { name => $name, kind => $kind, default => $default, help => $help, min => 0, max => undef, %rest });
} @TABLE, @CALLBACKS, @OBJECTS;
for my $option (values %OPTION) {
    my $kind = $option->{kind};
    $option->{max} = $kind eq 'count' ? COUNT_MAX : $kind eq 'seconds' ? SECONDS_MAX : BYTES_MAX
        if !defined $option->{max};
    $option->{has_variable} = $option->{has_switch} = $kind !~ /\A(?:code|object)\z/;
    $option->{variable}     = 'EVENTLOOP_FORK_' . uc $option->{name} if $option->{has_variable};
    ($option->{switch} = "--$option->{name}") =~ tr/_/-/ if $option->{has_switch};
}

my %CHECK = (
    count   => \&_count,
    seconds => \&_seconds,
    bytes   => \&_bytes,
    flag    => \&_flag,
    choice  => \&_choice,
    text    => \&_text,
    path    => \&_path,
    list    => \&_list,
    pairs   => \&_pairs,
    code    => \&_code,
    object  => \&_object,
);

sub table {
    return map { +{ %{ $OPTION{$_} } } } @NAMES;
}

# ---- From all sources -----------------------------------------------------------------------------------------------

sub check {
    @_ % 2 and _fail('new', undef, 'the arguments are not pairs of name => value');
    my %given = @_;
    return _check('new', 'argument', \%given);
}

sub check_switches {
    my ($given) = @_;
    return _check('run', 'switch', {%$given});
}

sub _check {
    my ($operation, $source, $given) = @_;
    for my $name (sort keys %$given) {
        $OPTION{$name} or _fail($operation, $name, "unknown option '$name'" . _suggestion($name));
    }
    my (%options, %from);
    for my $name (@NAMES) {
        my $option = $OPTION{$name};
        my ($value, $from) = _source($option, $given->{$name}, $source);
        $from{$name}    = $from if defined $from;
        $options{$name} = defined $from ? _value($operation, $option, $value, $from) : _default($option);
    }
    _check_together($operation, \%options, \%from);
    return \%options;
}

sub _default {
    my ($option) = @_;
    my $default = $option->{default};
    return
          defined $option->{word} ? _count($option, $default)
        : !ref $default           ? $default
        : ref $default eq 'HASH'  ? {%$default}
        :                           [@$default];
}

# The value that counts, and where it came from in words; nothing if there is none.
sub _source {
    my ($option, $value, $source) = @_;
    if (defined $value) {
        return ($value, $source eq 'switch' ? "switch $option->{switch}" : "argument '$option->{name}'");
    }
    for my $variable (grep { defined } $option->{variable}, $option->{name} eq 'workers' ? 'WEB_CONCURRENCY' : ()) {
        my $text = $ENV{$variable};
        next if !defined $text || $text eq '';
        return (
            $option->{kind} =~ /\A(?:list|pairs)\z/ ? [ grep { length } split /[\s,]+/, $text ] : $text,
            "variable $variable"
        );
    }
    return;
}

sub _value {
    my ($operation, $option, $value, $from) = @_;
    return _listen($operation, $value, $from) if $option->{name} eq 'listen';
    my $checked = $CHECK{ $option->{kind} }->($option, $value);
    return $checked if defined $checked;
    _fail($operation, $value, "$from is " . _shown($value) . '; accepted is ' . _accepted($option, $value));
}

sub _shown {
    my ($value) = @_;
    return 'a reference to ' . (reftype($value) // 'something') if ref $value;
    (my $text = "$value") =~ s/[^\x20-\x7e]/?/g;
    $text = substr($text, 0, 57) . '...' if length $text > 60;
    return "'$text'";
}

sub _fail { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', @_) }

# ---- Kinds: the value as it is used, or undef -----------------------------------------------------------------------

sub _in_range {
    my ($option, $number) = @_;
    return $number if $number == 0 && defined $option->{zero};
    return undef   if $number < $option->{min} || $number > $option->{max};       ## no critic (ReturnUndef): a value
    return undef   if defined $option->{above} && $number <= $option->{above};    ## no critic (ReturnUndef)
    return $number;
}

sub _count {
    my ($option, $value) = @_;
    return _usable_cpus() if defined $option->{word} && $value eq $option->{word};
    return !ref $value && $value =~ /\A[0-9]{1,15}\z/ ? _in_range($option, $value + 0) : undef;
}

sub _usable_cpus {
    require EventLoop::Fork::Supervisor::CPU;
    my $count = EventLoop::Fork::Supervisor::CPU::usable();
    return $count > WORKERS_MAX ? WORKERS_MAX : $count;
}

my %SECONDS = (ms => 0.001, s => 1, m => 60, h => 3600, d => 86_400);

sub _seconds {
    my ($option, $value) = @_;
    return undef if ref $value;    ## no critic (ReturnUndef)
    my ($number, $unit) = $value =~ /\A((?:[0-9]{1,15}(?:[.][0-9]*)?|[.][0-9]+)(?:e[-+]?[0-9]{1,3})?)(ms|[smhd])?\z/
        or return undef;           ## no critic (ReturnUndef)
    return _in_range($option, $number * $SECONDS{ $unit // 's' });
}

my %BYTES = ('' => 1, K => 2**10, M => 2**20, G => 2**30, T => 2**40);

sub _bytes {
    my ($option, $value) = @_;
    return _share($option, $1) if $option->{has_share} && !ref $value && $value =~ /\A([1-9][0-9]?|100)%\z/;
    my ($number, $unit) = ref $value ? () : $value =~ /\A([0-9]{1,16}(?:[.][0-9]+)?)(?:([KMGT])(?:i?B)?)?\z/i
        or return undef;           ## no critic (ReturnUndef)
    $unit = uc($unit // '');
    return undef if $unit eq '' && $number =~ /[.]/;    ## no critic (ReturnUndef)
    return _in_range($option, int $number * $BYTES{$unit});
}

# Of the memory there is; undef where that is not known.
sub _share {
    my ($option, $percent) = @_;
    my $whole = EventLoop::Fork::Supervisor::Memory::usable();
    return defined $whole ? _in_range($option, int $whole * $percent / 100) : undef;
}

my %FLAG = (
    map({ $_ => 1 } qw(1 yes true on)),
    map({ $_ => 0 } qw(0 no false off), ''),
);

sub _flag {
    my ($option, $value) = @_;
    return ref $value ? undef : $FLAG{ lc $value };
}

sub _choice {
    my ($option, $value) = @_;
    return (grep { !ref $value && $_ eq $value } @{ $option->{among} })[0];
}

sub _text {
    my ($option, $value) = @_;
    return
          !ref $value
        && length $value
        && length $value <= ($option->{max} || 4096)
        && $value !~ /[\x00-\x1f\x7f]/
        ? "$value"
        : undef;
}

sub _path {
    my ($option, $value) = @_;
    return ref $value || $value eq '' || $value =~ /[\0\n]/ ? undef : File::Spec->rel2abs($value);
}

sub _list { return $_[1] }

# As an argument, a hash; by switches and in the environment, name=value.
sub _pairs {
    my ($option, $value) = @_;
    return {%$value} if ref $value eq 'HASH';
    my %pairs;
    for my $pair (ref $value eq 'ARRAY' ? @$value : $value) {
        my ($name, $text) = $pair =~ /\A(\w+)=(.*)\z/s or return undef;    ## no critic (ReturnUndef)
        $pairs{$name} = $text;
    }
    return \%pairs;
}

# Listener knows how addresses are written. What it says is said about the source.
sub _listen {
    my ($operation, $value, $from) = @_;
    my @addresses = ref $value eq 'ARRAY' ? @$value : ($value);
    require EventLoop::Fork::Supervisor::Listener if @addresses;
    for my $address (@addresses) {
        local $@;
        next if eval { EventLoop::Fork::Supervisor::Listener->parse($address); 1 };
        _fail($operation, $address, "$from: " . $@->message);
    }
    return \@addresses;
}

sub _code {
    my ($option, $value) = @_;
    return ref $value
        && ((reftype($value) // '') eq 'CODE' || blessed($value) && overload::Method($value, '&{}')) ? $value : undef;
}

# Or the name of a class: the loop of a family that has no object.
sub _object { return blessed $_[1] || (defined $_[1] && !ref $_[1] && $_[1] =~ /\A\w+(?:::\w+)*\z/) ? $_[1] : undef }

# ---- What is accepted, in words -------------------------------------------------------------------------------------

sub _accepted {
    my ($option, $value) = @_;
    my ($kind, $min, $max) = @$option{qw(kind min max)};
    if ($kind eq 'count') {
        my $word = defined $option->{word} ? " or '$option->{word}'" : '';
        return "a whole number from $min to $max$word";
    }
    if ($kind eq 'seconds') {
        my $from = defined $option->{above} ? "above $option->{above}" : "from $min";
        return "a number of seconds $from up to $max, or a time such as 250ms, 30s, 5m, 1h" . _zero($option);
    }
    if ($kind eq 'bytes') {
        my $hint = !ref $value && $value =~ /\A[0-9]{1,5}\z/ ? "; did you mean '${value}M'?" : '';
        my $share =
            $option->{has_share} && defined EventLoop::Fork::Supervisor::Memory::usable()
            ? ', a part of the memory there is such as 20%'
            : '';
        return "a number of bytes such as 512M or 2G$share, from 1M" . _zero($option) . $hint;
    }
    return '1 or 0 (also yes, no, true, false, on, off)'      if $kind eq 'flag';
    return join(' or ', map { "'$_'" } @{ $option->{among} }) if $kind eq 'choice';
    return "a text of up to @{[ $option->{max} > 4096 ? 4096 : $option->{max} ]} characters, on one line"
        if $kind eq 'text';
    return 'the path of a file' if $kind eq 'path';
    return 'name=value'         if $kind eq 'pairs';
    return 'a code reference'   if $kind eq 'code';
    return 'an object, or the name of a class';
}

sub _zero {
    my ($option) = @_;
    return defined $option->{zero} ? " (0: $option->{zero})" : '';
}

# ---- Options that belong together -----------------------------------------------------------------------------------

sub _check_together {
    my ($operation, $options, $from) = @_;
    # An argument counts more than a variable, here too.
    for my $name (qw(app server)) {
        $options->{$name} = undef if $from->{worker} && ($from->{$name} // '') =~ /\Avariable /;
    }
    defined $options->{worker} || defined $options->{app}
        or _fail(
        $operation, undef,
        "what a worker does is missing; give 'worker', a code reference, or 'app', a module or a file"
        );
    defined $options->{worker} && defined $options->{app} and _fail(
        $operation, $options->{app},
        "'worker' and 'app' both say what a worker does; give one of them"
    );
    defined $options->{worker} && defined $options->{server} and _fail(
        $operation, $options->{server},
        "$from->{server}: a server serves an 'app', a module or a file; give that instead of 'worker'"
    );
    %{ $options->{server_options} } && !defined $options->{server} && ($from->{server_options} // '') !~ /\Avariable /
        and _fail($operation, $options->{server_options}, "$from->{server_options} is given, but no 'server'");
    $options->{start_method} eq 'spawn' && !defined $options->{app} and _fail(
        $operation, 'spawn',
        "$from->{start_method} is 'spawn', a new perl for each worker, and that cannot have a code reference; "
            . "give 'app', a module or a file, instead of 'worker'"
    );
    _not_above($operation, $options, $from, 'respawn_delay', 'respawn_delay_max');
    _not_above($operation, $options, $from, 'min_lifetime', 'max_lifetime') if $options->{max_lifetime};
    _check_identity($operation, $options, $from);
    return;
}

# A default gives way to what was given.
sub _not_above {
    my ($operation, $options, $from, $low, $high) = @_;
    return if $options->{$low} <= $options->{$high};
    if    (!$from->{$high}) { $options->{$high} = $options->{$low} }
    elsif (!$from->{$low})  { $options->{$low}  = $options->{$high} }
    else {
        _fail(
            $operation, $options->{$low},
            "$from->{$low} is $options->{$low} s, above $high, which is $options->{$high} s"
        );
    }
    return;
}

# Known before anything is started.
sub _check_identity {
    my ($operation, $options, $from) = @_;
    require EventLoop::Fork::Supervisor::Privileges if $from->{user} || $from->{group};
    for my $names ([ 'user', 'group' ], ['group']) {
        my ($name) = grep { $from->{$_} } @$names or next;
        local $@;
        next if eval {
            EventLoop::Fork::Supervisor::Privileges::identity(map { $_ => $options->{$_} } @$names);
            1;
        };
        _fail($operation, $@->value, "$from->{$name}: " . $@->message);
    }
    return;
}

# ---- What was meant -------------------------------------------------------------------------------------------------

sub _suggestion {
    my ($name) = @_;
    (my $plain = lc $name) =~ tr/-/_/;
    my %distance = map { $_ => distance($plain, $_) } @NAMES;
    my ($best)   = sort { $distance{$a} <=> $distance{$b} || $a cmp $b } @NAMES;
    my @meant    = $distance{$best} <= 1 + length($plain) / 5 ? $best : ();
    @meant = grep { length $plain > 2 && index($_, $plain) >= 0 } @NAMES if !@meant;
    my ($word) = split /_/, $plain;
    @meant = grep { length($word // '') > 2 && index($_, $word) == 0 } @NAMES if !@meant;
    return '; did you mean ' . join(' or ', map { "'$_'" } @meant) . '?' if @meant;
    return '; there are: ' . join ' ', sort @NAMES;
}

# Letters to put in, leave out, change or swap with the next.
sub distance {
    my ($from, $to) = @_;
    my @from = split //, $from;
    my @to   = split //, $to;
    my @rows = ([ 0 .. @to ]);
    for my $i (1 .. @from) {
        my @row = ($i);
        for my $j (1 .. @to) {
            my $is_same    = $from[ $i - 1 ] eq $to[ $j - 1 ];
            my ($least)    = sort { $a <=> $b } $rows[-1][$j] + 1, $row[-1] + 1, $rows[-1][ $j - 1 ] + !$is_same;
            my $is_swapped = $i > 1 && $j > 1 && $from[ $i - 1 ] eq $to[ $j - 2 ] && $from[ $i - 2 ] eq $to[ $j - 1 ];
            $least = $rows[-2][ $j - 2 ] + 1 if $is_swapped && $rows[-2][ $j - 2 ] + 1 < $least;
            push @row, $least;
        }
        push @rows, \@row;
    }
    return $rows[-1][-1];
}

# ---- Switches and help ----------------------------------------------------------------------------------------------

sub getopt_spec {
    my ($given) = @_;
    my @spec;
    for my $option (grep { $_->{has_switch} } @OPTION{@NAMES}) {
        my $name  = $option->{name};
        my $words = substr $option->{switch}, 2;
        $words .= "|$option->{short}" if defined $option->{short};
        push @spec,
              $option->{kind} eq 'flag'               ? ("$words!" => sub { $given->{$name} = $_[1] ? 1 : 0 })
            : $option->{kind} =~ /\A(?:list|pairs)\z/ ? ("$words=s" => sub { push @{ $given->{$name} }, "$_[1]" })
            :                                           ("$words=s" => sub { $given->{$name} = "$_[1]" });
    }
    return @spec;
}

my %META = (count => 'NUMBER', seconds => 'SECONDS', bytes => 'BYTES', text => 'NAME', path => 'FILE');

sub _switch_in_words {
    my ($option) = @_;
    my ($switch, $kind) = @$option{qw(switch kind)};
    $switch = '--' . ($option->{default} ? 'no-' : '') . substr $switch, 2 if $kind eq 'flag';
    my $meta = $option->{meta} || ($kind eq 'choice' ? join('|', @{ $option->{among} }) : $META{$kind});
    $meta .= "|$option->{word}" if defined $option->{word};
    return $kind eq 'flag' ? $switch : "$switch $meta";
}

sub _default_in_words {
    my ($option) = @_;
    my ($kind, $default) = @$option{qw(kind default)};
    return ''       if !defined $default || $kind =~ /\A(?:flag|list|pairs)\z/;
    return ' [off]' if !$default && ($option->{zero} // '') eq 'off';
    return " [$default" . ($kind eq 'seconds' ? ' s' : '') . ']';
}

sub help_text {
    my @lines;
    for my $option (grep { $_->{has_switch} } @OPTION{@NAMES}) {
        my $short = defined $option->{short} ? "-$option->{short}, " : '    ';
        my $help  = $option->{help};
        $help = "do not $help" if $option->{kind} eq 'flag' && $option->{default};
        push @lines, sprintf "  %s%-29s %s%s\n", $short, _switch_in_words($option), $help, _default_in_words($option);
    }
    return join '', @lines,
        "\n  Times may have a unit: 250ms, 30s, 5m, 1h. Bytes, too: 512M, 2G. 0 is off, where [off] is the default.\n",
        "  Each switch has a variable: EVENTLOOP_FORK_MAX_RSS is --max-rss; a list is separated by commas.\n",
        "  WEB_CONCURRENCY is the number of workers where nothing else says it.\n";
}

sub pod_text {
    my @items = map {
        my $option  = $_;
        my $default = _default_in_words($option);
        my $text    = ucfirst $option->{help};
        $text .= '. 0: ' . $option->{zero}               if defined $option->{zero};
        $text .= '. Default:' . ($default =~ s/[][]//gr) if length $default;
        $text .= ". Default: $option->{default}"         if $option->{kind} eq 'flag';
        "=item $option->{name}\n\n$text. C<$option->{switch}>, C<$option->{variable}>\n\n";
    } grep { $_->{has_switch} } @OPTION{@NAMES};
    return join '', "=over\n\n", @items, "=back\n";
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Options - every option of the supervisor, once

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Options;
    use Getopt::Long;

    my $options = EventLoop::Fork::Supervisor::Options::check(worker => sub { }, workers => 4, max_rss => '512M');
    print $options->{max_rss}, "\n";     # 536870912

    GetOptions(EventLoop::Fork::Supervisor::Options::getopt_spec(\my %given))
        or die EventLoop::Fork::Supervisor::Options::help_text();
    $options = EventLoop::Fork::Supervisor::Options::check_switches(\%given);

=head1 DESCRIPTION

A value is an argument or a switch, or else comes from its own variable C<EVENTLOOP_FORK_...>, or else, for C<workers>,
from C<WEB_CONCURRENCY>, or else is the default. An argument that is C<undef> and a variable that is empty are as if
they were not there. Callbacks, C<worker> and C<loop> are arguments only.

What is wrong is thrown as an L<EventLoop::Fork::Error>, C<EVF_EINVAL>, with the value, where it came from and what is
accepted. Its operation is C<new>, or C<run> for switches.

=head1 FUNCTIONS

=head2 check(%arguments)

Returns a reference to a hash with every option: numbers are numbers, times are seconds, sizes are bytes, flags are 1 or
0, C<listen> is a reference to an array, paths begin at the root, C<workers> is a number. What is not given and has no
default is C<undef>. The result can be checked again and stays the same.

=head2 check_switches(\%given)

The same for what C<getopt_spec> has collected.

=head2 distance($from, $to)

How many letters one word has to put in, leave out, change or swap with the next to become the other.

=head2 getopt_spec(\%given)

Arguments for L<Getopt::Long>'s C<GetOptions>, which then puts what it finds into the hash.

=head2 help_text

The switches, a line for each, as C<evfork run --help> prints them.

=head2 pod_text

The options as a list in POD.

=head2 table

The options, a hash for each: C<name>, C<kind> (count, seconds, bytes, flag, choice, text, path, list, code, object),
C<default>, C<min>, C<max>, C<help>, C<has_variable> and C<variable>, C<has_switch> and C<switch>.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::CPU>

=cut
