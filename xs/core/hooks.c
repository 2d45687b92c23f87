/* Hooks at a fork: a list for each phase and priority, so that a hook costs nothing in the phases it has no callback
 * for, and registering one does not look at the others. One registry for the process; not for several threads at once.
 */
#include "internal.h"
#include "recorder.h"

enum { PRIORITIES = 102 }; /* 0 to 100, and those below */

static struct {
    bool is_initialized;
    bool is_running;
    bool is_prepared;      /* between evf_hooks_prepare and evf_hooks_finish */
    unsigned round;        /* one for each fork; hooks that were registered in this one wait for the next */
    struct evf_link *next; /* of the hook that runs; moves on when that one is cancelled */
    struct evf_link heads[EVF_PHASE_COUNT][PRIORITIES];
} hooks;

static void init(void) {
    if (hooks.is_initialized) return;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        for (int i = 0; i < PRIORITIES; i++) evf__list_init(&hooks.heads[phase][i]);
    }
    hooks.is_initialized = true;
}

/* ---- Order -------------------------------------------------------------------------------------------------- */

/* Which list. */
static int index_of(unsigned char priority) {
    return priority == EVF_PRIORITY_NEAREST ? 0 : priority + 1;
}

static struct evf_link *after(const struct evf_link *link, enum evf_phase phase) {
    return phase == EVF_PREPARE ? link->prev : link->next;
}

/* The first hook in the lists from this one on; NULL: there is none. */
static struct evf_link *first_from(int index, enum evf_phase phase) {
    const int step = phase == EVF_PREPARE ? -1 : 1;
    for (; index >= 0 && index < PRIORITIES; index += step) {
        struct evf_link *head = &hooks.heads[phase][index];
        if (!evf__list_is_empty(head)) return after(head, phase);
    }
    return NULL;
}

static struct evf_hook *hook_of(struct evf_link *link, enum evf_phase phase) {
    return EVF__CONTAINER(link - phase, struct evf_hook, links);
}

static struct evf_link *next_of(const struct evf_hook *hook, enum evf_phase phase) {
    const int index = index_of(hook->priority);
    struct evf_link *next = after(&hook->links[phase], phase);
    if (next != &hooks.heads[phase][index]) return next;
    return first_from(index + (phase == EVF_PREPARE ? -1 : 1), phase);
}

struct evf_hook *evf_hook_next(const struct evf_hook *hook, enum evf_phase phase) {
    init();
    struct evf_link *link =
        hook != NULL ? next_of(hook, phase) : first_from(phase == EVF_PREPARE ? PRIORITIES - 1 : 0, phase);
    return link != NULL ? hook_of(link, phase) : NULL;
}

/* ---- The registry ------------------------------------------------------------------------------------------- */

bool evf_hook_is_registered(const struct evf_hook *hook) {
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        if (hook->links[phase].next != NULL) return true;
    }
    return false;
}

int evf_hook_register(struct evf_hook *hook) {
    bool has_any = false;
    evf__fork_check(); /* first: then it is none of those that did not run */
    if (hook->priority > 100 && hook->priority != EVF_PRIORITY_NEAREST) return EVF_EINVAL;
    if (evf_hook_is_registered(hook)) return EVF_EEXIST;
    init();
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        if (hook->cb[phase] == NULL) continue;
        evf__list_append(&hooks.heads[phase][index_of(hook->priority)], &hook->links[phase]);
        has_any = true;
    }
    hook->registered_in = hooks.round;
    hook->prepared_in = hooks.round - 1;
    return has_any ? 0 : EVF_EINVAL;
}

void evf_hook_cancel(struct evf_hook *hook) {
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        if (hooks.next != NULL && hooks.next == &hook->links[phase]) hooks.next = next_of(hook, (enum evf_phase)phase);
        evf__list_remove(&hook->links[phase]);
    }
}

/* ---- A fork ------------------------------------------------------------------------------------------------- */

bool evf_hooks_are_running(void) {
    return hooks.is_running;
}

/* Whether a hook takes part in this phase of this fork. */
static bool takes_part(const struct evf_hook *hook, enum evf_phase phase, bool was_refused) {
    if (hook->registered_in == hooks.round) return false;
    if (phase == EVF_PREPARE) return true;
    if (hook->cb[EVF_PREPARE] == NULL) return !was_refused;
    return hook->prepared_in == hooks.round;
}

/* Until the end, or until a prepare hook refuses. */
static int run(enum evf_phase phase, bool was_refused, struct evf_hook **ret_refused) {
    struct evf_hook *hook = evf_hook_next(NULL, phase);
    const unsigned stage = evf__recorder_stage();
    int rc = 0;
    hooks.is_running = true;
    hooks.next = hook != NULL ? &hook->links[phase] : NULL;
    while (hooks.next != NULL && rc == 0) {
        hook = hook_of(hooks.next, phase);
        hooks.next = next_of(hook, phase);
        if (!takes_part(hook, phase, was_refused)) continue;
        if (phase == EVF_PREPARE) hook->prepared_in = hooks.round; /* before: it may cancel and free itself */
        evf__recorder_enter_hook(hook, phase);
        int answer = hook->cb[phase](hook, phase, hook->data);
        if (phase != EVF_PREPARE || answer >= 0) continue;
        rc = answer;
        hook->prepared_in = hooks.round - 1;
        *ret_refused = hook;
    }
    hooks.next = NULL;
    hooks.is_running = false;
    evf_recorder_enter((enum evf_stage)stage);
    return rc;
}

int evf_hooks_prepare(struct evf_hook **ret_refused) {
    evf__fork_check_by_call();
    if (hooks.is_running) return EVF_EBUSY;
    hooks.round++;
    int rc = run(EVF_PREPARE, false, ret_refused);
    hooks.is_prepared = rc == 0;
    if (rc == 0) return 0;
    (void)run(EVF_PARENT, true, NULL);
    hooks.round++;
    return rc;
}

void evf_hooks_break(void) {
    if (!hooks.is_running) return;
    hooks.next = NULL;
    hooks.is_running = hooks.is_prepared = false;
    hooks.round++; /* so that nothing counts as prepared */
}

void evf_hooks_finish(enum evf_phase phase) {
    if (hooks.is_running) return;
    if (!hooks.is_prepared) hooks.round++; /* so that nothing counts as prepared */
    hooks.is_prepared = false;
    (void)run(phase, false, NULL);
    hooks.round++;
}
