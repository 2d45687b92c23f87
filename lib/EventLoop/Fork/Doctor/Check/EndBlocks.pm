package EventLoop::Fork::Doctor::Check::EndBlocks;

# END blocks of the program and of what it has installed. Children of ours do not run them, those of a raw fork do.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use B               ();
use EventLoop::Fork ();
use Config;

use constant NAMED => 6;

# perl's own modules and ours look at the process id, or do nothing that is shared.
my @HARMLESS = grep { defined && length } @Config{qw(privlibexp archlibexp)},
    map { $_ =~ m{(.*)/} } $INC{'strict.pm'}, $INC{'EventLoop/Fork/Doctor.pm'};

sub findings {
    my ($class, $doctor) = @_;
    my $blocks = B::end_av();
    return unless $blocks->can('ARRAY');
    my @places;
    for my $block ($blocks->ARRAY) {
        my $start = $block->START;
        next unless $start->can('line');
        my $file = $start->file;
        next if grep { index($file, "$_/") == 0 } @HARMLESS;
        push @places, "$file line " . $start->line;
    }
    return unless @places;
    my $count = @places;
    splice @places, NAMED, scalar @places, '...' if @places > NAMED;
    $doctor->report->add(
        note  => 'end',
        what  => ($count == 1 ? 'an END block: ' : "$count END blocks: ") . join(', ', @places),
        cause =>
            'a child of perl\'s own fork that ends by exit runs them: files removed, parents told of an end; children of '
            . 'EventLoop::Fork->fork and workers do not',
        write => 'END { if ($$ == $pid) { ... } }; POSIX::_exit in a child',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::EndBlocks - END blocks

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings

=cut
