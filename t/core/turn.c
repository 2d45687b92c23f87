/* One turn: what a callback may do, on every method, for every kind of watcher and every pair of kinds. */
#include "helpers.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- A watcher of any kind that is ready by the next turn --------------------------------------------------- */

enum { KINDS = EVF_WATCHER_PROCESS + 1 };

struct subject {
    enum evf_watcher_kind kind;
    const char *name;
    int (*action)(struct subject *subject); /* NULL: none */
    int calls;
    bool quiet; /* not in the trace */
    struct evf_io io;
    struct evf_timer timer;
    struct evf_idle idle;
    struct evf_signal sig;
    struct evf_process process;
    int fds[2];
    pid_t pid; /* 0: none, or its status was taken */
};

static struct evf_loop *loop;
static int signo_of_next;

static int called(struct subject *subject) {
    subject->calls++;
    if (!subject->quiet) trace_add(subject->name);
    if (subject->kind == EVF_WATCHER_PROCESS) subject->pid = 0;
    if (subject->kind == EVF_WATCHER_IO) (void)take(subject->fds[0]);
    return subject->action != NULL ? subject->action(subject) : 0;
}

static int on_io(struct evf_io *io, unsigned events, void *data) {
    (void)io;
    CHECK_INT(events, EVF_READ);
    return called(data);
}

static int on_timer(struct evf_timer *timer, void *data) {
    (void)timer;
    return called(data);
}

static int on_idle(struct evf_idle *idle, void *data) {
    (void)idle;
    return called(data);
}

static int on_signal(struct evf_signal *sig, int signo, void *data) {
    CHECK_INT(signo, sig->signo);
    return called(data);
}

static int on_process(struct evf_process *process, int wait_status, void *data) {
    (void)process;
    CHECK_INT(wait_status, 5 << 8);
    return called(data);
}

static int start(struct subject *subject) {
    switch (subject->kind) {
    case EVF_WATCHER_IO:
        make_pair(subject->fds);
        give(subject->fds[1]);
        return evf_io_start(loop, &subject->io, subject->fds[0], EVF_READ, on_io, subject);
    case EVF_WATCHER_TIMER:
        return evf_timer_start(loop, &subject->timer, EVF_CLOCK_MONOTONIC, 0, on_timer, subject);
    case EVF_WATCHER_IDLE:
        return evf_idle_start(loop, &subject->idle, on_idle, subject);
    case EVF_WATCHER_SIGNAL: {
        int signo = signo_of_next;
        signo_of_next = signo == SIGUSR1 ? SIGUSR2 : SIGUSR1;
        int rc = evf_signal_start(loop, &subject->sig, signo, on_signal, subject);
        CHECK_INT(kill(getpid(), signo), 0);
        return rc;
    }
    case EVF_WATCHER_PROCESS:
        subject->pid = ended_child(5);
        return evf_process_start(loop, &subject->process, subject->pid, on_process, subject);
    }
    return EVF_EINVAL;
}

static void stop(struct subject *subject) {
    evf_io_stop(&subject->io);
    evf_timer_stop(&subject->timer);
    evf_idle_stop(&subject->idle);
    evf_signal_stop(&subject->sig);
    evf_process_stop(&subject->process);
}

static bool is_active(const struct subject *subject) {
    return subject->io.w.loop != NULL || subject->timer.w.loop != NULL || subject->idle.w.loop != NULL ||
           subject->sig.w.loop != NULL || subject->process.w.loop != NULL;
}

static void init(struct subject *subject, int kind, const char *name, int (*action)(struct subject *)) {
    *subject = (struct subject){.kind = (enum evf_watcher_kind)kind, .name = name, .action = action, .fds = {-1, -1}};
}

static void clear(struct subject *subject) {
    stop(subject);
    close_pair(subject->fds);
    if (subject->pid > 0) CHECK_INT(reap(subject->pid), 5 << 8);
    subject->pid = 0;
}

static void open_it(void) {
    trace_clear();
    signo_of_next = SIGUSR1;
    loop = new_loop();
}

static void close_it(void) {
    CHECK(evf_loop_verify(loop));
    evf_loop_free(loop);
}

/* ---- What a callback may do to another ---------------------------------------------------------------------- */

static struct subject one, other;

static void each_pair(void (*code)(void), int (*action)(struct subject *)) {
    for (int kind = 0; kind < KINDS; kind++) {
        for (int other_kind = 0; other_kind < KINDS; other_kind++) {
            bool had_failed = tap_has_failed();
            open_it();
            init(&one, kind, "1", action);
            init(&other, other_kind, "2", action);
            code();
            clear(&one);
            clear(&other);
            CHECK_INT(evf_loop_watchers(loop), 0);
            close_it();
            if (!had_failed && tap_has_failed()) tap_diag("with kinds %d and %d", kind, other_kind);
        }
    }
}

static int stop_the_other(struct subject *subject) {
    stop(subject == &one ? &other : &one);
    return 0;
}

static void check_one_spared(void) {
    CHECK_INT(start(&one), 0);
    CHECK_INT(start(&other), 0);
    CHECK(turns(loop) >= 1);
    CHECK_INT(one.calls + other.calls, 1);
}

static void stop_spares(void) {
    each_pair(check_one_spared, stop_the_other);
}

static int start_the_other(struct subject *subject) {
    if (subject == &one && other.calls == 0 && !is_active(&other)) CHECK_INT(start(&other), 0);
    return 0;
}

static void check_next_turn(void) {
    CHECK_INT(start(&one), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "1");
    CHECK(turns(loop) >= 1);
    CHECK_TEXT(trace, "12");
}

static void started_is_for_the_next_turn(void) {
    each_pair(check_next_turn, start_the_other);
}

static int run_nested(struct subject *subject) {
    (void)subject;
    trace_add("(");
    int rc = turns(loop);
    trace_add(")");
    return rc < 0 ? rc : 0;
}

static void check_nested(void) {
    CHECK_INT(start(&one), 0);
    CHECK_INT(start(&other), 0);
    CHECK(turns(loop) >= 1);
    CHECK_INT(one.calls, 1);
    CHECK_INT(other.calls, 1);
    CHECK(strcmp(trace, "1(2())") == 0 || strcmp(trace, "2(1())") == 0);
}

static void nested(void) {
    each_pair(check_nested, run_nested);
}

static int fail_once(struct subject *subject) {
    (void)subject;
    return one.calls + other.calls == 1 ? -55 : 0;
}

static void check_error(void) {
    CHECK_INT(start(&one), 0);
    CHECK_INT(start(&other), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), -55);
    CHECK_INT(one.calls + other.calls, 1);
    CHECK_INT(turns(loop), 1);
    CHECK_INT(one.calls, 1);
    CHECK_INT(other.calls, 1);
}

static void error_leaves_the_rest(void) {
    each_pair(check_error, fail_once);
}

/* The inner turn's error is the outer callback's to handle; here it passes on, or does not. */
static int fail_or_nest(struct subject *subject) {
    if (one.calls + other.calls == 2) return -56;
    CHECK_INT(turns(loop), -56);
    return subject->quiet ? -57 : 0;
}

static void check_nested_error(void) {
    CHECK_INT(start(&one), 0);
    CHECK_INT(start(&other), 0);
    CHECK(turns(loop) >= 1); /* handled */
    CHECK_INT(one.calls, 1);
    CHECK_INT(other.calls, 1);
}

static void error_of_a_nested_turn(void) {
    each_pair(check_nested_error, fail_or_nest);
}

/* Its memory may be gone as soon as it is stopped. */
static int free_itself(struct subject *subject) {
    stop(subject);
    close_pair(subject->fds);
    memset(subject, 0xa5, sizeof *subject);
    free(subject);
    return 0;
}

static void freed_in_its_callback(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        struct subject *subject = malloc(sizeof *subject);
        NEED(subject != NULL);
        open_it();
        init(subject, kind, "x", free_itself);
        CHECK_INT(start(subject), 0);
        CHECK_INT(turns(loop), 1);
        CHECK_TEXT(trace, "x");
        CHECK_INT(evf_loop_watchers(loop), 0);
        close_it();
    }
}

static struct subject *heap_victim;

static int free_the_victim(struct subject *subject) {
    (void)subject;
    if (heap_victim != NULL) {
        pid_t pid = heap_victim->pid;
        free_itself(heap_victim);
        heap_victim = NULL;
        if (pid > 0) CHECK_INT(reap(pid), 5 << 8);
    }
    return 0;
}

static void freed_by_another(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        heap_victim = malloc(sizeof *heap_victim);
        NEED(heap_victim != NULL);
        open_it();
        init(&one, EVF_WATCHER_IO, "1", free_the_victim);
        init(heap_victim, kind, "x", NULL);
        CHECK_INT(start(&one), 0);
        CHECK_INT(start(heap_victim), 0);
        int count = turns(loop);
        CHECK(count == 1 || (kind == EVF_WATCHER_IO && count == 2)); /* of two descriptors either may come first */
        clear(&one);
        close_it();
        CHECK(heap_victim == NULL);
    }
}

/* ---- Starting the same one again ---------------------------------------------------------------------------- */

static int start_again(struct subject *subject) {
    if (subject->calls >= 3) {
        stop(subject);
        return 0;
    }
    if (subject->kind == EVF_WATCHER_IO || subject->kind == EVF_WATCHER_SIGNAL) {
        stop(subject);
        close_pair(subject->fds);
    }
    CHECK(!is_active(subject));
    CHECK_INT(start(subject), 0);
    return 0;
}

static void started_again_in_its_callback(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        open_it();
        init(&one, kind, "1", start_again);
        CHECK_INT(start(&one), 0);
        for (int turn = 1; turn <= 3; turn++) {
            CHECK_INT(evf_loop_run_once(loop, 10 * SECOND), 1);
            CHECK_INT(one.calls, turn);
        }
        CHECK_INT(turns(loop), 0);
        clear(&one);
        close_it();
    }
}

static void active_elsewhere(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        open_it();
        struct evf_loop *first = loop;
        init(&one, kind, "1", NULL);
        CHECK_INT(start(&one), 0);
        loop = new_loop();
        static struct subject copy;
        copy = one;
        if (kind == EVF_WATCHER_IO)
            CHECK_INT(evf_io_start(loop, &one.io, one.fds[1], EVF_READ, on_io, &one), EVF_EEXIST);
        if (kind == EVF_WATCHER_TIMER)
            CHECK_INT(evf_timer_start(loop, &one.timer, EVF_CLOCK_REALTIME, 7, on_timer, NULL), EVF_EEXIST);
        if (kind == EVF_WATCHER_IDLE) CHECK_INT(evf_idle_start(loop, &one.idle, on_idle, NULL), EVF_EEXIST);
        if (kind == EVF_WATCHER_SIGNAL)
            CHECK_INT(evf_signal_start(loop, &one.sig, SIGHUP, on_signal, NULL), EVF_EEXIST);
        if (kind == EVF_WATCHER_PROCESS)
            CHECK_INT(evf_process_start(loop, &one.process, one.pid, on_process, NULL), EVF_EEXIST);
        CHECK(memcmp(&copy, &one, sizeof one) == 0);
        CHECK_INT(turns(loop), 0);
        close_it();
        loop = first;
        CHECK_INT(turns(loop), 1);
        clear(&one);
        close_it();
    }
}

static void no_callback(void) {
    struct evf_io io = {0};
    struct evf_timer timer = {0};
    struct evf_idle idle = {0};
    struct evf_signal sig = {0};
    struct evf_process process = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, 0, EVF_READ, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_idle_start(loop, &idle, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_process_start(loop, &process, 1, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_loop_watchers(loop), 0);
    close_it();
}

static void loop_freed_before(void) {
    static struct subject subjects[2 * KINDS];
    open_it();
    for (int i = 0; i < 2 * KINDS; i++) {
        init(&subjects[i], i % KINDS, "x", NULL);
        if (i % KINDS == EVF_WATCHER_PROCESS) evf_process_use_pidfd(i >= KINDS);
        CHECK_INT(start(&subjects[i]), 0);
    }
    evf_process_use_pidfd(true);
    CHECK_INT(evf_loop_watchers(loop), 2 * KINDS);
    evf_loop_free(loop);
    CHECK_TEXT(trace, "");
    for (int i = 0; i < 2 * KINDS; i++) {
        CHECK(!is_active(&subjects[i]));
        clear(&subjects[i]);
    }
}

static int fail_always(struct subject *subject) {
    (void)subject;
    return -58;
}

/* What is collected and not delivered when the loop goes. */
static void loop_freed_with_leftovers(void) {
    static struct subject subjects[2 * KINDS];
    open_it();
    for (int i = 0; i < 2 * KINDS; i++) {
        init(&subjects[i], i % KINDS, "x", fail_always);
        CHECK_INT(start(&subjects[i]), 0);
    }
    CHECK_INT(evf_loop_run_once(loop, 0), -58);
    evf_loop_free(loop);
    CHECK_TEXT(trace, "x");
    for (int i = 0; i < 2 * KINDS; i++) {
        CHECK(!is_active(&subjects[i]));
        clear(&subjects[i]);
    }
}

/* ---- Idle --------------------------------------------------------------------------------------------------- */

static int again(struct evf_idle *idle, void *data) {
    trace_add(data);
    return evf_idle_start(loop, idle, again, data);
}

static void idle_order(void) {
    struct evf_idle a = {0}, b = {0}, c = {0};
    struct evf_timer timer = {0};
    open_it();
    CHECK_INT(evf_idle_start(loop, &a, trace_idle, (void *)(uintptr_t) "a"), 0);
    CHECK_INT(evf_idle_start(loop, &b, again, (void *)(uintptr_t) "b"), 0);
    CHECK_INT(evf_idle_start(loop, &c, trace_idle, (void *)(uintptr_t) "c"), 0);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t) "t"), 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 4);
    CHECK_TEXT(trace, "tabc"); /* at the end of the turn */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "tabcb");
    evf_idle_stop(&b);
    evf_idle_stop(&b);
    CHECK_INT(turns(loop), 0);
    close_it();
}

/* ---- Several loops ------------------------------------------------------------------------------------------ */

static struct evf_loop *second_loop;

static int run_the_second(struct subject *subject) {
    (void)subject;
    return evf_loop_run_once(second_loop, 0) < 0 ? -1 : 0;
}

static void loop_in_a_loop(void) {
    struct evf_timer timer = {0};
    open_it();
    second_loop = new_loop();
    CHECK_INT(evf_timer_start(second_loop, &timer, EVF_CLOCK_MONOTONIC, 0, trace_timer, (void *)(uintptr_t) "t"), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        init(&one, kind, "1", run_the_second);
        CHECK_INT(start(&one), 0);
        CHECK_INT(turns(loop), 1);
        clear(&one);
    }
    CHECK_TEXT(trace, "1t1111");
    evf_loop_free(second_loop);
    close_it();
}

static void names(void) {
    open_it();
    CHECK_TEXT(evf_loop_backend(loop), backend_under_test->name);
    CHECK_TEXT(evf_loop_method(loop), method_under_test);
    close_it();
    loop = (struct evf_loop *)(uintptr_t)0x5a5a;
    struct evf_loop *untouched = loop;
    CHECK_INT(evf_loop_new(backend_under_test, "no such method", NULL, &loop), EVF_EINVAL);
    CHECK_INT(evf_loop_new(backend_under_test, "", NULL, &loop), EVF_EINVAL);
    CHECK(loop == untouched);
    evf_loop_free(NULL);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(stop_spares, "what is stopped in this turn is not called, and a child keeps its status"),
        TAP_TEST(started_is_for_the_next_turn, "what is started in a turn is looked at in the next"),
        TAP_TEST(nested, "a nested turn delivers what is ready, once"),
        TAP_TEST(error_leaves_the_rest, "an error leaves the turn, the rest comes in the next"),
        TAP_TEST(error_of_a_nested_turn, "an error in a nested turn comes out there"),
        TAP_TEST(freed_in_its_callback, "a callback may free its watcher"),
        TAP_TEST(freed_by_another, "a callback may free another's watcher"),
        TAP_TEST(started_again_in_its_callback, "a callback may start its watcher again"),
        TAP_TEST(active_elsewhere, "an active watcher cannot be started in another loop"),
        TAP_TEST(no_callback, "a watcher has a callback"),
        TAP_TEST(loop_freed_before, "watchers of a freed loop are stopped and not called"),
        TAP_TEST(loop_freed_with_leftovers, "also those that wait for delivery"),
        TAP_TEST(idle_order, "idle callbacks come last, in order, and in the next turn when started in this"),
        TAP_TEST(loop_in_a_loop, "a callback may run another loop"),
        TAP_TEST(names, "a loop knows its backend and method"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
