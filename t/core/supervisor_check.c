/* See supervisor_check.h. Where the model needs to know what a worker was to the supervisor (a replacement, one that
 * leaves), it takes the view of the berth before the event; times, counts and permissions it keeps itself. */
#include "supervisor_check.h"

#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)
#define NEVER INT64_MAX

static void complain(struct checker *checker, const char *what, unsigned berth) {
    if (checker->complaint != NULL) return;
    checker->complaint = what;
    checker->complaint_berth = berth;
}

static void require(struct checker *checker, bool is_so, const char *what, unsigned berth) {
    if (!is_so) complain(checker, what, berth);
}

static int64_t sum(int64_t a, int64_t b) {
    return b > NEVER - a ? NEVER : a + b;
}

void check_init(struct checker *checker, const struct evf_supervisor_options *options) {
    memset(checker, 0, sizeof *checker);
    checker->options = *options;
    checker->workers = options->workers;
    checker->deadline_ns = checker->stop_before_ns = checker->slack_ns = NEVER;
    checker->generation = checker->proven = 1;
}

/* ---- Telling ------------------------------------------------------------------------------------------------ */

void check_describe(const struct evf_supervisor_action *action, char *text, size_t size) {
    static const char *const names[] = {"SPAWN", "DRAIN", "EXAMINE", "KILL", "LOOK", "REPORT", "FINISH"};
    const bool is_report = action->type == EVF_ACTION_REPORT;
    (void)snprintf(text, size, "    %s %s berth=%u pid=%d generation=%u cause=%s status=%d exit=%d ns=%" PRId64,
                   names[action->type], is_report ? evf_report_word(action->report) : "", action->berth,
                   (int)action->pid, action->generation, evf_cause_word(action->cause), action->wait_status,
                   action->exit_code, action->elapsed_ns);
}

void check_tell(const struct checker *checker, void (*tell)(const char *line)) {
    unsigned long first = checker->lines > CHECK_HISTORY ? checker->lines - CHECK_HISTORY : 0;
    for (unsigned long i = first; i < checker->lines; i++) {
        const struct check_line *line = &checker->history[i % CHECK_HISTORY];
        char text[EVF_TRACE_LINE_MAX] = "?";
        if (line->is_action) check_describe(&line->action, text, sizeof text);
        else if (evf_supervisor_trace_format(&line->event, line->now_ns, text, sizeof text) < 0) text[0] = '?';
        tell(text);
    }
}

static struct check_line *next_line(struct checker *checker) {
    return &checker->history[checker->lines++ % CHECK_HISTORY];
}

/* ---- Back-off ----------------------------------------------------------------------------------------------- */

static int64_t delay_max(const struct checker *checker) {
    const struct evf_supervisor_options *options = &checker->options;
    return options->respawn_delay_max_ns > options->respawn_delay_ns ? options->respawn_delay_max_ns
                                                                     : options->respawn_delay_ns;
}

static int64_t probe_interval(const struct checker *checker) {
    return delay_max(checker) > 0 ? delay_max(checker) : 100 * MILLISECOND;
}

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

static void bound_from_above(int64_t *not_before_ns, int64_t value_ns) {
    if (value_ns < *not_before_ns) *not_before_ns = value_ns;
}

/* ---- What an event means ------------------------------------------------------------------------------------ */

static bool is_alive(const struct check_worker *worker) {
    return worker->is_awaited || worker->is_running;
}

static unsigned served(const struct checker *checker) {
    unsigned count = 0;
    for (unsigned berth = 0; berth < checker->berths; berth++)
        count += checker->worker[berth].is_running && checker->worker[berth].was_ready;
    return count;
}

static void open_or_fall_back(struct checker *checker) {
    bool all_signals = true;
    for (unsigned i = checker->crashes - checker->options.crash_limit; i < checker->crashes; i++)
        all_signals = all_signals && checker->crash[i].is_signal;
    checker->crashes = 0;
    if (checker->options.can_spawn && !checker->is_fallen_back && all_signals) {
        checker->is_fallen_back = checker->expects_fallback = true;
        return;
    }
    checker->is_open = true;
    checker->expects_open = true;
    checker->probe_ns = sum(checker->now_ns, probe_interval(checker));
}

static void count_crash(struct checker *checker, bool is_signal) {
    const unsigned limit = checker->options.crash_limit;
    if (limit == 0 || checker->options.crash_window_ns == 0 || checker->is_open) return;
    if (checker->crashes == CHECK_CRASHES) {
        memmove(&checker->crash[0], &checker->crash[1], sizeof checker->crash - sizeof checker->crash[0]);
        checker->crashes--;
    }
    checker->crash[checker->crashes].when_ns = checker->now_ns;
    checker->crash[checker->crashes++].is_signal = is_signal;
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

static void start_failed(struct checker *checker, unsigned berth, unsigned generation, int status, bool had_old) {
    struct check_slot *slot = &checker->slot[berth / 2];
    const bool by_us = checker->before.state == EVF_WORKER_KILLING;
    const bool asks = status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == EVF_EXIT_NOTHING_STARTED;
    if (checker->before.is_replacement)
        slot->replacement_not_before_ns =
            sum(checker->now_ns, least_delay(checker, ++slot->replacement_failures, false));
    else slot->not_before_ns = sum(checker->now_ns, least_delay(checker, ++slot->failures, !asks));
    if (checker->reloading != 0 && generation == checker->generation && checker->proven != generation && had_old)
        checker->expects_rollback = true;
    count_crash(checker, status >= 0 && WIFSIGNALED(status) && !by_us);
}

static void main_died(struct checker *checker, unsigned berth, int64_t ready_ns) {
    struct check_slot *slot = &checker->slot[berth / 2];
    const int64_t steady_ns = delay_max(checker) < SECOND ? delay_max(checker) : SECOND;
    if (checker->now_ns - ready_ns >= steady_ns) slot->failures = 0;
    slot->not_before_ns = sum(checker->now_ns, least_delay(checker, ++slot->failures, true));
    slot->replacement_failures = 0;
    slot->replacement_not_before_ns = 0;
}

static void ended(struct checker *checker, unsigned berth, int status, bool had_old) {
    const struct check_worker was = checker->worker[berth];
    const struct evf_worker_view *before = &checker->before;
    memset(&checker->worker[berth], 0, sizeof was);
    if (checker->is_stopping || before->is_leaving) return;
    const bool is_startup = before->state == EVF_WORKER_STARTING ||
                            (before->state == EVF_WORKER_KILLING && before->cause == EVF_CAUSE_STARTUP);
    if (!was.was_ready && is_startup) start_failed(checker, berth, was.generation, status, had_old);
    else if (!was.is_old) main_died(checker, berth, was.ready_ns);
}

static void became_ready(struct checker *checker, unsigned berth) {
    struct check_worker *worker = &checker->worker[berth];
    worker->is_ready = worker->was_ready = true;
    worker->ready_ns = checker->now_ns;
    checker->was_ever_ready = true;
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
    if (exited) ended(checker, event->berth, worker->early_status, had_old);
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
        if (worker->is_running) ended(checker, event->berth, event->wait_status, had_old);
        worker->has_exited_early = worker->is_awaited;
        worker->early_status = event->wait_status;
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
    if (anybody_is_kept(supervisor, checker)) return;
    for (unsigned slot = 0; slot < checker->berths / 2; slot++)
        checker->slot[slot].failures = 0, checker->slot[slot].not_before_ns = 0;
    checker->expects_close = checker->expects_close || checker->is_open;
    checker->is_open = false;
    checker->crashes = checker->expects_close ? 0 : checker->crashes;
}

/* Before the step: the views are those of the state that the event meets. */
static void take_event(struct checker *checker, const struct evf_supervisor *supervisor,
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

/* ---- What an action may be ---------------------------------------------------------------------------------- */

/* A limit is a reason only when it was passed, and not too young. */
static bool has_reason(const struct checker *checker, const struct evf_supervisor_action *action) {
    const struct check_worker *beside = &checker->worker[action->berth ^ 1];
    const int64_t age_ns = checker->now_ns - beside->ready_ns;
    const bool is_limit = action->cause == EVF_CAUSE_REQUESTS || action->cause == EVF_CAUSE_RSS;
    if (!is_limit && action->cause != EVF_CAUSE_LIFETIME) return true;
    if (age_ns < checker->options.min_lifetime_ns) return false;
    return is_limit ? beside->passed_limit : age_ns >= checker->options.max_lifetime_ns;
}

static void check_spawn(struct checker *checker, const struct evf_supervisor *supervisor,
                        const struct evf_supervisor_action *action) {
    struct check_worker *worker = &checker->worker[action->berth];
    const struct check_slot *slot = &checker->slot[action->berth / 2];
    const bool has_fallen = action->method == EVF_START_SPAWN;
    struct evf_worker_view view;
    (void)evf_supervisor_worker(supervisor, action->berth, &view);
    require(checker, checker->is_started && !checker->is_stopping, "a start at the wrong time", action->berth);
    require(checker, !is_alive(worker), "a start over a living worker", action->berth);
    require(checker, !view.is_replacement || has_reason(checker, action), "a replacement for no reason", action->berth);
    require(checker, !view.is_leaving, "a start in a slot that leaves", action->berth);
    require(checker, action->generation == checker->generation, "a start of another generation", action->berth);
    require(checker, has_fallen == checker->is_fallen_back, "the wrong start method", action->berth);
    require(checker, checker->now_ns >= (view.is_replacement ? slot->replacement_not_before_ns : slot->not_before_ns),
            "a start before the back-off is over", action->berth);
    for (unsigned berth = 0; berth < checker->berths; berth++) {
        const struct check_worker *other = &checker->worker[berth];
        if (!is_alive(other)) continue;
        struct evf_worker_view other_view;
        (void)evf_supervisor_worker(supervisor, berth, &other_view);
        require(checker, !checker->is_open || other_view.state != EVF_WORKER_STARTING, "two probes at a time", berth);
        require(checker,
                !view.is_replacement || checker->proven == checker->generation ||
                    other->generation != checker->generation,
                "a replacement beside the canary", berth);
    }
    require(checker, !checker->is_open || checker->now_ns >= checker->probe_ns, "a probe too early", action->berth);
    checker->probe_ns = sum(checker->now_ns, probe_interval(checker));
    *worker = (struct check_worker){.is_awaited = true, .generation = action->generation};
    worker->spawned_ns = checker->now_ns;
    worker->requests_max = action->requests_max;
    if (checker->berths <= action->berth) checker->berths = (action->berth | 1) + 1;
}

/* A worker may be asked to leave for another only when that one is ready. */
static void check_leave(struct checker *checker, const struct evf_supervisor_action *action) {
    const bool is_wished = action->cause == EVF_CAUSE_RESIZE || action->cause == EVF_CAUSE_STOP;
    const struct check_worker *worker = &checker->worker[action->berth];
    require(checker, is_wished || !worker->is_ready || checker->worker[action->berth ^ 1].is_ready,
            "nobody is ready in its place", action->berth);
}

static void check_drain(struct checker *checker, const struct evf_supervisor_action *action) {
    struct check_worker *worker = &checker->worker[action->berth];
    require(checker, !worker->is_drained && !worker->is_examined && !worker->is_killed, "a second goodbye",
            action->berth);
    check_leave(checker, action);
    worker->is_drained = true;
    worker->is_ready = false;
    worker->drained_ns = checker->now_ns;
}

static bool is_stuck(const struct checker *checker, const struct check_worker *worker,
                     const struct evf_supervisor_event *event) {
    int64_t since_ns = event->busy_since_ns, silence_ns;
    const int64_t extension_ns = event->extension_ns > 0 ? event->extension_ns : 0;
    if (since_ns == 0 || checker->options.heartbeat_timeout_ns == 0) return false;
    if (since_ns < worker->ready_ns) since_ns = worker->ready_ns;
    if (since_ns < checker->resumed_ns) since_ns = checker->resumed_ns;
    if (since_ns >= checker->now_ns) return false;
    silence_ns = checker->now_ns - since_ns;
    return silence_ns > sum(checker->options.heartbeat_timeout_ns, extension_ns);
}

static void check_examine(struct checker *checker, const struct evf_supervisor_action *action,
                          const struct evf_supervisor_event *event) {
    struct check_worker *worker = &checker->worker[action->berth];
    const struct evf_supervisor_options *options = &checker->options;
    require(checker, !worker->is_examined && !worker->is_killed, "examined twice", action->berth);
    require(checker, !checker->was_late || action->cause == EVF_CAUSE_STUCK, "blamed for our own sleep", action->berth);
    if (action->cause == EVF_CAUSE_STUCK)
        require(checker, event->type == EVF_EVENT_HEARTBEAT && is_stuck(checker, worker, event), "not stuck",
                action->berth);
    else if (action->cause == EVF_CAUSE_STARTUP)
        require(checker, !worker->was_ready && checker->now_ns - worker->spawned_ns >= options->startup_timeout_ns,
                "not late", action->berth);
    else
        require(checker, checker->now_ns - worker->drained_ns >= options->graceful_timeout_ns && worker->is_drained,
                "still had time", action->berth);
    worker->is_examined = true;
    worker->is_ready = false;
    worker->cause = action->cause;
}

static void check_kill(struct checker *checker, const struct evf_supervisor_action *action,
                       const struct evf_supervisor_event *event) {
    struct check_worker *worker = &checker->worker[action->berth];
    const bool is_answer = event->type == EVF_EVENT_SPAWNED && event->berth == action->berth;
    const bool has_no_grace = checker->options.graceful_timeout_ns == 0;
    if (worker->is_killed)
        require(checker, checker->now_ns - worker->killed_ns >= SECOND, "killed again too soon", action->berth);
    else if (!checker->is_fast && !worker->is_examined && !is_answer) {
        require(checker, has_no_grace, "killed without a look", action->berth);
        check_leave(checker, action);
    }
    worker->is_killed = true;
    worker->is_ready = false;
    worker->killed_ns = checker->now_ns;
}

static void check_finish(struct checker *checker, const struct evf_supervisor_action *action) {
    int code = EVF_EXIT_CLEAN;
    if (checker->is_halting) code = checker->was_ever_ready ? EVF_EXIT_BREAKER : EVF_EXIT_NOTHING_STARTED;
    require(checker, checker->is_stopping, "the end, and nobody asked for it", 0);
    require(checker, !checker->is_finished, "a second end", 0);
    require(checker, action->exit_code == code, "the wrong exit code", 0);
    for (unsigned berth = 0; berth < checker->berths; berth++)
        require(checker, !is_alive(&checker->worker[berth]), "the end, and somebody lives", berth);
    checker->is_finished = true;
}

static void check_report(struct checker *checker, const struct evf_supervisor_action *action) {
    checker->reported[action->report]++;
    checker->reports[action->report]++;
    switch ((int)action->report) {
    case EVF_REPORT_RELOADING:
        require(checker, action->generation > checker->generation && action->generation > checker->reloading,
                "a generation that was there before", 0);
        checker->generation = checker->reloading = action->generation;
        break;
    case EVF_REPORT_RELOADED:
        require(checker, action->generation == checker->generation, "reloaded to another generation", 0);
        checker->reloaded = checker->generation;
        break;
    case EVF_REPORT_RELOAD_FAILED:
        require(checker, action->generation == checker->generation, "another generation has failed", 0);
        checker->generation = checker->proven;
        break;
    default:
        break;
    }
}

static void check_action(struct checker *checker, const struct evf_supervisor *supervisor,
                         const struct evf_supervisor_action *action, const struct evf_supervisor_event *event) {
    const bool names_one = action->type >= EVF_ACTION_DRAIN && action->type <= EVF_ACTION_KILL;
    checker->actions[action->type]++;
    require(checker, !checker->is_finished, "something after the end", action->berth);
    if (names_one) {
        require(checker, action->pid > 1, "a signal to everybody", action->berth);
        require(checker, checker->worker[action->berth].is_running, "a signal to nobody", action->berth);
        require(checker, action->pid == checker->worker[action->berth].pid, "a signal to a stranger", action->berth);
    }
    if (action->type == EVF_ACTION_SPAWN) check_spawn(checker, supervisor, action);
    if (action->type == EVF_ACTION_DRAIN) check_drain(checker, action);
    if (action->type == EVF_ACTION_EXAMINE) check_examine(checker, action, event);
    if (action->type == EVF_ACTION_KILL) check_kill(checker, action, event);
    if (action->type == EVF_ACTION_FINISH) check_finish(checker, action);
    if (action->type == EVF_ACTION_REPORT) check_report(checker, action);
}

/* ---- What must be so after every step ----------------------------------------------------------------------- */

static void check_deadline_of(struct checker *checker, unsigned berth, const struct evf_worker_view *view) {
    const struct check_worker *worker = &checker->worker[berth];
    int64_t longest_ns = probe_interval(checker) > 100 * MILLISECOND ? probe_interval(checker) : 100 * MILLISECOND;
    const bool has_deadline = view->deadline_ns != NEVER;
    require(checker, !has_deadline || view->deadline_ns > checker->now_ns, "a deadline in the past", berth);
    if (view->state == EVF_WORKER_BACKOFF)
        require(checker, view->deadline_ns <= sum(checker->now_ns, longest_ns), "a back-off too long", berth);
    const bool must_have = view->state == EVF_WORKER_DRAINING || view->state == EVF_WORKER_KILLING ||
                           (view->state == EVF_WORKER_STARTING && checker->options.startup_timeout_ns > 0);
    const bool is_known = worker->is_running && checker->now_ns < NEVER / 2;
    require(checker, !must_have || !is_known || has_deadline, "nobody waits for its end", berth);
}

static bool must_go(const struct checker *checker, const struct check_worker *worker,
                    const struct evf_pool_view *pool) {
    const struct evf_supervisor_options *options = &checker->options;
    const int64_t age_ns = checker->now_ns - worker->ready_ns;
    const bool is_young = age_ns < options->min_lifetime_ns;
    const bool is_aged = options->max_lifetime_ns > 0 && age_ns >= options->max_lifetime_ns;
    if (!worker->is_ready) return false;
    if (pool->state == EVF_POOL_RELOADING && worker->generation != checker->generation) return true;
    return !is_young && (is_aged || worker->passed_limit);
}

/* Whether nothing stands against the start of a replacement. */
static bool has_idle_token(const struct checker *checker, const struct evf_pool_view *pool) {
    bool has_canary = false;
    for (unsigned berth = 0; berth < checker->berths; berth++) {
        const struct check_worker *worker = &checker->worker[berth];
        has_canary = has_canary || (is_alive(worker) && worker->generation == checker->generation);
    }
    const bool may_start = checker->proven == checker->generation || !has_canary;
    return may_start && !checker->is_open && !checker->is_stopping &&
           pool->replacing < checker->options.max_unavailable;
}

static void check_slots(struct checker *checker, const struct evf_supervisor *supervisor,
                        const struct evf_pool_view *pool) {
    unsigned alive = 0, ready = 0, pairs = 0, slots = 0, least_tokens = 0, most_tokens = 0;
    const bool is_idle = has_idle_token(checker, pool);
    for (unsigned slot = 0; slot < checker->berths / 2; slot++) {
        struct evf_worker_view view[2];
        unsigned here = 0;
        for (unsigned i = 0; i < 2; i++) {
            const struct check_worker *worker = &checker->worker[slot * 2 + i];
            (void)evf_supervisor_worker(supervisor, slot * 2 + i, &view[i]);
            check_deadline_of(checker, slot * 2 + i, &view[i]);
            here += is_alive(worker);
            ready += worker->is_ready;
            require(checker,
                    is_alive(worker) == (view[i].state != EVF_WORKER_EMPTY && view[i].state != EVF_WORKER_BACKOFF),
                    "alive or not", slot * 2 + i);
            if (is_idle && !view[i].is_leaving && must_go(checker, worker, pool)) {
                struct evf_worker_view beside;
                (void)evf_supervisor_worker(supervisor, (slot * 2 + i) ^ 1, &beside);
                require(checker, beside.state != EVF_WORKER_EMPTY, "a token is idle", slot * 2 + i);
            }
            require(checker, !worker->is_ready || checker->reloaded == 0 || worker->generation == checker->reloaded,
                    "an old generation after the reload", slot * 2 + i);
        }
        alive += here;
        const bool is_empty = view[0].state == EVF_WORKER_EMPTY && view[1].state == EVF_WORKER_EMPTY;
        if (is_empty) memset(&checker->slot[slot], 0, sizeof checker->slot[slot]);
        slots += !is_empty && !view[0].is_leaving;
        pairs += here == 2 && !view[0].is_leaving;
        least_tokens += here == 2;
        /* An old one may be alone when the new one has died already. */
        most_tokens += here == 2 || checker->worker[slot * 2].is_old || checker->worker[slot * 2 + 1].is_old;
    }
    const bool runs = checker->is_started && !checker->is_stopping;
    const bool has_room = checker->berths < CHECK_BERTHS;
    require(checker, !runs || slots == checker->workers || !has_room, "a slot is lost, or one too many", slots);
    require(checker, pairs <= checker->options.max_unavailable, "more pairs than tokens", pairs);
    require(checker, checker->is_stopping || pool->replacing >= least_tokens, "a pair without a token", least_tokens);
    require(checker, checker->is_stopping || pool->replacing <= most_tokens, "a token without a pair", most_tokens);
    require(checker, pool->replacing <= checker->options.max_unavailable, "more tokens than there are", pairs);
    require(checker, pool->alive == alive, "the count of the living", alive);
    require(checker, pool->ready == ready, "the count of the ready", ready);
}

static void check_expectations(struct checker *checker, const struct evf_pool_view *pool, unsigned had_served) {
    const unsigned *reported = checker->reported;
    const bool says_open = checker->expects_open && had_served > 0;
    require(checker, reported[EVF_REPORT_BREAKER_OPEN] == says_open, "the breaker's opening", 0);
    require(checker, reported[EVF_REPORT_BREAKER_CLOSED] == checker->expects_close, "the breaker's closing", 0);
    require(checker, reported[EVF_REPORT_FALLBACK] == checker->expects_fallback, "the start method's change", 0);
    require(checker, reported[EVF_REPORT_SUSPENDED] == checker->was_late, "our own sleep", 0);
    require(checker, !checker->expects_rollback || reported[EVF_REPORT_RELOAD_FAILED] == 1, "no roll-back", 0);
    require(checker, pool->breaker_is_open == checker->is_open, "the breaker's state", 0);
    require(checker, pool->generation == checker->generation, "the pool's generation", pool->generation);
    require(checker, pool->workers == checker->workers, "the number of workers", pool->workers);
    if (reported[EVF_REPORT_RELOAD_FAILED] || reported[EVF_REPORT_RELOADED]) checker->reloading = checker->generation;
    if (pool->state == EVF_POOL_RUNNING) checker->reloading = 0;
}

static void check_state(struct checker *checker, const struct evf_supervisor *supervisor, unsigned had_served) {
    struct evf_pool_view pool;
    evf_supervisor_pool(supervisor, &pool);
    if (checker->berths < pool.berths) checker->berths = pool.berths;
    check_expectations(checker, &pool, had_served);
    check_slots(checker, supervisor, &pool);
    checker->deadline_ns = evf_supervisor_deadline(supervisor);
    require(checker, checker->deadline_ns > checker->now_ns, "a deadline that has passed", 0);
    require(checker, !checker->is_finished || checker->deadline_ns == NEVER, "a deadline after the end", 0);
    require(checker, checker->is_finished || checker->now_ns <= checker->stop_before_ns, "the stop takes too long", 0);
    const bool is_over = pool.state == EVF_POOL_STOPPED || pool.state == EVF_POOL_HALTED;
    require(checker, is_over == checker->is_finished, "the pool's state at the end", 0);
}

static void take_time(struct checker *checker, int64_t now_ns) {
    if (now_ns > checker->now_ns) checker->now_ns = now_ns;
    const bool has_passed = checker->deadline_ns < checker->now_ns;
    checker->was_late = has_passed && checker->now_ns - checker->deadline_ns > SECOND;
    if (!checker->was_late) return;
    checker->resumed_ns = checker->now_ns;
    checker->stop_before_ns = sum(checker->stop_before_ns, checker->now_ns - checker->deadline_ns + 2 * SECOND);
}

static void begin_step(struct checker *checker, const struct evf_supervisor_event *event, int64_t now_ns) {
    memset(checker->reported, 0, sizeof checker->reported);
    checker->expects_open = checker->expects_close = checker->expects_fallback = checker->expects_rollback = false;
    struct check_line *line = next_line(checker);
    line->is_action = false;
    line->event = *event;
    line->now_ns = now_ns;
    take_time(checker, now_ns);
}

static bool must_examine(const struct checker *checker, const struct evf_supervisor_event *event) {
    if (event->type != EVF_EVENT_HEARTBEAT) return false;
    const struct check_worker *worker = &checker->worker[event->berth];
    return worker->is_ready && (event->pid == 0 || event->pid == worker->pid) && is_stuck(checker, worker, event);
}

int check_step(struct checker *checker, struct evf_supervisor *supervisor, const struct evf_supervisor_event *event,
               int64_t now_ns, const struct evf_supervisor_action **ret_actions) {
    const bool was_finished = checker->is_finished;
    if (!was_finished) {
        begin_step(checker, event, now_ns);
        take_event(checker, supervisor, event);
    }
    const bool examines = !was_finished && must_examine(checker, event);
    const unsigned serve = served(checker);
    if (checker->is_open && serve == 0 && !checker->is_stopping) {
        checker->is_stopping = checker->is_halting = checker->is_fast = true;
        bound_from_above(&checker->stop_before_ns, sum(checker->now_ns, checker->slack_ns));
    }
    int count = evf_supervisor_step(supervisor, event, now_ns, ret_actions);
    require(checker, count >= 0, "an event that can be was refused", event->berth);
    require(checker, !was_finished || count == 0, "an action after the end", 0);
    if (was_finished || count < 0) return count;
    for (int i = 0; i < count; i++) {
        struct check_line *line = next_line(checker);
        line->is_action = true;
        line->action = (*ret_actions)[i];
        check_action(checker, supervisor, &(*ret_actions)[i], event);
    }
    require(checker, !examines || checker->worker[event->berth].is_examined, "a stuck worker is overlooked",
            event->berth);
    check_state(checker, supervisor, serve);
    if (checker->watch != NULL) checker->watch(checker->watch_data, event, now_ns, *ret_actions, count);
    return count;
}
