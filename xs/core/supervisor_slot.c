/* What follows when a process has gone: who takes its place, and when. Slots that come and go with a resize. */
#include "supervisor_internal.h"

#include <stdlib.h>
#include <sys/wait.h>

static const int64_t steady_ns = EVF__SECOND;              /* a worker that lived so long ends the row of deaths */
static const int64_t no_hurry_ns = 100 * EVF__MILLISECOND; /* where a start must wait and no delay is set */
enum { ROW_MAX = 64 };

enum hurry { AT_ONCE_IF_FIRST, NEVER_AT_ONCE };

/* ---- Back-off ----------------------------------------------------------------------------------------------- */

static int64_t delay_max(const struct evf_supervisor *supervisor) {
    const struct evf_supervisor_options *options = &supervisor->options;
    return options->respawn_delay_max_ns > options->respawn_delay_ns ? options->respawn_delay_max_ns
                                                                     : options->respawn_delay_ns;
}

int64_t evf__probe_interval(const struct evf_supervisor *supervisor) {
    int64_t interval_ns = delay_max(supervisor);
    return interval_ns > 0 ? interval_ns : no_hurry_ns;
}

/* The second half of it is chance: slots that failed together do not come back together. */
static int64_t jitter(struct evf_supervisor *supervisor, int64_t delay_ns) {
    int64_t half_ns = delay_ns / 2;
    return delay_ns - (int64_t)(evf__draw(supervisor) % ((uint64_t)half_ns + 1));
}

static int64_t delay_after(struct evf_supervisor *supervisor, unsigned failures, enum hurry hurry) {
    int64_t least_ns = supervisor->options.respawn_delay_ns, most_ns = delay_max(supervisor);
    if (hurry == NEVER_AT_ONCE) {
        if (failures < 2) failures = 2;
        if (least_ns == 0) least_ns = no_hurry_ns;
        if (most_ns < least_ns) most_ns = least_ns;
    }
    if (failures < 2 || least_ns == 0) return 0;
    int64_t delay_ns = least_ns;
    for (unsigned i = 2; i < failures && delay_ns < most_ns; i++)
        delay_ns = delay_ns > most_ns / 2 ? most_ns : delay_ns * 2;
    delay_ns = jitter(supervisor, delay_ns);
    return hurry == NEVER_AT_ONCE && delay_ns < least_ns ? least_ns : delay_ns;
}

/* A delay of 0 spawns at the end of this step. */
static void put_off(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause, int64_t delay_ns) {
    struct evf__worker *worker = &supervisor->worker[berth];
    if (supervisor->breaker_is_open) delay_ns = evf__probe_interval(supervisor);
    worker->cause = cause;
    worker->waiting_since_ns = supervisor->now_ns;
    worker->is_replacement = berth != evf__main_berth(supervisor, evf__slot_of(berth));
    evf__worker_set_state(supervisor, berth, EVF_WORKER_BACKOFF);
    evf__deadline_set(supervisor, berth, evf__after(supervisor, delay_ns));
    if (delay_ns > 0 && cause != EVF_CAUSE_NONE)
        evf__report(supervisor, EVF_REPORT_BACKOFF, berth)->elapsed_ns = delay_ns;
}

void evf__slot_retry(struct evf_supervisor *supervisor, unsigned berth, const struct evf_supervisor_event *event) {
    const struct evf__worker *worker = &supervisor->worker[berth];
    const bool is_early = supervisor->now_ns < supervisor->probe_ns;
    (void)event;
    if (worker->is_replacement) {
        evf__worker_clear(supervisor, berth);
        evf__replace_queue(supervisor, evf__slot_of(berth));
    } else if (evf__may_probe(supervisor)) evf__worker_spawn(supervisor, berth, worker->cause, false);
    else
        evf__deadline_set(supervisor, berth,
                          is_early ? supervisor->probe_ns : evf__after(supervisor, evf__probe_interval(supervisor)));
}

void evf__backoffs_shorten(struct evf_supervisor *supervisor) {
    for (unsigned berth = 0; berth < supervisor->berths; berth++) {
        const struct evf__worker *worker = &supervisor->worker[berth];
        if (worker->state != EVF_WORKER_BACKOFF) continue;
        int64_t delay_ns = delay_after(supervisor, 2, worker->is_replacement ? NEVER_AT_ONCE : AT_ONCE_IF_FIRST);
        int64_t deadline_ns = evf__after(supervisor, delay_ns);
        if (deadline_ns < worker->deadline_ns) evf__deadline_set(supervisor, berth, deadline_ns);
    }
}

static void count_failure(unsigned *failures) {
    if (*failures < ROW_MAX) ++*failures;
}

static void count_death(struct evf_supervisor *supervisor, struct evf__slot *slot, const struct evf__worker *ended) {
    int64_t steady = delay_max(supervisor) < steady_ns ? delay_max(supervisor) : steady_ns;
    if (ended->was_ready && supervisor->now_ns - ended->ready_ns >= steady) slot->failures = 0;
    count_failure(&slot->failures);
}

/* ---- A process has gone ------------------------------------------------------------------------------------- */

static enum hurry hurry_of(int wait_status) {
    const bool asks_to_wait =
        wait_status >= 0 && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EVF_EXIT_NOTHING_STARTED;
    return asks_to_wait ? NEVER_AT_ONCE : AT_ONCE_IF_FIRST;
}

/* The old worker stays in service, so the next try has time. Also when a reload has failed and the request with it: the
 * next one, whatever its cause, waits as well. */
static void put_off_replacement(struct evf_supervisor *supervisor, unsigned berth) {
    struct evf__slot *slot = &supervisor->slot[evf__slot_of(berth)];
    if (supervisor->state != EVF_POOL_RELOADING) evf__reload_forget(supervisor, evf__slot_of(berth));
    evf__list_remove(&slot->queue); /* it waits for its time first, then for a token */
    count_failure(&slot->replacement_failures);
    put_off(supervisor, berth, slot->outdated, delay_after(supervisor, slot->replacement_failures, NEVER_AT_ONCE));
}

static void put_off_respawn(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause, enum hurry hurry) {
    struct evf__slot *slot = &supervisor->slot[evf__slot_of(berth)];
    put_off(supervisor, berth, cause, delay_after(supervisor, slot->failures, hurry));
}

static void start_has_failed(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                             enum evf_cause cause, int wait_status) {
    if (!evf__fork_failed_again(supervisor, berth, ended, cause, wait_status)) {
        evf__reload_start_failed(supervisor, berth, ended->generation, cause, wait_status);
        evf__breaker_count(supervisor, berth, ended, cause, wait_status);
    }
    if (ended->is_replacement) put_off_replacement(supervisor, berth);
    else {
        count_failure(&supervisor->slot[evf__slot_of(berth)].failures);
        put_off_respawn(supervisor, berth, cause, hurry_of(wait_status));
    }
}

static void release_slot(struct evf_supervisor *supervisor, unsigned slot) {
    supervisor->slot[slot] = (struct evf__slot){.main = 0};
    supervisor->unused[slot / 64] |= UINT64_C(1) << (slot % 64);
    evf__slots_fill(supervisor, EVF_CAUSE_RESIZE); /* a resize may have waited for a number */
}

static bool has_process(const struct evf_supervisor *supervisor, unsigned berth) {
    return evf__is_alive(supervisor->worker[berth].state);
}

static void leaving_ended(struct evf_supervisor *supervisor, unsigned berth) {
    struct evf__slot *slot = &supervisor->slot[evf__slot_of(berth)];
    evf__token_release(supervisor, evf__slot_of(berth));
    if (!has_process(supervisor, berth ^ 1)) release_slot(supervisor, evf__slot_of(berth));
    else if (evf__main_berth(supervisor, evf__slot_of(berth)) == berth) slot->main ^= 1;
}

/* The main worker died unasked. A replacement that gets ready beside it saves the start of another. */
static void main_died(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                      enum evf_cause cause) {
    const unsigned number = evf__slot_of(berth), beside = berth ^ 1;
    struct evf__slot *slot = &supervisor->slot[number];
    evf__replace_forget(supervisor, number);
    slot->replacement_failures = 0;
    count_death(supervisor, slot, ended);
    if (supervisor->worker[beside].state == EVF_WORKER_BACKOFF) evf__worker_clear(supervisor, beside);
    if (supervisor->worker[beside].is_replacement) {
        slot->main ^= 1;
        supervisor->worker[beside].is_replacement = false;
        evf__token_release(supervisor, number);
    } else put_off_respawn(supervisor, berth, cause, AT_ONCE_IF_FIRST);
}

void evf__slot_ended(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                     enum evf_cause cause, int wait_status) {
    const unsigned slot = evf__slot_of(berth);
    const bool is_main = evf__main_berth(supervisor, slot) == berth;
    if (supervisor->slot[slot].is_leaving) {
        leaving_ended(supervisor, berth);
        return;
    }
    if (!is_main) evf__token_release(supervisor, slot);
    if (!is_main && !ended->is_replacement) evf__replace_queue(supervisor, slot); /* an old one, as it was asked to */
    else if (!ended->was_ready) start_has_failed(supervisor, berth, ended, cause, wait_status);
    else main_died(supervisor, berth, ended, cause);
}

void evf__slot_spawn_failed(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *failed) {
    const unsigned number = evf__slot_of(berth);
    struct evf__slot *slot = &supervisor->slot[number];
    if (slot->is_leaving) {
        leaving_ended(supervisor, berth);
        return;
    }
    if (failed->is_replacement) {
        evf__token_release(supervisor, number);
        put_off_replacement(supervisor, berth);
        return;
    }
    count_failure(&slot->failures);
    put_off_respawn(supervisor, berth, failed->start_cause, NEVER_AT_ONCE);
}

/* ---- More and fewer slots ----------------------------------------------------------------------------------- */

static int lowest_unused(const struct evf_supervisor *supervisor) {
    for (unsigned word = 0; word < EVF_SLOTS_MAX / 64; word++) {
        if (supervisor->unused[word] == 0) continue;
        unsigned bit = 0;
        while ((supervisor->unused[word] >> bit & 1) == 0) bit++;
        return (int)(word * 64 + bit);
    }
    return -1;
}

void evf__slots_fill(struct evf_supervisor *supervisor, enum evf_cause cause) {
    int found;
    while (supervisor->slots < supervisor->options.workers && (found = lowest_unused(supervisor)) >= 0) {
        const unsigned slot = (unsigned)found;
        supervisor->unused[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        supervisor->slot[slot].is_wanted = true;
        supervisor->slots++;
        if (supervisor->berths < (slot + 1) * 2) supervisor->berths = (slot + 1) * 2;
        put_off(supervisor, evf__main_berth(supervisor, slot), cause, 0);
    }
}

/* The less a slot serves, the sooner it goes. */
static int usefulness(enum evf_worker_state state) {
    static const int of[EVF_WORKER_STATE_COUNT] = {
        [EVF_WORKER_STARTING] = 1, [EVF_WORKER_KILLING] = 1, [EVF_WORKER_DRAINING] = 1, [EVF_WORKER_READY] = 2};
    return of[state];
}

static bool goes_before(const struct evf__worker *a, const struct evf__worker *b) {
    if (usefulness(a->state) != usefulness(b->state)) return usefulness(a->state) < usefulness(b->state);
    return a->spawned_ns >= b->spawned_ns; /* of equals the highest number */
}

static unsigned next_to_go(const struct evf_supervisor *supervisor) {
    const struct evf__worker *chosen = NULL;
    unsigned chosen_slot = 0;
    for (unsigned slot = 0; slot < supervisor->berths / 2; slot++) {
        const struct evf__worker *worker = &supervisor->worker[evf__main_berth(supervisor, slot)];
        if (!supervisor->slot[slot].is_wanted || (chosen != NULL && !goes_before(worker, chosen))) continue;
        chosen = worker;
        chosen_slot = slot;
    }
    return chosen_slot;
}

static void let_go(struct evf_supervisor *supervisor, unsigned slot) {
    supervisor->slot[slot].is_wanted = false;
    supervisor->slot[slot].is_leaving = true;
    supervisor->slots--;
    evf__replace_forget(supervisor, slot);
    for (unsigned berth = slot * 2; berth < slot * 2 + 2; berth++)
        evf__worker_leave(supervisor, berth, EVF_CAUSE_RESIZE);
    if (!has_process(supervisor, slot * 2) && !has_process(supervisor, slot * 2 + 1)) release_slot(supervisor, slot);
}

void evf__slots_resize(struct evf_supervisor *supervisor, unsigned workers) {
    if (workers == supervisor->options.workers) return;
    supervisor->options.workers = workers;
    evf__report(supervisor, EVF_REPORT_RESIZED, 0)->count = workers;
    if (!supervisor->is_started) return;
    while (supervisor->slots > workers) let_go(supervisor, next_to_go(supervisor));
    evf__slots_fill(supervisor, EVF_CAUSE_RESIZE);
}
