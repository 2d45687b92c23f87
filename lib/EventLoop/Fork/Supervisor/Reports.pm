package EventLoop::Fork::Supervisor::Reports;

# What a supervisor tells: the machine's reports as events, for callbacks or the log.

use strict;
use warnings;

our $VERSION = '0.001';

use Time::HiRes ();

# ---- Reports --------------------------------------------------------------------------------------------------------

my %ABOUT_WORKER = map { $_ => 1 }
    qw(worker_started worker_ready worker_exited worker_stuck worker_draining worker_killed
    spawn_failed backoff reload_failed);

sub _report {
    my ($self, $action) = @_;
    my $name  = $action->{report};
    my %event = (event => $name, time => Time::HiRes::time(), generation => $action->{generation});
    $event{reason} = $action->{cause} if length $action->{cause};
    my $handle;
    if ($ABOUT_WORKER{$name}) {
        my $berth = $action->{berth};
        $handle = $self->{handles}{$berth};
        if ($name eq 'worker_exited' || $name eq 'reload_failed') {
            $handle = $self->{gone}{$berth};
            $event{reason} = $handle->exit_reason if $handle;
        }
        @event{qw(slot pid cause)} = ($berth >> 1, $action->{pid}, $action->{cause});
        $event{generation} = $handle->generation if $handle;
    }
    $event{reason} = $self->{spawn_error} if $name eq 'spawn_failed';
    @event{qw(place activity)} = ($handle->place, $handle->activity)
        if $handle && ($name eq 'worker_stuck' || $name eq 'worker_killed');
    $event{$_}          = $action->{$_} for grep { $action->{$_} } qw(elapsed count is_fast);
    $event{wait_status} = $action->{wait_status} if $name eq 'worker_exited' || $name eq 'reload_failed';
    $event{exit_code}   = $action->{exit_code}   if $name eq 'stopped'       || $name eq 'halted';
    $self->_add_method(\%event, $action) if $name eq 'start_method_changed';
    $self->_add_hook(\%event, $action)   if $name eq 'hook_skipped';
    $self->_tell(\%event, $handle);
    $self->{predecessor}->notice(\%event, $handle) if $self->{predecessor};
    return;
}

# And why: by a reload, or by how the last worker ended. It is in the status, too.
sub _add_method {
    my ($self, $event, $action) = @_;
    my $gone = $self->{gone}{ $action->{berth} };
    @$event{qw(method cause)} = @$action{qw(method cause)};
    $event->{reason} = $gone->exit_reason if $gone && $action->{cause} ne 'reload';
    $self->{board}->set_header(info => $self->_info);
    return;
}

sub _add_hook {
    my ($self, $event, $action) = @_;
    my $gone = $self->{gone}{ $action->{berth} };
    $event->{hook}   = $self->{skipped}{ $action->{culprit} };
    $event->{reason} = $gone->exit_reason if $gone;
    return;
}

sub _tell {
    my ($self, $event, $handle) = @_;
    my $options = $self->{options};
    my $called  = 0;
    for my $name ("on_$event->{event}", 'on_event') {
        $called += $self->_call($name, $event, $handle) if $options->{$name};
    }
    $self->{log}->event($event) unless $called;
    $self->{notify}->notice($event) if $self->{notify};
    return;
}

# What a callback throws must not keep a decision from being carried out.
sub _call {
    my ($self, $name, @arguments) = @_;
    local $@;
    return 1 if eval { $self->{options}{$name}->(@arguments); 1 };
    $self->{log}->line("$name failed: " . EventLoop::Fork::Loop::_exception_text($@));
    return 1;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Reports - what a supervisor tells

=head1 DESCRIPTION

A part of L<EventLoop::Fork::Supervisor>, which documents the events. It has no interface of its own.

=cut
