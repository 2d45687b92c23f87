package EventLoop::Fork::Install::Files;

# What ExtUtils::Depends asks about this distribution. The headers lie beside this file once it is built or installed.

use strict;
use warnings;

use File::Basename ();
use File::Spec     ();

our $VERSION = '0.001';

# In these shapes, because ExtUtils::Depends has read each of them in its time. There is nothing to link with.
our $self     = { inc => '', libs => '', typemaps => [], deps => [] };
our $inc      = $self->{inc};
our $libs     = $self->{libs};
our @typemaps = @{ $self->{typemaps} };
our @deps     = @{ $self->{deps} };
our $CORE     = File::Basename::dirname(File::Spec->rel2abs(__FILE__)) . '/';

sub deps { return @{ $self->{deps} } }

sub Inline {
    my ($class, $language) = @_;
    return { INC => $inc, LIBS => $libs, TYPEMAPS => [@typemaps] };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Install::Files - EventLoop::Fork for other XS modules

=head1 SYNOPSIS

In F<Makefile.PL>:

    use ExtUtils::Depends;
    use ExtUtils::MakeMaker;

    my $depends = ExtUtils::Depends->new('My::Module', 'EventLoop::Fork');
    WriteMakefile(
        NAME               => 'My::Module',
        CONFIGURE_REQUIRES => { 'ExtUtils::Depends' => 0, 'EventLoop::Fork' => '0.001' },
        PREREQ_PM          => { 'EventLoop::Fork' => '0.001' },
        $depends->get_makefile_vars,
    );

In F<Module.xs>:

    #include "EXTERN.h"
    #include "perl.h"
    #include "XSUB.h"
    #include "eventloop_fork.h"

    static const struct eventloop_fork_api *evf;

    static int forget_connection(struct evf_hook *hook, void *data) {
        struct connection *connection = data;
        (void)hook;
        return evf->disown_fd(connection->fd);
    }

    static struct evf_hook hook;

    MODULE = My::Module    PACKAGE = My::Module

    BOOT:
        evf = EVENTLOOP_FORK_API("My::Module");
        hook.name = "My::Module";
        hook.priority = 50;
        hook.cb[EVF_CHILD] = forget_connection;
        hook.data = &the_connection;
        if (evf->hook_register(&hook) < 0) croak("My::Module: no hook");

=head1 DESCRIPTION

F<eventloop_fork.h> is installed beside this file, with the header of the core, F<core/evf.h>. Both say what each
function does. A module links with nothing: C<EVENTLOOP_FORK_API> loads EventLoop::Fork and returns a table of
functions.

=over 4

=item C<error_name>, C<error_text>

Every function that can fail answers a negative code; this is the code in words.

=item C<hook_register>, C<hook_cancel>

Hooks that run around every fork, as C<at_fork> of L<EventLoop::Fork> has them for Perl, and in one order with those. The
memory is the module's, and stays where it is until the hook is cancelled.

=item C<fork>

C<< EventLoop::Fork->fork >> with C functions: one runs in the child and returns its exit code, one is called in the
parent, through the loop, when the child has ended.

=item C<process_open>, C<process_reap>

A child as a descriptor, for an event loop in C. Takes the status of this child and of no other.

=item C<disown_fd>

Makes an inherited descriptor harmless in a child.

=item C<fork_generation>

Changes in every child: cheaper to look at than C<getpid>.

=back

=head2 Versions

The table carries a version and a size. Functions are only ever appended. A module that was built for another version,
or for more functions than the table has, is refused when it is loaded, with a message that names both.

    My::Module was built for version 1 of the C interface of EventLoop::Fork; EventLoop::Fork 0.002 has version 2:
    build My::Module again

C<eventloop_fork_api_of> takes the size that a module insists on; C<EVENTLOOP_FORK_HAS> tells whether a later function is
there.

=head1 METHODS

For L<ExtUtils::Depends> and L<Inline>.

=head2 deps

=head2 Inline

=head1 SEE ALSO

L<EventLoop::Fork>, L<ExtUtils::Depends>

=cut
