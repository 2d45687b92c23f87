/* EventLoop::Fork for other XS modules: hooks, the fork itself and process descriptors, as a table of functions.
 *
 * Include it after perl's headers. Makefile.PL finds it with ExtUtils::Depends->new('My::Module', 'EventLoop::Fork');
 * EventLoop::Fork::Install::Files has a module to start from. In the module's BOOT section:
 *
 *     evf = EVENTLOOP_FORK_API("My::Module");
 *
 * Nothing is linked: the functions that core/evf.h declares live in an object that perl opens for itself alone. What
 * is not in the table cannot be called. */
#ifndef EVENTLOOP_FORK_H
#define EVENTLOOP_FORK_H

#ifndef PERL_VERSION
#error "eventloop_fork.h comes after EXTERN.h, perl.h and XSUB.h"
#endif

#include "core/evf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The binary interface, struct evf_hook included. Another number: modules must be built again. */
#define EVENTLOOP_FORK_API_VERSION 1u

/* Where the table is, in PL_modglobal. */
#define EVENTLOOP_FORK_API_KEY "EventLoop::Fork::API"

enum eventloop_fork_flags {
    EVENTLOOP_FORK_KEEP_SIGNALS = 1, /* the child keeps signal handlers */
    EVENTLOOP_FORK_KEEP_SRAND = 2    /* and the state of rand */
};

/* A child to make. All zero but for size and run is fine. child is the EventLoop::Fork::Child; its method loop is the
 * child's own loop. Of a fork through no loop it is undef. */
struct eventloop_fork_options {
    size_t size;      /* sizeof(struct eventloop_fork_options) */
    SV *loop;         /* what EventLoop::Fork->fork takes as loop; NULL: the one in use */
    const char *name; /* of the child, in messages; may be NULL */
    unsigned flags;   /* enum eventloop_fork_flags */
    /* In the child. The exit code, 0 to 255. It may throw: that is reported, and the exit code is 255. */
    int (*run)(pTHX_ SV *child, void *data);
    /* In the parent, through the loop; may be NULL. wait_status as of waitpid; -1: somebody else took it. */
    void (*on_exit)(pTHX_ SV *child, int wait_status, void *data);
    void *data; /* the caller's, until the child has ended */
};

struct eventloop_fork_api {
    unsigned version; /* EVENTLOOP_FORK_API_VERSION */
    size_t size;      /* members are appended: one that lies beyond is not there, see EVENTLOOP_FORK_HAS */
    const char *release;

    /* Never NULL, also for a code that is unknown. */
    const char *(*error_name)(int code);
    const char *(*error_text)(int code);

    /* How many forks lie between the first process and this one. A module that finds another value than at its last
     * look is in a child, whoever forked. Reads like a variable; getpid is a system call. (A copy that C code makes by
     * a system call, past the C library, is counted when a loop, a hook or a guard finds it.) */
    const volatile sig_atomic_t *fork_generation;

    /* At-fork hooks, in one order with those of at_fork in Perl: struct evf_hook in core/evf.h. They may call Perl, but
     * nothing that throws may leave them. */
    int (*hook_register)(struct evf_hook *hook);
    void (*hook_cancel)(struct evf_hook *hook);
    bool (*hook_is_registered)(const struct evf_hook *hook);

    /* EventLoop::Fork->fork: hooks, adapters and guards included. 0; or a negative code, and then $@ holds the
     * exception that tells more: croak(NULL) throws it. With ret_fd the child is the caller's, and no loop knows of it
     * (loop and on_exit are NULL): it gets what process_open would give, or -1, and calls process_reap. ret_pid may be
     * NULL. */
    int (*fork)(pTHX_ const struct eventloop_fork_options *options, pid_t *ret_pid, int *ret_fd);

    /* As evf_process_open, evf_process_reap and evf_disown_fd in core/evf.h. */
    int (*process_open)(pid_t pid);
    int (*process_reap)(pid_t pid, int fd, int *ret_wait_status);
    int (*disown_fd)(int fd);
};

/* True when the table has the member: for those that came later than the size that was asked for. */
#define EVENTLOOP_FORK_HAS(api, member)                                                                                \
    ((api)->size >= offsetof(struct eventloop_fork_api, member) + sizeof((api)->member))

/* Loads EventLoop::Fork and returns its table, which lives as long as the process. Croaks in the name of the module
 * when that was built for another version, or for a table with more in it. */
#define EVENTLOOP_FORK_API(module) eventloop_fork_api_of(aTHX_(module), sizeof(struct eventloop_fork_api))

/* The same for a module that is content with the members up to a size, and asks EVENTLOOP_FORK_HAS for others. */
static inline const struct eventloop_fork_api *eventloop_fork_api_of(pTHX_ const char *module, size_t size) {
    const struct eventloop_fork_api *api;
    SV **entry;
    Perl_load_module(aTHX_ PERL_LOADMOD_NOIMPORT, newSVpvs("EventLoop::Fork"), (SV *)NULL);
    entry = hv_fetchs(PL_modglobal, EVENTLOOP_FORK_API_KEY, 0);
    if (entry == NULL || !SvIOK(*entry))
        Perl_croak(aTHX_ "%s needs the C interface of EventLoop::Fork, which the one that was loaded does not have",
                   module);
    api = INT2PTR(const struct eventloop_fork_api *, SvIV(*entry));
    if (api->version != EVENTLOOP_FORK_API_VERSION)
        Perl_croak(aTHX_ "%s was built for version %u of the C interface of EventLoop::Fork; EventLoop::Fork %s has "
                         "version %u: build %s again",
                   module, EVENTLOOP_FORK_API_VERSION, api->release, api->version, module);
    if (api->size < size)
        Perl_croak(aTHX_ "%s was built for a later EventLoop::Fork than %s, which was loaded: its C interface has %u "
                         "of %u bytes",
                   module, api->release, (unsigned)api->size, (unsigned)size);
    return api;
}

#ifdef __cplusplus
}
#endif
#endif
