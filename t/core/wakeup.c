/* What ends a wait from outside: signal handlers and threads, before, within and after the wait. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct evf_loop *loop;
static atomic_int work; /* for the host's run_pending */
static int runs, waits;

static int count_wait(void *data) {
    (void)data;
    waits++;
    return 0;
}

static bool has_pending(void *data) {
    (void)data;
    return work > 0;
}

static int run_pending(void *data, bool *ran) {
    (void)data;
    work--;
    runs++;
    *ran = true;
    return 0;
}

static void open_it(void) {
    static const struct evf_loop_hooks hooks = {
        .before_wait = count_wait, .run_pending = run_pending, .has_pending = has_pending};
    work = runs = waits = 0;
    loop = new_loop_with(&hooks);
}

static void close_it(void) {
    CHECK(evf_loop_verify(loop));
    evf_loop_free(loop);
}

static void without_a_wait(void) {
    evf_wakeup(); /* without a loop */
    open_it();
    for (int i = 0; i < 100; i++) evf_wakeup(); /* outside of a wait: nothing is left over */
    check_calm(loop, &waits);
    close_it();
    evf_wakeup();
}

/* The simulated world counts waits exactly. */
static void nothing_is_left_over(void) {
    struct evf_loop *sim_loop = NULL;
    struct sim *sim = open_world(&sim_loop);
    CHECK_INT(evf_loop_run_once(sim_loop, 0), 0);
    evf_wakeup();
    sim->waits = 0;
    CHECK_INT(evf_loop_run_once(sim_loop, 1000), 0);
    CHECK_INT(sim->waits, 1);
    close_world(sim, sim_loop);
}

#ifdef __linux__
/* A descriptor that is full cannot take another wake-up, and needs none. Asked for pending work the host is within the
 * wait: it fills up the descriptor as if there had been very many. */
static int wake_fd;

static int find_wake_fd(void) {
    for (int fd = 3; fd < 64; fd++) {
        char path[40], target[60] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "eventfd") != NULL) return fd;
    }
    return -1;
}

static bool fill_in_the_wait(void *data) {
    static const uint64_t most = UINT64_MAX - 1;
    (void)data;
    if (wake_fd < 0) return false;
    CHECK_INT(write(wake_fd, &most, sizeof most), sizeof most);
    wake_fd = -1;
    errno = 4711;
    evf_wakeup();
    CHECK_INT(errno, 4711);
    return false;
}

static void full(void) {
    static const struct evf_loop_hooks hooks = {.run_pending = run_pending, .has_pending = fill_in_the_wait};
    loop = new_loop_with(&hooks);
    wake_fd = find_wake_fd();
    NEED(wake_fd >= 0);
    CHECK_INT(evf_loop_run_once(loop, 20 * MILLISECOND), 0);
    CHECK_INT(wake_fd, -1);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    close_it();
}
#endif

static void work_before_the_wait(void) {
    open_it();
    work = 2;
    CHECK_INT(evf_loop_run_once(loop, -1), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 0);
    CHECK_INT(runs, 2);
    check_calm(loop, &waits);
    close_it();
}

static void on_signal(int signo) {
    (void)signo;
    work++;
    evf_wakeup();
}

/* The handler runs somewhere between the last turn and the end of the wait: wherever that is, the wait ends. */
static void work_by_a_handler(void) {
    int rounds = tap_is_slow() ? 20 : 200;
    struct tester tester;
    open_it();
    (void)signal(SIGUSR1, on_signal);
    if (fork_tester(&tester)) {
        for (int i = 0; i < rounds; i++) {
            wait_for_parent(&tester);
            CHECK_INT(kill(getppid(), SIGUSR1), 0);
        }
        leave(&tester);
    }
    for (int i = 1; i <= rounds; i++) {
        tell_child(&tester);
        CHECK_INT(evf_loop_run_once(loop, -1), 0);
        if (!CHECK_INT(runs, i)) break;
    }
    check_tester(&tester);
    (void)signal(SIGUSR1, SIG_DFL);
    check_calm(loop, &waits);
    close_it();
}

static int round_fds[2];

static void *work_in_thread(void *data) {
    char byte;
    (void)data;
    for (;;) {
        struct pollfd pollfd = {.fd = round_fds[0], .events = POLLIN};
        (void)poll(&pollfd, 1, -1);
        if (read(round_fds[0], &byte, 1) <= 0) return NULL; /* closed: the end */
        work++;
        evf_wakeup();
    }
}

static void work_by_a_thread(void) {
    int rounds = tap_is_slow() ? 20 : 500;
    pthread_t thread;
    open_it();
    make_pair(round_fds);
    NEED(pthread_create(&thread, NULL, work_in_thread, NULL) == 0);
    for (int i = 1; i <= rounds; i++) {
        give(round_fds[1]);
        CHECK_INT(evf_loop_run_once(loop, -1), 0);
        if (!CHECK_INT(runs, i)) break;
    }
    (void)close(round_fds[1]);
    round_fds[1] = -1;
    CHECK_INT(pthread_join(thread, NULL), 0);
    close_pair(round_fds);
    close_it();
}

/* Nested: the inner turn empties the descriptor, the outer one goes on. */
static struct evf_loop *inner_loop;

static int run_inner(struct evf_timer *timer, void *data) {
    (void)timer;
    ++*(int *)data;
    evf_signal_raise(SIGUSR2);
    return evf_loop_run_once(inner_loop, 0) < 0 ? -1 : 0;
}

static void emptied_by_another_loop(void) {
    struct evf_timer timer = {0};
    struct evf_signal sig = {0}, inner_sig = {0};
    int count = 0, got = 0, inner_got = 0;
    open_it();
    inner_loop = new_loop();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR2, count_signal, &got), 0);
    CHECK_INT(evf_signal_start(inner_loop, &inner_sig, SIGUSR2, count_signal, &inner_got), 0);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, run_inner, &count), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(inner_got, 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(got, 1);
    evf_loop_free(inner_loop);
    close_it();
}

/* Loops of other threads wait on the same descriptor, and whoever comes first must not take a wake-up from the rest. */
enum { IDLE_LOOPS = 2 };

static atomic_bool is_over;

static void *wait_in_thread(void *data) {
    while (!is_over) {
        if (evf_loop_run_once(data, 100 * MILLISECOND) < 0) break;
    }
    return NULL;
}

static void *raise_in_thread(void *data) {
    char byte;
    (void)data;
    while (read(round_fds[0], &byte, 1) == 1) {
        (void)poll(NULL, 0, 1); /* by now they all wait */
        evf_signal_raise(SIGUSR2);
    }
    return NULL;
}

static void loops_of_several_threads(void) {
    const int64_t bound_ns = INT64_C(10000) * MILLISECOND;
    int rounds = tap_is_slow() ? 20 : 300, got = 0;
    struct evf_loop *idle[IDLE_LOOPS];
    struct evf_signal sig = {0};
    pthread_t threads[IDLE_LOOPS], raiser;
    open_it();
    is_over = false;
    NEED(pipe(round_fds) == 0);
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR2, count_signal, &got), 0);
    for (int i = 0; i < IDLE_LOOPS; i++) {
        idle[i] = new_loop();
        NEED(pthread_create(&threads[i], NULL, wait_in_thread, idle[i]) == 0);
    }
    NEED(pthread_create(&raiser, NULL, raise_in_thread, NULL) == 0);
    for (int i = 1; i <= rounds; i++) {
        const int64_t deadline_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC) + bound_ns;
        give(round_fds[1]);
        CHECK_INT(evf_loop_run_once(loop, bound_ns), 1);
        /* One that did not end the wait would be seen at its end. */
        if (!CHECK(evf_loop_now(loop, EVF_CLOCK_MONOTONIC) < deadline_ns) || !CHECK_INT(got, i)) break;
    }
    (void)close(round_fds[1]);
    CHECK_INT(pthread_join(raiser, NULL), 0);
    (void)close(round_fds[0]);
    is_over = true;
    for (int i = 0; i < IDLE_LOOPS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        evf_loop_free(idle[i]);
    }
    evf_signal_stop(&sig);
    close_it();
}

static void closed_on_exec(void) {
    int before = tap_count_fds();
    open_it();
    for (int fd = 3; fd < 64; fd++) {
        char path[40], target[60] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) < 0) continue;
        if (strstr(target, "eventfd") == NULL && strstr(target, "eventpoll") == NULL) continue;
        CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0); /* the loop's own */
    }
    close_it();
    CHECK_INT(tap_count_fds(), before); /* one wake-up descriptor serves all loops, for ever */
}

/* In a raw-fork child a handler may run before the loop is used again. */
static void handler_in_a_fresh_child(void) {
    struct tester tester;
    open_it();
    (void)signal(SIGUSR1, on_signal);
    if (fork_tester(&tester)) {
        CHECK_INT(kill(getpid(), SIGUSR1), 0);
        evf_wakeup();
        CHECK_INT(evf_loop_run_once(loop, -1), 0);
        CHECK_INT(runs, 1);
        leave(&tester);
    }
    check_tester(&tester);
    check_calm(loop, &waits);
    CHECK_INT(runs, 0);
    (void)signal(SIGUSR1, SIG_DFL);
    close_it();
}

/* ---- The descriptor for loops of others ---------------------------------------------------------------------- */

static bool is_readable(int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 0) == 1;
}

/* It is there until the end of the process: in one of its own. */
static void outside_in_child(void) {
    struct tester tester;
    const int fd = evf_wakeup_fd();
    NEED(fd >= 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK_INT(evf_wakeup_fd(), fd);
    CHECK(!is_readable(fd));
    errno = 4711;
    for (int i = 0; i < 100000; i++) evf_wakeup(); /* more than it holds */
    CHECK(is_readable(fd));
    evf_wakeup_fd_clear();
    CHECK_INT(errno, 4711);
    CHECK(!is_readable(fd));
    open_it();
    evf_signal_raise(SIGUSR1); /* without a wait, with a loop, before one */
    CHECK(is_readable(fd));
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK(is_readable(fd)); /* our loops take nothing from it */

    if (fork_tester(&tester)) {
        CHECK_INT(fcntl(fd, F_GETFD), -1);
        evf_wakeup(); /* reaches nobody */
        evf_wakeup_fd_clear();
        const int own = evf_wakeup_fd();
        CHECK(own >= 0 && !is_readable(own));
        evf_wakeup();
        CHECK(is_readable(own));
        evf_wakeup_fd_clear();
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(is_readable(fd));
    evf_wakeup_fd_clear();
    CHECK(!is_readable(fd));
    close_it();
}

static void outside(void) {
    in_tester(outside_in_child);
}

/* A daemon has closed all descriptors, and has files of its own there now. */
static void outside_closed_in_child(void) {
    int pair[2];
    const int fd = evf_wakeup_fd();
    NEED(fd >= 0);
    for (int number = 3; number < FAR_FD; number++) (void)close(number);
    do make_pair(pair);
    while (pair[0] < fd + 2 && pair[1] < fd + 2);
    evf_wakeup();
    evf_wakeup_fd_clear();
    for (int number = 3; number < FAR_FD; number++) CHECK(fcntl(number, F_GETFD) < 0 || !is_readable(number));
    const int own = evf_wakeup_fd();
    CHECK(own > fd);
    evf_wakeup();
    CHECK(is_readable(own));
}

static void outside_closed(void) {
    in_tester(outside_closed_in_child);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(without_a_wait, "a wake-up outside of a wait is nothing"),
        TAP_TEST(nothing_is_left_over, "it makes no later wait end early"),
#ifdef __linux__
        TAP_TEST(full, "a full descriptor does no harm, and errno is kept"),
#endif
        TAP_TEST(work_before_the_wait, "work that is there is not waited upon"),
        TAP_TEST(work_by_a_handler, "a handler ends the wait, whenever it runs"),
        TAP_TEST(work_by_a_thread, "so does a thread"),
        TAP_TEST(emptied_by_another_loop, "a nested turn of another loop takes no wake-up away"),
        TAP_TEST(loops_of_several_threads, "loops of several threads take no wake-up from each other"),
        TAP_TEST(closed_on_exec, "all descriptors of a loop are closed on exec, and none is left"),
        TAP_TEST(outside, "a descriptor for other loops is readable from a wake-up until it is cleared"),
        TAP_TEST(outside_closed, "closed by somebody else it is made anew, and what has its number stays clean"),
        TAP_TEST(handler_in_a_fresh_child, "a handler in a fresh child wakes the child, not the parent"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
