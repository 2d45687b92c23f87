/* See sim.h. */
#include "sim.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim *opening; /* a backend has no data of its own: which world the next open is for */

struct sim *sim_new(void) {
    struct sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL) return NULL;
    sim->now_ns[EVF_CLOCK_MONOTONIC] = INT64_C(1000000000000);
    sim->now_ns[EVF_CLOCK_REALTIME] = INT64_C(1700000000000000000);
    sim->fd_limit = SIM_FDS;
    return sim;
}

void sim_free(struct sim *sim) {
    free(sim);
}

void sim_advance(struct sim *sim, int64_t ns) {
    for (int clock = 0; clock < EVF_CLOCK_COUNT; clock++) sim->now_ns[clock] += ns;
}

void sim_plan(struct sim *sim, int64_t timeout_ns, int fd, unsigned mask) {
    if (sim->plans_count == SIM_PLANS) abort(); /* a mistake of the test */
    sim->plans[sim->plans_count++] = (struct sim_plan){sim->now_ns[EVF_CLOCK_MONOTONIC] + timeout_ns, fd, mask};
}

void sim_fail_set_io(struct sim *sim, int fd, int code, int count) {
    sim->fail_set_io[fd] = code;
    sim->fail_set_io_count[fd] = count;
}

static void violated(struct sim *sim, const char *what, int fd) {
    if (sim->violations++ == 0) (void)snprintf(sim->violation, sizeof sim->violation, "%s (descriptor %d)", what, fd);
}

/* ---- The hooks ---------------------------------------------------------------------------------------------- */

static int64_t now(void *data, enum evf_clock clock) {
    struct sim *sim = data;
    if (sim->tick_ns != 0) sim_advance(sim, sim->tick_ns);
    return sim->now_ns[clock];
}

static int before_wait(void *data) {
    struct sim *sim = data;
    return sim->before_wait != NULL ? sim->before_wait(sim->data) : 0;
}

static int after_wait(void *data) {
    struct sim *sim = data;
    return sim->after_wait != NULL ? sim->after_wait(sim->data) : 0;
}

static int run_pending(void *data, bool *ran) {
    struct sim *sim = data;
    return sim->run_pending != NULL ? sim->run_pending(sim->data, ran) : 0;
}

static bool has_pending(void *data) {
    struct sim *sim = data;
    return sim->has_pending != NULL && sim->has_pending(sim->data);
}

/* ---- The backend -------------------------------------------------------------------------------------------- */

static int sim_open(const struct evf_host *host, const char *method, void **ret_state) {
    struct sim *sim = opening;
    (void)method; /* there is one */
    if (sim->fail_open < 0) {
        int rc = sim->fail_open;
        sim->fail_open = 0;
        return rc;
    }
    if (sim->host != NULL) violated(sim, "a second loop", -1);
    sim->opens++;
    sim->host = host;
    *ret_state = sim;
    return 0;
}

static void sim_close(void *state) {
    struct sim *sim = state;
    if (sim == NULL) return;
    if (sim->host == NULL) violated(sim, "closed twice", -1);
    if (sim->is_waiting) violated(sim, "close inside of wait", -1);
    sim->closes++;
    sim->host = NULL;
    memset(sim->interest, 0, sizeof sim->interest);
}

static int sim_set_io(void *state, int fd, unsigned old_mask, unsigned new_mask) {
    struct sim *sim = state;
    size_t length = strlen(sim->calls);
    if (fd < 0 || fd >= SIM_FDS) {
        violated(sim, "set_io of no descriptor", fd);
        return EVF_EBADF;
    }
    if (sim->host == NULL) violated(sim, "set_io on a closed backend", fd);
    if (sim->has_left) violated(sim, "set_io between leave and after_fork", fd);
    if (sim->is_waiting) violated(sim, "set_io inside of wait", fd);
    if (old_mask != sim->interest[fd]) violated(sim, "set_io with a wrong old mask", fd);
    if (old_mask == new_mask) violated(sim, "set_io that changes nothing", fd);
    if (((old_mask | new_mask) & ~(unsigned)(EVF_READ | EVF_WRITE)) != 0) violated(sim, "set_io of other bits", fd);
    sim->set_ios++;
    if (fd >= sim->fds_end) sim->fds_end = fd + 1;
    (void)snprintf(sim->calls + length, sizeof sim->calls - length, "%d:%u>%u ", fd, old_mask, new_mask);
    if (new_mask != 0 && sim->fail_set_io_count[fd] > 0) {
        sim->fail_set_io_count[fd]--;
        sim->interest[fd] = 0; /* what fails leaves no interest */
        int rc = sim->fail_set_io[fd];
        if (sim->refusal == 0 && rc != EVF_EBADF && rc != EVF_ENOTSUP) sim->refusal = rc;
        return rc;
    }
    sim->interest[fd] = (unsigned char)new_mask;
    return 0;
}

/* The core's own wake-up descriptor is real. */
static unsigned really_ready(int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & POLLIN) != 0 ? EVF_READ : 0u;
}

static void report(struct sim *sim, int fd, unsigned mask) {
    if (sim->reports != NULL) sim->reports(sim->data, fd, mask);
    sim->host->ready(sim->host->data, fd, mask);
}

static void report_all(struct sim *sim) {
    for (int fd = 0; fd < sim->fds_end; fd++) {
        unsigned stale = sim->stale[fd], ready = sim->ready[fd] & sim->interest[fd];
        sim->stale[fd] = 0;
        if (sim->closed[fd]) {
            sim->closed[fd] = false;
            sim->interest[fd] = 0;
            sim->host->closed(sim->host->data, fd);
            continue;
        }
        if (stale != 0) report(sim, fd, stale);
        if (ready != 0) report(sim, fd, ready);
    }
}

static bool is_anything_ready(struct sim *sim) {
    for (int fd = 0; fd < sim->fds_end; fd++) {
        if ((sim->interest[fd] & EVF_READ) != 0 && sim->ready[fd] == 0 && really_ready(fd) != 0)
            sim->stale[fd] = EVF_READ;
        if (sim->stale[fd] != 0 || sim->closed[fd] || (sim->ready[fd] & sim->interest[fd]) != 0) return true;
    }
    return false;
}

/* Carries out what is planned up to now. */
static void follow_plans(struct sim *sim) {
    for (int i = 0; i < sim->plans_count;) {
        struct sim_plan *plan = &sim->plans[i];
        if (plan->at_ns > sim->now_ns[EVF_CLOCK_MONOTONIC]) {
            i++;
            continue;
        }
        sim->ready[plan->fd] = (unsigned char)plan->mask;
        *plan = sim->plans[--sim->plans_count];
    }
}

/* To the next plan or the end of the timeout. False: neither will ever be. */
static bool pass_time(struct sim *sim, int64_t timeout_ns) {
    int64_t left_ns = timeout_ns;
    for (int i = 0; i < sim->plans_count; i++) {
        int64_t plan_ns = sim->plans[i].at_ns - sim->now_ns[EVF_CLOCK_MONOTONIC];
        if (left_ns < 0 || plan_ns < left_ns) left_ns = plan_ns;
    }
    if (left_ns < 0) return false;
    sim_advance(sim, left_ns);
    return true;
}

static int sim_wait(void *state, int64_t timeout_ns) {
    struct sim *sim = state;
    sim->waits++;
    sim->last_timeout_ns = timeout_ns;
    if (sim->host == NULL) violated(sim, "wait on a closed backend", -1);
    if (sim->has_left) violated(sim, "wait between leave and after_fork", -1);
    if (sim->is_waiting) violated(sim, "wait inside of wait", -1);
    if (timeout_ns < -1) violated(sim, "wait with a timeout below -1", -1);
    if (sim->fail_wait < 0) {
        int rc = sim->fail_wait;
        sim->fail_wait = 0;
        return rc;
    }
    if (sim->early > 0) {
        sim->early--;
        return 0;
    }
    follow_plans(sim);
    if (!is_anything_ready(sim) && timeout_ns != 0) {
        if (!pass_time(sim, timeout_ns)) {
            sim->stuck++;
            return EVF_EBACKEND;
        }
        follow_plans(sim);
        (void)is_anything_ready(sim); /* notes what is really ready */
    }
    sim->is_waiting = true;
    report_all(sim);
    sim->is_waiting = false;
    return 0;
}

static void sim_leave(void *state, bool for_good) {
    struct sim *sim = state;
    sim->leaves++;
    sim->last_for_good = for_good;
    if (sim->is_waiting) violated(sim, "leave inside of wait", -1);
    sim->has_left = true;
    memset(sim->interest, 0, sizeof sim->interest);
}

static int sim_after_fork(void *state) {
    struct sim *sim = state;
    sim->after_forks++;
    if (sim->is_waiting) violated(sim, "after_fork inside of wait", -1);
    sim->has_left = true;
    memset(sim->interest, 0, sizeof sim->interest);
    if (sim->fail_after_fork < 0) {
        int rc = sim->fail_after_fork;
        sim->fail_after_fork = 0;
        return rc;
    }
    sim->has_left = false;
    return 0;
}

static int sim_fd_limit(const void *state) {
    const struct sim *sim = state;
    return sim->fd_limit;
}

static int sim_verify(const void *state) {
    const struct sim *sim = state;
    return sim->violations == 0 ? 0 : EVF_EBACKEND;
}

static const char *const methods[] = {"sim", NULL};

static const struct evf_backend backend = {
    .name = "sim",
    .methods = methods,
    .open = sim_open,
    .close = sim_close,
    .set_io = sim_set_io,
    .wait = sim_wait,
    .leave = sim_leave,
    .after_fork = sim_after_fork,
    .fd_limit = sim_fd_limit,
    .verify = sim_verify,
};

int sim_loop_new(struct sim *sim, struct evf_loop **ret_loop) {
    const struct evf_loop_hooks hooks = {
        .now = now,
        .before_wait = before_wait,
        .after_wait = after_wait,
        .run_pending = run_pending,
        .has_pending = has_pending,
        .data = sim,
    };
    opening = sim;
    return evf_loop_new(&backend, NULL, &hooks, ret_loop);
}
