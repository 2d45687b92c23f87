/* The backend on libevent. One event base for a loop, with an event for reading and one for writing of each descriptor
 * and one timeout; callbacks only report to the core. Never its signal events (they work for one base of a process),
 * never event_reinit (it fails half-way when a descriptor was closed): a child gets a new base. */
#include "libevent.h"

#include "../core/epoll.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

struct watched {
    struct event read, write;
    unsigned mask; /* which of them are added */
};

struct state {
    const struct evf_host *host;
    struct event_base *base; /* NULL: none could be made in the child */
    const char *method;
    int epoll_fd; /* of the base, or -1 */
    struct event timeout;
    struct watched **watched; /* by descriptor; owned */
    size_t watched_size;
};

/* ---- Methods ------------------------------------------------------------------------------------------------ */

static const char *const known_methods[] = {"epoll", "kqueue", "evport", "devpoll", "poll", "select"};
enum { METHODS = sizeof known_methods / sizeof *known_methods };

static bool is_among(const char *const *all, const char *method) {
    for (; all != NULL && *all != NULL; all++) { /* NULL: out of memory */
        if (strcmp(*all, method) == 0) return true;
    }
    return false;
}

/* Without room for its descriptors libevent ends the program: a signal pair, and what the method has. */
static bool has_room(const char *method) {
    bool is_a_call = strcmp(method, "poll") == 0 || strcmp(method, "select") == 0;
    int fds[3], count = 0, needed = is_a_call ? 2 : 3;
    while (count < needed && (fds[count] = open("/", O_RDONLY | O_CLOEXEC)) >= 0) count++;
    bool has = count == needed;
    while (count > 0) (void)close(fds[--count]);
    return has;
}

static struct event_base *new_base(const char *method) {
    const char **all = event_get_supported_methods();
    if (!has_room(method) || !is_among(all, method)) return NULL; /* libevent would print that there is none */
    struct event_config *config = event_config_new();
    if (config == NULL) return NULL;
    for (size_t i = 0; all[i] != NULL; i++) {
        if (strcmp(all[i], method) != 0) (void)event_config_avoid_method(config, all[i]);
    }
    /* The environment is the host's business; a base belongs to one thread. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base != NULL && strcmp(event_base_get_method(base), method) != 0) {
        event_base_free(base);
        base = NULL;
    }
    return base;
}

/* What fails is told by return values, so that libevent need not print. But after an error it ends the program, and
 * there is nobody left to tell: its last words go where it would write them. */
static void log_last_words(int severity, const char *message) {
    if (severity >= EVENT_LOG_ERR) (void)fprintf(stderr, "libevent: %s\n", message);
}

/* ---- The base ----------------------------------------------------------------------------------------------- */

static void on_timeout(evutil_socket_t fd, short events, void *data) {
    (void)fd, (void)events, (void)data; /* the wait is over: that is all */
}

static int open_base(struct state *state) {
    int guess = strcmp(state->method, "epoll") == 0 ? evf_epoll_guess() : -1; /* the library does not tell */
    state->base = new_base(state->method);
    if (state->base == NULL) return EVF_EBACKEND;
    state->epoll_fd = evf_epoll_confirm(guess);
    return evtimer_assign(&state->timeout, state->base, on_timeout, NULL) < 0 ? EVF_EBACKEND : 0;
}

static int libevent_open(const struct evf_host *host, const char *method, void **ret_state) {
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) return EVF_ENOMEM;
    state->host = host;
    state->method = method;
    int rc = open_base(state);
    if (rc < 0) {
        free(state);
        return rc;
    }
    *ret_state = state;
    return 0;
}

static void free_watched(struct state *state) {
    for (size_t fd = 0; fd < state->watched_size; fd++) {
        free(state->watched[fd]);
        state->watched[fd] = NULL;
    }
}

static void libevent_close(void *data) {
    struct state *state = data;
    if (state == NULL) return;
    if (state->base != NULL) event_base_free(state->base); /* removes what is still added */
    free_watched(state);
    free(state->watched);
    free(state);
}

static void libevent_leave(void *data, bool for_good) {
    struct state *state = data;
    (void)for_good; /* its signal pair can be closed by event_base_free only */
    if (state->base == NULL) return;
    bool shares_epoll = strcmp(state->method, "epoll") == 0;
    /* event_base_free removes event after event from the instance, which is the parent's too. With our descriptor
     * closed the kernel refuses each at once. */
    if (state->epoll_fd >= 0) (void)close(state->epoll_fd);
    if (!shares_epoll || state->epoll_fd >= 0) event_base_free(state->base);
    state->base = NULL;
    state->epoll_fd = -1;
}

static int libevent_after_fork(void *data) {
    struct state *state = data;
    if (state->base != NULL) event_base_free(state->base); /* in the process that made it */
    state->base = NULL;
    free_watched(state);
    return open_base(state);
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

static int change(struct watched *watched, unsigned new_mask) {
    int rc = 0;
    if (watched->mask & ~new_mask & EVF_READ) (void)event_del(&watched->read); /* failing, the file is closed */
    if (watched->mask & ~new_mask & EVF_WRITE) (void)event_del(&watched->write);
    unsigned added = watched->mask & new_mask;
    if (new_mask & ~added & EVF_READ) {
        if (event_add(&watched->read, NULL) < 0) rc = -1;
        else added |= EVF_READ;
    }
    if (rc == 0 && new_mask & ~added & EVF_WRITE) {
        if (event_add(&watched->write, NULL) < 0) rc = -1;
        else added |= EVF_WRITE;
    }
    watched->mask = added;
    return rc;
}

static void drop_if_closed(struct state *state, int fd) {
    if (fcntl(fd, F_GETFD) >= 0) return;
    (void)change(state->watched[fd], 0);
    state->host->closed(state->host->data, fd);
}

static void on_io(evutil_socket_t fd, short events, void *data) {
    struct state *state = data;
    if (state->epoll_fd < 0) { /* poll and select report a closed descriptor as ready */
        drop_if_closed(state, fd);
        if (state->watched[fd]->mask == 0) return;
    }
    unsigned mask = (events & EV_READ ? (unsigned)EVF_READ : 0u) | (events & EV_WRITE ? (unsigned)EVF_WRITE : 0u);
    state->host->ready(state->host->data, fd, mask);
}

static int reserve(struct state *state, int fd) {
    if ((size_t)fd >= state->watched_size) {
        size_t size = state->watched_size ? state->watched_size : 32;
        while (size <= (size_t)fd) size *= 2;
        struct watched **watched = realloc(state->watched, size * sizeof *watched);
        if (watched == NULL) return EVF_ENOMEM;
        for (size_t i = state->watched_size; i < size; i++) watched[i] = NULL;
        state->watched = watched;
        state->watched_size = size;
    }
    if (state->watched[fd] == NULL) {
        struct watched *watched = calloc(1, sizeof *watched);
        if (watched == NULL) return EVF_ENOMEM;
        if (event_assign(&watched->read, state->base, fd, EV_READ | EV_PERSIST, on_io, state) < 0 ||
            event_assign(&watched->write, state->base, fd, EV_WRITE | EV_PERSIST, on_io, state) < 0) {
            free(watched);
            return EVF_EBACKEND;
        }
        state->watched[fd] = watched;
    }
    return 0;
}

static int libevent_set_io(void *data, int fd, unsigned old_mask, unsigned new_mask) {
    struct state *state = data;
    (void)old_mask; /* known from the events */
    if (state->base == NULL) return EVF_EBACKEND;
    if (new_mask == 0 && ((size_t)fd >= state->watched_size || state->watched[fd] == NULL)) return 0;
    int rc = reserve(state, fd);
    if (rc < 0) return rc;
    if (new_mask != 0 && fcntl(fd, F_GETFD) < 0) {
        (void)change(state->watched[fd], 0);
        return EVF_EBADF;
    }
    errno = 0;
    if (change(state->watched[fd], new_mask) == 0) return 0;
    rc = errno == EPERM ? EVF_ENOTSUP : EVF_EBACKEND;
    (void)change(state->watched[fd], 0);
    return rc;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------ */

static int libevent_wait(void *data, int64_t timeout_ns) {
    struct state *state = data;
    if (state->base == NULL) return EVF_EBACKEND;
    int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY; /* NONBLOCK alone stays while anything is ready */
    if (timeout_ns == 0) flags |= EVLOOP_NONBLOCK;
    if (timeout_ns > 0) {
        int64_t microseconds = timeout_ns / 1000 + (timeout_ns % 1000 != 0); /* up: a timer must not be early */
        struct timeval tv = {(time_t)(microseconds / 1000000), (suseconds_t)(microseconds % 1000000)};
        if (event_add(&state->timeout, &tv) < 0) return EVF_EBACKEND;
    }
    int rc = event_base_loop(state->base, flags);
    if (timeout_ns > 0) (void)event_del(&state->timeout); /* it may have fired */
    if (rc < 0) {                                         /* select refuses the whole set when one of it is closed */
        for (size_t fd = 0; fd < state->watched_size; fd++) {
            if (state->watched[fd] != NULL && state->watched[fd]->mask != 0) drop_if_closed(state, (int)fd);
        }
    }
    return 0;
}

/* Its select uses the C library's sets, and the C library aborts the program above their size. */
static int libevent_fd_limit(const void *data) {
    const struct state *state = data;
    return strcmp(state->method, "select") == 0 ? FD_SETSIZE : INT_MAX;
}

static int libevent_verify(const void *data) {
    const struct state *state = data;
    if (state->base == NULL) return EVF_EBACKEND;
    for (size_t fd = 0; fd < state->watched_size; fd++) {
        const struct watched *watched = state->watched[fd];
        if (watched == NULL) continue;
        if ((event_pending(&watched->read, EV_READ, NULL) != 0) != ((watched->mask & EVF_READ) != 0) ||
            (event_pending(&watched->write, EV_WRITE, NULL) != 0) != ((watched->mask & EVF_WRITE) != 0))
            return EVF_EBACKEND;
    }
    return 0;
}

static const char *methods[METHODS + 1];

static const struct evf_backend backend = {
    .name = "libevent",
    .methods = methods,
    .open = libevent_open,
    .close = libevent_close,
    .set_io = libevent_set_io,
    .wait = libevent_wait,
    .leave = libevent_leave,
    .after_fork = libevent_after_fork,
    .fd_limit = libevent_fd_limit,
    .verify = libevent_verify,
};

const struct evf_backend *evf_backend_libevent(void) {
    if (methods[0] == NULL) {
        size_t count = 0;
        event_set_log_callback(log_last_words);
        for (size_t i = 0; i < METHODS; i++) {
            struct event_base *base = new_base(known_methods[i]);
            if (base == NULL) continue;
            event_base_free(base);
            methods[count++] = known_methods[i];
        }
    }
    return &backend;
}
