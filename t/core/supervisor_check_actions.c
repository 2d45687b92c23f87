/* What the model allows: each action of the supervisor, by what has happened so far. */
#include "supervisor_check_parts.h"

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
    const bool must_spawn = checker->options.only_spawn || checker->is_fallen_back;
    struct evf_worker_view view;
    (void)evf_supervisor_worker(supervisor, action->berth, &view);
    require(checker, checker->is_started && !checker->is_stopping, "a start at the wrong time", action->berth);
    require(checker, !is_alive(worker), "a start over a living worker", action->berth);
    require(checker, !view.is_replacement || has_reason(checker, action), "a replacement for no reason", action->berth);
    require(checker, !view.is_leaving, "a start in a slot that leaves", action->berth);
    require(checker, action->generation == checker->generation, "a start of another generation", action->berth);
    require(checker, (action->method == EVF_START_SPAWN) == must_spawn, "the wrong start method", action->berth);
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
    worker->method = action->method;
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

bool check_is_stuck(const struct checker *checker, const struct check_worker *worker,
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
        require(checker, event->type == EVF_EVENT_HEARTBEAT && check_is_stuck(checker, worker, event), "not stuck",
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

void check_action(struct checker *checker, const struct evf_supervisor *supervisor,
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
    if (action->type == EVF_ACTION_SKIP) {
        require(checker, action->culprit != 0 && action->culprit == checker->expects_skip, "the wrong one is left out",
                0);
        checker->skips++;
    }
    if (action->type == EVF_ACTION_RESTORE) checker->restores++;
    if (action->type == EVF_ACTION_FINISH) check_finish(checker, action);
    if (action->type == EVF_ACTION_REPORT) check_report(checker, action);
}
