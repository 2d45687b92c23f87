/* Timers in the simulated world: what is due, in which order, on two clocks. */
#include "helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 500 };

static struct sim *sim;
static struct evf_loop *loop;

static void start(struct evf_timer *timer, int64_t timeout_ns, const char *name) {
    CHECK_INT(evf_timer_start(loop, timer, EVF_CLOCK_MONOTONIC, sim->now_ns[EVF_CLOCK_MONOTONIC] + timeout_ns,
                              trace_timer, (void *)(uintptr_t)name),
              0);
}

static void start_at(struct evf_timer *timer, enum evf_clock clock, int64_t deadline_ns, const char *name) {
    CHECK_INT(evf_timer_start(loop, timer, clock, deadline_ns, trace_timer, (void *)(uintptr_t)name), 0);
}

static void open_it(void) {
    trace_clear();
    loop = NULL;
    sim = open_world(&loop);
}

static void close_it(void) {
    close_world(sim, loop);
}

/* ---- Order -------------------------------------------------------------------------------------------------- */

static int fired[MANY], fired_count;

static int note(struct evf_timer *timer, void *data) {
    const struct evf_timer *timers = data;
    fired[fired_count++] = (int)(timer - timers);
    return 0;
}

static uint64_t random_state = 88172645463325252u;

static unsigned draw(unsigned below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % below);
}

static void order_of_deadlines(void) {
    static struct evf_timer timers[MANY];
    memset(timers, 0, sizeof timers);
    open_it();
    for (int i = 0; i < MANY; i++) { /* many equal ones */
        int64_t deadline_ns = sim->now_ns[0] + draw(60);
        CHECK_INT(evf_timer_start(loop, &timers[i], EVF_CLOCK_MONOTONIC, deadline_ns, note, timers), 0);
    }
    fired_count = 0;
    sim_advance(sim, 100);
    CHECK_INT(evf_loop_run_once(loop, 0), MANY);
    CHECK_INT(fired_count, MANY);
    for (int i = 1; i < MANY; i++) {
        const struct evf_timer *one = &timers[fired[i - 1]], *next = &timers[fired[i]];
        if (!CHECK(one->deadline_ns < next->deadline_ns || (one->deadline_ns == next->deadline_ns && one < next)))
            break;
    }
    close_it();
}

/* Every place in heaps of every small size. */
static void stop_anywhere(void) {
    enum { MOST = 24 };
    open_it();
    for (int size = 1; size <= MOST; size++) {
        for (int stopped = 0; stopped < size; stopped++) {
            struct evf_timer timers[MOST];
            memset(timers, 0, sizeof timers);
            for (int i = 0; i < size; i++) {
                int64_t deadline_ns = sim->now_ns[0] + (i * 7 + stopped) % size;
                CHECK_INT(evf_timer_start(loop, &timers[i], EVF_CLOCK_MONOTONIC, deadline_ns, note, timers), 0);
            }
            evf_timer_stop(&timers[stopped]);
            fired_count = 0;
            sim_advance(sim, MOST);
            CHECK_INT(evf_loop_run_once(loop, 0), size - 1);
            for (int i = 0; i < fired_count; i++) {
                CHECK(fired[i] != stopped);
                if (i > 0) CHECK(timers[fired[i - 1]].deadline_ns <= timers[fired[i]].deadline_ns);
            }
        }
    }
    CHECK_INT(evf_loop_watchers(loop), 0);
    close_it();
}

static void equal_deadlines(void) {
    struct evf_timer a = {0}, b = {0}, c = {0}, d = {0};
    open_it();
    start(&a, 5, "a");
    start(&b, 5, "b");
    start(&c, 5, "c");
    start(&d, 5, "d");
    evf_timer_stop(&b);
    start(&b, 5, "b"); /* goes to the end */
    sim_advance(sim, 5);
    CHECK_INT(evf_loop_run_once(loop, 0), 4);
    CHECK_TEXT(trace, "acdb");
    close_it();
}

static void earlier_started_later(void) {
    struct evf_timer a = {0}, b = {0}, c = {0};
    open_it();
    start(&a, 30, "a");
    start(&b, 20, "b");
    start(&c, 10, "c");
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 10);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "cba");
    CHECK_INT(sim->now_ns[0] % 1000, 30);
    close_it();
}

/* ---- Time --------------------------------------------------------------------------------------------------- */

static void never_early(void) {
    struct evf_timer a = {0};
    open_it();
    start(&a, 1000, "a");
    sim_advance(sim, 999);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    sim_advance(sim, 1);
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "a");
    close_it();
}

/* A kernel may end a wait before its time. */
static void early_wait(void) {
    struct evf_timer a = {0};
    open_it();
    start(&a, 1000, "a");
    int64_t begin_ns = sim->now_ns[0];
    sim->early = 5;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->waits, 6);
    CHECK_INT(sim->now_ns[0] - begin_ns, 1000);
    sim->early = 5;
    CHECK_INT(evf_loop_run_once(loop, 500), 0);
    CHECK_INT(sim->now_ns[0] - begin_ns, 1500);
    close_it();
}

static void waits_no_longer_than_asked(void) {
    struct evf_timer a = {0};
    open_it();
    int64_t begin_ns = sim->now_ns[0];
    start(&a, 1000, "a");
    CHECK_INT(evf_loop_run_once(loop, 400), 0);
    CHECK_INT(sim->last_timeout_ns, 400);
    CHECK_INT(sim->now_ns[0] - begin_ns, 400);
    CHECK_INT(evf_loop_run_once(loop, 2000), 1);
    CHECK_INT(sim->last_timeout_ns, 600);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(sim->last_timeout_ns, 0);
    close_it();
}

/* Time that passes between two looks at the clock ends no wait early. */
static void ticking_clock(void) {
    struct evf_timer a = {0};
    open_it();
    sim->tick_ns = 3;
    start(&a, 100, "a");
    int64_t deadline_ns = a.deadline_ns;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK(sim->now_ns[0] >= deadline_ns);
    int64_t begin_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC);
    CHECK_INT(evf_loop_run_once(loop, 1000), 0);
    CHECK(sim->now_ns[0] - begin_ns >= 1000);
    close_it();
}

static void clocks_are_the_host_s(void) {
    open_it();
    sim->now_ns[EVF_CLOCK_REALTIME] = 42;
    sim->now_ns[EVF_CLOCK_MONOTONIC] = 43;
    CHECK_INT(evf_loop_now(loop, EVF_CLOCK_REALTIME), 42);
    CHECK_INT(evf_loop_now(loop, EVF_CLOCK_MONOTONIC), 43);
    close_it();
}

static void default_clocks(void) {
    int64_t one = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC), two = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC);
    CHECK(one > 0 && two >= one && two - one < 60 * SECOND);
    CHECK(evf_clock_now(NULL, EVF_CLOCK_REALTIME) > INT64_C(1600000000) * SECOND);
}

static void both_clocks_in_order(void) {
    struct evf_timer a = {0}, b = {0}, c = {0}, d = {0};
    open_it();
    int64_t monotonic = sim->now_ns[EVF_CLOCK_MONOTONIC], realtime = sim->now_ns[EVF_CLOCK_REALTIME];
    start_at(&a, EVF_CLOCK_MONOTONIC, monotonic + 40, "a");
    start_at(&b, EVF_CLOCK_REALTIME, realtime + 30, "b");
    start_at(&c, EVF_CLOCK_MONOTONIC, monotonic + 20, "c");
    start_at(&d, EVF_CLOCK_REALTIME, realtime + 10, "d");
    sim_advance(sim, 50);
    CHECK_INT(evf_loop_run_once(loop, 0), 4);
    CHECK_TEXT(trace, "dcba");
    close_it();
}

static void wall_clock_forward(void) {
    struct evf_timer a = {0}, b = {0};
    open_it();
    start_at(&a, EVF_CLOCK_REALTIME, sim->now_ns[EVF_CLOCK_REALTIME] + 3600 * SECOND, "a");
    start(&b, 3600 * SECOND, "b");
    sim->now_ns[EVF_CLOCK_REALTIME] += 7200 * SECOND;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "a");
    close_it();
}

static void wall_clock_back(void) {
    struct evf_timer a = {0}, b = {0};
    open_it();
    start_at(&a, EVF_CLOCK_REALTIME, sim->now_ns[EVF_CLOCK_REALTIME] + 5, "a");
    start(&b, 5, "b");
    sim_advance(sim, 5);
    sim->now_ns[EVF_CLOCK_REALTIME] -= 10;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "b");
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 10);
    CHECK_TEXT(trace, "ba");
    close_it();
}

/* Nobody tells the loop that an administrator has set the clock: it must look. */
static void wall_clock_set_while_waiting(void) {
    struct evf_timer a = {0};
    open_it();
    start_at(&a, EVF_CLOCK_REALTIME, sim->now_ns[EVF_CLOCK_REALTIME] + 3600 * SECOND, "a");
    CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 0);
    CHECK_INT(sim->waits, 2);
    CHECK_INT(sim->last_timeout_ns, 10 * SECOND);
    close_it();
}

/* ---- In callbacks ------------------------------------------------------------------------------------------- */

static struct evf_timer *victim;

static int stop_victim(struct evf_timer *timer, void *data) {
    evf_timer_stop(timer); /* not active any more: nothing happens */
    evf_timer_stop(victim);
    return trace_timer(timer, data);
}

static void stop_in_a_callback(void) {
    struct evf_timer a = {0}, b = {0}, c = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_MONOTONIC, 0, stop_victim, "a"), 0);
    start(&b, 0, "b");
    start(&c, 0, "c");
    victim = &b;
    CHECK_INT(evf_loop_run_once(loop, 0), 2);
    CHECK_TEXT(trace, "ac");
    CHECK(b.w.loop == NULL);
    CHECK_INT(evf_loop_watchers(loop), 0);
    close_it();
}

static int start_again(struct evf_timer *timer, void *data) {
    trace_add(data);
    return evf_timer_start(loop, timer, EVF_CLOCK_MONOTONIC, 0, start_again, data);
}

static void start_again_in_its_callback(void) {
    struct evf_timer a = {0}, b = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_MONOTONIC, 0, start_again, "a"), 0);
    start(&b, 0, "b");
    CHECK_INT(evf_loop_run_once(loop, 0), 2);
    CHECK_TEXT(trace, "ab");
    CHECK_INT(evf_loop_run_once(loop, -1), 1); /* the next turn, without waiting */
    CHECK_INT(sim->last_timeout_ns, 0);
    CHECK_TEXT(trace, "aba");
    close_it();
}

static int restart_victim(struct evf_timer *timer, void *data) {
    evf_timer_stop(victim);
    start(victim, 7, "v");
    return trace_timer(timer, data);
}

static void restart_what_is_due(void) {
    struct evf_timer a = {0}, b = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_MONOTONIC, 0, restart_victim, "a"), 0);
    start(&b, 0, "b");
    victim = &b;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 7);
    CHECK_TEXT(trace, "av");
    close_it();
}

static int free_it(struct evf_timer *timer, void *data) {
    free(timer);
    ++*(int *)data;
    return 0;
}

static void free_in_its_callback(void) {
    int count = 0;
    open_it();
    for (int i = 0; i < 10; i++) {
        struct evf_timer *timer = calloc(1, sizeof *timer);
        NEED(timer != NULL);
        CHECK_INT(evf_timer_start(loop, timer, EVF_CLOCK_MONOTONIC, 0, free_it, &count), 0);
    }
    CHECK_INT(evf_loop_run_once(loop, 0), 10);
    CHECK_INT(count, 10);
    close_it();
}

static int fail(struct evf_timer *timer, void *data) {
    trace_timer(timer, data);
    return -99;
}

static void error_leaves_the_rest(void) {
    struct evf_timer a = {0}, b = {0}, c = {0}, d = {0};
    open_it();
    start(&a, 0, "a");
    CHECK_INT(evf_timer_start(loop, &b, EVF_CLOCK_MONOTONIC, sim->now_ns[0], fail, "b"), 0);
    start(&c, 0, "c");
    start(&d, 0, "d");
    CHECK_INT(evf_loop_run_once(loop, -1), -99);
    CHECK_TEXT(trace, "ab");
    CHECK(c.w.loop != NULL && b.w.loop == NULL);
    evf_timer_stop(&c);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 0);
    CHECK_TEXT(trace, "abd");
    close_it();
}

static int run_nested(struct evf_timer *timer, void *data) {
    trace_timer(timer, data);
    trace_add("(");
    int rc = evf_loop_run_once(loop, 0);
    trace_add(")");
    return rc < 0 ? rc : 0;
}

static void nested(void) {
    struct evf_timer a = {0}, b = {0}, c = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_MONOTONIC, 0, run_nested, "a"), 0);
    CHECK_INT(evf_timer_start(loop, &b, EVF_CLOCK_MONOTONIC, 0, run_nested, "b"), 0);
    start(&c, 0, "c");
    CHECK_INT(evf_loop_run_once(loop, 0), 1); /* the other two were the inner turns' */
    CHECK_TEXT(trace, "a(b(c))");
    close_it();
}

/* ---- Limits and mistakes ------------------------------------------------------------------------------------ */

static void limits(void) {
    struct evf_timer past = {0}, zero = {0}, last = {0}, last_wall = {0};
    open_it();
    start_at(&past, EVF_CLOCK_MONOTONIC, INT64_MIN, "past ");
    start_at(&zero, EVF_CLOCK_REALTIME, 0, "zero ");
    start_at(&last, EVF_CLOCK_MONOTONIC, INT64_MAX, "last ");
    start_at(&last_wall, EVF_CLOCK_REALTIME, INT64_MAX, "wall ");
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "zero past "); /* the older one first: years of this clock are more than days of that */
    sim->now_ns[EVF_CLOCK_MONOTONIC] = sim->now_ns[EVF_CLOCK_REALTIME] = INT64_MAX - 2;
    CHECK_INT(evf_loop_run_once(loop, INT64_MAX), 2);
    CHECK_INT(sim->last_timeout_ns, 2);
    CHECK_TEXT(trace, "zero past last wall ");
    close_it();
}

static void longest_timeout(void) {
    struct evf_timer a = {0};
    open_it();
    start(&a, 5, "a");
    CHECK_INT(evf_loop_run_once(loop, INT64_MAX), 1);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_loop_run_once(loop, -2), EVF_EINVAL);
    CHECK_INT(evf_loop_run_once(loop, INT64_MIN), EVF_EINVAL);
    sim->now_ns[0] = INT64_MAX - 100;
    CHECK_INT(evf_loop_run_once(loop, INT64_MAX), 0); /* to the end of time */
    CHECK_INT(sim->now_ns[0], INT64_MAX);
    close_it();
}

static void mistakes(void) {
    struct evf_timer a = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_MONOTONIC, 0, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_COUNT, 0, trace_timer, ""), EVF_EINVAL);
    CHECK_INT(evf_timer_start(loop, &a, (enum evf_clock)77, 0, trace_timer, ""), EVF_EINVAL);
    CHECK(a.w.loop == NULL);
    evf_timer_stop(&a);
    evf_timer_stop(&a);
    start(&a, 10, "a");
    struct evf_timer before = a;
    CHECK_INT(evf_timer_start(loop, &a, EVF_CLOCK_REALTIME, 1, trace_timer, "again"), EVF_EEXIST);
    CHECK(memcmp(&before, &a, sizeof a) == 0);
    CHECK_INT(evf_loop_watchers(loop), 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a");
    close_it();
}

static void loop_freed_before(void) {
    struct evf_timer a = {0}, b = {0}, due = {0};
    open_it();
    start(&a, 10, "a");
    start_at(&b, EVF_CLOCK_REALTIME, INT64_MAX, "b");
    struct evf_timer failing = {0};
    CHECK_INT(evf_timer_start(loop, &failing, EVF_CLOCK_MONOTONIC, 0, fail, "f"), 0);
    start(&due, 0, "due");
    CHECK_INT(evf_loop_run_once(loop, 0), -99); /* due waits for delivery */
    CHECK_INT(evf_loop_watchers(loop), 3);
    close_it();
    CHECK(a.w.loop == NULL && b.w.loop == NULL && due.w.loop == NULL);
    CHECK_TEXT(trace, "f");
    evf_timer_stop(&a);
}

static void very_many(void) {
    enum { COUNT = 30000 };
    struct evf_timer *timers = calloc(COUNT, sizeof *timers);
    int count = 0;
    NEED(timers != NULL);
    open_it();
    for (int i = 0; i < COUNT; i++) {
        int64_t deadline_ns = sim->now_ns[0] + draw(1000000);
        NEED(evf_timer_start(loop, &timers[i], EVF_CLOCK_MONOTONIC, deadline_ns, count_timer, &count) == 0);
    }
    for (int i = 0; i < COUNT; i += 2) evf_timer_stop(&timers[i]);
    CHECK_INT(evf_loop_watchers(loop), COUNT / 2);
    sim_advance(sim, 1000000);
    CHECK_INT(evf_loop_run_once(loop, 0), COUNT / 2);
    CHECK_INT(count, COUNT / 2);
    close_it();
    free(timers);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(order_of_deadlines, "deadlines fire in order, equal ones in order of start"),
        TAP_TEST(equal_deadlines, "a timer that is started again goes behind its equals"),
        TAP_TEST(earlier_started_later, "the loop waits for the earliest"),
        TAP_TEST(stop_anywhere, "stopping any one leaves the others in order"),
        TAP_TEST(never_early, "one nanosecond before its deadline a timer does not fire"),
        TAP_TEST(early_wait, "waits that end early are gone on with"),
        TAP_TEST(waits_no_longer_than_asked, "a timeout shorter than the next deadline ends the turn"),
        TAP_TEST(ticking_clock, "a clock that moves all the time makes nothing early"),
        TAP_TEST(clocks_are_the_host_s, "the loop tells the host's time"),
        TAP_TEST(default_clocks, "without a hook the clocks are the system's"),
        TAP_TEST(both_clocks_in_order, "timers of two clocks fire in one order"),
        TAP_TEST(wall_clock_forward, "a clock set forward makes wall-clock timers due, and no others"),
        TAP_TEST(wall_clock_back, "a clock set back defers wall-clock timers, and no others"),
        TAP_TEST(wall_clock_set_while_waiting, "a wait for a wall-clock deadline looks at the clock now and then"),
        TAP_TEST(stop_in_a_callback, "a timer that is stopped in this turn does not fire"),
        TAP_TEST(start_again_in_its_callback, "a timer that starts itself again fires in the next turn"),
        TAP_TEST(restart_what_is_due, "a due timer that is started anew keeps to its new deadline"),
        TAP_TEST(free_in_its_callback, "a callback may free its timer"),
        TAP_TEST(error_leaves_the_rest, "after an error the rest fires in the next turn"),
        TAP_TEST(nested, "a nested turn takes over what is due"),
        TAP_TEST(limits, "the first and the last nanosecond of both clocks are deadlines"),
        TAP_TEST(longest_timeout, "the longest timeout is one, less than -1 is none"),
        TAP_TEST(mistakes, "a wrong start changes nothing"),
        TAP_TEST(loop_freed_before, "timers of a freed loop are stopped and never fire"),
        TAP_TEST(very_many, "thousands start, stop and fire"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
