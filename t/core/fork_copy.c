/* Copies that nobody tells of, made by a system call past the C library: whatever such a copy does first with what it
 * has inherited, the parent notices nothing, and the copy goes on as the child of a raw fork does. By the page that the
 * kernel wipes, and by getpid where there is none. */
#include "watched.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

static bool by_pid; /* the way under test */
static struct tester tester;

static void both_ways(void (*test)(void)) {
    if (!has_copies()) {
        tap_skip("how to make a copy here is not known");
        return;
    }
    evf_loop_free(new_loop()); /* the core has looked what this system has */
    for (int way = 0; way < 2; way++) {
        by_pid = way == 1;
        evf_fork_use_page(!by_pid);
        test();
    }
    evf_fork_use_page(true);
}

#define BOTH_WAYS(test)                                                                                                \
    static void test(void) {                                                                                           \
        both_ways(test##_once);                                                                                        \
    }

/* ---- What goes wrong without -------------------------------------------------------------------------------- */

/* The kernel's part of it: one instance, two processes. */
static void control_once(void) {
#ifdef __linux__
    struct epoll_event event = {.events = EPOLLIN}, seen;
    int pair[2], epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    make_pair(pair);
    CHECK_INT(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[0], &event), 0);
    if (copy_tester(&tester)) {
        CHECK_INT(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, pair[0], NULL), 0);
        leave(&tester);
    }
    check_tester(&tester);
    give(pair[1]);
    CHECK_INT(epoll_wait(epoll_fd, &seen, 1, 0), 0); /* the parent's watch is gone */
    (void)close(epoll_fd);
    close_pair(pair);
#endif
}
BOTH_WAYS(control)

/* ---- What a copy may do first ------------------------------------------------------------------------------- */

static void both_go_on_once(void) {
    struct evf_timer timer = {0};
    struct evf_idle idle = {0};
    int fired = 0;
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    int64_t deadline_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC) + 5 * MILLISECOND;
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, deadline_ns, count_timer, &fired), 0);
    CHECK_INT(evf_idle_start(loop, &idle, count_idle, &fired), 0);
    if (copy_tester(&tester)) {
        CHECK_INT(evf_fork_generation - generation, 0); /* nobody has told */
        CHECK(turns_until(loop, &fired, 2));
        CHECK_INT(evf_loop_watchers(loop), 1);
        check_works();
        CHECK_INT(evf_fork_generation - generation, 1);
        check_loop_works(loop);
        evf_io_stop(&io);
        evf_loop_free(loop);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(evf_fork_generation, generation);
    CHECK(turns_until(loop, &fired, 2));
    close_it();
}
BOTH_WAYS(both_go_on)

static void stops_at_once_once(void) {
    open_it();
    if (copy_tester(&tester)) {
        evf_io_stop(&io);
        check_loop_works(loop);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}
BOTH_WAYS(stops_at_once)

static void changes_at_once_once(void) {
    open_it();
    if (copy_tester(&tester)) {
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
BOTH_WAYS(changes_at_once)

static void frees_at_once_once(void) {
    open_it();
    if (copy_tester(&tester)) {
        evf_loop_free(loop);
        CHECK(io.w.loop == NULL);
        check_loop_works(new_loop());
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}
BOTH_WAYS(frees_at_once)

static void other_functions_first_once(void) {
    for (int first = 0; first < 8; first++) {
        open_it();
        if (copy_tester(&tester)) {
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
            if (first == 6) check_loop_works(new_loop());
            if (first == 7) CHECK(evf_fork_check());
            CHECK(first != 7 || !evf_fork_check()); /* found once */
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
BOTH_WAYS(other_functions_first)

/* ---- Where a copy is made ----------------------------------------------------------------------------------- */

static bool is_copy;

static int copy_here(struct evf_timer *timer, void *data) {
    (void)timer;
    trace_add(data);
    is_copy = copy_tester(&tester);
    return 0;
}

static void in_a_callback_once(void) {
    struct evf_timer one = {0}, two = {0};
    open_it();
    CHECK_INT(evf_timer_start(loop, &one, EVF_CLOCK_MONOTONIC, 0, copy_here, (void *)(uintptr_t) "1"), 0);
    CHECK_INT(evf_timer_start(loop, &two, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t) "2"), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "12");
    if (is_copy) {
        check_works();
        check_loop_works(loop);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}
BOTH_WAYS(in_a_callback)

static bool copies_before_wait;

static int copy_before_wait(void *data) {
    (void)data;
    if (copies_before_wait) is_copy = copy_tester(&tester);
    copies_before_wait = false;
    return 0;
}

/* With a change that the backend does not know yet. */
static void before_a_wait_once(void) {
    static const struct evf_loop_hooks hooks = {.before_wait = copy_before_wait};
    struct evf_io watch = {0};
    struct evf_loop *own = new_loop_with(&hooks);
    int pair[2], seen = 0;
    if (by_pid) { /* found at the next turn that is going to wait */
        evf_loop_free(own);
        return;
    }
    make_pair(pair);
    CHECK_INT(evf_io_start(own, &watch, pair[0], EVF_READ, count_io, &seen), 0);
    CHECK_INT(evf_loop_run_once(own, 0), 0);
    copies_before_wait = true;
    CHECK_INT(evf_io_set(&watch, 0), 0);
    is_copy = false;
    CHECK_INT(evf_loop_run_once(own, 0), 0);
    CHECK_INT(evf_io_set(&watch, EVF_READ), 0);
    if (is_copy) {
        evf_io_stop(&watch);
        check_loop_works(own);
        leave(&tester);
    }
    check_tester(&tester);
    give(pair[1]);
    CHECK(turns_until(own, &seen, 1));
    evf_io_stop(&watch);
    evf_loop_free(own);
    close_pair(pair);
}
BOTH_WAYS(before_a_wait)

/* Copies of copies, copies of children, children of copies. */
static void generations_once(void) {
    struct tester testers[4];
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    int depth = 0;
    while (depth < 4 && (depth == 1 ? fork_tester(&testers[depth]) : copy_tester(&testers[depth]))) {
        depth++;
        if (depth != 3) check_works(); /* the third never uses the loop before the fourth is made */
        if (depth != 3) CHECK_INT(evf_fork_generation - generation, depth == 4 ? 3 : depth);
    }
    if (depth < 4) check_tester(&testers[depth]);
    check_works();
    if (depth > 0) leave(&testers[depth - 1]);
    close_it();
}
BOTH_WAYS(generations)

/* A child of fork is told, and so is one of a copy that has not been found; that one's parent is found with it. */
static void told_children_once(void) {
    struct tester second;
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    if (fork_tester(&tester)) {
        CHECK(!evf_fork_check());
        CHECK_INT(evf_fork_generation - generation, 1);
        leave(&tester);
    }
    CHECK(!evf_fork_check());
    check_tester(&tester);
    if (copy_tester(&tester)) {
        if (fork_tester(&second)) {
            CHECK_INT(evf_fork_generation - generation, 2);
            check_works();
            leave(&second);
        }
        check_tester(&second);
        CHECK_INT(evf_fork_generation - generation, 1);
        check_works();
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}
BOTH_WAYS(told_children)

/* ---- Signals and processes ---------------------------------------------------------------------------------- */

/* In the copy before it is found: the parent is not woken, and the copy gets its signal. */
static void signals_stay_apart_once(void) {
    struct evf_signal sig = {0};
    int got = 0;
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
    CHECK_INT(turns(loop), 0);
    if (copy_tester(&tester)) {
        for (int i = 0; i < 50; i++) CHECK_INT(kill(getpid(), SIGUSR1), 0);
        CHECK(turns_until(loop, &got, 1));
        tell_parent(&tester);
        wait_for_parent(&tester);
        leave(&tester);
    }
    wait_for_child(&tester);
    check_calm(loop, &waits);
    CHECK_INT(got, 0);
    CHECK_INT(kill(getpid(), SIGUSR1), 0);
    CHECK(turns_until(loop, &got, 1));
    tell_child(&tester);
    check_tester(&tester);
    close_it();
}
BOTH_WAYS(signals_stay_apart)

static void processes_are_the_parent_s_once(void) {
    for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
        struct evf_process process = {0}, own = {0};
        int ended = 0;
        open_it();
        evf_process_use_pidfd(with_pidfd != 0);
        struct waiting_child child = waiting_child(0);
        CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &ended), 0);
        CHECK_INT(evf_loop_run_once(loop, 0), 0);
        if (copy_tester(&tester)) {
            CHECK_INT(evf_process_start(loop, &own, child.pid, count_process, &ended), EVF_ECHILD);
            struct waiting_child mine = waiting_child(0);
            CHECK_INT(evf_process_start(loop, &own, mine.pid, count_process, &ended), 0);
            CHECK(evf_process_find(loop, child.pid) == NULL);
            release(&mine);
            CHECK(turns_until(loop, &ended, 1));
            check_works();
            leave(&tester);
        }
        check_tester(&tester);
        CHECK_INT(turns(loop), 0);
        release(&child);
        CHECK(turns_until(loop, &ended, 1));
        evf_process_use_pidfd(true);
        close_it();
    }
}
BOTH_WAYS(processes_are_the_parent_s)

/* ---- The host ----------------------------------------------------------------------------------------------- */

static int told_children_count, found_copies;

static void count_child(void) {
    told_children_count++;
}

static void count_copy(void) {
    found_copies++;
}

static void host_is_told_once(void) {
    static const struct evf_fork_host host = {.in_child = count_child, .in_copy = count_copy};
    struct evf_hook hook = {.priority = 0};
    struct evf_hook *refused;
    told_children_count = found_copies = 0;
    open_it();
    CHECK_INT(evf_fork_set_host(&host), 0);
    CHECK_INT(evf_fork_check(), 0);
    for (int way = 0; way < 3; way++) {
        if (copy_tester(&tester)) {
            if (way == 0) (void)evf_hook_register(&hook); /* without a callback; also when it is refused */
            if (way == 1) CHECK_INT(evf_hooks_prepare(&refused), 0);
            if (way == 2 || by_pid) (void)evf_fork_check();
            CHECK_INT(found_copies, 1);
            check_works();
            CHECK_INT(found_copies, 1);
            CHECK_INT(told_children_count, 0);
            leave(&tester);
        }
        check_tester(&tester);
    }
    CHECK_INT(found_copies, 0);
    CHECK_INT(evf_fork_set_host(NULL), 0);
    close_it();
}
BOTH_WAYS(host_is_told)

/* ---- Children that share the memory ------------------------------------------------------------------------- */

#ifdef __linux__
static int check_in_shared_memory(void *data) {
    *(int *)data = evf_fork_check() ? 1 : 0;
    return 0;
}

/* As vfork and posix_spawn make them: not copies. */
static void shared_memory(void) {
    static _Alignas(16) char stack[65536];
    int answer = -1;
    open_it();
    sig_atomic_t generation = evf_fork_generation;
    pid_t pid = clone(check_in_shared_memory, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &answer);
    CHECK(pid > 0);
    CHECK_INT(reap(pid), 0);
    if (answer == -1) tap_skip("such a child has memory of its own here"); /* valgrind's */
    else CHECK_INT(answer, 0);
    CHECK_INT(evf_fork_generation - generation, 0);
    close_it();
}
#else
static void shared_memory(void) {
    tap_skip("no clone here");
}
#endif

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(control, "control: what a copy takes out of an epoll instance is gone for its parent"),
        TAP_TEST(both_go_on, "parent and copy go on with the same watchers"),
        TAP_TEST(stops_at_once, "a copy that stops watchers leaves the parent's alone"),
        TAP_TEST(changes_at_once, "so does one that changes their interest"),
        TAP_TEST(frees_at_once, "and one that frees the loop unused"),
        TAP_TEST(other_functions_first, "any function may be the first a copy calls"),
        TAP_TEST(in_a_callback, "both sides of a copy in a callback finish the turn"),
        TAP_TEST(before_a_wait, "a copy that is made when the loop is about to wait"),
        TAP_TEST(generations, "copies of copies and of children"),
        TAP_TEST(told_children, "children that are told of are none"),
        TAP_TEST(signals_stay_apart, "signals of a copy do not wake its parent"),
        TAP_TEST(processes_are_the_parent_s, "process watches are the parent's"),
        TAP_TEST(host_is_told, "the host is told once"),
        TAP_TEST(shared_memory, "a child that shares the memory is no copy"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
