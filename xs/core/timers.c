/* Deadlines: one 4-ary heap for each clock. Decides how long a wait may last and what is due. Never blocks. */
#include "internal.h"

#include <stdlib.h>

enum { ARITY = 4, FIRST_SIZE = 64 };

static bool is_before(const struct evf__heap_entry *a, const struct evf__heap_entry *b) {
    if (a->deadline_ns != b->deadline_ns) return a->deadline_ns < b->deadline_ns;
    return a->timer->order < b->timer->order;
}

static void place(struct evf__heap *heap, size_t index, struct evf__heap_entry entry) {
    heap->entries[index] = entry;
    entry.timer->index = index;
}

static void sift_up(struct evf__heap *heap, size_t index, struct evf__heap_entry entry) {
    while (index > 0) {
        size_t parent = (index - 1) / ARITY;
        if (!is_before(&entry, &heap->entries[parent])) break;
        place(heap, index, heap->entries[parent]);
        index = parent;
    }
    place(heap, index, entry);
}

static void sift_down(struct evf__heap *heap, size_t index, struct evf__heap_entry entry) {
    for (;;) {
        size_t first = index * ARITY + 1, least = first;
        if (first >= heap->count) break;
        size_t last = first + ARITY < heap->count ? first + ARITY : heap->count;
        for (size_t child = first + 1; child < last; child++) {
            if (is_before(&heap->entries[child], &heap->entries[least])) least = child;
        }
        if (!is_before(&heap->entries[least], &entry)) break;
        place(heap, index, heap->entries[least]);
        index = least;
    }
    place(heap, index, entry);
}

static int heap_add(struct evf__heap *heap, struct evf_timer *timer) {
    if (heap->count == heap->size) {
        size_t size = heap->size ? heap->size * 2 : FIRST_SIZE;
        struct evf__heap_entry *entries = realloc(heap->entries, size * sizeof *entries);
        if (entries == NULL) return EVF_ENOMEM;
        heap->entries = entries;
        heap->size = size;
    }
    sift_up(heap, heap->count++, (struct evf__heap_entry){timer->deadline_ns, timer});
    return 0;
}

static void heap_remove(struct evf__heap *heap, size_t index) {
    struct evf__heap_entry moved = heap->entries[--heap->count];
    if (index == heap->count) return;
    if (index > 0 && is_before(&moved, &heap->entries[(index - 1) / ARITY])) sift_up(heap, index, moved);
    else sift_down(heap, index, moved);
}

static int timer_start(struct evf_loop *loop, struct evf_timer *timer, enum evf_clock clock, int64_t deadline_ns,
                       evf_timer_cb cb, void *data) {
    timer->cb = cb;
    timer->clock = (unsigned char)clock;
    timer->deadline_ns = deadline_ns < 0 ? 0 : deadline_ns; /* both clocks are positive: nothing can overflow */
    timer->order = loop->timer_order++;
    int rc = heap_add(&loop->heaps[clock], timer);
    if (rc < 0) return rc;
    evf__watcher_start(loop, &timer->w, EVF_WATCHER_TIMER, data);
    return 0;
}

int evf_timer_start(struct evf_loop *loop, struct evf_timer *timer, enum evf_clock clock, int64_t deadline_ns,
                    evf_timer_cb cb, void *data) {
    if (cb == NULL || (unsigned)clock >= EVF_CLOCK_COUNT) return EVF_EINVAL;
    int rc = evf__watcher_check(loop, &timer->w);
    if (rc < 0) return rc;
    timer->w.internal = false;
    return timer_start(loop, timer, clock, deadline_ns, cb, data);
}

int evf__timer_start_internal(struct evf_loop *loop, struct evf_timer *timer, int64_t timeout_ns, evf_timer_cb cb,
                              void *data) {
    timer->w.internal = true;
    return timer_start(loop, timer, EVF_CLOCK_MONOTONIC, evf__now(loop, EVF_CLOCK_MONOTONIC) + timeout_ns, cb, data);
}

void evf_timer_stop(struct evf_timer *timer) {
    struct evf_loop *loop = timer->w.loop;
    if (loop == NULL || loop->abandoned) return;
    /* A timer that is due has left the heap and waits in the ready list. */
    if (timer->w.ready.next == NULL) heap_remove(&loop->heaps[timer->clock], timer->index);
    evf__watcher_stop(&timer->w);
}

/* A wait for a wall-clock deadline ends at the latest after this, because an administrator may set the clock. */
static const int64_t realtime_check_ns = 10 * EVF__SECOND;

int64_t evf__timers_timeout(const struct evf_loop *loop, int64_t timeout_ns) {
    for (int clock = 0; clock < EVF_CLOCK_COUNT; clock++) {
        const struct evf__heap *heap = &loop->heaps[clock];
        if (heap->count == 0) continue;
        int64_t now_ns = evf__now(loop, (enum evf_clock)clock), deadline_ns = heap->entries[0].deadline_ns;
        int64_t left_ns = deadline_ns <= now_ns ? 0 : deadline_ns - now_ns;
        if (clock == EVF_CLOCK_REALTIME && left_ns > realtime_check_ns) left_ns = realtime_check_ns;
        if (timeout_ns < 0 || left_ns < timeout_ns) timeout_ns = left_ns;
    }
    return timeout_ns;
}

void evf__timers_collect(struct evf_loop *loop) {
    int64_t now_ns[EVF_CLOCK_COUNT] = {0};
    bool known[EVF_CLOCK_COUNT] = {false};
    for (;;) {
        int next = -1;
        int64_t next_age_ns = -1;
        for (int clock = 0; clock < EVF_CLOCK_COUNT; clock++) {
            const struct evf__heap *heap = &loop->heaps[clock];
            if (heap->count == 0) continue;
            if (!known[clock]) {
                known[clock] = true;
                now_ns[clock] = evf__now(loop, (enum evf_clock)clock);
            }
            int64_t age_ns = now_ns[clock] - heap->entries[0].deadline_ns;
            if (age_ns > next_age_ns) {
                next = clock;
                next_age_ns = age_ns;
            }
        }
        if (next < 0) return;
        struct evf_timer *timer = loop->heaps[next].entries[0].timer;
        heap_remove(&loop->heaps[next], 0);
        evf__ready(loop, &timer->w);
    }
}

void evf__timers_stop_all(struct evf_loop *loop) {
    for (int clock = 0; clock < EVF_CLOCK_COUNT; clock++) {
        struct evf__heap *heap = &loop->heaps[clock];
        while (heap->count > 0) evf_timer_stop(heap->entries[heap->count - 1].timer);
    }
}

void evf__timers_clear(struct evf_loop *loop) {
    for (int clock = 0; clock < EVF_CLOCK_COUNT; clock++) free(loop->heaps[clock].entries);
}
