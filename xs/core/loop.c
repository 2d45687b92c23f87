/* A loop and its turn: changed interest to the backend, wait, let the host run its signals, collect what is due,
 * deliver. Callbacks run in deliver() and nowhere else, so no backend is ever entered twice or left by an exception. */
#include "internal.h"
#include "scoreboard.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct evf_link evf__loops = {&evf__loops, &evf__loops};
static pthread_mutex_t loops_mutex = PTHREAD_MUTEX_INITIALIZER;

void evf__loops_lock(void) {
    (void)pthread_mutex_lock(&loops_mutex); /* these cannot fail on a plain mutex that nobody locks twice */
}

void evf__loops_unlock(void) {
    (void)pthread_mutex_unlock(&loops_mutex);
}

void evf__loops_renew(void) {
    if (evf_fork_threads() <= 1) (void)pthread_mutex_init(&loops_mutex, NULL); /* else they are using it by now */
}

int64_t evf__now(const struct evf_loop *loop, enum evf_clock clock) {
    return loop->hooks.now(loop->hooks.data, clock);
}

int64_t evf_loop_now(struct evf_loop *loop, enum evf_clock clock) {
    return evf__now(loop, clock);
}

/* ---- Watchers in general ------------------------------------------------------------------------------------ */

int evf__watcher_check(struct evf_loop *loop, const struct evf_watcher *watcher) {
    if (loop->abandoned) return EVF_EABANDONED; /* first: nobody can stop its watchers, so they all seem active */
    if (watcher->loop != NULL) return EVF_EEXIST;
    return evf_loop_after_fork(loop, false);
}

void evf__watcher_start(struct evf_loop *loop, struct evf_watcher *watcher, enum evf_watcher_kind kind, void *data) {
    watcher->loop = loop;
    watcher->kind = (unsigned char)kind;
    watcher->data = data;
    watcher->ready.next = watcher->ready.prev = NULL;
    watcher->link.next = watcher->link.prev = NULL;
    if (!watcher->internal) loop->watchers++;
}

void evf__watcher_stop(struct evf_watcher *watcher) {
    evf__list_remove(&watcher->ready);
    evf__list_remove(&watcher->link);
    if (!watcher->internal) watcher->loop->watchers--;
    watcher->loop = NULL;
}

void evf__ready(struct evf_loop *loop, struct evf_watcher *watcher) {
    if (watcher->ready.next == NULL) evf__list_append(&loop->ready, &watcher->ready);
}

int evf_idle_start(struct evf_loop *loop, struct evf_idle *idle, evf_idle_cb cb, void *data) {
    if (cb == NULL) return EVF_EINVAL;
    idle->w.internal = false;
    int rc = evf__watcher_check(loop, &idle->w);
    if (rc < 0) return rc;
    idle->cb = cb;
    evf__watcher_start(loop, &idle->w, EVF_WATCHER_IDLE, data);
    evf__list_append(&loop->idles, &idle->w.link);
    return 0;
}

void evf_idle_stop(struct evf_idle *idle) {
    if (idle->w.loop != NULL && !idle->w.loop->abandoned) evf__watcher_stop(&idle->w);
}

/* ---- Life --------------------------------------------------------------------------------------------------- */

static const char *find_method(const struct evf_backend *backend, const char *method) {
    for (const char *const *known = backend->methods; *known != NULL; known++) {
        if (method == NULL || strcmp(*known, method) == 0) return *known;
    }
    return NULL;
}

int evf_loop_new(const struct evf_backend *backend, const char *method, const struct evf_loop_hooks *hooks,
                 struct evf_loop **ret_loop) {
    int rc = evf__fork_init();
    if (rc < 0) return rc;
    const char *known = find_method(backend, method);
    if (known == NULL) return EVF_EINVAL;

    struct evf_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return EVF_ENOMEM;
    if (hooks != NULL) loop->hooks = *hooks;
    if (loop->hooks.now == NULL) loop->hooks.now = evf_clock_now;
    loop->backend = backend;
    loop->method = known;
    loop->host = (struct evf_host){evf__io_host_ready, evf__io_host_closed, loop};
    loop->generation = evf_fork_generation;
    evf__list_init(&loop->ready);
    evf__list_init(&loop->idles);
    evf__list_init(&loop->signals);
    evf__list_init(&loop->processes);

    rc = backend->open(&loop->host, known, &loop->state);
    if (rc < 0) goto cannot_open;
    rc = evf__io_init(loop);
    if (rc < 0) goto cannot_wake_up;
    evf__loops_lock();
    evf__list_append(&evf__loops, &loop->all);
    evf__loops_unlock();
    *ret_loop = loop;
    return 0;

cannot_wake_up:
    backend->close(loop->state);
cannot_open:
    free(loop->fds);
    free(loop->changes);
    free(loop);
    return rc;
}

static void stop_signals(struct evf_loop *loop) {
    while (!evf__list_is_empty(&loop->signals))
        evf_signal_stop(EVF__CONTAINER(EVF__WATCHER_OF_LINK(loop->signals.next), struct evf_signal, w));
}

static void stop_all(struct evf_loop *loop) {
    stop_signals(loop);
    evf__processes_stop_all(loop);
    while (!evf__list_is_empty(&loop->idles)) evf__watcher_stop(EVF__WATCHER_OF_LINK(loop->idles.next));
    /* What is due has left its list and waits for delivery. */
    while (!evf__list_is_empty(&loop->ready)) {
        struct evf_watcher *watcher = EVF__WATCHER_OF_READY(loop->ready.next);
        if (watcher->kind == EVF_WATCHER_IO) evf_io_stop(EVF__CONTAINER(watcher, struct evf_io, w));
        else evf__watcher_stop(watcher);
    }
    evf__timers_stop_all(loop);
    evf__io_stop_all(loop);
}

void evf__loop_abandon(struct evf_loop *loop) {
    if (loop->abandoned) return;
    stop_signals(loop); /* a handler that stays would be the parent's */
    loop->abandoned = true;
}

bool evf_loop_is_abandoned(const struct evf_loop *loop) {
    return loop->abandoned;
}

void evf_loop_free(struct evf_loop *loop) {
    if (loop == NULL) return;
    evf__fork_check_by_call(); /* a library may take the watches apart before it closes */
    if (!loop->abandoned) {
        stop_all(loop);
        loop->backend->close(loop->state);
    }
    evf__loops_lock();
    evf__list_remove(&loop->all);
    evf__loops_unlock();
    evf__timers_clear(loop);
    evf__io_clear(loop);
    free(loop);
}

static int make_private(struct evf_loop *loop) {
    evf__fork_check_by_call();
    bool is_child = loop->generation != evf_fork_generation;
    if (is_child) evf__processes_stop_all(loop); /* not our children */
    loop->generation = evf_fork_generation;
    loop->wants_rearm = true; /* until all of it has succeeded */

    if (is_child) evf_io_stop(&loop->wake); /* closed at the fork */
    evf__io_forget_closed(loop);
    int rc = loop->backend->after_fork(loop->state);
    if (rc < 0) return rc;
    if (loop->wake.w.loop == NULL && (rc = evf__io_init(loop)) < 0) return rc;
    evf__io_rearm_all(loop);
    loop->wants_rearm = false;
    return 0;
}

int evf_loop_after_fork(struct evf_loop *loop, bool force) {
    evf__fork_check();
    if (loop->abandoned) return EVF_EABANDONED;
    if (loop->generation == evf_fork_generation && !loop->wants_rearm && !force) return 0;
    return make_private(loop);
}

const char *evf_loop_backend(const struct evf_loop *loop) {
    return loop->backend->name;
}

const char *evf_loop_method(const struct evf_loop *loop) {
    return loop->method;
}

size_t evf_loop_watchers(const struct evf_loop *loop) {
    return loop->watchers;
}

bool evf_loop_verify(const struct evf_loop *loop) {
    return !loop->abandoned && loop->backend->verify(loop->state) == 0;
}

/* ---- One turn ----------------------------------------------------------------------------------------------- */

static bool has_pending(const struct evf_loop *loop) {
    return loop->hooks.run_pending != NULL && loop->hooks.has_pending != NULL &&
           loop->hooks.has_pending(loop->hooks.data);
}

static int run_pending(struct evf_loop *loop, bool *ran) {
    return has_pending(loop) ? loop->hooks.run_pending(loop->hooks.data, ran) : 0;
}

static bool must_not_block(const struct evf_loop *loop) {
    return !evf__list_is_empty(&loop->ready) || !evf__list_is_empty(&loop->idles) || loop->always_ready_count > 0 ||
           evf__signals_pending(loop) || evf__processes_pending(loop) || has_pending(loop);
}

/* The turn is going to change interest, or to wait: the system call that finds a copy does not show then. */
static bool will_call(const struct evf_loop *loop, int64_t timeout_ns) {
    return loop->changes_count > 0 || (timeout_ns != 0 && !must_not_block(loop));
}

static int ask_backend(struct evf_loop *loop, int64_t timeout_ns) {
    int rc = evf__io_flush(loop);
    if (rc < 0) return rc;
    timeout_ns = evf__timers_timeout(loop, timeout_ns);
    /* From here a signal ends the wait through the wake-up descriptor; one that came before is seen by the check. */
    evf__wakeup_enter(loop);
    if (must_not_block(loop)) timeout_ns = 0;
    if (evf__heartbeat_is_on() && timeout_ns != 0) evf_heartbeat_idle();
    rc = loop->backend->wait(loop->state, timeout_ns);
    if (evf__heartbeat_is_on()) evf_heartbeat_busy(evf__now(loop, EVF_CLOCK_MONOTONIC));
    evf__wakeup_leave(loop);
    return rc;
}

static int wait_for_kernel(struct evf_loop *loop, int64_t timeout_ns) {
    const struct evf_loop_hooks *hooks = &loop->hooks;
    int rc = hooks->before_wait != NULL ? hooks->before_wait(hooks->data) : 0;
    if (rc == 0 && hooks->before_wait != NULL) rc = evf_loop_after_fork(loop, false); /* it may have forked */
    if (rc < 0) return rc;
    rc = ask_backend(loop, timeout_ns);
    int after = hooks->after_wait != NULL ? hooks->after_wait(hooks->data) : 0;
    return rc < 0 ? rc : after;
}

static void collect(struct evf_loop *loop) {
    if (loop->always_ready_count > 0) evf__io_collect(loop);
    if (evf__processes_pending(loop)) evf__processes_collect(loop);
    if (evf__signals_pending(loop)) evf__signals_collect(loop);
    evf__timers_collect(loop);
    while (!evf__list_is_empty(&loop->idles)) {
        struct evf_watcher *watcher = EVF__WATCHER_OF_LINK(loop->idles.next);
        evf__list_remove(&watcher->link);
        evf__ready(loop, watcher);
    }
}

static int deliver_one(struct evf_watcher *watcher) {
    void *data = watcher->data;
    switch ((enum evf_watcher_kind)watcher->kind) {
    case EVF_WATCHER_IO: {
        struct evf_io *io = EVF__CONTAINER(watcher, struct evf_io, w);
        unsigned events = io->events;
        io->events = 0;
        return io->cb(io, events, data);
    }
    case EVF_WATCHER_TIMER: {
        struct evf_timer *timer = EVF__CONTAINER(watcher, struct evf_timer, w);
        evf__watcher_stop(watcher);
        return timer->cb(timer, data);
    }
    case EVF_WATCHER_IDLE: {
        struct evf_idle *idle = EVF__CONTAINER(watcher, struct evf_idle, w);
        evf__watcher_stop(watcher);
        return idle->cb(idle, data);
    }
    case EVF_WATCHER_SIGNAL: {
        struct evf_signal *sig = EVF__CONTAINER(watcher, struct evf_signal, w);
        return sig->cb(sig, sig->signo, data);
    }
    case EVF_WATCHER_PROCESS:
        return evf__process_deliver(EVF__CONTAINER(watcher, struct evf_process, w));
    }
    return 0;
}

/* Readiness is the kernel's to repeat; after an exception old news of it would only mislead. */
static void forget_readiness(struct evf_loop *loop) {
    for (struct evf_link *link = loop->ready.next; link != &loop->ready;) {
        struct evf_watcher *watcher = EVF__WATCHER_OF_READY(link);
        link = link->next;
        if (watcher->kind != EVF_WATCHER_IO) continue;
        EVF__CONTAINER(watcher, struct evf_io, w)->events = 0;
        evf__list_remove(&watcher->ready);
    }
}

static int deliver(struct evf_loop *loop, int *count) {
    while (!evf__list_is_empty(&loop->ready)) {
        struct evf_watcher *watcher = EVF__WATCHER_OF_READY(loop->ready.next);
        evf__list_remove(&watcher->ready);
        bool internal = watcher->internal;
        int rc = deliver_one(watcher);
        if (!internal) ++*count;
        if (rc < 0) {
            forget_readiness(loop);
            return rc;
        }
        if (loop->abandoned) return EVF_EABANDONED;
        if (evf__loop_is_inherited(loop)) { /* the callback forked, and this is the child */
            rc = evf_loop_after_fork(loop, false);
            if (rc < 0) return rc;
        }
    }
    return 0;
}

int evf_loop_run_once(struct evf_loop *loop, int64_t timeout_ns) {
    if (timeout_ns < -1) return EVF_EINVAL;
    int64_t deadline_ns = timeout_ns <= 0 ? 0 : evf__now(loop, EVF_CLOCK_MONOTONIC);
    if (timeout_ns > INT64_MAX - deadline_ns) timeout_ns = INT64_MAX - deadline_ns;
    deadline_ns += timeout_ns;

    for (int count = 0;;) {
        if (evf__tripwire_owner != 0 && will_call(loop, timeout_ns)) evf__fork_check_by_call();
        int rc = evf_loop_after_fork(loop, false);
        if (rc < 0) return rc;
        bool ran = false;
        rc = wait_for_kernel(loop, timeout_ns);
        if (rc < 0) return rc;
        rc = run_pending(loop, &ran);
        if (rc < 0) return rc;
        rc = evf_loop_after_fork(loop, false);
        if (rc < 0) return rc;
        collect(loop);
        rc = deliver(loop, &count);
        if (rc < 0) return rc;
        if (count > 0 || ran || timeout_ns == 0) return count;
        if (timeout_ns > 0) {
            timeout_ns = deadline_ns - evf__now(loop, EVF_CLOCK_MONOTONIC);
            if (timeout_ns <= 0) return count;
        }
    }
}
