/* Silent workers, and who is not to blame for silence: one that was busy before it was ready, or all after our own
 * sleep. */
#include "supervisor_scene.h"

static void stuck(void) {
    defaults(2);
    open_ready();
    const int64_t since_ns = now_ns;
    pass(30 * SECOND);
    heartbeat(0, since_ns, 0);
    heartbeat(2, 0, 0); /* idle for ever is fine */
    EXPECT("");
    pass(1);
    heartbeat(0, since_ns, 5 * SECOND); /* it asked for more */
    EXPECT("");
    heartbeat(0, since_ns, 0);
    EXPECT("examine:0");
    REPORTED("");
    pass(10 * MS);
    event(EVF_EVENT_EXAMINED, 0);
    EXPECT("kill:0");
    REPORTED("worker_stuck");
    CHECK_INT(last_report[EVF_REPORT_STUCK].elapsed_ns, 30 * SECOND + 1 + 10 * MS);
    exited(0, BY_KILL);
    EXPECT("spawn:0");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_STUCK);
    close_it();
}

static void nobody_examines(void) {
    defaults(1);
    open_ready();
    const int64_t since_ns = now_ns;
    pass(31 * SECOND);
    heartbeat(0, since_ns, 0);
    forget();
    pass(1000 * MS - 1);
    EXPECT("");
    pass(1);
    EXPECT("kill:0");
    event(EVF_EVENT_EXAMINED, 0);
    EXPECT("");
    close_it();
}

static void ready_from_a_long_turn(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    const int64_t since_ns = now_ns;
    pass(50 * SECOND);
    ready(0);
    forget();
    heartbeat(0, since_ns, 0);
    EXPECT("");
    close_it();
}

static void looks_now_and_then(void) {
    defaults(2);
    open_it();
    event(EVF_EVENT_START, 0);
    pass(50 * SECOND);
    CHECK_INT(looks, 0); /* nobody to look at */
    ready(0);
    ready(2);
    forget();
    pass(50 * SECOND);
    CHECK_INT(looks, 10);
    CHECK_INT(ticks, 10); /* and no other wake-up */
    close_it();
    options.heartbeat_timeout_ns = 40 * MS;
    open_ready();
    pass(SECOND);
    CHECK_INT(looks, 50); /* never more often */
    close_it();
    options.heartbeat_timeout_ns = 0;
    open_ready();
    pass(50 * SECOND);
    CHECK_INT(looks, 0);
    CHECK_INT(evf_supervisor_deadline(supervisor), INT64_MAX);
    close_it();
}

static void suspended(void) {
    defaults(2);
    open_ready();
    const int64_t since_ns = now_ns;
    exited(0, 0);
    forget();
    now_ns += 300 * SECOND; /* the machine slept; nobody is to blame */
    heartbeat(2, since_ns, 0);
    EXPECT("");
    REPORTED("suspended");
    CHECK_INT(last_report[EVF_REPORT_SUSPENDED].elapsed_ns, 297 * SECOND); /* a look was due after 3 */
    pass(30 * SECOND);
    heartbeat(2, since_ns, 0); /* counts from the awakening on */
    EXPECT("");
    pass(1);
    heartbeat(2, since_ns, 0);
    EXPECT("examine:2");
    exited(2, BY_KILL);
    forget();
    pass(27 * SECOND - 2);
    EXPECT("");
    pass(1); /* 60 seconds to start, as far as we were there to see it */
    EXPECT("examine:0");
    close_it();
}

static void hardly_late(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    now_ns += 61 * SECOND;
    event(EVF_EVENT_TICK, 0);
    EXPECT("examine:0");
    REPORTED("");
    close_it();
}

static void clock_goes_back(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    const int64_t deadline_ns = evf_supervisor_deadline(supervisor);
    now_ns -= 500 * SECOND;
    ready(0);
    CHECK_INT(worker(0).ready_ns, 1000 * SECOND);
    CHECK(evf_supervisor_deadline(supervisor) < deadline_ns);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(stuck, "a silent busy worker is examined, reported, killed, replaced"),
        TAP_TEST(nobody_examines, "the kill does not wait for the examination"),
        TAP_TEST(ready_from_a_long_turn, "time before ready is no silence"),
        TAP_TEST(looks_now_and_then, "it looks a few times per timeout, if there is somebody to look at"),
        TAP_TEST(suspended, "nobody is blamed for the sleep of this process"),
        TAP_TEST(hardly_late, "a second late is not asleep"),
        TAP_TEST(clock_goes_back, "a clock that goes back stands still"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
