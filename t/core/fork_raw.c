/* A raw fork, on every method: parent and child go on with the same watchers, each on kernel objects of its own, and
 * the parent notices nothing. And what the core makes of forks that only execute, and of threads. With few descriptors:
 * fork_descriptors.c. */
#include "watched.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void both_go_on(void) {
    struct evf_timer timer = {0};
    struct evf_idle idle = {0};
    struct tester tester;
    int fired = 0;
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    int64_t deadline_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC) + 5 * MILLISECOND;
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, deadline_ns, count_timer, &fired), 0);
    CHECK_INT(evf_idle_start(loop, &idle, count_idle, &fired), 0);
    if (fork_tester(&tester)) {
        CHECK_INT(evf_fork_generation - generation, 1);
        CHECK(turns_until(loop, &fired, 2));
        CHECK_INT(evf_loop_watchers(loop), 1);
        check_works();
        check_loop_works(loop);
        evf_io_stop(&io);
        evf_loop_free(loop);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(evf_fork_generation, generation);
    CHECK(turns_until(loop, &fired, 2)); /* each has its own */
    close_it();
}

static void child_stops_at_once(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        evf_io_stop(&io); /* before the loop is used */
        check_loop_works(loop);
        give(fds[1]);
        check_calm(loop, &waits); /* nobody asks for it any more */
        (void)take(fds[0]);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void child_changes_at_once(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
        CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 1);
        CHECK_INT(evf_io_set(&io, EVF_READ), 0);
        check_works();
        CHECK_INT(evf_io_set(&io, 0), 0);
        CHECK_INT(turns(loop), 0);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void child_frees_at_once(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        evf_loop_free(loop);
        CHECK(io.w.loop == NULL);
        check_loop_works(new_loop());
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void child_closes_all(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        for (int fd = 3; fd < FAR_FD; fd++) (void)close(fd);
        evf_loop_free(loop);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void child_uses_other_functions_first(void) {
    struct tester tester;
    for (int first = 0; first < 6; first++) {
        open_it();
        if (fork_tester(&tester)) {
            struct evf_signal sig = {0};
            struct evf_idle idle = {0};
            struct evf_process process = {0};
            int any = 0;
            if (first == 0) CHECK_INT(evf_loop_after_fork(loop, false), 0);
            if (first == 1) CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &any), 0);
            if (first == 2) CHECK_INT(evf_idle_start(loop, &idle, count_idle, &any), 0);
            if (first == 3) CHECK_INT(evf_process_start(loop, &process, ended_child(0), count_process, &any), 0);
            if (first == 4) CHECK_INT(evf_loop_after_fork(loop, true), 0);
            if (first == 5) evf_io_stop_closed(&io);
            if (first == 1) CHECK_INT(kill(getpid(), SIGUSR1), 0);
            if (first >= 1 && first <= 3) CHECK(turns_until(loop, &any, 1));
            check_loop_works(loop);
            if (first != 5) check_works();
            leave(&tester);
        }
        check_tester(&tester);
        close_it();
    }
}

static void many_descriptors(void) {
    enum { COUNT = 100 };
    static struct evf_io ios[COUNT];
    static int pairs[COUNT][2];
    struct tester tester;
    int sum = 0;
    open_it();
    memset(ios, 0, sizeof ios);
    for (int i = 0; i < COUNT; i++) {
        make_pair(pairs[i]);
        CHECK_INT(evf_io_start(loop, &ios[i], pairs[i][0], EVF_READ, count_io, &sum), 0);
    }
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    if (fork_tester(&tester)) {
        for (int i = 0; i < COUNT; i++) give(pairs[i][1]);
        CHECK(turns_until(loop, &sum, COUNT));
        for (int i = 0; i < COUNT; i++) evf_io_stop(&ios[i]);
        CHECK_INT(turns(loop), 0);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(turns(loop), 0);
    for (int i = 0; i < COUNT; i++) give(pairs[i][1]);
    CHECK(turns_until(loop, &sum, COUNT));
    for (int i = 0; i < COUNT; i++) {
        evf_io_stop(&ios[i]);
        close_pair(pairs[i]);
    }
    close_it();
}

static struct tester tester_of_callback;
static bool is_child;

static int fork_here(struct evf_timer *timer, void *data) {
    (void)timer;
    trace_add(data);
    is_child = fork_tester(&tester_of_callback);
    return 0;
}

/* Both processes come back from the same callback, in the middle of a turn. */
static void fork_in_a_callback(void) {
    struct evf_timer one = {0}, two = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &one, EVF_CLOCK_MONOTONIC, 0, fork_here, (void *)(uintptr_t) "1"), 0);
    CHECK_INT(evf_timer_start(loop, &two, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t) "2"), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "12");
    if (is_child) {
        check_works();
        check_loop_works(loop);
        leave(&tester_of_callback);
    }
    check_tester(&tester_of_callback);
    close_it();
}

/* Old news of a descriptor is dropped in the child: the kernel says what is true there. */
static int fork_and_eat(struct evf_timer *timer, void *data) {
    (void)timer;
    is_child = fork_tester(&tester_of_callback);
    if (is_child) (void)take(*(int *)data);
    return -5;
}

static void readiness_is_asked_for_anew(void) {
    struct evf_timer timer = {0};
    struct evf_idle idle = {0};
    open_it();
    give(fds[1]);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, fork_and_eat, &fds[0]), 0);
    CHECK_INT(evf_idle_start(loop, &idle, trace_idle, (void *)(uintptr_t) "i"), 0);
    while (timer.w.loop != NULL) (void)evf_loop_run_once(loop, 0);
    if (is_child) {
        CHECK_INT(evf_loop_run_once(loop, 0), 1); /* only the idle callback is left */
        CHECK_TEXT(trace, "i");
        leave(&tester_of_callback);
    }
    check_tester(&tester_of_callback);
    CHECK(turns(loop) >= 1);
    CHECK_TEXT(trace, "i");
    count = 0;
    close_it();
}

static void generations(void) {
    struct tester testers[3];
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    int depth = 0;
    while (depth < 3 && fork_tester(&testers[depth])) {
        depth++;
        CHECK_INT(evf_fork_generation - generation, depth);
        if (depth != 2) check_works(); /* the second never uses the loop before it forks */
    }
    if (depth < 3) check_tester(&testers[depth]);
    check_works();
    if (depth > 0) leave(&testers[depth - 1]);
    close_it();
}

/* ---- Signals ------------------------------------------------------------------------------------------------ */

static void signals_stay_apart(void) {
    struct evf_signal sig = {0};
    struct tester tester;
    int got = 0;
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
    CHECK_INT(kill(getpid(), SIGUSR1), 0); /* the parent's, not delivered yet */
    if (fork_tester(&tester)) {
        CHECK_INT(turns(loop), 0);
        for (int i = 0; i < 50; i++) CHECK_INT(kill(getpid(), SIGUSR1), 0);
        CHECK(turns_until(loop, &got, 1));
        CHECK_INT(turns(loop), 0);
        tell_parent(&tester);
        wait_for_parent(&tester);
        leave(&tester);
    }
    CHECK_INT(turns(loop), 1);
    wait_for_child(&tester);
    CHECK_INT(got, 1);
    check_calm(loop, &waits); /* nobody wakes it */
    CHECK_INT(kill(getpid(), SIGUSR1), 0);
    CHECK_INT(turns(loop), 1);
    tell_child(&tester);
    check_tester(&tester);
    close_it();
}

/* ---- Processes ---------------------------------------------------------------------------------------------- */

static void processes_are_the_parent_s(void) {
    for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
        struct evf_process process = {0}, own = {0};
        struct tester tester;
        int ended = 0;
        open_it();
        evf_process_use_pidfd(with_pidfd != 0);
        struct waiting_child child = waiting_child(0);
        CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &ended), 0);
        CHECK_INT(evf_loop_run_once(loop, 0), 0);
        if (fork_tester(&tester)) {
            CHECK_INT(turns(loop), 0);
            CHECK(process.w.loop == NULL);
            CHECK(evf_process_find(loop, child.pid) == NULL);
            CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &ended), EVF_ECHILD);
            struct waiting_child mine = waiting_child(0);
            CHECK_INT(evf_process_start(loop, &own, mine.pid, count_process, &ended), 0);
            release(&mine);
            CHECK(turns_until(loop, &ended, 1));
            check_works();
            leave(&tester);
        }
        check_tester(&tester);
        CHECK_INT(turns(loop), 0);
        CHECK(process.w.loop != NULL);
        release(&child);
        CHECK(turns_until(loop, &ended, 1));
        evf_process_use_pidfd(true);
        close_it();
    }
}

/* ---- Forks that only execute -------------------------------------------------------------------------------- */

static bool exec_only;

static bool is_exec_only(void) {
    return exec_only;
}

static void exec_only_forks(void) {
    struct tester tester;
    open_it();
    static const struct evf_fork_host host = {.is_exec_only = is_exec_only};
    CHECK_INT(evf_fork_set_host(&host), 0);
    for (int only = 0; only < 2; only++) {
        exec_only = only != 0;
        sig_atomic_t generation = evf_fork_generation;
        if (fork_tester(&tester)) {
            CHECK_INT(evf_fork_generation - generation, !exec_only);
            leave(&tester);
        }
        check_tester(&tester);
        check_works();
    }
    CHECK_INT(evf_fork_set_host(NULL), 0);
    close_it();
}

/* ---- Threads ------------------------------------------------------------------------------------------------ */

static void *wait_for_byte(void *data) {
    char byte;
    CHECK_INT(read(*(int *)data, &byte, 1), 1);
    return NULL;
}

static void threads(void) {
    pthread_t thread;
    int ends[2];
    int before = evf_fork_threads();
    if (before == 0) {
        tap_skip("this system does not tell");
        return;
    }
    NEED(pipe(ends) == 0);
    NEED(pthread_create(&thread, NULL, wait_for_byte, &ends[0]) == 0);
    CHECK_INT(evf_fork_threads(), before + 1);
    give(ends[1]);
    CHECK_INT(pthread_join(thread, NULL), 0);
    close_pair(ends);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(both_go_on, "after a raw fork parent and child go on with the same watchers"),
        TAP_TEST(child_stops_at_once, "a child that stops watchers leaves the parent's alone"),
        TAP_TEST(child_changes_at_once, "so does one that changes their interest"),
        TAP_TEST(child_frees_at_once, "and one that frees the loop unused"),
        TAP_TEST(child_closes_all, "and one that closes all descriptors before"),
        TAP_TEST(child_uses_other_functions_first, "any function may be the first a child calls"),
        TAP_TEST(many_descriptors, "a hundred descriptors on both sides"),
        TAP_TEST(fork_in_a_callback, "both sides of a fork in a callback finish the turn"),
        TAP_TEST(readiness_is_asked_for_anew, "what was ready in the parent is asked for anew in the child"),
        TAP_TEST(generations, "three generations with one loop"),
        TAP_TEST(signals_stay_apart, "signals of the one wake nobody in the other"),
        TAP_TEST(processes_are_the_parent_s, "process watches are the parent's, the child has its own"),
        TAP_TEST(exec_only_forks, "forks that only execute are left alone"),
        TAP_TEST(threads, "threads are counted"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
