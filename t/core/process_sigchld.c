/* SIGCHLD while children are watched: a handler only where there are no process descriptors, and other people's
 * handlers stay. */
#include "both_ways.h"

#include <signal.h>

static int foreign_calls;

static void foreign_handler(int signo) {
    (void)signo;
    foreign_calls++;
}

static void handler_only_while_needed(void) {
    struct sigaction now;
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2}, other = {0, -2};
    struct waiting_child child = waiting_child(0), late = waiting_child(0);
    CHECK(sigchld_handler() == SIG_DFL);
    start(&process, child.pid, &ending);
    CHECK((sigchld_handler() == SIG_DFL) == with_pidfd); /* never touched where there are process descriptors */
    CHECK_INT(sigaction(SIGCHLD, NULL, &now), 0);
    if (!with_pidfd) CHECK((now.sa_flags & SA_NOCLDSTOP) != 0 && (now.sa_flags & SA_RESTART) != 0);
    struct evf_loop *first = loop;
    loop = new_loop();
    start(&second, late.pid, &other);
    release(&child);
    CHECK(turns_until(first, &ending.calls, 1));
    CHECK((sigchld_handler() == SIG_DFL) == with_pidfd); /* the other loop needs it */
    release(&late);
    CHECK(turns_until(loop, &other.calls, 1));
    CHECK(sigchld_handler() == SIG_DFL);
    evf_loop_free(loop);
    loop = first;
}

static void handler_of_somebody_else(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    foreign_calls = 0;
    (void)signal(SIGCHLD, foreign_handler);
    struct waiting_child child = waiting_child(2);
    start(&process, child.pid, &ending);
    CHECK(sigchld_handler() == foreign_handler);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK_INT(ending.wait_status, 2 << 8);
    CHECK_INT(foreign_calls, 1);
    CHECK(sigchld_handler() == foreign_handler);
    (void)signal(SIGCHLD, SIG_DFL);
}

static void handler_replaced_meanwhile(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(2);
    start(&process, child.pid, &ending);
    (void)signal(SIGCHLD, foreign_handler);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1)); /* without anybody's telling */
    CHECK_INT(ending.wait_status, 2 << 8);
    CHECK(sigchld_handler() == foreign_handler);

    child = waiting_child(3);
    (void)signal(SIGCHLD, SIG_DFL);
    start(&process, child.pid, &ending);
    (void)signal(SIGCHLD, SIG_DFL); /* a program that saves and restores around something */
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 2));
    CHECK_INT(ending.wait_status, 3 << 8);
    CHECK(sigchld_handler() == SIG_DFL);
}

static void hint(int signo) {
    (void)signo;
    evf_process_hint();
}

/* A host with a handler of its own passes it on: no waiting for the timer then. */
static void hinted_by_the_host(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    (void)signal(SIGCHLD, hint);
    struct waiting_child child = waiting_child(2);
    start(&process, child.pid, &ending);
    CHECK_INT(turns(loop), 0);
    release(&child);
    wait_for_end(child.pid); /* SIGCHLD has come */
    CHECK_INT(turns(loop), 1);
    CHECK_INT(ending.wait_status, 2 << 8);
    (void)signal(SIGCHLD, SIG_DFL);
}

static void idle_while_watching(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    int waits;
    struct evf_loop *first = loop;
    struct waiting_child child = waiting_child(0);
    loop = new_counting_loop(&waits);
    start(&process, child.pid, &ending);
    check_calm(loop, &waits);
    evf_process_stop(&process);
    check_calm(loop, &waits);
    release(&child);
    CHECK_INT(reap(child.pid), 0);
    evf_loop_free(loop);
    loop = first;
}

/* In the simulated world, where a wait that was not needed shows: by SIGCHLD the loop learns of it at once. */
static void no_needless_wait(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct sim *sim = open_world(&loop);
    evf_process_use_pidfd(false);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_process_start(loop, &process, ended_child(1), note, &ending), 0); /* had ended before */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 0);

    struct waiting_child child = waiting_child(2);
    CHECK_INT(evf_process_start(loop, &process, child.pid, note, &ending), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    release(&child);
    wait_for_end(child.pid); /* SIGCHLD has come */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 0);
    CHECK_INT(ending.calls, 2);

    CHECK_INT(evf_process_start(loop, &process, ended_child(1), note, &ending), 0); /* while nobody caught SIGCHLD */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 0);

    child = waiting_child(3); /* SIGCHLD goes astray, and somebody removes the handler: the loop looks now and then */
    CHECK_INT(evf_process_start(loop, &process, child.pid, note, &ending), 0);
    (void)signal(SIGCHLD, SIG_DFL);
    CHECK_INT(evf_loop_run_once(loop, SECOND), 0);
    CHECK(sim->waits < 30);
    CHECK(sigchld_handler() != SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    release(&child);
    wait_for_end(child.pid);
    CHECK_INT(evf_loop_run_once(loop, SECOND), 1);
    CHECK_INT(ending.wait_status, 3 << 8);
    CHECK(sigchld_handler() == SIG_DFL);
    evf_process_use_pidfd(true);
    close_world(sim, loop);
}

#define EACH_BOTH_WAYS(X)                                                                                              \
    X(handler_only_while_needed, "SIGCHLD has a handler only while it is needed")                                      \
    X(handler_of_somebody_else, "a SIGCHLD handler that is there is left alone, and the child still noticed")          \
    X(handler_replaced_meanwhile, "a SIGCHLD handler that is replaced loses nothing")                                  \
    X(hinted_by_the_host, "a host's handler may tell")                                                                 \
    X(idle_while_watching, "watching costs nothing while nothing happens")

#define X(name, promise)                                                                                               \
    static void name##_both_ways(void) {                                                                               \
        both_ways(name);                                                                                               \
    }
EACH_BOTH_WAYS(X)
#undef X

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
#define X(name, promise) {#name, promise, name##_both_ways},
        EACH_BOTH_WAYS(X)
#undef X
            TAP_TEST(no_needless_wait, "without process descriptors SIGCHLD tells, and the loop looks now and then"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
