/* Signals as events: counted, merged, told to every loop that watches; handlers are put back as they were found. */
#include "one_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(struct evf_signal *sig, int signo, const char *name) {
    CHECK_INT(evf_signal_start(loop, sig, signo, trace_signal, (void *)(uintptr_t)name), 0);
}

static void send(int signo) {
    CHECK_INT(kill(getpid(), signo), 0); /* delivered before kill returns */
}

static void (*handler_of(int signo))(int) {
    struct sigaction now;
    CHECK_INT(sigaction(signo, NULL, &now), 0);
    return now.sa_handler;
}

/* ---- Delivery ----------------------------------------------------------------------------------------------- */

static void delivered(void) {
    struct evf_signal sig = {0};
    open_it();
    start(&sig, SIGUSR1, "1");
    CHECK_TEXT(trace, ""); /* not before a turn */
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    send(SIGUSR1);
    CHECK_TEXT(trace, "");
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "1");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    send(SIGUSR1); /* stays watched */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "11");
    close_it();
}

static void from_another_process(void) {
    struct evf_signal sig = {0};
    struct tester tester;
    int count = 0;
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &count), 0);
    for (int i = 1; i <= 20; i++) { /* before, within and after the wait */
        if (fork_tester(&tester)) {
            CHECK_INT(kill(getppid(), SIGUSR1), 0);
            leave(&tester);
        }
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK_INT(count, i);
        check_tester(&tester);
    }
    CHECK_INT(turns(loop), 0);
    close_it();
}

static void merged(void) {
    struct evf_signal sig = {0}, second = {0};
    open_it();
    start(&sig, SIGUSR1, "1");
    start(&second, SIGUSR2, "2");
    for (int i = 0; i < 5; i++) send(SIGUSR1);
    send(SIGUSR2);
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "12");
    CHECK_INT(turns(loop), 0);
    close_it();
}

static void several_watchers(void) {
    struct evf_signal one = {0}, two = {0}, three = {0};
    open_it();
    start(&one, SIGUSR1, "1");
    start(&two, SIGUSR1, "2");
    start(&three, SIGUSR1, "3");
    send(SIGUSR1);
    CHECK_INT(evf_loop_run_once(loop, -1), 3);
    CHECK_TEXT(trace, "123");
    evf_signal_stop(&two);
    send(SIGUSR1);
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "12313");
    evf_signal_stop(&one);
    evf_signal_stop(&three);
    CHECK(handler_of(SIGUSR1) == SIG_DFL);
    close_it();
}

static void several_loops(void) {
    struct evf_signal one = {0}, two = {0};
    struct evf_loop *first, *second;
    open_it();
    first = loop;
    start(&one, SIGUSR1, "1");
    loop = second = new_loop();
    start(&two, SIGUSR1, "2");
    send(SIGUSR1);
    CHECK_INT(evf_loop_run_once(first, -1), 1);
    CHECK_TEXT(trace, "1");
    CHECK_INT(evf_loop_run_once(second, -1), 1); /* though the first has emptied the wake-up descriptor */
    CHECK_TEXT(trace, "12");
    evf_loop_free(first);
    send(SIGUSR1);
    CHECK_INT(evf_loop_run_once(second, -1), 1);
    CHECK_TEXT(trace, "122");
    close_it();
    CHECK(handler_of(SIGUSR1) == SIG_DFL);
}

static void started_after(void) {
    struct evf_signal one = {0}, two = {0};
    open_it();
    start(&one, SIGUSR1, "1");
    send(SIGUSR1);
    start(&two, SIGUSR1, "2"); /* what was before is not for it */
    CHECK_INT(turns(loop), 1);
    CHECK_TEXT(trace, "1");
    close_it();
}

static void stopped_and_started(void) {
    struct evf_signal sig = {0}, other = {0};
    open_it();
    start(&other, SIGUSR1, "o"); /* keeps the handler */
    start(&sig, SIGUSR1, "1");
    send(SIGUSR1);
    evf_signal_stop(&sig);
    start(&sig, SIGUSR1, "2");
    CHECK_INT(turns(loop), 1);
    CHECK_TEXT(trace, "o");
    close_it();
}

static int send_again(struct evf_signal *sig, int signo, void *data) {
    (void)sig;
    trace_add(data);
    if (strlen(trace) < 3) send(signo);
    return 0;
}

static void sent_in_its_callback(void) {
    struct evf_signal sig = {0};
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, send_again, (void *)(uintptr_t) "x"), 0);
    send(SIGUSR1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1); /* the next turn, at once */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(turns(loop), 0);
    CHECK_TEXT(trace, "xxx");
    close_it();
}

static int fail(struct evf_signal *sig, int signo, void *data) {
    trace_signal(sig, signo, data);
    return -66;
}

static void error_leaves_the_rest(void) {
    struct evf_signal one = {0}, two = {0}, three = {0};
    open_it();
    CHECK_INT(evf_signal_start(loop, &one, SIGUSR1, fail, (void *)(uintptr_t) "1"), 0);
    start(&two, SIGUSR1, "2");
    start(&three, SIGUSR2, "3");
    send(SIGUSR1);
    send(SIGUSR2);
    CHECK_INT(evf_loop_run_once(loop, -1), -66);
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK_TEXT(trace, "123");
    CHECK_INT(turns(loop), 0);
    close_it();
}

/* Many signals at once from another process: the last one of each burst is never lost. */
static void storm(void) {
    struct evf_signal sig = {0}, done = {0};
    struct tester tester;
    int bursts = tap_is_slow() ? 100 : 1000, count = 0, done_count = 0;
    open_it();
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &count), 0);
    CHECK_INT(evf_signal_start(loop, &done, SIGUSR2, count_signal, &done_count), 0);
    if (fork_tester(&tester)) {
        for (int i = 0; i < bursts; i++) CHECK_INT(kill(getppid(), SIGUSR1), 0);
        wait_for_parent(&tester); /* it has seen some */
        CHECK_INT(kill(getppid(), SIGUSR2), 0);
        leave(&tester);
    }
    CHECK(turns_until(loop, &count, 1));
    tell_child(&tester);
    CHECK(turns_until(loop, &done_count, 1));
    CHECK_INT(done_count, 1);
    CHECK(count <= bursts);
    check_tester(&tester);
    close_it();
}

/* ---- Raised by a host ---------------------------------------------------------------------------------------- */

static void raised(void) {
    struct evf_signal sig = {0};
    open_it();
    start(&sig, SIGUSR1, "1");
    evf_signal_raise(SIGUSR1);
    evf_signal_raise(SIGUSR1);
    evf_signal_raise(SIGUSR2); /* nobody's */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "1");
    evf_signal_raise(0);
    evf_signal_raise(-1);
    evf_signal_raise(NSIG);
    evf_signal_raise(INT32_MAX);
    evf_signal_raise(INT32_MIN);
    CHECK_INT(turns(loop), 0);
    close_it();
}

static void errno_is_kept(void) {
    struct evf_signal sig = {0};
    open_it();
    start(&sig, SIGUSR1, "1");
    errno = 4711;
    send(SIGUSR1);
    CHECK_INT(errno, 4711);
    close_it();
}

static void *raise_in_thread(void *data) {
    (void)data;
    evf_signal_raise(SIGUSR1);
    return NULL;
}

static void raised_by_a_thread(void) {
    struct evf_signal sig = {0};
    pthread_t thread;
    open_it();
    start(&sig, SIGUSR1, "1");
    for (int i = 0; i < 20; i++) {
        trace_clear();
        NEED(pthread_create(&thread, NULL, raise_in_thread, NULL) == 0);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK_TEXT(trace, "1");
        CHECK_INT(pthread_join(thread, NULL), 0);
    }
    close_it();
}

/* ---- Handlers ----------------------------------------------------------------------------------------------- */

static int foreign_calls;

static void foreign_handler(int signo) {
    (void)signo;
    foreign_calls++;
}

static void put_back(void) {
    struct sigaction action = {.sa_handler = foreign_handler, .sa_flags = SA_NODEFER}, now;
    struct evf_signal sig = {0}, second = {0};
    open_it();
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    start(&sig, SIGUSR1, "1");
    start(&second, SIGUSR1, "2");
    CHECK(handler_of(SIGUSR1) != foreign_handler);
    evf_signal_stop(&sig);
    CHECK(handler_of(SIGUSR1) != foreign_handler);
    evf_signal_stop(&second);
    CHECK_INT(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK(now.sa_handler == foreign_handler);
    CHECK((now.sa_flags & SA_NODEFER) != 0);
    start(&sig, SIGUSR1, "1");
    close_it(); /* freeing the loop puts back, too */
    CHECK(handler_of(SIGUSR1) == foreign_handler);

    open_it();
    (void)signal(SIGUSR1, SIG_IGN);
    start(&sig, SIGUSR1, "1");
    send(SIGUSR1);
    CHECK_INT(turns(loop), 1);
    close_it();
    CHECK(handler_of(SIGUSR1) == SIG_IGN);
    (void)signal(SIGUSR1, SIG_DFL);
}

static void somebody_else_s_later(void) {
    struct evf_signal sig = {0};
    open_it();
    start(&sig, SIGUSR1, "1");
    (void)signal(SIGUSR1, foreign_handler);
    evf_signal_stop(&sig); /* what is there now is not ours to remove */
    CHECK(handler_of(SIGUSR1) == foreign_handler);
    (void)signal(SIGUSR1, SIG_DFL);
    close_it();
}

static void nothing_is_blocked(void) {
    struct evf_signal sig = {0};
    sigset_t mask;
    open_it();
    start(&sig, SIGUSR1, "1");
    send(SIGUSR1);
    CHECK_INT(turns(loop), 1);
    CHECK_INT(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
    for (int signo = 1; signo < 32; signo++) CHECK_INT(sigismember(&mask, signo), 0);
    close_it();
}

static void cannot_be_caught(void) {
    static const int numbers[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, 0, -1, NSIG, INT32_MAX, INT32_MIN};
    struct evf_signal sig = {0};
    open_it();
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        CHECK_INT(evf_signal_start(loop, &sig, numbers[i], trace_signal, ""), EVF_ESIGNAL);
        CHECK(sig.w.loop == NULL);
    }
    evf_signal_stop(&sig);
    CHECK_INT(evf_loop_watchers(loop), 0);
    close_it();
}

static void every_other_can(void) {
    struct evf_signal sig = {0};
    open_it();
    for (int signo = 1; signo < NSIG; signo++) {
        struct sigaction before, after;
        if (sigaction(signo, NULL, &before) < 0 || sigaction(signo, &before, NULL) < 0) continue; /* not here */
        int rc = evf_signal_start(loop, &sig, signo, trace_signal, (void *)(uintptr_t) "x");
        if (rc < 0) {
            CHECK_INT(rc, EVF_ESIGNAL);
            continue;
        }
        trace_clear();
        evf_signal_raise(signo);
        CHECK_INT(turns(loop), 1);
        CHECK_TEXT(trace, "x");
        evf_signal_stop(&sig);
        CHECK_INT(sigaction(signo, NULL, &after), 0);
        CHECK(after.sa_handler == before.sa_handler);
    }
    close_it();
}

/* ---- A host with a table of its own ------------------------------------------------------------------------- */

static int caught[NSIG], released[NSIG], refuse;

static int host_catch(int signo) {
    if (refuse < 0) return refuse;
    caught[signo]++;
    return 0;
}

static void host_release(int signo) {
    released[signo]++;
}

static void own_host(void) {
    static const struct evf_signal_host host = {host_catch, host_release};
    struct evf_signal one = {0}, two = {0};
    memset(caught, 0, sizeof caught);
    memset(released, 0, sizeof released);
    evf_signal_set_host(&host);
    open_it();
    start(&one, SIGUSR1, "1");
    start(&two, SIGUSR1, "2");
    CHECK_INT(caught[SIGUSR1], 1);
    CHECK(handler_of(SIGUSR1) == SIG_DFL); /* it is the host that installs */
    evf_signal_raise(SIGUSR1);
    CHECK_INT(turns(loop), 2);
    evf_signal_stop(&one);
    CHECK_INT(released[SIGUSR1], 0);
    evf_signal_stop(&two);
    CHECK_INT(released[SIGUSR1], 1);
    start(&one, SIGUSR1, "1");
    CHECK_INT(caught[SIGUSR1], 2);

    static const int numbers[] = {SIGKILL, 0, -1, NSIG, NSIG + 1};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) /* not even asked */
        CHECK_INT(evf_signal_start(loop, &two, numbers[i], trace_signal, ""), EVF_ESIGNAL);
    CHECK_INT(caught[SIGKILL] + caught[0], 0);

    refuse = EVF_ECALLBACK;
    CHECK_INT(evf_signal_start(loop, &two, SIGUSR2, trace_signal, ""), EVF_ECALLBACK);
    CHECK(two.w.loop == NULL);
    CHECK_INT(evf_signal_start(loop, &two, SIGUSR1, trace_signal, ""), 0); /* nothing to install */
    refuse = 0;
    close_it();
    CHECK_INT(released[SIGUSR1], 2);
    CHECK_INT(released[SIGUSR2], 0);

    evf_signal_set_host(NULL);
    open_it();
    start(&one, SIGUSR1, "1");
    CHECK(handler_of(SIGUSR1) != SIG_DFL);
    close_it();
}

/* One that has come, and that the host finds when it installs its handler. */
static int host_catch_late(int signo) {
    evf_signal_raise(signo);
    return 0;
}

static void raised_in_the_catch(void) {
    static const struct evf_signal_host host = {host_catch_late, host_release};
    struct evf_signal one = {0};
    evf_signal_set_host(&host);
    open_it();
    start(&one, SIGUSR1, "1");
    CHECK_INT(turns(loop), 1);
    CHECK_INT(turns(loop), 0);
    close_it();
    evf_signal_set_host(NULL);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(delivered, "a signal is delivered in the next turn, each time"),
        TAP_TEST(from_another_process, "a signal from elsewhere ends the wait"),
        TAP_TEST(merged, "several between two turns are one call"),
        TAP_TEST(several_watchers, "several watchers of one signal are all called, in order of start"),
        TAP_TEST(several_loops, "several loops watch one signal"),
        TAP_TEST(started_after, "a watcher that is started after the signal does not get it"),
        TAP_TEST(stopped_and_started, "nor does one that was stopped and started"),
        TAP_TEST(sent_in_its_callback, "a signal that is sent in its callback comes in the next turn"),
        TAP_TEST(error_leaves_the_rest, "after an error the rest comes in the next turn"),
        TAP_TEST(storm, "of a storm the last one arrives"),
        TAP_TEST(raised, "raise is a signal, and odd numbers are none"),
        TAP_TEST(errno_is_kept, "the handler leaves errno alone"),
        TAP_TEST(raised_by_a_thread, "raise in another thread ends the wait"),
        TAP_TEST(put_back, "the handler that was there is put back, flags included"),
        TAP_TEST(somebody_else_s_later, "a handler that came later stays"),
        TAP_TEST(nothing_is_blocked, "no signal is left blocked"),
        TAP_TEST(cannot_be_caught, "what cannot be caught is refused"),
        TAP_TEST(every_other_can, "everything else can be watched"),
        TAP_TEST(own_host, "a host of its own installs and removes"),
        TAP_TEST(raised_in_the_catch, "what the host raises while it installs is not lost"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
