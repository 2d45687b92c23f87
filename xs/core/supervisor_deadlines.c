/* The deadlines of all berths: a binary heap of berth numbers in memory that is there from the beginning. The heap of
 * timers.c grows, and orders by age only; here a start begins with slot 0, and all who wait get their turn. */
#include "supervisor_internal.h"

static bool is_before(const struct evf_supervisor *supervisor, unsigned a, unsigned b) {
    const struct evf__worker *one = &supervisor->worker[a], *other = &supervisor->worker[b];
    if (one->deadline_ns != other->deadline_ns) return one->deadline_ns < other->deadline_ns;
    if (one->waiting_since_ns != other->waiting_since_ns) return one->waiting_since_ns < other->waiting_since_ns;
    return a < b;
}

static void place(struct evf_supervisor *supervisor, unsigned index, unsigned berth) {
    supervisor->heap[index] = berth;
    supervisor->worker[berth].heap_index = (int)index;
}

static void sift_up(struct evf_supervisor *supervisor, unsigned index, unsigned berth) {
    while (index > 0) {
        unsigned parent = (index - 1) / 2;
        if (!is_before(supervisor, berth, supervisor->heap[parent])) break;
        place(supervisor, index, supervisor->heap[parent]);
        index = parent;
    }
    place(supervisor, index, berth);
}

static void sift_down(struct evf_supervisor *supervisor, unsigned index, unsigned berth) {
    for (unsigned child; (child = index * 2 + 1) < supervisor->heap_count; index = child) {
        if (child + 1 < supervisor->heap_count &&
            is_before(supervisor, supervisor->heap[child + 1], supervisor->heap[child]))
            child++;
        if (!is_before(supervisor, supervisor->heap[child], berth)) break;
        place(supervisor, index, supervisor->heap[child]);
    }
    place(supervisor, index, berth);
}

static void settle(struct evf_supervisor *supervisor, unsigned index, unsigned berth) {
    if (index > 0 && is_before(supervisor, berth, supervisor->heap[(index - 1) / 2])) sift_up(supervisor, index, berth);
    else sift_down(supervisor, index, berth);
}

static void take_out(struct evf_supervisor *supervisor, struct evf__worker *worker) {
    unsigned index = (unsigned)worker->heap_index, last = supervisor->heap[--supervisor->heap_count];
    worker->heap_index = EVF__NOT_IN_HEAP;
    if (index < supervisor->heap_count) settle(supervisor, index, last);
}

void evf__deadline_set(struct evf_supervisor *supervisor, unsigned berth, int64_t deadline_ns) {
    struct evf__worker *worker = &supervisor->worker[berth];
    const bool was_in = worker->heap_index != EVF__NOT_IN_HEAP;
    worker->deadline_ns = deadline_ns;
    if (deadline_ns == EVF__NEVER) {
        if (was_in) take_out(supervisor, worker);
    } else if (was_in) settle(supervisor, (unsigned)worker->heap_index, berth);
    else sift_up(supervisor, supervisor->heap_count++, berth);
}

int64_t evf__deadline_first(const struct evf_supervisor *supervisor) {
    return supervisor->heap_count > 0 ? supervisor->worker[supervisor->heap[0]].deadline_ns : EVF__NEVER;
}
