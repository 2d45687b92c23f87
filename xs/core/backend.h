/* The contract of a backend: it waits for the kernel. It owns no watcher, calls no user code, and calls back only
 * host->ready and host->closed. Everything else (timers, signals, processes, order of delivery) is the core's, so that
 * all backends behave alike. To write one: read poll.c, then run EventLoop::Fork::Test::Loop on it. */
#ifndef EVF_BACKEND_H
#define EVF_BACKEND_H

#include "evf.h"

struct evf_host {
    /* From inside wait, for a descriptor that was set: EVF_READ and EVF_WRITE. A hang-up or an error is both; whether
     * it is a hang-up, the core finds out where somebody asks. */
    void (*ready)(void *data, int fd, unsigned mask);
    /* The descriptor has been closed under the watcher: the backend has already forgotten it. */
    void (*closed)(void *data, int fd);
    void *data;
};

struct evf_backend {
    const char *name;
    const char *const *methods; /* best first, NULL at the end; only what this system offers */

    /* method is one of methods. The host is borrowed until close. */
    int (*open)(const struct evf_host *host, const char *method, void **ret_state);
    /* Releases everything. NULL, half-open and left states are fine. */
    void (*close)(void *state);
    /* Interest of fd (EVF_READ, EVF_WRITE) changes from old_mask to new_mask; 0 is none, and deregisters at once.
     * EVF_EBADF: not open. EVF_ENOTSUP: the kernel cannot watch this file; the core then takes it as always ready.
     * After a failure there is no interest left. */
    int (*set_io)(void *state, int fd, unsigned old_mask, unsigned new_mask);
    /* -1 for ever, 0 do not block; may return early, with nothing ready, at any time. */
    int (*wait)(void *state, int64_t timeout_ns);
    /* In the child of a fork, at once, from its pthread_atfork handler: lets go of every kernel object that the parent
     * shares, without changing it. Later would be too late: the program may close all descriptors next and open files
     * of its own under their numbers. for_good: the loop ends here, so memory, which the parent shares until it is
     * written, is best left alone. */
    void (*leave)(void *state, bool for_good);
    /* Before the next use in such a child, or at any time: afterwards private and empty. */
    int (*after_fork)(void *state);
    /* Descriptors are below this number. */
    int (*fd_limit)(const void *state);
    /* 0 or EVF_EBACKEND: the state contradicts itself. */
    int (*verify)(const void *state);
};

/* The built-in one, always there. */
extern const struct evf_backend evf_backend_poll;

#endif
