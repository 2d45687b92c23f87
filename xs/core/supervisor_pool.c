/* What concerns all slots: who is replaced next and how many at a time, the rolling reload with its canary, and the
 * breaker that ends a loop of failing starts. */
#include "supervisor_internal.h"

#include <sys/wait.h>

/* ---- Replacements: one queue and one set of tokens for all causes ------------------------------------------- */

static struct evf__slot *first_in_queue(const struct evf_supervisor *supervisor) {
    return EVF__CONTAINER(supervisor->queue.next, struct evf__slot, queue);
}

static void insert_after(struct evf_link *place, struct evf_link *link) {
    evf__list_append(place->next, link); /* what is appended to a list with that head stands before the head */
}

/* Requests are new nearly always, or the oldest, after a failed try: both ends are near. */
static void insert_by_order(struct evf_supervisor *supervisor, struct evf__slot *slot) {
    struct evf_link *head = &supervisor->queue, *place = head->prev;
    if (!evf__list_is_empty(head) && slot->order < first_in_queue(supervisor)->order) place = head;
    while (place != head && EVF__CONTAINER(place, struct evf__slot, queue)->order > slot->order) place = place->prev;
    insert_after(place, &slot->queue);
}

void evf__replace_queue(struct evf_supervisor *supervisor, unsigned number) {
    struct evf__slot *slot = &supervisor->slot[number];
    const unsigned berth = evf__main_berth(supervisor, number);
    if (slot->outdated == EVF_CAUSE_NONE || slot->queue.next != NULL || !slot->is_wanted) return;
    if (supervisor->worker[berth].state != EVF_WORKER_READY) return;
    if (supervisor->worker[berth ^ 1].state != EVF_WORKER_EMPTY) return;
    insert_by_order(supervisor, slot);
}

void evf__replace_request(struct evf_supervisor *supervisor, unsigned slot, enum evf_cause cause) {
    if (supervisor->slot[slot].outdated == EVF_CAUSE_NONE) {
        supervisor->slot[slot].outdated = cause;
        supervisor->slot[slot].order = supervisor->next_order++;
    }
    evf__replace_queue(supervisor, slot);
}

void evf__replace_forget(struct evf_supervisor *supervisor, unsigned slot) {
    supervisor->slot[slot].outdated = EVF_CAUSE_NONE;
    evf__list_remove(&supervisor->slot[slot].queue);
}

/* Of a generation that has not proved itself one worker is tried alone. */
static bool canary_is_under_way(const struct evf_supervisor *supervisor) {
    return supervisor->proven_generation != supervisor->generation && supervisor->current > 0;
}

static bool can_replace(const struct evf_supervisor *supervisor) {
    return !evf__list_is_empty(&supervisor->queue) && supervisor->replacing < supervisor->options.max_unavailable &&
           !canary_is_under_way(supervisor);
}

void evf__replace_start(struct evf_supervisor *supervisor) {
    while (can_replace(supervisor) && evf__may_probe(supervisor)) {
        struct evf__slot *slot = first_in_queue(supervisor);
        const unsigned number = (unsigned)(slot - supervisor->slot);
        evf__list_remove(&slot->queue);
        slot->has_token = true;
        supervisor->replacing++;
        evf__worker_spawn(supervisor, evf__main_berth(supervisor, number) ^ 1, slot->outdated, true);
    }
}

int64_t evf__replace_deadline(const struct evf_supervisor *supervisor) {
    const bool waits_for_time = supervisor->breaker_is_open && supervisor->starting == 0 && can_replace(supervisor);
    return waits_for_time ? supervisor->probe_ns : EVF__NEVER;
}

void evf__token_release(struct evf_supervisor *supervisor, unsigned slot) {
    if (supervisor->slot[slot].has_token) supervisor->replacing--;
    supervisor->slot[slot].has_token = false;
}

/* ---- Reload ------------------------------------------------------------------------------------------------- */

static void count_current(struct evf_supervisor *supervisor) {
    supervisor->current = 0;
    for (unsigned berth = 0; berth < supervisor->berths; berth++) {
        const struct evf__worker *worker = &supervisor->worker[berth];
        supervisor->current += evf__is_alive(worker->state) && worker->generation == supervisor->generation;
    }
}

static const struct evf__worker *main_worker(const struct evf_supervisor *supervisor, unsigned slot) {
    return &supervisor->worker[evf__main_berth(supervisor, slot)];
}

/* With nobody to keep in service there is nothing to be careful about. */
static void start_all(struct evf_supervisor *supervisor) {
    evf__breaker_close(supervisor);
    for (unsigned slot = 0; slot < supervisor->berths / 2; slot++) {
        const unsigned berth = evf__main_berth(supervisor, slot);
        supervisor->slot[slot].failures = 0;
        if (supervisor->worker[berth].state == EVF_WORKER_BACKOFF)
            evf__deadline_set(supervisor, berth, supervisor->now_ns);
    }
}

static void forget_crashes(struct evf_supervisor *supervisor) {
    supervisor->crash_count = supervisor->crash_next = 0;
}

static struct evf_supervisor_action *change_method(struct evf_supervisor *supervisor, enum evf_start_method method,
                                                   unsigned berth, enum evf_cause cause) {
    supervisor->method = method;
    supervisor->retries_fork = cause == EVF_CAUSE_RELOAD;
    forget_crashes(supervisor); /* they were of the other method */
    struct evf_supervisor_action *report = evf__report(supervisor, EVF_REPORT_FALLBACK, berth);
    report->method = method;
    report->cause = cause;
    return report;
}

static void restore_skipped(struct evf_supervisor *supervisor) {
    supervisor->has_skipped = false;
    supervisor->retries_skipped = true;
    (void)evf__act(supervisor, EVF_ACTION_RESTORE, 0);
}

void evf__reload_begin(struct evf_supervisor *supervisor) {
    bool has_any = false;
    supervisor->generation = ++supervisor->last_generation;
    supervisor->current = 0;
    supervisor->state = EVF_POOL_RELOADING;
    supervisor->probe_ns = supervisor->now_ns; /* whoever mended what failed need not wait */
    evf__report(supervisor, EVF_REPORT_RELOADING, 0)->generation = supervisor->generation;
    /* Whatever died after a fork may be mended, too. */
    if (supervisor->method == EVF_START_SPAWN && !supervisor->options.only_spawn)
        (void)change_method(supervisor, EVF_START_FORK, 0, EVF_CAUSE_RELOAD);
    if (supervisor->has_skipped) restore_skipped(supervisor);
    for (unsigned slot = 0; slot < supervisor->berths / 2; slot++) {
        const enum evf_worker_state state = main_worker(supervisor, slot)->state;
        if (!supervisor->slot[slot].is_wanted || !evf__is_alive(state)) continue;
        has_any = true;
        if (state == EVF_WORKER_READY) evf__replace_request(supervisor, slot, EVF_CAUSE_RELOAD);
    }
    if (!has_any) start_all(supervisor);
}

/* Has it passed a limit of its own in the meantime? */
static enum evf_cause limit_of(const struct evf_supervisor *supervisor, const struct evf__worker *worker) {
    const bool is_old_enough = supervisor->now_ns - worker->ready_ns >= supervisor->options.min_lifetime_ns;
    return worker->state == EVF_WORKER_READY && is_old_enough ? worker->limit : EVF_CAUSE_NONE;
}

void evf__reload_forget(struct evf_supervisor *supervisor, unsigned slot) {
    const unsigned beside = evf__main_berth(supervisor, slot) ^ 1;
    const enum evf_cause limit = limit_of(supervisor, main_worker(supervisor, slot));
    if (supervisor->slot[slot].outdated != EVF_CAUSE_RELOAD) return;
    if (supervisor->worker[beside].state == EVF_WORKER_STARTING) return;  /* has begun: it may well become ready */
    if (limit != EVF_CAUSE_NONE) supervisor->slot[slot].outdated = limit; /* its turn stays */
    else evf__replace_forget(supervisor, slot);
}

static void reload_failed(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause, int wait_status) {
    struct evf_supervisor_action *report = evf__report(supervisor, EVF_REPORT_RELOAD_FAILED, berth);
    report->generation = supervisor->generation;
    report->cause = cause;
    report->wait_status = wait_status;
    supervisor->state = EVF_POOL_RUNNING;
    for (unsigned slot = 0; slot < supervisor->berths / 2; slot++) evf__reload_forget(supervisor, slot);
    if (supervisor->proven_generation == supervisor->generation) return;
    supervisor->generation = supervisor->proven_generation; /* the number that failed is never given again */
    count_current(supervisor);
}

static bool keeps_an_old_one(const struct evf_supervisor *supervisor) {
    for (unsigned slot = 0; slot < supervisor->berths / 2; slot++) {
        const struct evf__worker *worker = main_worker(supervisor, slot);
        if (supervisor->slot[slot].is_wanted && worker->state == EVF_WORKER_READY &&
            worker->generation != supervisor->generation)
            return true;
    }
    return false;
}

void evf__reload_start_failed(struct evf_supervisor *supervisor, unsigned berth, unsigned generation,
                              enum evf_cause cause, int wait_status) {
    if (supervisor->state != EVF_POOL_RELOADING || generation != supervisor->generation) return;
    if (supervisor->proven_generation == generation || !keeps_an_old_one(supervisor)) return;
    reload_failed(supervisor, berth, cause, wait_status);
}

void evf__reload_check(struct evf_supervisor *supervisor) {
    if (supervisor->state != EVF_POOL_RELOADING || supervisor->alive != supervisor->current) return;
    if (supervisor->proven_generation != supervisor->generation) return;
    supervisor->state = EVF_POOL_RUNNING;
    evf__report(supervisor, EVF_REPORT_RELOADED, 0)->generation = supervisor->generation;
}

/* ---- The breaker -------------------------------------------------------------------------------------------- */

bool evf__may_probe(const struct evf_supervisor *supervisor) {
    return !supervisor->breaker_is_open || (supervisor->starting == 0 && supervisor->now_ns >= supervisor->probe_ns);
}

/* The signals of a process that has gone wrong by itself. What we killed says nothing about its start method. */
static bool is_fault(enum evf_cause cause, int wait_status) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGABRT, SIGFPE};
    if (cause != EVF_CAUSE_FAILED || wait_status < 0 || !WIFSIGNALED(wait_status)) return false;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if (WTERMSIG(wait_status) == faults[i]) return true;
    }
    return false;
}

static bool all_were_faults(const struct evf_supervisor *supervisor) {
    for (unsigned i = 0; i < supervisor->options.crash_limit; i++) {
        if (!supervisor->crashes[i].is_fault) return false;
    }
    return true;
}

static void fall_back(struct evf_supervisor *supervisor, unsigned berth, int wait_status) {
    change_method(supervisor, EVF_START_SPAWN, berth, EVF_CAUSE_FAILED)->wait_status = wait_status;
}

/* What ended all of them. 0: nothing, or not the same. */
static uint64_t common_culprit(const struct evf_supervisor *supervisor) {
    const uint64_t culprit = supervisor->crashes[0].culprit;
    for (unsigned i = 1; i < supervisor->options.crash_limit; i++) {
        if (supervisor->crashes[i].culprit != culprit) return 0;
    }
    return culprit;
}

static void skip(struct evf_supervisor *supervisor, unsigned berth, uint64_t culprit, int wait_status) {
    supervisor->has_skipped = true;
    forget_crashes(supervisor); /* they were with it */
    evf__act(supervisor, EVF_ACTION_SKIP, berth)->culprit = culprit;
    struct evf_supervisor_action *report = evf__report(supervisor, EVF_REPORT_SKIPPED, berth);
    report->culprit = culprit;
    report->wait_status = wait_status;
}

bool evf__fork_failed_again(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                            enum evf_cause cause, int wait_status) {
    if (supervisor->retries_skipped && ended->method == EVF_START_FORK && ended->culprit != 0) {
        skip(supervisor, berth, ended->culprit, wait_status);
        return true;
    }
    if (!supervisor->retries_fork || ended->method != EVF_START_FORK || !is_fault(cause, wait_status)) return false;
    fall_back(supervisor, berth, wait_status);
    return true;
}

static void breaker_open(struct evf_supervisor *supervisor) {
    const int64_t interval_ns = evf__probe_interval(supervisor);
    supervisor->breaker_is_open = true;
    supervisor->probe_ns = evf__after(supervisor, interval_ns);
    if (supervisor->served > 0)
        evf__report(supervisor, EVF_REPORT_BREAKER_OPEN, 0)->count = supervisor->options.crash_limit;
    for (unsigned berth = 0; berth < supervisor->berths; berth++) {
        if (supervisor->worker[berth].state == EVF_WORKER_BACKOFF)
            evf__deadline_set(supervisor, berth, supervisor->probe_ns);
    }
}

void evf__breaker_count(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                        enum evf_cause cause, int wait_status) {
    const unsigned limit = supervisor->options.crash_limit;
    if (limit == 0 || supervisor->options.crash_window_ns == 0 || supervisor->breaker_is_open) return;
    if (ended->method != supervisor->method) return; /* was under way when that changed */
    supervisor->crashes[supervisor->crash_next] =
        (struct evf__crash){supervisor->now_ns, ended->culprit, is_fault(cause, wait_status)};
    supervisor->crash_next = (supervisor->crash_next + 1) % limit;
    if (supervisor->crash_count < limit) supervisor->crash_count++;
    /* Of a full ring the next place is the oldest. */
    const int64_t oldest_ns = supervisor->crashes[supervisor->crash_next].when_ns;
    if (supervisor->crash_count < limit || supervisor->now_ns - oldest_ns > supervisor->options.crash_window_ns) return;
    const uint64_t culprit = common_culprit(supervisor);
    if (culprit != 0) {
        skip(supervisor, berth, culprit, wait_status);
        return;
    }
    if (supervisor->options.can_spawn && supervisor->method == EVF_START_FORK && all_were_faults(supervisor)) {
        fall_back(supervisor, berth, wait_status);
        return;
    }
    breaker_open(supervisor);
    if (supervisor->state == EVF_POOL_RELOADING && supervisor->served > 0)
        reload_failed(supervisor, berth, cause, wait_status);
}

void evf__breaker_close(struct evf_supervisor *supervisor) {
    if (!supervisor->breaker_is_open) return;
    supervisor->breaker_is_open = false;
    forget_crashes(supervisor);
    (void)evf__report(supervisor, EVF_REPORT_BREAKER_CLOSED, 0);
    evf__backoffs_shorten(supervisor);
}

void evf__breaker_check(struct evf_supervisor *supervisor) {
    if (!supervisor->breaker_is_open || supervisor->served > 0 || evf__is_stopping(supervisor)) return;
    supervisor->state = EVF_POOL_STOPPING;
    supervisor->is_halting = supervisor->is_fast = true;
    for (unsigned berth = 0; berth < supervisor->berths; berth++) evf__worker_kill(supervisor, berth, EVF_CAUSE_FAILED);
}
