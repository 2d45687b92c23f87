/* What a fork makes of a loop, on every method. A raw fork: parent and child go on with the same watchers, each on
 * kernel objects of its own. A fork by the protocol: the child starts clean. Either way the parent notices nothing. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct evf_loop *loop;
static int waits;
static int fds[2];
static struct evf_io io;
static int count;

static void open_it(void) {
    trace_clear();
    loop = new_counting_loop(&waits);
    make_pair(fds);
    memset(&io, 0, sizeof io);
    count = 0;
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
}

/* The loop still does what it did. */
static void check_works(void) {
    int before = count;
    CHECK_INT(turns(loop), 0);
    give(fds[1]);
    CHECK(turns_until(loop, &count, before + 1));
    CHECK_INT(count, before + 1);
    CHECK_INT(turns(loop), 0);
    CHECK(evf_loop_verify(loop));
}

static void close_it(void) {
    check_works();
    check_calm(loop, &waits);
    evf_loop_free(loop);
    close_pair(fds);
}

/* Any loop, with any descriptor. */
static void check_loop_works(struct evf_loop *any_loop) {
    struct evf_io any = {0};
    struct evf_timer timer = {0};
    int pair[2], any_count = 0;
    make_pair(pair);
    CHECK_INT(evf_io_start(any_loop, &any, pair[0], EVF_READ, count_io, &any_count), 0);
    give(pair[1]);
    CHECK(turns_until(any_loop, &any_count, 1));
    CHECK_INT(evf_timer_start(any_loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &any_count), 0);
    CHECK(turns_until(any_loop, &any_count, 2));
    evf_io_stop(&any);
    close_pair(pair);
    CHECK(evf_loop_verify(any_loop));
}

/* ---- A raw fork --------------------------------------------------------------------------------------------- */

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
    CHECK_INT(evf_timer_start(loop, &one, EVF_CLOCK_MONOTONIC, 0, fork_here, (void *)(uintptr_t)"1"), 0);
    CHECK_INT(evf_timer_start(loop, &two, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t)"2"), 0);
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
    CHECK_INT(evf_idle_start(loop, &idle, trace_idle, (void *)(uintptr_t)"i"), 0);
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

/* Opens /dev/null until it has the number. */
static void occupy(int number) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        NEED(fd >= 0);
    } while (fd < number);
    if (fd != number) {
        NEED(dup2(fd, number) == number);
        (void)close(fd);
    }
}

/* The numbers of process descriptors are the child's to use, whatever it does to the watchers later. */
static void numbers_of_process_descriptors(void) {
    for (int way = 0; way < 5; way++) {
        struct evf_process process = {0};
        struct tester tester;
        int ended = 0;
        open_it();
        struct waiting_child child = waiting_child(0);
        CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &ended), 0);
        int number = process.pidfd;
        if (number < 0) {
            tap_skip("no process descriptors here");
        } else if (fork_tester(&tester)) {
            CHECK(fcntl(number, F_GETFD) < 0); /* closed at the fork */
            occupy(number);
            if (way == 0) CHECK_INT(turns(loop), 0);
            if (way == 1) evf_process_stop(&process);
            if (way == 2) evf_loop_free(loop);
            if (way == 3) {
                CHECK_INT(evf_loop_after_fork(loop, false), 0);
                evf_loop_free(loop);
            }
            if (way == 4) { /* a daemon's second fork */
                struct tester second;
                if (fork_tester(&second)) {
                    CHECK(is_dev_null(number));
                    leave(&second);
                }
                check_tester(&second);
            }
            CHECK(is_dev_null(number));
            leave(&tester);
        } else {
            check_tester(&tester);
        }
        release(&child);
        CHECK(turns_until(loop, &ended, 1));
        close_it();
    }
}

/* ---- A daemon ----------------------------------------------------------------------------------------------- */

/* Closes all it has, opens files of its own under the first numbers, and goes on with the loops. */
static void daemonize(int files, struct evf_loop *second) {
    struct evf_timer timer = {0};
    struct evf_signal sig = {0};
    int fired = 0, got = 0;
    evf_io_stop(&io);
    for (int fd = 3; fd < FAR_FD; fd++) (void)close(fd);
    for (int i = 0; i < files; i++) CHECK_INT(open("/dev/null", O_RDWR), 3 + i);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &fired), 0);
    CHECK(turns_until(loop, &fired, 1));
    check_loop_works(loop);
    if (second != NULL) {
        check_loop_works(second);
        check_loop_works(loop);
    }
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
    CHECK_INT(kill(getpid(), SIGUSR1), 0);
    CHECK(turns_until(loop, &got, 1));
    for (int i = 0; i < files; i++) CHECK(is_dev_null(3 + i));
    evf_loop_free(loop);
    evf_loop_free(second);
    for (int i = 0; i < files; i++) CHECK(is_dev_null(3 + i));
}

static void daemon_goes_on(void) {
    static const int files[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 30};
    for (int loops = 1; loops <= 2; loops++) {
        for (size_t i = 0; i < COUNT_OF(files); i++) {
            struct tester tester;
            open_it();
            struct evf_loop *second = loops == 2 ? new_loop() : NULL;
            if (fork_tester(&tester)) {
                daemonize(files[i], second);
                leave(&tester);
            }
            check_tester(&tester);
            evf_loop_free(second);
            close_it();
        }
    }
}

/* The old owner's watcher meets the new file under its number. */
static void daemon_keeps_a_watcher(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        int number = fds[0], pair[2];
        for (int fd = 3; fd < FAR_FD; fd++) (void)close(fd);
        CHECK(evf_loop_run_once(loop, 0) >= 0); /* closed: silent, and no error */
        make_pair(pair);
        evf_io_stop(&io);
        if (pair[0] != number && pair[1] != number) NEED(dup2(pair[0], number) == number);
        check_loop_works(loop);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* ---- No descriptor left ------------------------------------------------------------------------------------- */

static void no_descriptor_after_the_fork(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        struct evf_timer timer = {0};
        int fired = 0, spare[8];
        for (int i = 0; i < 8; i++) NEED((spare[i] = open("/dev/null", O_RDWR)) >= 0);
        fill_table(0);
        int rc = evf_loop_run_once(loop, 0);
        CHECK(rc == EVF_ESYSTEM || rc == EVF_EBACKEND || rc == EVF_ENOMEM);
        CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &fired), rc);
        CHECK(timer.w.loop == NULL);
        for (int i = 0; i < 8; i++) (void)close(spare[i]);
        check_works(); /* the same watchers, as if nothing had been */
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void no_descriptor_at_the_fork(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        check_works(); /* has kernel objects of its own now */
        fill_table(0);
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) { /* what the fork closed is enough for what the loop needs */
            int before = tap_failures();
            evf_io_stop(&io);
            CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
            check_works();
            evf_loop_free(loop);
            _exit(tap_failures() > before);
        }
        CHECK_INT(reap(pid), 0);
        check_works();
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* A loop that got the last descriptors is as private in a child as any other. */
static void loop_with_the_last_descriptors(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        for (int left = 1; left < 12; left++) {
            struct evf_loop *last = NULL;
            fill_table(left);
            if (evf_loop_new(backend_under_test, method_under_test, NULL, &last) < 0) continue;
            evf_io_stop(&io);
            loop = last;
            CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
            check_works();
            pid_t pid = fork();
            NEED(pid >= 0);
            if (pid == 0) {
                evf_io_stop(&io);
                evf_loop_free(loop);
                _exit(0);
            }
            CHECK_INT(reap(pid), 0);
            check_works();
            leave(&tester);
        }
        CHECK_TEXT("no loop could be made", "");
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* ---- By the protocol ---------------------------------------------------------------------------------------- */

static void abandoned(void) {
    struct evf_timer timer = {0}, new_timer = {0};
    struct evf_idle idle = {0}, new_idle = {0};
    struct evf_signal sig = {0}, new_sig = {0};
    struct evf_process process = {0}, new_process = {0};
    struct evf_io new_io = {0};
    struct tester tester;
    int any = 0;
    open_it();
    struct waiting_child child = waiting_child(0);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, INT64_MAX, count_timer, &any), 0);
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &any), 0);
    CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &any), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_idle_start(loop, &idle, count_idle, &any), 0);
    CHECK(!evf_loop_is_abandoned(loop));
    if (fork_clean_tester(&tester)) {
        CHECK(evf_loop_is_abandoned(loop));
        CHECK_INT(evf_loop_run_once(loop, 0), EVF_EABANDONED);
        CHECK_INT(evf_loop_run_once(loop, -1), EVF_EABANDONED);
        CHECK_INT(evf_loop_after_fork(loop, false), EVF_EABANDONED);
        CHECK_INT(evf_loop_after_fork(loop, true), EVF_EABANDONED);
        CHECK_INT(evf_io_start(loop, &new_io, fds[0], EVF_READ, count_io, &any), EVF_EABANDONED);
        CHECK_INT(evf_timer_start(loop, &new_timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &any), EVF_EABANDONED);
        CHECK_INT(evf_idle_start(loop, &new_idle, count_idle, &any), EVF_EABANDONED);
        CHECK_INT(evf_signal_start(loop, &new_sig, SIGUSR2, count_signal, &any), EVF_EABANDONED);
        CHECK_INT(evf_process_start(loop, &new_process, ended_child(0), count_process, &any), EVF_EABANDONED);
        CHECK(!evf_loop_verify(loop));
        evf_io_stop(&io); /* nothing happens */
        evf_io_stop_closed(&io);
        evf_timer_stop(&timer);
        evf_idle_stop(&idle);
        evf_signal_stop(&sig);
        evf_process_stop(&process);
        /* Stopped or not, by its memory it is active still: that is not why it cannot be started. */
        CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &any), EVF_EABANDONED);
        CHECK_INT(evf_idle_start(loop, &idle, count_idle, &any), EVF_EABANDONED);
        CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &any), EVF_EABANDONED);
        check_loop_works(new_loop());
        CHECK_INT(any, 0);
        evf_loop_free(loop);
        check_loop_works(new_loop());
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(turns_until(loop, &any, 1)); /* idle */
    evf_timer_stop(&timer);
    evf_signal_stop(&sig);
    release(&child);
    CHECK(turns_until(loop, &any, 2)); /* the process */
    close_it();
}

/* Watchers live where the parent put them: in the child that memory may have been used for something else. */
static void abandoned_watchers_are_not_touched(void) {
    struct tester tester;
    struct evf_timer *timers = calloc(20, sizeof *timers);
    struct evf_process *process = calloc(1, sizeof *process);
    int any = 0;
    NEED(timers != NULL && process != NULL);
    open_it();
    struct waiting_child child = waiting_child(0);
    for (int i = 0; i < 20; i++)
        CHECK_INT(evf_timer_start(loop, &timers[i], EVF_CLOCK_MONOTONIC, INT64_MAX, count_timer, &any), 0);
    CHECK_INT(evf_process_start(loop, process, child.pid, count_process, &any), 0);
    if (fork_clean_tester(&tester)) {
        memset(timers, 0xa5, 20 * sizeof *timers);
        memset(process, 0xa5, sizeof *process);
        memset(&io, 0xa5, sizeof io);
        evf_loop_free(loop);
        check_loop_works(new_loop());
        leave(&tester);
    }
    check_tester(&tester);
    for (int i = 0; i < 20; i++) evf_timer_stop(&timers[i]);
    evf_process_stop(process);
    release(&child);
    CHECK_INT(reap(child.pid), 0);
    close_it();
    free(timers);
    free(process);
}

static int fork_clean_here(struct evf_timer *timer, void *data) {
    (void)timer, (void)data;
    is_child = fork_clean_tester(&tester_of_callback);
    return 0;
}

static void clean_fork_in_a_callback(void) {
    struct evf_timer one = {0}, two = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &one, EVF_CLOCK_MONOTONIC, 0, fork_clean_here, NULL), 0);
    CHECK_INT(evf_timer_start(loop, &two, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t)"2"), 0);
    int rc = evf_loop_run_once(loop, -1);
    if (is_child) {
        CHECK_INT(rc, EVF_EABANDONED); /* and nothing else of the parent's is called */
        CHECK_TEXT(trace, "");
        check_loop_works(new_loop());
        leave(&tester_of_callback);
    }
    CHECK_INT(rc, 2);
    CHECK_TEXT(trace, "2");
    check_tester(&tester_of_callback);
    close_it();
}

static void clean_generations(void) {
    struct tester testers[3];
    open_it();
    int depth = 0;
    while (depth < 3 && fork_clean_tester(&testers[depth])) {
        depth++;
        loop = new_loop();
        memset(&io, 0, sizeof io);
        CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
        check_works();
    }
    if (depth < 3) check_tester(&testers[depth]);
    check_works();
    if (depth > 0) leave(&testers[depth - 1]);
    close_it();
}

static int foreign_calls;

static void foreign_handler(int signo) {
    (void)signo;
    foreign_calls++;
}

static void (*handler_of(int signo))(int) {
    struct sigaction now;
    CHECK_INT(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

static void signals_of_a_clean_child(void) {
    struct evf_signal sig = {0};
    struct tester tester;
    int got = 0;
    for (int keep = 0; keep < 2; keep++) {
        open_it();
        memset(&sig, 0, sizeof sig);
        (void)signal(SIGUSR2, foreign_handler);
        (void)signal(SIGHUP, SIG_IGN);
        CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
        if (fork_clean_tester_with(&tester, keep != 0)) {
            sigset_t mask;
            CHECK(handler_of(SIGUSR1) == SIG_DFL); /* the loop's own goes in any case */
            CHECK(handler_of(SIGUSR2) == (keep ? foreign_handler : SIG_DFL));
            CHECK(handler_of(SIGHUP) == SIG_IGN);
            CHECK(handler_of(SIGTERM) == SIG_DFL);
            CHECK_INT(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
            for (int signo = 1; signo < 32; signo++) CHECK_INT(sigismember(&mask, signo), 0);
            leave(&tester);
        }
        check_tester(&tester);
        (void)signal(SIGUSR2, SIG_DFL);
        (void)signal(SIGHUP, SIG_DFL);
        got = 0;
        CHECK_INT(kill(getpid(), SIGUSR1), 0);
        CHECK(turns_until(loop, &got, 1));
        evf_signal_stop(&sig);
        close_it();
    }
}

static void mask_of_the_protocol(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t old, now, before;
    open_it();
    CHECK_INT(sigprocmask(SIG_SETMASK, NULL, &before), 0);
    (void)sigaddset(&before, SIGWINCH);
    CHECK_INT(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    CHECK_INT(evf_fork_prepare(0, &old), 0);
    CHECK_INT(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    for (int signo = 1; signo < 32; signo++) {
        bool is_fault = signo == SIGKILL || signo == SIGSTOP;
        for (size_t i = 0; i < COUNT_OF(faults); i++) is_fault = is_fault || signo == faults[i];
        CHECK_INT(sigismember(&now, signo), !is_fault);
        CHECK_INT(sigismember(&old, signo), signo == SIGWINCH);
    }
    evf_fork_restore_mask(&old); /* as after a fork that failed */
    CHECK_INT(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    for (int signo = 1; signo < 32; signo++) CHECK_INT(sigismember(&now, signo), signo == SIGWINCH);
    (void)sigdelset(&before, SIGWINCH);
    CHECK_INT(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    check_works();
    struct tester tester; /* the next raw fork is none of ours */
    if (fork_tester(&tester)) {
        check_works();
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* One that arrives while the fork is under way is the parent's. */
static void signal_during_the_fork(void) {
    struct evf_signal sig = {0};
    sigset_t mask;
    int got = 0;
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
    CHECK_INT(evf_fork_prepare(0, &mask), 0);
    CHECK_INT(kill(getpid(), SIGUSR1), 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        CHECK(evf_fork_child_begin() >= 0);
        evf_fork_restore_mask(&mask); /* the default action would end it here */
        _exit(7);
    }
    evf_fork_restore_mask(&mask);
    CHECK_INT(reap(pid), 7 << 8);
    CHECK(turns_until(loop, &got, 1));
    evf_signal_stop(&sig);
    close_it();
}

static void burst(void) {
    enum { MOST = 200 };
    static struct evf_process processes[MOST];
    int ended = 0, children = tap_is_slow() ? 30 : MOST;
    open_it();
    memset(processes, 0, sizeof processes);
    for (int i = 0; i < children; i++) {
        sigset_t mask;
        CHECK_INT(evf_fork_prepare(0, &mask), 0);
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            (void)evf_fork_child_begin();
            evf_fork_restore_mask(&mask);
            _exit(0);
        }
        CHECK_INT(evf_process_start(loop, &processes[i], pid, count_process, &ended), 0);
        evf_fork_restore_mask(&mask);
    }
    CHECK(turns_until(loop, &ended, children));
    CHECK_INT(ended, children);
    close_it();
}

/* Which of the two it is decides what a backend does with its memory. */
static void backend_is_told(void) {
    struct tester tester;
    struct sim *sim = open_world(&loop);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    for (int clean = 0; clean < 2; clean++) {
        if (clean ? fork_clean_tester(&tester) : fork_tester(&tester)) {
            CHECK_INT(sim->leaves, 1);
            CHECK_INT(sim->last_for_good, clean);
            CHECK_INT(sim->after_forks, 0); /* not before the next use */
            CHECK_INT(evf_loop_run_once(loop, 0), clean ? EVF_EABANDONED : 0);
            CHECK_INT(sim->after_forks, !clean);
            CHECK_TEXT(sim->violation, "");
            evf_loop_free(loop);
            leave(&tester);
        }
        check_tester(&tester);
    }
    CHECK_INT(sim->leaves + sim->after_forks, 0);
    close_world(sim, loop);
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
        TAP_TEST(numbers_of_process_descriptors, "numbers of the parent's process descriptors are free for the child"),
        TAP_TEST(daemon_goes_on, "a daemon closes everything, opens files, and goes on with its loops"),
        TAP_TEST(daemon_keeps_a_watcher, "a daemon stops a watcher late"),
        TAP_TEST(no_descriptor_after_the_fork, "without descriptors the child's loop fails, and works when there are some"),
        TAP_TEST(no_descriptor_at_the_fork, "a full table at the fork is no trouble"),
        TAP_TEST(loop_with_the_last_descriptors, "a loop made with the last descriptors is not shared"),
        TAP_TEST(abandoned, "in a clean child every use of the parent's loop is refused, every stop harmless"),
        TAP_TEST(abandoned_watchers_are_not_touched, "the parent's watchers are not looked at"),
        TAP_TEST(clean_fork_in_a_callback, "a clean child that comes back from the callback leaves the turn"),
        TAP_TEST(clean_generations, "three clean generations"),
        TAP_TEST(signals_of_a_clean_child, "a clean child has default actions, or keeps others' handlers"),
        TAP_TEST(mask_of_the_protocol, "everything is blocked but the faults, and the mask comes back"),
        TAP_TEST(signal_during_the_fork, "a signal that arrives meanwhile is the parent's"),
        TAP_TEST(burst, "hundreds of children, all noticed"),
        TAP_TEST(backend_is_told, "the backend lets go at the fork, and knows for how long"),
        TAP_TEST(exec_only_forks, "forks that only execute are left alone"),
        TAP_TEST(threads, "threads are counted"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
