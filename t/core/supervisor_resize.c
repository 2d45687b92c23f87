/* More and fewer slots: which come, which go, and which number they have. */
#include "supervisor_scene.h"

static void more_and_fewer(void) {
    defaults(3);
    open_ready();
    exited(2, 0);
    ready(2); /* the youngest now */
    pass(SECOND);
    forget();
    resize(2);
    EXPECT("drain:2");
    CHECK_INT(last_report[EVF_REPORT_DRAINING].cause, EVF_CAUSE_RESIZE);
    CHECK(worker(2).is_leaving);
    resize(3);
    EXPECT("spawn:6"); /* who leaves keeps its number */
    CHECK_INT(last_spawn.cause, EVF_CAUSE_RESIZE);
    exited(2, 0);
    EXPECT("");
    resize(4);
    EXPECT("spawn:2"); /* the lowest number that is nobody's */
    resize(4);
    EXPECT("");
    CHECK_INT(pool().workers, 4);
    close_it();
}

static void who_goes_first(void) {
    defaults(4);
    open_ready();
    exited(2, 0);
    exited(2, EXIT_1); /* in back-off */
    exited(0, 0);      /* starting */
    forget();
    resize(3);
    EXPECT("");
    CHECK_INT(worker(2).state, EVF_WORKER_EMPTY);
    resize(2);
    EXPECT("drain:0");
    resize(1);
    EXPECT("drain:6");
    exited(6, 0);
    exited(0, 0);
    pass(100 * SECOND);
    EXPECT(""); /* nobody comes back */
    CHECK_INT(pool().alive, 1);
    close_it();
}

static void all_numbers_leave(void) {
    defaults(EVF_SLOTS_MAX / 2);
    open_it();
    event(EVF_EVENT_START, 0);
    for (int i = 0; i < 4; i++) {
        resize(1);
        resize(EVF_SLOTS_MAX / 2);
    }
    forget();
    CHECK_INT(pool().alive, EVF_SLOTS_MAX); /* no number is left: the rest waits for one */
    unsigned berth = 2;
    while (!worker(berth).is_leaving) berth += 2;
    exited(berth, 0);
    CHECK_INT(worker(berth).state, EVF_WORKER_STARTING);
    CHECK_INT(pool().alive, EVF_SLOTS_MAX);
    close_it();
}

static void pair_leaves(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    exited(2, 0);
    ready(2);
    exited(0, 0);
    forget();
    resize(1);
    EXPECT("drain:1");
    exited(1, 0);
    CHECK_INT(pool().alive, 1);
    CHECK_INT(pool().replacing, 0);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(more_and_fewer, "slots come with the lowest number, and the youngest goes"),
        TAP_TEST(who_goes_first, "back-offs go first, then those that start"),
        TAP_TEST(all_numbers_leave, "without a free number a new slot waits"),
        TAP_TEST(pair_leaves, "a slot that leaves takes its token along"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
