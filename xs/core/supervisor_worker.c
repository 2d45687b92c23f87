/* The life of one process: spawned, ready, asked to leave, examined, killed, gone. Each function is a cell of the table
 * in supervisor.c, or a step that several cells share. What follows from an end is in supervisor_slot.c.
 *
 * A pid is known between SPAWNED and EXITED only, and only then an action can name it. What has to be said to a process
 * whose pid is not known yet is said at SPAWNED. */
#include "supervisor_internal.h"

#include <errno.h>

static const int64_t examine_ns = EVF__SECOND; /* how long a place is waited for before the KILL */
static const int64_t kill_again_ns = EVF__SECOND;
enum { LARGE_SAMPLES = 3 };

static struct evf_supervisor_action *act_on(struct evf_supervisor *supervisor, enum evf_action_type type,
                                            unsigned berth) {
    struct evf_supervisor_action *action = evf__act(supervisor, type, berth);
    action->pid = supervisor->worker[berth].pid;
    action->cause = supervisor->worker[berth].cause;
    return action;
}

static struct evf_supervisor_action *report_on(struct evf_supervisor *supervisor, enum evf_report report,
                                               unsigned berth) {
    struct evf_supervisor_action *action = act_on(supervisor, EVF_ACTION_REPORT, berth);
    action->report = report;
    return action;
}

static void count(struct evf_supervisor *supervisor, const struct evf__worker *worker, unsigned by) {
    if (!evf__is_alive(worker->state)) return;
    supervisor->alive += by;
    if (worker->generation == supervisor->generation) supervisor->current += by;
    if (worker->was_ready) supervisor->served += by;
    if (worker->state == EVF_WORKER_READY) supervisor->ready += by;
    if (worker->state == EVF_WORKER_STARTING) supervisor->starting += by;
}

void evf__worker_set_state(struct evf_supervisor *supervisor, unsigned berth, enum evf_worker_state state) {
    struct evf__worker *worker = &supervisor->worker[berth];
    count(supervisor, worker, -1u);
    worker->state = state;
    if (state == EVF_WORKER_READY) worker->was_ready = true;
    count(supervisor, worker, 1u);
}

void evf__worker_clear(struct evf_supervisor *supervisor, unsigned berth) {
    evf__worker_set_state(supervisor, berth, EVF_WORKER_EMPTY);
    evf__deadline_set(supervisor, berth, EVF__NEVER);
    supervisor->worker[berth] =
        (struct evf__worker){.deadline_ns = EVF__NEVER, .heap_index = EVF__NOT_IN_HEAP, .state = EVF_WORKER_EMPTY};
}

/* ---- Start -------------------------------------------------------------------------------------------------- */

/* 32 bits in reverse order: 0, 1/2, 1/4, 3/4, 1/8 ... of 2^32, so that any first n slots are spread evenly. */
static uint64_t spread(unsigned slot) {
    uint64_t reversed = 0;
    for (int bit = 0; bit < 32; bit++) reversed |= (uint64_t)(slot >> bit & 1) << (31 - bit);
    return reversed;
}

uint64_t evf__requests_max(const struct evf_supervisor *supervisor, unsigned slot) {
    const uint64_t most = supervisor->options.max_requests, jitter = supervisor->options.max_requests_jitter;
    if (most == 0) return 0;
    const uint64_t part = spread(slot), more = (jitter >> 32) * part + (((jitter & UINT32_MAX) * part) >> 32);
    return more > UINT64_MAX - most ? UINT64_MAX : most + more;
}

void evf__worker_spawn(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause, bool is_replacement) {
    struct evf__worker *worker = &supervisor->worker[berth];
    evf__worker_clear(supervisor, berth);
    worker->cause = worker->start_cause = cause;
    worker->method = supervisor->method;
    worker->generation = supervisor->generation;
    worker->spawned_ns = supervisor->now_ns;
    worker->is_awaited = true;
    worker->is_replacement = is_replacement;
    evf__worker_set_state(supervisor, berth, EVF_WORKER_STARTING);
    const int64_t timeout_ns = supervisor->options.startup_timeout_ns;
    if (timeout_ns > 0) evf__deadline_set(supervisor, berth, evf__after(supervisor, timeout_ns));
    if (supervisor->breaker_is_open) supervisor->probe_ns = evf__after(supervisor, evf__probe_interval(supervisor));

    struct evf_supervisor_action *action = act_on(supervisor, EVF_ACTION_SPAWN, berth);
    action->generation = worker->generation;
    action->method = worker->method;
    action->requests_max = evf__requests_max(supervisor, evf__slot_of(berth));
}

/* ---- Leaving ------------------------------------------------------------------------------------------------ */

static void say_drain(struct evf_supervisor *supervisor, unsigned berth) {
    evf__deadline_set(supervisor, berth, evf__after(supervisor, supervisor->options.graceful_timeout_ns));
    (void)report_on(supervisor, EVF_REPORT_DRAINING, berth);
    (void)act_on(supervisor, EVF_ACTION_DRAIN, berth);
}

static void say_kill(struct evf_supervisor *supervisor, unsigned berth) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const bool is_stuck = worker->cause == EVF_CAUSE_STUCK || worker->cause == EVF_CAUSE_STARTUP;
    struct evf_supervisor_action *report =
        report_on(supervisor, is_stuck ? EVF_REPORT_STUCK : EVF_REPORT_KILLED, berth);
    if (is_stuck) report->elapsed_ns = supervisor->now_ns - worker->silent_since_ns;
    (void)act_on(supervisor, EVF_ACTION_KILL, berth);
    worker->kill_is_sent = true;
    evf__deadline_set(supervisor, berth, evf__after(supervisor, kill_again_ns));
}

static void examine(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause) {
    struct evf__worker *worker = &supervisor->worker[berth];
    worker->cause = cause;
    evf__worker_set_state(supervisor, berth, EVF_WORKER_KILLING);
    evf__deadline_set(supervisor, berth, worker->is_awaited ? EVF__NEVER : evf__after(supervisor, examine_ns));
    if (!worker->is_awaited) (void)act_on(supervisor, EVF_ACTION_EXAMINE, berth);
}

void evf__worker_kill(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause) {
    struct evf__worker *worker = &supervisor->worker[berth];
    if (!evf__is_alive(worker->state)) {
        evf__worker_clear(supervisor, berth);
        return;
    }
    if (worker->kill_is_sent) return;
    if (worker->state != EVF_WORKER_KILLING) {
        worker->cause = cause;
        evf__worker_set_state(supervisor, berth, EVF_WORKER_KILLING);
    }
    if (worker->is_awaited) evf__deadline_set(supervisor, berth, EVF__NEVER);
    else say_kill(supervisor, berth);
}

void evf__worker_leave(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const int64_t timeout_ns = supervisor->options.graceful_timeout_ns;
    if (worker->state == EVF_WORKER_DRAINING || worker->state == EVF_WORKER_KILLING) return;
    if (!evf__is_alive(worker->state) || timeout_ns == 0) {
        worker->is_replacement = false;
        evf__worker_kill(supervisor, berth, cause);
        return;
    }
    worker->cause = cause;
    worker->is_replacement = false;
    evf__worker_set_state(supervisor, berth, EVF_WORKER_DRAINING);
    evf__deadline_set(supervisor, berth, EVF__NEVER); /* its time begins when it is told */
    if (!worker->is_awaited) say_drain(supervisor, berth);
}

/* ---- The end ------------------------------------------------------------------------------------------------ */

static enum evf_cause cause_of_end(const struct evf__worker *worker) {
    if (worker->state == EVF_WORKER_STARTING) return EVF_CAUSE_FAILED;
    if (worker->state == EVF_WORKER_READY) return EVF_CAUSE_DIED;
    return worker->cause;
}

static void end(struct evf_supervisor *supervisor, unsigned berth, int wait_status) {
    const struct evf__worker ended = supervisor->worker[berth];
    const enum evf_cause cause = cause_of_end(&ended);
    struct evf_supervisor_action *report = report_on(supervisor, EVF_REPORT_EXITED, berth);
    report->cause = cause;
    report->wait_status = wait_status;
    report->generation = ended.generation;
    report->elapsed_ns = supervisor->now_ns - ended.spawned_ns;
    evf__worker_clear(supervisor, berth);
    if (!evf__is_stopping(supervisor)) evf__slot_ended(supervisor, berth, &ended, cause, wait_status);
}

/* ---- Events ------------------------------------------------------------------------------------------------- */

/* What came before the answer to SPAWN may have been about the worker before. */
static bool is_about(pid_t told_pid, pid_t pid) {
    return told_pid == 0 || told_pid == pid;
}

void evf__worker_spawned(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    struct evf__worker *worker = &supervisor->worker[berth];
    if (!worker->is_awaited) return;
    if (event->pid <= 1) { /* to kill() that is everybody, a group, or init */
        struct evf_supervisor_event failed = *event;
        failed.error = EINVAL;
        evf__worker_spawn_failed(supervisor, berth, &failed);
        return;
    }
    worker->is_awaited = false;
    worker->pid = event->pid;
    supervisor->starts[worker->start_cause]++;
    struct evf_supervisor_action *report = report_on(supervisor, EVF_REPORT_STARTED, berth);
    report->cause = worker->start_cause;
    report->generation = worker->generation;
    if (worker->has_exited_early && is_about(worker->early_exit_pid, event->pid))
        end(supervisor, berth, worker->early_status);
    else if (worker->state == EVF_WORKER_DRAINING) say_drain(supervisor, berth);
    else if (worker->state == EVF_WORKER_KILLING) say_kill(supervisor, berth);
    else if (worker->is_ready_early && is_about(worker->early_ready_pid, event->pid))
        evf__worker_ready(supervisor, berth, event);
}

void evf__worker_spawn_failed(struct evf_supervisor *supervisor, unsigned berth,
                              const struct evf_supervisor_event *event) {
    const struct evf__worker failed = supervisor->worker[berth];
    if (!failed.is_awaited) return;
    struct evf_supervisor_action *report = evf__report(supervisor, EVF_REPORT_SPAWN_FAILED, berth);
    report->error = event->error;
    report->cause = failed.start_cause;
    evf__worker_clear(supervisor, berth);
    if (!evf__is_stopping(supervisor)) evf__slot_spawn_failed(supervisor, berth, &failed);
}

/* A replacement takes the place of the worker beside it, which is asked to leave. */
static void take_over(struct evf_supervisor *supervisor, unsigned berth) {
    struct evf__slot *slot = &supervisor->slot[evf__slot_of(berth)];
    const enum evf_cause cause = slot->outdated;
    supervisor->worker[berth].is_replacement = false;
    slot->main ^= 1;
    slot->replacement_failures = 0;
    evf__replace_forget(supervisor, evf__slot_of(berth));
    evf__worker_leave(supervisor, berth ^ 1, cause);
}

static void set_age_limit(struct evf_supervisor *supervisor, unsigned berth) {
    const struct evf_supervisor_options *options = &supervisor->options;
    int64_t age_ns =
        options->max_lifetime_ns > options->min_lifetime_ns ? options->max_lifetime_ns : options->min_lifetime_ns;
    evf__deadline_set(supervisor, berth, options->max_lifetime_ns > 0 ? evf__after(supervisor, age_ns) : EVF__NEVER);
}

void evf__worker_ready(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    struct evf__worker *worker = &supervisor->worker[berth];
    if (worker->is_awaited) {
        worker->is_ready_early = true;
        worker->early_ready_pid = event->pid;
        return;
    }
    evf__worker_set_state(supervisor, berth, EVF_WORKER_READY);
    worker->ready_ns = supervisor->now_ns;
    supervisor->was_ever_ready = true;
    if (worker->method == EVF_START_FORK) supervisor->retries_fork = supervisor->retries_skipped = false;
    if (worker->generation == supervisor->generation) supervisor->proven_generation = worker->generation;
    set_age_limit(supervisor, berth);
    struct evf_supervisor_action *report = report_on(supervisor, EVF_REPORT_READY, berth);
    report->generation = worker->generation;
    report->elapsed_ns = supervisor->now_ns - worker->spawned_ns;
    evf__breaker_close(supervisor);
    if (worker->is_replacement) take_over(supervisor, berth);
    if (supervisor->state == EVF_POOL_RELOADING && worker->generation != supervisor->generation)
        evf__replace_request(supervisor, evf__slot_of(berth), EVF_CAUSE_RELOAD);
}

void evf__worker_exited(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    struct evf__worker *worker = &supervisor->worker[berth];
    worker->culprit = event->culprit;
    if (!worker->is_awaited) {
        end(supervisor, berth, event->wait_status);
        return;
    }
    worker->has_exited_early = true;
    worker->early_status = event->wait_status;
    worker->early_exit_pid = event->pid;
}

void evf__worker_heartbeat(struct evf_supervisor *supervisor, unsigned berth,
                           const struct evf_supervisor_event *event) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const int64_t timeout_ns = supervisor->options.heartbeat_timeout_ns;
    int64_t since_ns = event->busy_since_ns;
    if (timeout_ns == 0 || since_ns == 0) return;
    /* One that calls ready from a long turn was not late before. */
    if (since_ns < worker->ready_ns) since_ns = worker->ready_ns;
    if (since_ns < supervisor->resumed_ns) since_ns = supervisor->resumed_ns;
    int64_t silence_ns = since_ns < supervisor->now_ns ? supervisor->now_ns - since_ns : 0;
    int64_t extension_ns = event->extension_ns > 0 ? event->extension_ns : 0;
    if (silence_ns <= timeout_ns || silence_ns - timeout_ns <= extension_ns) return;
    worker->silent_since_ns = since_ns;
    evf__replace_forget(supervisor, evf__slot_of(berth));
    examine(supervisor, berth, EVF_CAUSE_STUCK);
}

/* A limit that was passed counts from the minimum age on. */
static void pass_limit(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause limit) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const int64_t min_ns = supervisor->options.min_lifetime_ns;
    if (worker->limit == EVF_CAUSE_NONE) worker->limit = limit;
    if (supervisor->now_ns - worker->ready_ns >= min_ns)
        evf__replace_request(supervisor, evf__slot_of(berth), worker->limit);
    else if (worker->deadline_ns - worker->ready_ns > min_ns)
        evf__deadline_set(supervisor, berth, worker->ready_ns + min_ns); /* less than a deadline: cannot wrap */
}

void evf__worker_sample(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const uint64_t requests_max = evf__requests_max(supervisor, evf__slot_of(berth));
    const uint64_t rss_max_bytes = supervisor->options.max_rss_bytes;
    if (requests_max > 0 && event->requests >= requests_max) pass_limit(supervisor, berth, EVF_CAUSE_REQUESTS);
    if (rss_max_bytes == 0 || event->rss_bytes == 0) return;
    if (event->rss_bytes <= rss_max_bytes) worker->large_samples = 0;
    else if (worker->large_samples < LARGE_SAMPLES) worker->large_samples++;
    if (worker->large_samples == LARGE_SAMPLES) pass_limit(supervisor, berth, EVF_CAUSE_RSS);
}

void evf__worker_examined(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    (void)event;
    const struct evf__worker *worker = &supervisor->worker[berth];
    if (!worker->kill_is_sent && !worker->is_awaited) say_kill(supervisor, berth);
}

/* ---- Deadlines ---------------------------------------------------------------------------------------------- */

void evf__worker_is_late(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    (void)event;
    supervisor->worker[berth].silent_since_ns = supervisor->worker[berth].spawned_ns;
    examine(supervisor, berth, EVF_CAUSE_STARTUP);
}

void evf__worker_reached_age(struct evf_supervisor *supervisor, unsigned berth,
                             const struct evf_supervisor_event *event) {
    (void)event;
    evf__deadline_set(supervisor, berth, EVF__NEVER);
    pass_limit(supervisor, berth, EVF_CAUSE_LIFETIME);
}

void evf__worker_overstayed(struct evf_supervisor *supervisor, unsigned berth,
                            const struct evf_supervisor_event *event) {
    (void)event;
    examine(supervisor, berth, EVF_CAUSE_GRACEFUL);
}

void evf__worker_resists(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    (void)event;
    if (!supervisor->worker[berth].kill_is_sent) {
        say_kill(supervisor, berth);
        return;
    }
    (void)act_on(supervisor, EVF_ACTION_KILL, berth);
    evf__deadline_set(supervisor, berth, evf__after(supervisor, kill_again_ns));
}
