/* The backend on libev. Uses a loop of its own (never the default loop, so no child watchers and no SIGCHLD handler)
 * for descriptors and one timeout; libev's callbacks only report to the core. Debian builds libev with assertions: a
 * closed descriptor that it is told to watch would abort the program, so none ever is. */
#include "libev.h"

#include "../core/epoll.h"

#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct state {
    const struct evf_host *host;
    struct ev_loop *loop; /* NULL: none could be made in the child */
    unsigned flags;       /* of ev_loop_new */
    int epoll_fd;         /* of the loop, or -1 */
    ev_timer timeout;
    ev_fork before_rebuild;
    ev_io **watched; /* by descriptor; owned */
    size_t watched_size;
};

/* ---- Methods ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    unsigned flag;
} known_methods[] = {
    {"epoll", EVBACKEND_EPOLL},      {"kqueue", EVBACKEND_KQUEUE}, {"port", EVBACKEND_PORT},
    {"poll", EVBACKEND_POLL},        {"select", EVBACKEND_SELECT}, {"linuxaio", EVBACKEND_LINUXAIO},
    {"io_uring", EVBACKEND_IOURING},
};
enum { METHODS = sizeof known_methods / sizeof *known_methods };

static const unsigned common_flags = EVFLAG_NOENV | EVFLAG_NOINOTIFY | EVFLAG_NOTIMERFD | EVFLAG_NOSIGMASK;

static unsigned flag_of(const char *method) {
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(known_methods[i].name, method) == 0) return known_methods[i].flag;
    }
    return 0;
}

/* libev 4.33 fills a submission entry again without clearing it. Linux refuses such a removal since 5.13, and libev
 * aborts the program ("did not consume all sqes") at the first watcher that is stopped or changed. */
static bool io_uring_aborts(void) {
    struct utsname system;
    int major, minor;
    if (ev_version_major() > 4 || ev_version_minor() > 33) return false;
    return uname(&system) < 0 || sscanf(system.release, "%d.%d", &major, &minor) != 2 || major > 5 ||
           (major == 5 && minor >= 13);
}

/* Compiled in and allowed: a kernel or a seccomp filter may refuse what the library offers. */
static bool works(unsigned flag) {
    if ((ev_supported_backends() & flag) == 0) return false;
    if (flag == EVBACKEND_IOURING && io_uring_aborts()) return false;
    struct ev_loop *loop = ev_loop_new(flag | common_flags);
    if (loop == NULL) return false;
    ev_loop_destroy(loop);
    return true;
}

/* ---- The loop ----------------------------------------------------------------------------------------------- */

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop, (void)timer, (void)events; /* the wait is over: that is all */
}

static void look_at_descriptors(struct state *state) {
    for (size_t fd = 0; fd < state->watched_size; fd++) {
        ev_io *io = state->watched[fd];
        if (io == NULL || !ev_is_active(io) || fcntl((int)fd, F_GETFD) >= 0) continue;
        ev_io_stop(state->loop, io);
        state->host->closed(state->host->data, (int)fd);
    }
}

/* libev rebuilds its epoll set when the kernel reports a descriptor that it no longer watches (a child holds the file
 * open), and asserts that all others are open. It calls fork watchers first. */
static void on_rebuild(struct ev_loop *loop, ev_fork *fork_watcher, int events) {
    (void)loop, (void)events;
    look_at_descriptors(fork_watcher->data);
}

static int open_loop(struct state *state) {
    int guess = state->flags & EVBACKEND_EPOLL ? evf_epoll_guess() : -1; /* the library does not tell */
    state->loop = ev_loop_new(state->flags);
    if (state->loop == NULL) return EVF_EBACKEND;
    state->epoll_fd = evf_epoll_confirm(guess);
    ev_timer_init(&state->timeout, on_timeout, 0., 0.);
    ev_fork_init(&state->before_rebuild, on_rebuild);
    state->before_rebuild.data = state;
    ev_fork_start(state->loop, &state->before_rebuild);
    return 0;
}

static int libev_open(const struct evf_host *host, const char *method, void **ret_state) {
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) return EVF_ENOMEM;
    state->host = host;
    state->flags = flag_of(method) | common_flags;
    int rc = open_loop(state);
    if (rc < 0) {
        free(state);
        return rc;
    }
    *ret_state = state;
    return 0;
}

static void libev_close(void *data) {
    struct state *state = data;
    if (state == NULL) return;
    /* Destroys kernel objects and memory; watchers need not be stopped before. */
    if (state->loop != NULL) ev_loop_destroy(state->loop);
    for (size_t fd = 0; fd < state->watched_size; fd++) free(state->watched[fd]);
    free(state->watched);
    free(state);
}

static void libev_leave(void *data, bool for_good) {
    struct state *state = data;
    if (state->loop == NULL) return;
    /* Destroying only closes and frees, and asks nothing of the kernel about the parent's watchers. */
    if (for_good && state->epoll_fd >= 0) (void)close(state->epoll_fd); /* all that it has */
    else ev_loop_destroy(state->loop);
    state->loop = NULL;
    state->epoll_fd = -1;
}

static int libev_after_fork(void *data) {
    struct state *state = data;
    libev_leave(state, false);
    for (size_t fd = 0; fd < state->watched_size; fd++) {
        free(state->watched[fd]);
        state->watched[fd] = NULL;
    }
    return open_loop(state);
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

static void on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct state *state = io->data;
    (void)loop;
    if (events & EV_ERROR) { /* libev has stopped it: the descriptor is bad */
        state->host->closed(state->host->data, io->fd);
        return;
    }
    unsigned mask = (events & EV_READ ? (unsigned)EVF_READ : 0u) | (events & EV_WRITE ? (unsigned)EVF_WRITE : 0u);
    state->host->ready(state->host->data, io->fd, mask);
}

static int reserve(struct state *state, int fd) {
    if ((size_t)fd >= state->watched_size) {
        size_t size = state->watched_size ? state->watched_size : 32;
        while (size <= (size_t)fd) size *= 2;
        ev_io **watched = realloc(state->watched, size * sizeof *watched);
        if (watched == NULL) return EVF_ENOMEM;
        for (size_t i = state->watched_size; i < size; i++) watched[i] = NULL;
        state->watched = watched;
        state->watched_size = size;
    }
    if (state->watched[fd] == NULL) {
        ev_io *io = calloc(1, sizeof *io);
        if (io == NULL) return EVF_ENOMEM;
        ev_io_init(io, on_io, fd, 0);
        io->data = state;
        state->watched[fd] = io;
    }
    return 0;
}

static int libev_set_io(void *data, int fd, unsigned old_mask, unsigned new_mask) {
    struct state *state = data;
    if (state->loop == NULL) return EVF_EBACKEND;
    if (old_mask != 0) ev_io_stop(state->loop, state->watched[fd]);
    if (new_mask == 0) {
        /* libev leaves the descriptor in the kernel's set. A file that a child still holds open would be reported
         * for ever after the caller has closed it. */
        if (state->epoll_fd >= 0) evf_epoll_remove(state->epoll_fd, fd);
        return 0;
    }
    int rc = reserve(state, fd);
    if (rc < 0) return rc;
    if (fcntl(fd, F_GETFD) < 0) return EVF_EBADF;
    ev_io *io = state->watched[fd];
    ev_io_set(io, fd, (new_mask & EVF_READ ? EV_READ : 0) | (new_mask & EVF_WRITE ? EV_WRITE : 0));
    ev_io_start(state->loop, io);
    return 0;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------ */

static int libev_wait(void *data, int64_t timeout_ns) {
    struct state *state = data;
    if (state->loop == NULL) return EVF_EBACKEND;
    if (state->flags & (EVBACKEND_POLL | EVBACKEND_IOURING)) look_at_descriptors(state); /* see the top */
    if (timeout_ns == 0) {
        (void)ev_run(state->loop, EVRUN_NOWAIT);
        return 0;
    }
    if (timeout_ns > 0) {
        ev_now_update(state->loop); /* the timeout counts from now, not from the last turn */
        ev_timer_set(&state->timeout, (ev_tstamp)timeout_ns * 1e-9, 0.);
        ev_timer_start(state->loop, &state->timeout);
    }
    (void)ev_run(state->loop, EVRUN_ONCE); /* what it returns is about watchers, not about the wait */
    ev_timer_stop(state->loop, &state->timeout);
    return 0;
}

static int libev_fd_limit(const void *data) {
    (void)data; /* none of its own */
    return INT_MAX;
}

static int libev_verify(const void *data) {
    const struct state *state = data;
    if (state->loop == NULL) return EVF_EBACKEND;
    ev_verify(state->loop); /* aborts where libev was built with assertions */
    for (size_t fd = 0; fd < state->watched_size; fd++) {
        if (state->watched[fd] != NULL && state->watched[fd]->fd != (int)fd) return EVF_EBACKEND;
    }
    return 0;
}

static const char *methods[METHODS + 1];

static struct evf_backend backend = {
    .name = "libev",
    .methods = methods,
    .open = libev_open,
    .close = libev_close,
    .set_io = libev_set_io,
    .wait = libev_wait,
    .leave = libev_leave,
    .after_fork = libev_after_fork,
    .fd_limit = libev_fd_limit,
    .verify = libev_verify,
};

const struct evf_backend *evf_backend_libev(void) {
    if (methods[0] == NULL) {
        size_t count = 0;
        for (size_t i = 0; i < METHODS; i++) {
            if (works(known_methods[i].flag)) methods[count++] = known_methods[i].name;
        }
    }
    return &backend;
}
