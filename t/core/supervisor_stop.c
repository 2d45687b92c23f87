/* The end of a pool, graceful and fast. */
#include "supervisor_scene.h"

static void stop_gracefully(void) {
    defaults(3);
    open_it();
    event(EVF_EVENT_START, 0);
    ready(0);
    ready(2);
    exited(2, 0);
    forget();
    stop(false);
    EXPECT("drain:0 drain:2 drain:4");
    event(EVF_EVENT_RELOAD, 0);
    resize(5 - 2);
    exited(0, 0);
    exited(4, EXIT_1);
    EXPECT("");
    pass(30 * SECOND);
    EXPECT("examine:2");
    pass(1000 * MS);
    EXPECT("kill:2");
    CHECK_INT(last_report[EVF_REPORT_KILLED].cause, EVF_CAUSE_GRACEFUL);
    exited(2, BY_KILL);
    EXPECT("finish:0");
    CHECK_INT(pool().state, EVF_POOL_STOPPED);
    stop(false);
    event(EVF_EVENT_START, 0);
    EXPECT("");
    CHECK_INT(evf_supervisor_deadline(supervisor), INT64_MAX);
    close_it();
}

static void stop_fast(void) {
    defaults(2);
    open_ready();
    stop(true);
    EXPECT("kill:0 kill:2");
    stop(true);
    EXPECT("");
    exited(0, BY_KILL);
    exited(2, BY_KILL);
    EXPECT("finish:0");
    close_it();
}

static void second_stop(void) {
    defaults(2);
    open_ready();
    stop(false);
    EXPECT("drain:0 drain:2");
    pass(SECOND);
    stop(false);
    EXPECT("kill:0 kill:2");
    CHECK(last_report[EVF_REPORT_STOPPING].is_fast);
    close_it();
}

static void nothing_to_stop(void) {
    defaults(1);
    open_it();
    stop(false);
    EXPECT("finish:0");
    REPORTED("stopping stopped");
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    exited(0, EXIT_2); /* all that is left is a back-off */
    forget();
    stop(false);
    EXPECT("finish:0");
    close_it();
}

static void no_grace(void) {
    defaults(1);
    options.graceful_timeout_ns = 0;
    open_ready();
    stop(false);
    EXPECT("kill:0");
    close_it();
}

static void grace_begins_when_told(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(false);
    pass(100 * SECOND);
    EXPECT("spawn:0");
    answer(0, 77);
    EXPECT("drain:0");
    pass(30 * SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("examine:0");
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(stop_gracefully, "a stop asks, waits, examines, kills, and ends with 0"),
        TAP_TEST(stop_fast, "a fast stop kills"),
        TAP_TEST(second_stop, "a second stop is a fast one"),
        TAP_TEST(nothing_to_stop, "with no process a stop is done at once"),
        TAP_TEST(no_grace, "without a graceful timeout who leaves is killed"),
        TAP_TEST(grace_begins_when_told, "the graceful timeout begins when the worker is told"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
