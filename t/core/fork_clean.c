/* A fork by the protocol, on every method: the child starts clean and leaves alone what is its parent's, and the parent
 * notices nothing. */
#include "watched.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static struct tester tester_of_callback;
static bool is_child;

static int fork_clean_here(struct evf_timer *timer, void *data) {
    (void)timer, (void)data;
    is_child = fork_clean_tester(&tester_of_callback);
    return 0;
}

static void clean_fork_in_a_callback(void) {
    struct evf_timer one = {0}, two = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &one, EVF_CLOCK_MONOTONIC, 0, fork_clean_here, NULL), 0);
    CHECK_INT(evf_timer_start(loop, &two, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t) "2"), 0);
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

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(abandoned, "in a clean child every use of the parent's loop is refused, every stop harmless"),
        TAP_TEST(abandoned_watchers_are_not_touched, "the parent's watchers are not looked at"),
        TAP_TEST(clean_fork_in_a_callback, "a clean child that comes back from the callback leaves the turn"),
        TAP_TEST(clean_generations, "three clean generations"),
        TAP_TEST(signals_of_a_clean_child, "a clean child has default actions, or keeps others' handlers"),
        TAP_TEST(mask_of_the_protocol, "everything is blocked but the faults, and the mask comes back"),
        TAP_TEST(signal_during_the_fork, "a signal that arrives meanwhile is the parent's"),
        TAP_TEST(burst, "hundreds of children, all noticed"),
        TAP_TEST(backend_is_told, "the backend lets go at the fork, and knows for how long"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
