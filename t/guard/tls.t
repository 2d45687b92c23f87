# Guarded sockets of IO::Socket::SSL. A child that closes one would end the parent's session by a close_notify, and one
# that writes would use up numbers of records that are the parent's.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(guard);
use File::Temp      ();
use ForkTest;
use GuardTest;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test2::V0;

BEGIN {
    has_module('IO::Socket::SSL') && has_module('IO::Socket::SSL::Utils')
        or skip_all 'IO::Socket::SSL is not installed';
}

my $folder = File::Temp->newdir;
my ($certificate, $key) =
    IO::Socket::SSL::Utils::CERT_create(subject => { commonName => 'localhost' }, not_after => time + 3600);
IO::Socket::SSL::Utils::PEM_cert2file($certificate, "$folder/cert.pem");
IO::Socket::SSL::Utils::PEM_key2file($key, "$folder/key.pem");

# Two ends of one session.
sub session {
    my ($client, $server) = connected();
    $_->blocking(0) for $client, $server;
    IO::Socket::SSL->start_SSL($client, SSL_startHandshake => 0, SSL_verify_mode => 0)
        or die $IO::Socket::SSL::SSL_ERROR;
    IO::Socket::SSL->start_SSL(
        $server,
        SSL_server    => 1, SSL_startHandshake            => 0,
        SSL_cert_file => "$folder/cert.pem", SSL_key_file => "$folder/key.pem"
    ) or die $IO::Socket::SSL::SSL_ERROR;
    my $deadline = now() + BOUND;
    my %open;
    until ($open{client} && $open{server}) {
        $open{client} ||= $client->connect_SSL;
        $open{server} ||= $server->accept_SSL;
        die "no handshake: $IO::Socket::SSL::SSL_ERROR" if now() > $deadline;
    }
    $_->blocking(1) for $client, $server;
    return ($client, $server);
}

# What comes at the other end: its text, 'the end', or an error. Both have 5 bytes to say in each direction.
sub talk {
    my ($one, $other) = @_;
    local $SIG{ALRM} = sub { die "nothing comes\n" };
    my $said = eval {
        alarm BOUND;
        for my $way ([ $one, $other ], [ $other, $one ]) {
            my ($from, $to) = @$way;
            defined $from->syswrite('hello') or die "cannot write\n";
            my $count = $to->sysread(my $text, 5);
            defined $count   or die "an error\n";
            $count           or die "the end\n";
            $text eq 'hello' or die "$text\n";
        }
        'hello';
    } || $@;
    alarm 0;
    chomp $said;
    return $said;
}

for my $end (0, 1) {
    each_fork + ($end ? 'the server' : 'the client') => sub {
        my ($run) = @_;
        my @ends = session();
        guard($ends[$end]);
        my $wrong = $run->(sub {
            my $socket = $ends[$end];
            my $wrong  = refusal(
                'IO::Socket::SSL' => print => sub { $socket->print('x') },
                syswrite          => sub { $socket->syswrite('x') },
                builtin           => sub { syswrite $socket, 'x' },
                sysread           => sub { $socket->sysread(my $text, 1) },
                readline          => sub { readline $socket },
                pending           => sub { $socket->pending },
                peer              => sub { $socket->peer_certificate },
            );
            $SIG{__WARN__} = sub { $wrong->{warning} = $_[0] };
            $socket->stop_SSL;
            $socket->shutdown(2);
            $socket->close or $wrong->{close} = $!;
            close $socket;
            undef $socket;
            undef $ends[$end];
            return $wrong;
        });
        is $wrong, {}, 'every use throws; closing and dropping it is silent';
        is talk(@ends), 'hello', 'the session goes on, both ways';
        $_->close(SSL_fast_shutdown => 1) for @ends;
    };
}

each_fork 'new sessions' => sub {
    my ($run) = @_;
    my @ends = session();
    guard($_) for @ends;
    is $run->(sub { my @own = session(); talk(@own) }), 'hello', 'work in the child';
    is talk(@ends), 'hello', 'the parent has its own';
    is $run->(sub { undef @ends; 'done' }), 'done', 'dropping is silent';
    is talk(@ends), 'hello', 'the parent has its own';
    $_->close(SSL_fast_shutdown => 1) for @ends;
};

each_fork 'below the object' => sub {
    my ($run) = @_;
    my @ends  = session();
    my $ssl   = $ends[0]->_get_ssl_object;
    guard($ends[0]);
    is $run->(sub { [ Net::SSLeay::shutdown($ssl), Net::SSLeay::write($ssl, 'x') ] }), [ 1, -1 ],
        'who has the session itself can end it without a word, and not write';
    is talk(@ends), 'hello', 'the session goes on, both ways';
    $_->close(SSL_fast_shutdown => 1) for @ends;
};

each_fork 'controls' => sub {
    my ($run) = @_;
    my @ends = session();
    $run->(sub { $ends[0]->close(SSL_fast_shutdown => 1); 'done' });
    is talk(@ends), 'the end', 'control: closing in a child without a guard ends the session';

    @ends = session();
    $run->(sub { $ends[0]->syswrite('child'); 'done' });
    is talk(@ends), 'child', 'control: the peer takes what a child writes for the parent\'s';
    isnt talk(@ends), 'hello', 'control: and then understands neither';
    $_->close(SSL_no_shutdown => 1) for @ends;
};

my $program = <<'EOP';
use strict;
use warnings;
use EventLoop::Fork qw(guard);
use GuardTest;
use IO::Socket::SSL;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";
my ($folder, $is_guarded) = @ARGV;
{
    # As libraries have it.
    package Connection;
    sub DESTROY { my ($self) = @_; $self->{socket}->close if $self->{socket}; return }
}
my ($client, $server) = connected();
my $pid = fork;
if (!$pid) {
    close $client;
    my $ssl = IO::Socket::SSL->start_SSL($server, SSL_server => 1, SSL_cert_file => "$folder/cert.pem", SSL_key_file => "$folder/key.pem") or die;
    my $text = '';
    while (my $count = $ssl->sysread($text, 100, length $text)) { }
    print "server got '$text'\n";
    exit 0;
}
close $server;
our $connection = bless { socket => IO::Socket::SSL->start_SSL($client, SSL_verify_mode => 0) }, 'Connection';
guard($connection->{socket}) if $is_guarded;
my $child = fork;
if (!$child) { undef $connection; exit 0 }
waitpid $child, 0;
$SIG{PIPE} = 'IGNORE';
$connection->{socket}->syswrite('from the parent');
$connection->{socket}->close;
waitpid $pid, 0;
EOP

is run_program($program, "$folder", 1), { stdout => "server got 'from the parent'\n", stderr => '', status => 0 },
    'a child that drops it and exits is silent';
is run_program($program, "$folder", 0)->{stdout}, "server got ''\n",
    'control: without a guard its destructors end the session';

IO::Socket::SSL::Utils::CERT_free($certificate);
IO::Socket::SSL::Utils::KEY_free($key);
done_testing;
