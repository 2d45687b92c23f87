/* How long a turn waits, on every method, and the hooks of a loop around its waits. What ends a wait from outside:
 * wakeup.c. */
#include "one_loop.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- Time --------------------------------------------------------------------------------------------------- */

static void never_early(void) {
    static const int64_t timeouts_ns[] = {1, 999, 1001, 100000, 999999, 1000001, 7300000, 21000000};
    int waits;
    trace_clear();
    loop = new_counting_loop(&waits);
    for (size_t i = 0; i < COUNT_OF(timeouts_ns); i++) {
        struct evf_timer timer = {0};
        int64_t begin_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC), timeout_ns = timeouts_ns[i];
        CHECK_INT(evf_loop_run_once(loop, timeout_ns), 0);
        CHECK(evf_loop_now(loop, EVF_CLOCK_MONOTONIC) - begin_ns >= timeout_ns);
        begin_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC);
        trace_clear();
        CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, begin_ns + timeout_ns, trace_timer,
                                  (void *)(uintptr_t) "t"),
                  0);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK(evf_loop_now(loop, EVF_CLOCK_MONOTONIC) - begin_ns >= timeout_ns);
    }
    CHECK(waits < 100);
    close_it();
}

static void no_wait(void) {
    int waits;
    loop = new_counting_loop(&waits);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(waits, 1);
    CHECK_INT(evf_loop_run_once(loop, -2), EVF_EINVAL);
    CHECK_INT(waits, 1);
    close_it();
}

static void longest_wait(void) {
    int count = 0, fds[2];
    struct evf_io io = {0};
    struct evf_timer timer = {0};
    open_it();
    make_pair(fds);
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, INT64_MAX, count_timer, &count), 0);
    give(fds[1]);
    CHECK_INT(evf_loop_run_once(loop, INT64_MAX), 1);
    give(fds[1]);
    CHECK_INT(evf_loop_run_once(loop, INT64_MAX - 1), 1);
    give(fds[1]);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(count, 3);
    close_it();
    close_pair(fds);
}

/* Longer than the milliseconds of an int: each would be short if it were cut off. */
static void very_long_waits(void) {
    static const int64_t timeouts_ms[] = {INT64_C(1) << 31, INT64_C(1) << 32, (INT64_C(1) << 32) + 1, INT64_C(1) << 40};
    for (size_t i = 0; i < COUNT_OF(timeouts_ms); i++) {
        struct evf_io io = {0};
        struct tester tester;
        int waits, fds[2], count = 0;
        loop = new_counting_loop(&waits);
        make_pair(fds);
        CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
        if (fork_tester(&tester)) {
            struct pollfd nothing = {.fd = -1};
            (void)poll(&nothing, 0, 20); /* a while for the other to wait in; nothing depends on it */
            give(fds[1]);
            leave(&tester);
        }
        CHECK_INT(evf_loop_run_once(loop, timeouts_ms[i] * MILLISECOND), 1);
        CHECK(waits < 10);
        check_tester(&tester);
        close_it();
        close_pair(fds);
    }
}

static int alarms;

static void on_alarm(int signo) {
    (void)signo;
    alarms++;
}

/* Handlers of other people interrupt the system call over and over. */
static void interrupted(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 3000}, {0, 3000}}, off = {{0, 0}, {0, 0}};
    open_it();
    alarms = 0;
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 1000 && alarms < 5; i++) {
        int64_t begin_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC);
        CHECK_INT(evf_loop_run_once(loop, 30 * MILLISECOND), 0);
        CHECK(evf_loop_now(loop, EVF_CLOCK_MONOTONIC) - begin_ns >= 30 * MILLISECOND);
    }
    CHECK(alarms >= 5);
    CHECK_INT(setitimer(ITIMER_REAL, &off, NULL), 0);
    (void)signal(SIGALRM, SIG_DFL); /* a valid signal */
    close_it();
}

static void stopped_idle_is_no_hurry(void) {
    struct evf_idle idle = {0};
    open_it();
    CHECK_INT(evf_idle_start(loop, &idle, trace_idle, (void *)(uintptr_t) "a"), 0);
    evf_idle_stop(&idle);
    int64_t begin_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC);
    CHECK_INT(evf_loop_run_once(loop, 20 * MILLISECOND), 0);
    CHECK(evf_loop_now(loop, EVF_CLOCK_MONOTONIC) - begin_ns >= 20 * MILLISECOND);
    CHECK_TEXT(trace, "");
    close_it();
}

/* ---- The hooks ---------------------------------------------------------------------------------------------- */

static int hook_calls[3], hook_error[3], pending;

static int hook(int which) {
    int rc = hook_error[which];
    hook_calls[which]++;
    hook_error[which] = 0;
    return rc;
}

static int before_wait(void *data) {
    (void)data;
    return hook(0);
}

static int after_wait(void *data) {
    (void)data;
    return hook(1);
}

static int run_pending(void *data, bool *ran) {
    (void)data;
    *ran = true;
    pending = 0;
    return hook(2);
}

static bool has_pending(void *data) {
    (void)data;
    return pending != 0;
}

static void open_with_hooks(void) {
    static const struct evf_loop_hooks hooks = {
        .before_wait = before_wait, .after_wait = after_wait, .run_pending = run_pending, .has_pending = has_pending};
    memset(hook_calls, 0, sizeof hook_calls);
    memset(hook_error, 0, sizeof hook_error);
    trace_clear();
    loop = new_loop_with(&hooks);
}

static void hooks_come_in_pairs(void) {
    struct evf_timer timer = {0};
    int count = 0;
    open_with_hooks();
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_loop_run_once(loop, 5 * MILLISECOND), 0);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &count), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK(hook_calls[0] >= 3);
    CHECK_INT(hook_calls[1], hook_calls[0]);
    CHECK_INT(hook_calls[2], 0); /* nothing was pending */
    close_it();
}

static void errors_of_hooks(void) {
    struct evf_timer timer = {0};
    int count = 0;
    for (int which = 0; which < 3; which++) {
        open_with_hooks();
        count = 0;
        pending = which == 2;
        hook_error[which] = -60 - which;
        CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &count), 0);
        CHECK_INT(evf_loop_run_once(loop, -1), -60 - which);
        CHECK_INT(count, 0);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK_INT(count, 1);
        close_it();
    }
}

static void pending_work_ends_the_wait(void) {
    open_with_hooks();
    pending = 1;
    CHECK_INT(evf_loop_run_once(loop, -1), 0); /* the host did something: that is what was waited for */
    CHECK_INT(hook_calls[2], 1);
    close_it();
}

/* By a signal whose handler is the host's own. */
static void on_work(int signo) {
    (void)signo;
    pending = 1;
    evf_wakeup();
}

static void pending_work_arrives(void) {
    struct sigaction action = {.sa_handler = on_work};
    struct waiting_child child;
    open_with_hooks();
    pending = 0;
    CHECK_INT(sigaction(SIGCHLD, &action, NULL), 0);
    child = waiting_child(0);
    release(&child);
    CHECK_INT(evf_loop_run_once(loop, -1), 0); /* whether SIGCHLD comes before or in the wait */
    CHECK_INT(hook_calls[2], 1);
    CHECK_INT(reap(child.pid), 0);
    (void)signal(SIGCHLD, SIG_DFL);
    close_it();
}

static void half_of_the_hooks(void) {
    static const struct evf_loop_hooks some[] = {{.has_pending = has_pending}, {.run_pending = run_pending}};
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        if (i == 0) {
            struct tester tester; /* it may crash */
            if (fork_tester(&tester)) {
                pending = 1;
                loop = new_loop_with(&some[i]);
                CHECK_INT(evf_loop_run_once(loop, 0), 0);
                leave(&tester);
            }
            check_tester(&tester);
            continue;
        }
        pending = 1;
        loop = new_loop_with(&some[i]);
        CHECK_INT(evf_loop_run_once(loop, 0), 0);
        close_it();
    }
    pending = 0;
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(stopped_idle_is_no_hurry, "a stopped idle watcher shortens no wait"),
        TAP_TEST(never_early, "neither timers nor turns are early, and they do not spin"),
        TAP_TEST(no_wait, "timeout 0 looks once"),
        TAP_TEST(longest_wait, "the longest timeouts overflow nothing"),
        TAP_TEST(very_long_waits, "nor does a month and more"),
        TAP_TEST(interrupted, "signals of other people are no error and end nothing early"),
        TAP_TEST(hooks_come_in_pairs, "before_wait and after_wait embrace each wait"),
        TAP_TEST(errors_of_hooks, "an error of a hook leaves the turn"),
        TAP_TEST(pending_work_ends_the_wait, "pending work of the host is not waited upon"),
        TAP_TEST(pending_work_arrives, "pending work that arrives in the wait ends it"),
        TAP_TEST(half_of_the_hooks, "each hook may be missing"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
