package EventLoop::Fork::Test::Adapter::Children;

# The children of tests of an adapter: those of a fork through EventLoop::Fork, and those of a raw fork.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork ();
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Children qw(leave say_words words_of);
use EventLoop::Fork::Test::Loop::Helpers  qw(ok pipe_pair take);
use Exporter                              qw(import);
use Test::More                            ();

our @EXPORT = qw(child_says raw_child);

# A child of a fork through us: code gets the child's adapter, and returns words. The parent goes on in the loop, and
# may act when the child says that it is ready.
sub child_says {
    my ($code, %options)  = @_;
    my ($reader, $writer) = pipe_pair();
    my ($status, $calls)  = (undef, 0);
    my $meanwhile = delete $options{meanwhile};
    my $text      = '';
    my $child     = EventLoop::Fork->fork(
        loop => $adapter->loop,
        %options,
        code => sub {
            my ($self) = @_;
            alarm 3 * $bound;
            my @words;
            eval { @words = $code->(new_adapter($self->loop), $writer, $self); 1 } or @words = ("died: $@");
            say_words($writer, @words) if @words;
            return 0;
        },
        on_exit => sub { $status = $_[1]; $calls++ },
    );
    close $writer;
    # After the fork: a child that keeps its watchers would take its own words.
    my $id = $adapter->watch_io($reader, sub { $text .= take($reader) });
    if ($meanwhile) {
        wait_until(sub { $text =~ s/\Aready\n// }) or Test::More::diag('the child did not get ready');
        $meanwhile->();
    }
    my $has_ended = wait_until(sub { defined $status });
    if (!ok($has_ended, 'the end of the child arrives')) {
        $child->kill('KILL');
        wait_until(sub { defined $status });
    }
    $text .= take($reader) if $has_ended && _is_readable($reader);
    $adapter->unwatch_io($id);
    my @words = split /\n/, $text;
    push @words, "(wait status $status)"             if $status;
    push @words, "(on_exit was called $calls times)" if $calls > 1;
    return @words;
}

sub _is_readable {
    my ($handle) = @_;
    vec(my $bits = '', fileno $handle, 1) = 1;
    return select $bits, undef, undef, 0;
}

# A child of a raw fork: code runs in it and returns words. Returns code that waits for the end and gives the words.
sub raw_child {
    my ($code) = @_;
    my ($reader, $writer) = pipe_pair();
    my $pid = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        alarm 3 * $bound;
        my @words;
        eval { @words = $code->(); 1 } or @words = ("died: $@");
        leave($writer, @words);
    }
    close $writer;
    return sub { words_of($pid, $reader) };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Children - the children of tests of an adapter

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Adapter::Children;

    my @words = child_says(sub { my ($own) = @_; return works($own) });

=head1 DESCRIPTION

For the suites of L<EventLoop::Fork::Test::Adapter>. Both are exported by default.

=head1 FUNCTIONS

=head2 child_says

What code returns in a child of C<< EventLoop::Fork->fork >>, and how the child ended unless that was well; that its end
arrives is a test. The code gets an adapter for the loop of the child, a handle for words, and the child. The option
C<meanwhile> is code for the parent, to run when the child has said "ready"; others are options of C<fork>.

=head2 raw_child

Runs code in a child of a raw fork. Returns code that waits for its end and gives the words that it returned.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
