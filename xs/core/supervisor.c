/* The supervisor's decisions, as two tables state x event. Here are also the order of things in a step, the pool's own
 * events, options and views. Never forks, signals, waits, allocates after new, or looks at a clock.
 * supervisor_internal.h says what is in which file. */
#include "supervisor_internal.h"

#include <stdlib.h>

enum { CRASH_LIMIT_MAX = 65536 };

static const int64_t late_ns = EVF__SECOND; /* a step that comes later than this: the process did not run */
static const int64_t look_max_ns = 5 * EVF__SECOND, look_min_ns = 20 * EVF__MILLISECOND;

/* ---- Actions and chance ------------------------------------------------------------------------------------- */

struct evf_supervisor_action *evf__act(struct evf_supervisor *supervisor, enum evf_action_type type, unsigned berth) {
    struct evf_supervisor_action *action = &supervisor->actions[supervisor->action_count++];
    *action = (struct evf_supervisor_action){.type = type, .berth = berth};
    return action;
}

struct evf_supervisor_action *evf__report(struct evf_supervisor *supervisor, enum evf_report report, unsigned berth) {
    struct evf_supervisor_action *action = evf__act(supervisor, EVF_ACTION_REPORT, berth);
    action->report = report;
    return action;
}

/* splitmix64 */
uint64_t evf__draw(struct evf_supervisor *supervisor) {
    uint64_t value = supervisor->random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* ---- The pool's events -------------------------------------------------------------------------------------- */

typedef void pool_handler(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event);

static void start(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    (void)event;
    if (supervisor->is_started) return;
    supervisor->is_started = true;
    evf__slots_fill(supervisor, EVF_CAUSE_INITIAL);
}

static void kill_all(struct evf_supervisor *supervisor) {
    if (supervisor->is_fast) return;
    supervisor->is_fast = true;
    for (unsigned berth = 0; berth < supervisor->berths; berth++) evf__worker_kill(supervisor, berth, EVF_CAUSE_STOP);
}

static void stop(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    supervisor->state = EVF_POOL_STOPPING;
    evf__report(supervisor, EVF_REPORT_STOPPING, 0)->is_fast = event->is_fast;
    if (event->is_fast) {
        kill_all(supervisor);
        return;
    }
    for (unsigned berth = 0; berth < supervisor->berths; berth++) evf__worker_leave(supervisor, berth, EVF_CAUSE_STOP);
}

static void stop_again(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    (void)event;
    if (!supervisor->is_fast) evf__report(supervisor, EVF_REPORT_STOPPING, 0)->is_fast = true;
    kill_all(supervisor);
}

static void reload(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    (void)event;
    if (supervisor->is_started) evf__reload_begin(supervisor);
}

static void resize(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    evf__slots_resize(supervisor, event->workers);
}

/* ---- The specification -------------------------------------------------------------------------------------- */
/* An event without a cell comes too late, or too early, and changes nothing. */

static pool_handler *const pool_table[EVF_POOL_STATE_COUNT][EVF_EVENT_COUNT] = {
    [EVF_POOL_RUNNING] =
        {
            [EVF_EVENT_START] = start,
            [EVF_EVENT_STOP] = stop,
            [EVF_EVENT_RELOAD] = reload,
            [EVF_EVENT_RESIZE] = resize,
        },
    [EVF_POOL_RELOADING] =
        {
            [EVF_EVENT_STOP] = stop,
            [EVF_EVENT_RELOAD] = reload,
            [EVF_EVENT_RESIZE] = resize,
        },
    [EVF_POOL_STOPPING] =
        {
            [EVF_EVENT_STOP] = stop_again,
        },
};

/* TICK is the deadline of this worker. An answer to SPAWN and an end may come in every state that has a process. */
static evf__worker_handler *const worker_table[EVF_WORKER_STATE_COUNT][EVF_EVENT_COUNT] = {
    [EVF_WORKER_STARTING] =
        {
            [EVF_EVENT_SPAWNED] = evf__worker_spawned,
            [EVF_EVENT_SPAWN_FAILED] = evf__worker_spawn_failed,
            [EVF_EVENT_READY] = evf__worker_ready,
            [EVF_EVENT_EXITED] = evf__worker_exited,
            [EVF_EVENT_TICK] = evf__worker_is_late,
        },
    [EVF_WORKER_READY] =
        {
            [EVF_EVENT_EXITED] = evf__worker_exited,
            [EVF_EVENT_HEARTBEAT] = evf__worker_heartbeat,
            [EVF_EVENT_SAMPLE] = evf__worker_sample,
            [EVF_EVENT_TICK] = evf__worker_reached_age,
        },
    [EVF_WORKER_DRAINING] =
        {
            [EVF_EVENT_SPAWNED] = evf__worker_spawned,
            [EVF_EVENT_SPAWN_FAILED] = evf__worker_spawn_failed,
            [EVF_EVENT_EXITED] = evf__worker_exited,
            [EVF_EVENT_TICK] = evf__worker_overstayed,
        },
    [EVF_WORKER_KILLING] =
        {
            [EVF_EVENT_SPAWNED] = evf__worker_spawned,
            [EVF_EVENT_SPAWN_FAILED] = evf__worker_spawn_failed,
            [EVF_EVENT_EXITED] = evf__worker_exited,
            [EVF_EVENT_EXAMINED] = evf__worker_examined,
            [EVF_EVENT_TICK] = evf__worker_resists,
        },
    [EVF_WORKER_BACKOFF] =
        {
            [EVF_EVENT_TICK] = evf__slot_retry,
        },
};

/* ---- A step ------------------------------------------------------------------------------------------------- */

static bool is_for_worker(enum evf_event_type type) {
    return type >= EVF_EVENT_SPAWNED && type <= EVF_EVENT_EXAMINED;
}

static bool can_be(const struct evf_supervisor_event *event) {
    if ((unsigned)event->type >= EVF_EVENT_COUNT) return false;
    if (is_for_worker(event->type)) return event->berth < EVF__BERTHS_MAX;
    return event->type != EVF_EVENT_RESIZE || (event->workers > 0 && event->workers <= EVF_SLOTS_MAX / 2);
}

static void dispatch(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event) {
    if (!is_for_worker(event->type)) {
        pool_handler *handle = pool_table[supervisor->state][event->type];
        if (handle != NULL) handle(supervisor, event);
        return;
    }
    const struct evf__worker *worker = &supervisor->worker[event->berth];
    const bool is_of_another = event->type != EVF_EVENT_SPAWNED && event->pid != 0 && worker->pid != 0;
    if (is_of_another && event->pid != worker->pid) return; /* of one that was there before */
    evf__worker_handler *handle = worker_table[worker->state][event->type];
    if (handle != NULL) handle(supervisor, event->berth, event);
}

/* Whoever waits for a worker waits as much longer as this process did not run, and a moment more: what the worker did
 * in the meantime is among the next events. */
static void resume(struct evf_supervisor *supervisor, int64_t lost_ns) {
    supervisor->resumed_ns = supervisor->now_ns;
    evf__report(supervisor, EVF_REPORT_SUSPENDED, 0)->elapsed_ns = lost_ns;
    for (unsigned berth = 0; berth < supervisor->berths; berth++) {
        const struct evf__worker *worker = &supervisor->worker[berth];
        const bool is_waited_for = evf__is_alive(worker->state) && worker->state != EVF_WORKER_READY;
        if (!is_waited_for || worker->deadline_ns == EVF__NEVER) continue;
        int64_t moved_ns = worker->deadline_ns > EVF__NEVER - lost_ns ? EVF__NEVER : worker->deadline_ns + lost_ns;
        int64_t least_ns = evf__after(supervisor, late_ns);
        evf__deadline_set(supervisor, berth, moved_ns > least_ns ? moved_ns : least_ns);
    }
}

static void take_time(struct evf_supervisor *supervisor, int64_t now_ns) {
    if (now_ns > supervisor->now_ns) supervisor->now_ns = now_ns;
    if (supervisor->armed_ns >= supervisor->now_ns) return;
    const int64_t lost_ns = supervisor->now_ns - supervisor->armed_ns;
    if (lost_ns > late_ns) resume(supervisor, lost_ns);
}

static int64_t look_interval(const struct evf_supervisor_options *options) {
    const int64_t interval_ns = options->heartbeat_timeout_ns / 4;
    if (options->heartbeat_timeout_ns > 0)
        return interval_ns < look_min_ns ? look_min_ns : interval_ns > look_max_ns ? look_max_ns : interval_ns;
    const bool has_limit = options->max_requests > 0 || options->max_rss_bytes > 0 || options->max_lifetime_ns > 0;
    return has_limit ? look_max_ns : 0;
}

/* From the first ready worker on, until there is none. */
static void look(struct evf_supervisor *supervisor) {
    const int64_t interval_ns = look_interval(&supervisor->options);
    if (supervisor->ready == 0 || interval_ns == 0) supervisor->look_ns = EVF__NEVER;
    else if (supervisor->look_ns == EVF__NEVER) supervisor->look_ns = evf__after(supervisor, interval_ns);
    else if (supervisor->look_ns <= supervisor->now_ns) {
        (void)evf__act(supervisor, EVF_ACTION_LOOK, 0);
        supervisor->look_ns = evf__after(supervisor, interval_ns);
    }
}

static void run_deadlines(struct evf_supervisor *supervisor) {
    while (evf__deadline_first(supervisor) <= supervisor->now_ns) {
        const unsigned berth = supervisor->heap[0];
        worker_table[supervisor->worker[berth].state][EVF_EVENT_TICK](supervisor, berth, NULL);
    }
}

static void finish(struct evf_supervisor *supervisor) {
    int exit_code = EVF_EXIT_CLEAN;
    if (supervisor->is_halting) exit_code = supervisor->was_ever_ready ? EVF_EXIT_BREAKER : EVF_EXIT_NOTHING_STARTED;
    supervisor->state = supervisor->is_halting ? EVF_POOL_HALTED : EVF_POOL_STOPPED;
    struct evf_supervisor_action *report =
        evf__report(supervisor, supervisor->is_halting ? EVF_REPORT_HALTED : EVF_REPORT_STOPPED, 0);
    report->exit_code = exit_code;
    if (supervisor->is_halting) report->count = supervisor->options.crash_limit;
    evf__act(supervisor, EVF_ACTION_FINISH, 0)->exit_code = exit_code;
}

static void settle(struct evf_supervisor *supervisor) {
    evf__breaker_check(supervisor); /* before deadlines: what ends starts nothing more */
    run_deadlines(supervisor);
    look(supervisor);
    if (!evf__is_stopping(supervisor)) {
        evf__replace_start(supervisor);
        evf__reload_check(supervisor);
    } else if (supervisor->state == EVF_POOL_STOPPING && supervisor->alive == 0) finish(supervisor);
}

int evf_supervisor_step(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event, int64_t now_ns,
                        const struct evf_supervisor_action **ret_actions) {
    if (!can_be(event)) return EVF_EINVAL;
    supervisor->action_count = 0;
    if (supervisor->state < EVF_POOL_STOPPED) {
        take_time(supervisor, now_ns);
        dispatch(supervisor, event);
        settle(supervisor);
        supervisor->armed_ns = evf_supervisor_deadline(supervisor);
    }
    *ret_actions = supervisor->actions;
    return (int)supervisor->action_count;
}

int64_t evf_supervisor_deadline(const struct evf_supervisor *supervisor) {
    if (supervisor->state >= EVF_POOL_STOPPED) return EVF__NEVER;
    int64_t deadline_ns = evf__deadline_first(supervisor), replace_ns = evf__replace_deadline(supervisor);
    if (supervisor->look_ns < deadline_ns) deadline_ns = supervisor->look_ns;
    return replace_ns < deadline_ns && !evf__is_stopping(supervisor) ? replace_ns : deadline_ns;
}

/* ---- New and free ------------------------------------------------------------------------------------------- */

static bool are_in_range(const struct evf_supervisor_options *options) {
    const int64_t times[] = {options->startup_timeout_ns,   options->heartbeat_timeout_ns, options->graceful_timeout_ns,
                             options->max_lifetime_ns,      options->min_lifetime_ns,      options->respawn_delay_ns,
                             options->respawn_delay_max_ns, options->crash_window_ns};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (times[i] < 0) return false;
    }
    return options->workers > 0 && options->workers <= EVF_SLOTS_MAX / 2 && options->max_unavailable > 0 &&
           options->crash_limit <= CRASH_LIMIT_MAX;
}

static void init(struct evf_supervisor *supervisor, const struct evf_supervisor_options *options) {
    supervisor->options = *options;
    supervisor->state = EVF_POOL_RUNNING;
    supervisor->method = options->only_spawn ? EVF_START_SPAWN : EVF_START_FORK;
    supervisor->random_state = options->seed;
    supervisor->generation = supervisor->last_generation = supervisor->proven_generation = 1;
    supervisor->armed_ns = supervisor->look_ns = EVF__NEVER;
    evf__list_init(&supervisor->queue);
    for (unsigned slot = 0; slot < EVF_SLOTS_MAX; slot++) supervisor->unused[slot / 64] |= UINT64_C(1) << (slot % 64);
    for (unsigned berth = 0; berth < EVF__BERTHS_MAX; berth++) {
        supervisor->worker[berth].heap_index = EVF__NOT_IN_HEAP;
        supervisor->worker[berth].deadline_ns = EVF__NEVER;
    }
}

int evf_supervisor_new(const struct evf_supervisor_options *options, struct evf_supervisor **ret_supervisor) {
    if (!are_in_range(options)) return EVF_EINVAL;
    struct evf_supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL) return EVF_ENOMEM;
    supervisor->actions = malloc(EVF__ACTIONS_MAX * sizeof *supervisor->actions);
    supervisor->crashes = calloc(options->crash_limit + 1, sizeof *supervisor->crashes);
    if (supervisor->actions == NULL || supervisor->crashes == NULL) {
        evf_supervisor_free(supervisor);
        return EVF_ENOMEM;
    }
    init(supervisor, options);
    *ret_supervisor = supervisor;
    return 0;
}

void evf_supervisor_free(struct evf_supervisor *supervisor) {
    if (supervisor == NULL) return;
    free(supervisor->crashes);
    free(supervisor->actions);
    free(supervisor);
}

/* ---- Looking at it ------------------------------------------------------------------------------------------ */

int evf_supervisor_worker(const struct evf_supervisor *supervisor, unsigned berth, struct evf_worker_view *ret_view) {
    if (berth >= EVF__BERTHS_MAX) return EVF_EINVAL;
    const struct evf__worker *worker = &supervisor->worker[berth];
    *ret_view = (struct evf_worker_view){
        .state = worker->state,
        .cause = worker->cause,
        .pid = worker->pid,
        .slot = evf__slot_of(berth),
        .generation = worker->generation,
        .spawned_ns = worker->spawned_ns,
        .ready_ns = worker->ready_ns,
        .deadline_ns = worker->deadline_ns,
        .is_replacement = worker->is_replacement,
        .is_leaving = supervisor->slot[evf__slot_of(berth)].is_leaving,
    };
    return 0;
}

void evf_supervisor_pool(const struct evf_supervisor *supervisor, struct evf_pool_view *ret_view) {
    *ret_view = (struct evf_pool_view){
        .state = supervisor->state,
        .method = supervisor->method,
        .workers = supervisor->options.workers,
        .berths = supervisor->berths,
        .alive = supervisor->alive,
        .ready = supervisor->ready,
        .replacing = supervisor->replacing,
        .generation = supervisor->generation,
        .breaker_is_open = supervisor->breaker_is_open,
    };
    for (int cause = 0; cause < EVF_CAUSE_COUNT; cause++) ret_view->starts[cause] = supervisor->starts[cause];
}

const char *evf_cause_word(enum evf_cause cause) {
    static const char *const words[EVF_CAUSE_COUNT] = {
#define EVF_X(name, word) [name] = word,
        EVF_CAUSES(EVF_X)
#undef EVF_X
    };
    return (unsigned)cause < EVF_CAUSE_COUNT ? words[cause] : "";
}

const char *evf_report_word(enum evf_report report) {
    static const char *const words[EVF_REPORT_COUNT] = {
#define EVF_X(name, word) [name] = word,
        EVF_REPORTS(EVF_X)
#undef EVF_X
    };
    return (unsigned)report < EVF_REPORT_COUNT ? words[report] : "";
}
