/* See supervisor_check.h. Where the model needs to know what a worker was to the supervisor (a replacement, one that
 * leaves), it takes the view of the berth before the event; times, counts and permissions it keeps itself. Events are
 * in supervisor_check_events.c, actions in supervisor_check_actions.c; here is what must be so after every step. */
#include "supervisor_check_parts.h"

#include <inttypes.h>
#include <string.h>

void check_init(struct checker *checker, const struct evf_supervisor_options *options) {
    memset(checker, 0, sizeof *checker);
    checker->options = *options;
    checker->workers = options->workers;
    checker->deadline_ns = checker->stop_before_ns = checker->slack_ns = NEVER;
    checker->generation = checker->proven = 1;
}

/* ---- Telling ------------------------------------------------------------------------------------------------ */

void check_describe(const struct evf_supervisor_action *action, char *text, size_t size) {
    static const char *const names[] = {"SPAWN", "DRAIN",   "EXAMINE", "KILL",  "LOOK",
                                        "SKIP",  "RESTORE", "REPORT",  "FINISH"};
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
    require(checker, reported[EVF_REPORT_SKIPPED] == (checker->expects_skip != 0), "the report of what is left out", 0);
    require(checker, checker->skips == (checker->expects_skip != 0), "what is left out", 0);
    require(checker, checker->restores == checker->expects_restore, "what takes part again", 0);
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
    checker->expects_skip = checker->skips = checker->restores = 0;
    checker->expects_restore = false;
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
    return worker->is_ready && (event->pid == 0 || event->pid == worker->pid) && check_is_stuck(checker, worker, event);
}

static unsigned served(const struct checker *checker) {
    unsigned count = 0;
    for (unsigned berth = 0; berth < checker->berths; berth++)
        count += checker->worker[berth].is_running && checker->worker[berth].was_ready;
    return count;
}

int check_step(struct checker *checker, struct evf_supervisor *supervisor, const struct evf_supervisor_event *event,
               int64_t now_ns, const struct evf_supervisor_action **ret_actions) {
    const bool was_finished = checker->is_finished;
    if (!was_finished) {
        begin_step(checker, event, now_ns);
        check_take_event(checker, supervisor, event);
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
