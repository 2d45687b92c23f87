package EventLoop::Fork::Command::Top;

# evfork top: the table of status again and again, with rates instead of averages.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Snapshot;
use EventLoop::Fork::Command::StatusFile;
use EventLoop::Fork::Command::Table;
use EventLoop::Fork::Command::Terminal;
use POSIX       qw(strftime);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'interval=s', 'count=s', 'batch' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    $self->{interval} = 1;
    $self->{interval} = $self->number('--interval', $options->{interval}, min => 0.1, max => 86_400)
        if defined $options->{interval};
    $self->{count} = $self->number('--count', $options->{count}, min => 1, max => 999_999_999, whole => 1)
        if defined $options->{count};
    my $is_live = !$options->{batch} && EventLoop::Fork::Command::is_terminal();
    $self->{count}    = 1 unless $is_live || $options->{batch} || defined $self->{count};
    $self->{snapshot} = EventLoop::Fork::Command::Snapshot->new(EventLoop::Fork::Command::StatusFile::find($wish));
    return $is_live ? $self->_run_live : $self->_run_batch;
}

sub _frame {
    my ($self) = @_;
    my $now    = clock_gettime(CLOCK_MONOTONIC);
    my $data   = $self->{snapshot}->take;
    EventLoop::Fork::Command::Snapshot::set_rates($data, $self->{before}, $now - $self->{taken}) if $self->{before};
    @$self{qw(before taken)} = ($data, $now);
    $data->{rate} = EventLoop::Fork::Command::Snapshot::total_rate($data);
    return $data;
}

sub _exit_code { return $_[1]{running} ? $_[0]->OK : $_[0]->NOT_RUNNING }

# ---- Plain ----------------------------------------------------------------------------------------------------------

sub _run_batch {
    my ($self) = @_;
    for (my $number = 1;; $number++) {
        my $data = $self->_frame;
        my @lines =
            (EventLoop::Fork::Command::Table::heading($data), '', EventLoop::Fork::Command::Table::workers($data));
        unshift @lines, '' if $number > 1;
        EventLoop::Fork::Command::put(join '', map { "$_\n" } @lines) or return $self->_exit_code($data);
        return $self->_exit_code($data) if !$data->{running} || $self->{count} && $number >= $self->{count};
        Time::HiRes::sleep($self->{interval});
    }
}

# ---- Live -----------------------------------------------------------------------------------------------------------

sub _run_live {
    my ($self) = @_;
    my $terminal = EventLoop::Fork::Command::Terminal->new->open;
    my $data;
    my $is_done = eval { $data = $self->_show($terminal); 1 };
    my $error   = $@;
    my $signal  = $terminal->close;
    die $error unless $is_done;                                   ## no critic (RequireCarping): as it is
    kill $signal => $$ if defined $signal && $signal ne 'INT';    # die of it, as without us
    EventLoop::Fork::Command::put("$_\n") for $data->{running} ? () : EventLoop::Fork::Command::Table::heading($data);
    return $self->_exit_code($data);
}

# Until a key, a signal, the count, or the end of the supervisor.
sub _show {
    my ($self, $terminal) = @_;
    my $number = 0;
    my $next   = 0;
    my $data;
    while (!$terminal->signal) {
        my $now = clock_gettime(CLOCK_MONOTONIC);
        if (!$data || $now >= $next) {
            $data = $self->_frame;
            $next = $now + $self->{interval};
            last if !$data->{running};
            $number++;
        }
        $self->_draw($terminal, $data) or last;
        last if $self->{count} && $number >= $self->{count};
        my $key = $terminal->wait_for_key($next - clock_gettime(CLOCK_MONOTONIC));
        last if defined $key && $key =~ /\A(?:[qQ]?|\x04)\z/;
    }
    return $data;
}

sub _draw {
    my ($self, $terminal, $data) = @_;
    my ($rows, $columns) = EventLoop::Fork::Command::Terminal::size();
    my @lines = (EventLoop::Fork::Command::Table::heading($data), '');
    push @lines, EventLoop::Fork::Command::Table::workers($data, width => $columns);
    my $foot = sprintf '%s, every %s s; q quits', strftime('%H:%M:%S', localtime), $self->{interval};
    splice @lines, $rows - 1 if @lines > $rows - 1;
    push @lines, '' while @lines < $rows - 1;
    push @lines, EventLoop::Fork::Command::colour('dim', substr $foot, 0, $columns);
    return $terminal->draw(map { _cut($_, $columns) } @lines);
}

# Colours take no room.
sub _cut {
    my ($line, $columns) = @_;
    my ($cut, $used)     = ('', 0);
    for my $piece (split /(\e\[[0-9;]*m)/, $line) {
        if ($piece =~ /\A\e/) {
            $cut .= $piece;
            next;
        }
        $piece = substr $piece, 0, $columns - $used if $used + length $piece > $columns;
        $used += length $piece;
        $cut .= $piece;
    }
    return $cut;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Top - evfork top

=head1 SYNOPSIS

    evfork top [FILE] [--interval SECONDS] [--count N] [--batch]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
