/* The built-in backend: poll(2). Needs no library and shares nothing with a child, so it is also the one to read
 * before writing another. */
#include "backend.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 16 };

struct state {
    const struct evf_host *host;
    struct pollfd *pollfds;
    size_t count, size;
    int *indices; /* by descriptor; -1: not asked */
    size_t indices_size;
};

static int poll_open(const struct evf_host *host, const char *method, void **ret_state) {
    (void)method; /* there is one */
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) return EVF_ENOMEM;
    state->host = host;
    *ret_state = state;
    return 0;
}

static void poll_close(void *data) {
    struct state *state = data;
    if (state == NULL) return;
    free(state->pollfds);
    free(state->indices);
    free(state);
}

static void poll_leave(void *data, bool for_good) {
    (void)data, (void)for_good; /* there is no kernel object */
}

static int reserve(struct state *state, int fd) {
    if (state->count == state->size) {
        size_t size = state->size ? state->size * 2 : FIRST_SIZE;
        struct pollfd *pollfds = realloc(state->pollfds, size * sizeof *pollfds);
        if (pollfds == NULL) return EVF_ENOMEM;
        state->pollfds = pollfds;
        state->size = size;
    }
    if ((size_t)fd >= state->indices_size) {
        size_t size = state->indices_size ? state->indices_size : FIRST_SIZE;
        while (size <= (size_t)fd) size *= 2;
        int *indices = realloc(state->indices, size * sizeof *indices);
        if (indices == NULL) return EVF_ENOMEM;
        for (size_t i = state->indices_size; i < size; i++) indices[i] = -1;
        state->indices = indices;
        state->indices_size = size;
    }
    return 0;
}

static void forget(struct state *state, size_t index) {
    state->indices[state->pollfds[index].fd] = -1;
    if (index != --state->count) {
        state->pollfds[index] = state->pollfds[state->count];
        state->indices[state->pollfds[index].fd] = (int)index;
    }
}

static int poll_set_io(void *data, int fd, unsigned old_mask, unsigned new_mask) {
    struct state *state = data;
    bool is_known = (size_t)fd < state->indices_size && state->indices[fd] >= 0;
    (void)old_mask;
    if (new_mask == 0) {
        if (is_known) forget(state, (size_t)state->indices[fd]);
        return 0;
    }
    if (!is_known) {
        int rc = reserve(state, fd);
        if (rc < 0) return rc;
        state->indices[fd] = (int)state->count;
        state->pollfds[state->count++] = (struct pollfd){.fd = fd};
    }
    state->pollfds[state->indices[fd]].events =
        (short)((new_mask & EVF_READ ? POLLIN : 0) | (new_mask & EVF_WRITE ? POLLOUT : 0));
    return 0;
}

/* Rounded up: a timer must not be early. */
static int milliseconds(int64_t timeout_ns) {
    if (timeout_ns < 0) return -1;
    int64_t milliseconds = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return milliseconds > INT_MAX ? INT_MAX : (int)milliseconds;
}

static int poll_wait(void *data, int64_t timeout_ns) {
    struct state *state = data;
    int left = poll(state->pollfds, (nfds_t)state->count, milliseconds(timeout_ns));
    if (left < 0) return errno == EINTR || errno == EAGAIN ? 0 : EVF_EBACKEND;
    for (size_t i = 0; left > 0 && i < state->count;) {
        struct pollfd pollfd = state->pollfds[i];
        if (pollfd.revents == 0) {
            i++;
            continue;
        }
        left--;
        if (pollfd.revents & POLLNVAL) {
            forget(state, i); /* the last one is at i now */
            state->host->closed(state->host->data, pollfd.fd);
            continue;
        }
        i++;
        unsigned mask = 0;
        if (pollfd.revents & (POLLIN | POLLHUP | POLLERR)) mask |= EVF_READ;
        if (pollfd.revents & (POLLOUT | POLLHUP | POLLERR)) mask |= EVF_WRITE;
        if (mask != 0) state->host->ready(state->host->data, pollfd.fd, mask);
    }
    return 0;
}

static int poll_after_fork(void *data) {
    struct state *state = data;
    while (state->count > 0) forget(state, state->count - 1);
    return 0;
}

static int poll_fd_limit(const void *data) {
    (void)data; /* none of its own */
    return INT_MAX;
}

static int poll_verify(const void *data) {
    const struct state *state = data;
    for (size_t i = 0; i < state->count; i++) {
        int fd = state->pollfds[i].fd;
        if ((size_t)fd >= state->indices_size || state->indices[fd] != (int)i) return EVF_EBACKEND;
    }
    return 0;
}

static const char *const methods[] = {"poll", NULL};

const struct evf_backend evf_backend_poll = {
    .name = "poll",
    .methods = methods,
    .open = poll_open,
    .close = poll_close,
    .set_io = poll_set_io,
    .wait = poll_wait,
    .leave = poll_leave,
    .after_fork = poll_after_fork,
    .fd_limit = poll_fd_limit,
    .verify = poll_verify,
};
