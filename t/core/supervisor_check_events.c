/* What an event means to the model: who lives, who failed, what the breaker and the reload have to do about it. */
#include "supervisor_check_parts.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* The shortest delay that jitter may leave after so many failures in a row. */
static int64_t least_delay(const struct checker *checker, unsigned failures, bool is_hasty) {
    int64_t least_ns = checker->options.respawn_delay_ns, most_ns = delay_max(checker);
    if (!is_hasty && least_ns == 0) least_ns = 100 * MILLISECOND;
    if (most_ns < least_ns) most_ns = least_ns;
    if (is_hasty && failures < 2) return 0;
    int64_t delay_ns = least_ns;
    for (unsigned i = 2; i < failures && delay_ns < most_ns; i++)
        delay_ns = delay_ns > most_ns / 2 ? most_ns : delay_ns * 2;
    delay_ns -= delay_ns / 2;
    return !is_hasty && delay_ns < least_ns ? least_ns : delay_ns;
}

/* A signal by which a process says that it went wrong: nobody sends these. */
static bool by_fault(int status) {
    if (status < 0 || !WIFSIGNALED(status)) return false;
    switch (WTERMSIG(status)) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGABRT:
    case SIGFPE:
        return true;
    default:
        return false;
    }
}

static void fall_back(struct checker *checker) {
    checker->is_fallen_back = checker->expects_fallback = true;
    checker->tries_fork_again = false;
    checker->crashes = 0;
}

static void leave_out(struct checker *checker, uint64_t culprit) {
    checker->expects_skip = culprit;
    checker->has_skipped = true;
    checker->crashes = 0;
}

static void open_or_fall_back(struct checker *checker) {
    bool all_faults = true;
    const uint64_t culprit = checker->crash[checker->crashes - 1].culprit;
    bool is_one = culprit != 0;
    for (unsigned i = checker->crashes - checker->options.crash_limit; i < checker->crashes; i++) {
        all_faults = all_faults && checker->crash[i].is_fault;
        is_one = is_one && checker->crash[i].culprit == culprit;
    }
    if (is_one) {
        leave_out(checker, culprit);
        return;
    }
    checker->crashes = 0;
    if (checker->options.can_spawn && !checker->is_fallen_back && !checker->options.only_spawn && all_faults) {
        fall_back(checker);
        return;
    }
    checker->is_open = true;
    checker->expects_open = true;
    checker->probe_ns = sum(checker->now_ns, probe_interval(checker));
}

static void count_crash(struct checker *checker, bool is_fault, uint64_t culprit) {
    const unsigned limit = checker->options.crash_limit;
    if (limit == 0 || checker->options.crash_window_ns == 0 || checker->is_open) return;
    if (checker->crashes == CHECK_CRASHES) {
        memmove(&checker->crash[0], &checker->crash[1], sizeof checker->crash - sizeof checker->crash[0]);
        checker->crashes--;
    }
    checker->crash[checker->crashes].when_ns = checker->now_ns;
    checker->crash[checker->crashes].culprit = culprit;
    checker->crash[checker->crashes++].is_fault = is_fault;
    unsigned in_window = 0;
    for (unsigned i = 0; i < checker->crashes; i++)
        in_window += checker->now_ns - checker->crash[i].when_ns <= checker->options.crash_window_ns;
    if (in_window >= limit) open_or_fall_back(checker);
}

static bool has_old_one(const struct evf_supervisor *supervisor, const struct checker *checker) {
    for (unsigned berth = 0; berth < checker->berths; berth++) {
        struct evf_worker_view view;
        (void)evf_supervisor_worker(supervisor, berth, &view);
        if (view.state == EVF_WORKER_READY && view.generation != checker->generation && !view.is_leaving) return true;
    }
    return false;
}

static bool spawns(const struct checker *checker) {
    return checker->options.only_spawn || checker->is_fallen_back;
}

static void start_failed(struct checker *checker, unsigned berth, const struct check_worker *was, int status,
                         uint64_t culprit, bool had_old) {
    const unsigned generation = was->generation;
    struct check_slot *slot = &checker->slot[berth / 2];
    const bool by_us = checker->before.state == EVF_WORKER_KILLING;
    const bool asks = status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == EVF_EXIT_NOTHING_STARTED;
    if (checker->before.is_replacement)
        slot->replacement_not_before_ns =
            sum(checker->now_ns, least_delay(checker, ++slot->replacement_failures, false));
    else slot->not_before_ns = sum(checker->now_ns, least_delay(checker, ++slot->failures, !asks));
    if (checker->tries_skipped_again && was->method == EVF_START_FORK && culprit != 0) {
        leave_out(checker, culprit);
        return;
    }
    if (checker->tries_fork_again && was->method == EVF_START_FORK && by_fault(status) && !by_us) {
        fall_back(checker);
        return;
    }
    if (checker->reloading != 0 && generation == checker->generation && checker->proven != generation && had_old)
        checker->expects_rollback = true;
    if (was->method == (spawns(checker) ? EVF_START_SPAWN : EVF_START_FORK))
        count_crash(checker, by_fault(status) && !by_us, culprit);
}

static void main_died(struct checker *checker, unsigned berth, int64_t ready_ns) {
    struct check_slot *slot = &checker->slot[berth / 2];
    const int64_t steady_ns = delay_max(checker) < SECOND ? delay_max(checker) : SECOND;
    if (checker->now_ns - ready_ns >= steady_ns) slot->failures = 0;
    slot->not_before_ns = sum(checker->now_ns, least_delay(checker, ++slot->failures, true));
    slot->replacement_failures = 0;
    slot->replacement_not_before_ns = 0;
}

static void ended(struct checker *checker, unsigned berth, int status, uint64_t culprit, bool had_old) {
    const struct check_worker was = checker->worker[berth];
    const struct evf_worker_view *before = &checker->before;
    memset(&checker->worker[berth], 0, sizeof was);
    if (checker->is_stopping || before->is_leaving) return;
    const bool is_startup = before->state == EVF_WORKER_STARTING ||
                            (before->state == EVF_WORKER_KILLING && before->cause == EVF_CAUSE_STARTUP);
    if (!was.was_ready && is_startup) start_failed(checker, berth, &was, status, culprit, had_old);
    else if (!was.is_old) main_died(checker, berth, was.ready_ns);
}

static void became_ready(struct checker *checker, unsigned berth) {
    struct check_worker *worker = &checker->worker[berth];
    worker->is_ready = worker->was_ready = true;
    worker->ready_ns = checker->now_ns;
    checker->was_ever_ready = true;
    if (worker->method == EVF_START_FORK) checker->tries_fork_again = checker->tries_skipped_again = false;
    if (checker->before.is_replacement) {
        checker->slot[berth / 2].replacement_failures = 0;
        checker->worker[berth ^ 1].is_old = is_alive(&checker->worker[berth ^ 1]);
    }
    if (worker->generation == checker->generation) checker->proven = checker->generation;
    if (!checker->is_open) return;
    checker->is_open = false;
    checker->crashes = 0;
    checker->expects_close = true;
    for (unsigned slot = 0; slot < checker->berths / 2; slot++) {
        bound_from_above(&checker->slot[slot].not_before_ns, sum(checker->now_ns, least_delay(checker, 2, true)));
        bound_from_above(&checker->slot[slot].replacement_not_before_ns,
                         sum(checker->now_ns, least_delay(checker, 2, false)));
    }
}

static void spawn_answered(struct checker *checker, const struct evf_supervisor_event *event, bool had_old) {
    struct check_worker *worker = &checker->worker[event->berth];
    struct check_slot *slot = &checker->slot[event->berth / 2];
    if (!worker->is_awaited) return;
    if (event->type == EVF_EVENT_SPAWN_FAILED || event->pid <= 1) {
        memset(worker, 0, sizeof *worker);
        if (checker->before.is_replacement)
            slot->replacement_not_before_ns =
                sum(checker->now_ns, least_delay(checker, ++slot->replacement_failures, false));
        else slot->not_before_ns = sum(checker->now_ns, least_delay(checker, ++slot->failures, false));
        return;
    }
    worker->is_awaited = false;
    worker->is_running = true;
    worker->pid = event->pid;
    const bool exited =
        worker->has_exited_early && (worker->early_exit_pid == 0 || worker->early_exit_pid == event->pid);
    const bool is_ready =
        worker->is_ready_early && (worker->early_ready_pid == 0 || worker->early_ready_pid == event->pid);
    if (exited) ended(checker, event->berth, worker->early_status, worker->early_culprit, had_old);
    else if (is_ready && checker->before.state == EVF_WORKER_STARTING) became_ready(checker, event->berth);
}

static void sampled(struct checker *checker, const struct evf_supervisor_event *event) {
    struct check_worker *worker = &checker->worker[event->berth];
    const uint64_t max_bytes = checker->options.max_rss_bytes;
    if (checker->before.state != EVF_WORKER_READY) return;
    if (worker->requests_max > 0 && event->requests >= worker->requests_max) worker->passed_limit = true;
    if (max_bytes == 0 || event->rss_bytes == 0) return;
    worker->large_samples = event->rss_bytes > max_bytes ? worker->large_samples + 1 : 0;
    if (worker->large_samples >= 3) worker->passed_limit = true;
}

static void worker_event(struct checker *checker, const struct evf_supervisor_event *event, bool had_old) {
    struct check_worker *worker = &checker->worker[event->berth];
    if (worker->is_running && event->pid != 0 && event->pid != worker->pid) return;
    if (event->type == EVF_EVENT_SAMPLE) sampled(checker, event);
    if (event->type == EVF_EVENT_READY) {
        if (checker->before.state == EVF_WORKER_STARTING && worker->is_awaited) {
            worker->is_ready_early = true;
            worker->early_ready_pid = event->pid;
        } else if (checker->before.state == EVF_WORKER_STARTING) became_ready(checker, event->berth);
    } else if (event->type == EVF_EVENT_EXITED) {
        if (worker->is_running) ended(checker, event->berth, event->wait_status, event->culprit, had_old);
        worker->has_exited_early = worker->is_awaited;
        worker->early_status = event->wait_status;
        worker->early_culprit = event->culprit;
        worker->early_exit_pid = event->pid;
    }
}

static bool anybody_is_kept(const struct evf_supervisor *supervisor, const struct checker *checker) {
    for (unsigned berth = 0; berth < checker->berths; berth++) {
        const struct check_worker *worker = &checker->worker[berth];
        struct evf_worker_view view;
        (void)evf_supervisor_worker(supervisor, berth, &view);
        if (is_alive(worker) && !view.is_leaving && !view.is_replacement && !worker->is_old) return true;
    }
    return false;
}

static void stop_event(struct checker *checker, const struct evf_supervisor_event *event) {
    const int64_t grace_ns = sum(checker->options.graceful_timeout_ns, 1000 * MILLISECOND);
    if (checker->is_halting) return;
    checker->is_fast = checker->is_fast || event->is_fast || checker->is_stopping;
    const int64_t before_ns = sum(checker->now_ns, sum(checker->slack_ns, checker->is_fast ? 0 : grace_ns));
    bound_from_above(&checker->stop_before_ns, before_ns);
    checker->is_stopping = true;
}

static void pool_event(struct checker *checker, const struct evf_supervisor *supervisor,
                       const struct evf_supervisor_event *event) {
    if (event->type == EVF_EVENT_STOP) stop_event(checker, event);
    if (checker->is_stopping) return;
    if (event->type == EVF_EVENT_START) checker->is_started = true;
    if (event->type == EVF_EVENT_RESIZE) checker->workers = event->workers;
    if (event->type != EVF_EVENT_RELOAD || !checker->is_started) return;
    checker->reloaded = 0;
    checker->probe_ns = checker->now_ns;
    if (checker->is_fallen_back) {
        checker->is_fallen_back = false;
        checker->expects_fallback = checker->tries_fork_again = true;
        checker->crashes = 0;
    }
    checker->expects_restore = checker->has_skipped;
    checker->tries_skipped_again = checker->tries_skipped_again || checker->has_skipped;
    checker->has_skipped = false;
    if (anybody_is_kept(supervisor, checker)) return;
    for (unsigned slot = 0; slot < checker->berths / 2; slot++)
        checker->slot[slot].failures = 0, checker->slot[slot].not_before_ns = 0;
    checker->expects_close = checker->expects_close || checker->is_open;
    checker->is_open = false;
    checker->crashes = checker->expects_close ? 0 : checker->crashes;
}

void check_take_event(struct checker *checker, const struct evf_supervisor *supervisor,
                      const struct evf_supervisor_event *event) {
    if (event->type < EVF_EVENT_SPAWNED || event->type > EVF_EVENT_EXAMINED) {
        pool_event(checker, supervisor, event);
        return;
    }
    const bool had_old = checker->reloading != 0 && has_old_one(supervisor, checker);
    (void)evf_supervisor_worker(supervisor, event->berth, &checker->before);
    if (event->type == EVF_EVENT_SPAWNED || event->type == EVF_EVENT_SPAWN_FAILED)
        spawn_answered(checker, event, had_old);
    else worker_event(checker, event, had_old);
}
