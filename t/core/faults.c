/* Fails the 1st, 2nd, … nth allocation and system call of a program that uses everything: each failure is an error code
 * or has no effect, outputs stay untouched, the same call works when it is made again, nothing is lost and nothing
 * leaks. Linked with --wrap, so that calls of the core and of the adapter come here first. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/eventfd.h>
#endif
#ifdef WITH_LIBEVENT
#include <event2/event.h>
#endif

/* ---- What fails --------------------------------------------------------------------------------------------- */

static const char *target; /* the name of a call, or NULL: none; "memory" is all of them */
static int target_errno;
static int nth, seen; /* the nth one fails */
static bool tripped;  /* it has */
static long live;     /* allocations that were not freed yet */

static bool fails(const char *name) {
    if (target == NULL || strcmp(target, name) != 0 || ++seen != nth) return false;
    tripped = true;
    errno = target_errno;
    return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
    void *memory = fails("memory") ? NULL : __real_malloc(size);
    if (memory != NULL) live++;
    return memory;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size) {
    void *memory = fails("memory") ? NULL : __real_calloc(count, size);
    if (memory != NULL) live++;
    return memory;
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size) {
    bool is_new = memory == NULL;
    if (fails("memory")) return NULL;
    memory = __real_realloc(memory, size);
    if (is_new && memory != NULL) live++;
    return memory;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory) {
    if (memory != NULL) live--;
    __real_free(memory);
}

int __real_poll(struct pollfd *pollfds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *pollfds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *pollfds, nfds_t count, int timeout_ms) {
    return fails("poll") ? -1 : __real_poll(pollfds, count, timeout_ms);
}

int __real_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options) {
    return fails("waitid") ? -1 : __real_waitid(type, id, info, options);
}

pid_t __real_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options) {
    return fails("waitpid") ? -1 : __real_waitpid(pid, status, options);
}

int __real_sigaction(int signo, const struct sigaction *action, struct sigaction *old);
int __wrap_sigaction(int signo, const struct sigaction *action, struct sigaction *old);
int __wrap_sigaction(int signo, const struct sigaction *action, struct sigaction *old) {
    return fails("sigaction") ? -1 : __real_sigaction(signo, action, old);
}

int __real_sigprocmask(int how, const sigset_t *mask, sigset_t *old);
int __wrap_sigprocmask(int how, const sigset_t *mask, sigset_t *old);
int __wrap_sigprocmask(int how, const sigset_t *mask, sigset_t *old) {
    return fails("sigprocmask") ? -1 : __real_sigprocmask(how, mask, old);
}

int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    return fails("pthread_atfork") ? ENOMEM : __real_pthread_atfork(prepare, parent, child);
}

#ifdef __linux__
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags) {
    return fails("epoll_create1") ? -1 : __real_epoll_create1(flags);
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags) {
    return fails("eventfd") ? -1 : __real_eventfd(count, flags);
}

int __real_dup3(int fd, int number, int flags);
int __wrap_dup3(int fd, int number, int flags);
int __wrap_dup3(int fd, int number, int flags) {
    return fails("dup3") ? -1 : __real_dup3(fd, number, flags);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) { /* nobody here creates files */
    return fails("open") ? -1 : __real_open(path, flags);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) { /* none of the core's has more than three arguments */
    va_list list;
    long arguments[3];
    va_start(list, number);
    for (int i = 0; i < 3; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    return fails("syscall") ? -1 : __real_syscall(number, arguments[0], arguments[1], arguments[2]);
}

ssize_t __real_readlink(const char *path, char *buffer, size_t size);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t size);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t size) {
    return fails("readlink") ? -1 : __real_readlink(path, buffer, size);
}
#endif

/* ---- The program -------------------------------------------------------------------------------------------- */

enum { TIMERS = 70 };

static struct evf_loop *loop;
static int pairs[4][2];

static bool is_allowed(int rc) {
    return rc == EVF_ENOMEM || rc == EVF_ESYSTEM || rc == EVF_EBACKEND || rc == EVF_ESIGNAL || rc == EVF_ECHILD;
}

/* The call fails only because of the failure on purpose, with a fitting code, and works the second time. */
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        bool had_tripped = tripped;                                                                                    \
        int rc_of_try = (expression);                                                                                  \
        if (rc_of_try < 0) {                                                                                           \
            CHECK(!had_tripped && tripped);                                                                            \
            CHECK(is_allowed(rc_of_try));                                                                              \
            rc_of_try = (expression);                                                                                  \
        }                                                                                                              \
        CHECK_INT(rc_of_try < 0 ? rc_of_try : 0, 0);                                                                   \
    } while (0)

/* Turns until it is so; a turn may fail once. */
static void turn_until(const int *counter, int wanted) {
    int64_t deadline_ns = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC) + 30 * SECOND;
    if (tap_has_failed()) return; /* one failure is told, not all that follow from it */
    while (*counter < wanted && evf_clock_now(NULL, EVF_CLOCK_MONOTONIC) < deadline_ns && !tap_has_failed())
        TRY(evf_loop_run_once(loop, 100 * MILLISECOND));
    CHECK_INT(*counter, wanted);
}

static int start_io(struct evf_io *io, int fd, unsigned mask, evf_io_cb cb, void *data) {
    size_t before = evf_loop_watchers(loop);
    int rc = evf_io_start(loop, io, fd, mask, cb, data);
    CHECK((io->w.loop == NULL) == (rc < 0));
    CHECK_INT(evf_loop_watchers(loop) - before, rc == 0);
    return rc;
}

static int start_timer(struct evf_timer *timer, int *counter) {
    size_t before = evf_loop_watchers(loop);
    int rc = evf_timer_start(loop, timer, EVF_CLOCK_MONOTONIC, 0, count_timer, counter);
    CHECK((timer->w.loop == NULL) == (rc < 0));
    CHECK_INT(evf_loop_watchers(loop) - before, rc == 0);
    return rc;
}

static int start_signal(struct evf_signal *sig, int signo, int *counter) {
    size_t before = evf_loop_watchers(loop);
    int rc = evf_signal_start(loop, sig, signo, count_signal, counter);
    CHECK((sig->w.loop == NULL) == (rc < 0));
    CHECK_INT(evf_loop_watchers(loop) - before, rc == 0);
    return rc;
}

static int start_process(struct evf_process *process, pid_t pid, int *counter) {
    size_t before = evf_loop_watchers(loop);
    int fds = tap_count_fds();
    int rc = evf_process_start(loop, process, pid, count_process, counter);
    CHECK((process->w.loop == NULL) == (rc < 0));
    CHECK_INT(evf_loop_watchers(loop) - before, rc == 0);
    if (rc < 0) CHECK_INT(tap_count_fds(), fds);
    return rc;
}

static int open_loop(void) {
    struct evf_loop *const untouched = (struct evf_loop *)(uintptr_t)0x5a5a;
    struct evf_loop *made = untouched;
    int rc = evf_loop_new(backend_under_test, method_under_test, NULL, &made);
    CHECK((made == untouched) == (rc < 0));
    if (rc == 0) loop = made;
    return rc;
}

static void use_descriptors(void) {
    struct evf_io near = {0}, far = {0}, both = {0}, hung = {0};
    int count = 0, far_count = 0;
    int far_fd = fcntl(pairs[1][0], F_DUPFD, 70); /* the tables grow */
    trace_clear();
    TRY(start_io(&near, pairs[0][0], EVF_READ, count_io, &count));
    TRY(start_io(&far, far_fd, EVF_READ, count_io, &far_count));
    TRY(start_io(&both, pairs[2][0], EVF_READ | EVF_WRITE, trace_io, (void *)(uintptr_t) "b"));
    give(pairs[0][1]);
    give(pairs[1][1]);
    turn_until(&count, 1);
    turn_until(&far_count, 1);
    CHECK(strncmp(trace, "b:w", 3) == 0);
    evf_io_stop(&far);
    (void)close(far_fd);

    give(pairs[3][1]);
    TRY(start_io(&hung, pairs[3][0], EVF_HANGUP, trace_io, (void *)(uintptr_t) "h"));
    CHECK_INT(evf_io_set(&both, EVF_READ), 0);
    TRY(evf_loop_run_once(loop, 0)); /* mutes the unread data */
    TRY(evf_loop_run_once(loop, 0));

    TRY(evf_loop_after_fork(loop, true)); /* new kernel objects */
    give(pairs[0][1]);
    turn_until(&count, 2);
    evf_io_stop(&near);
    evf_io_stop(&both);
    evf_io_stop(&hung);
    (void)take(pairs[3][0]);
}

static void use_timers(void) {
    static struct evf_timer timers[TIMERS];
    struct evf_idle idle = {0};
    int count = 0;
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < TIMERS; i++) TRY(start_timer(&timers[i], &count));
    CHECK_INT(evf_idle_start(loop, &idle, count_idle, &count), 0);
    turn_until(&count, TIMERS + 1);
    for (int i = 0; i < TIMERS; i++) evf_timer_stop(&timers[i]);
    evf_idle_stop(&idle);
}

static void use_signals(void) {
    struct evf_signal sig = {0};
    int count = 0;
    TRY(start_signal(&sig, SIGUSR1, &count));
    evf_signal_raise(SIGUSR1);
    turn_until(&count, 1);
    evf_signal_stop(&sig);
    (void)__real_sigaction(SIGUSR1, &(struct sigaction){.sa_handler = SIG_DFL}, NULL); /* its release may have failed */
}

static void use_processes(void) {
    for (int way = 0; way < 2; way++) {
        struct evf_process process = {0}, second = {0};
        int count = 0;
        evf_process_use_pidfd(way == 0);
        struct waiting_child child = waiting_child(3);
        pid_t pid = ended_child(4);
        TRY(start_process(&process, child.pid, &count));
        TRY(start_process(&second, pid, &count));
        turn_until(&count, 1);
        release(&child);
        turn_until(&count, 2);
        evf_process_stop(&process); /* had something failed, it would be active still */
        evf_process_stop(&second);
    }
    evf_process_use_pidfd(true);
    (void)__real_sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

static int prepare(sigset_t *mask) {
    sigset_t untouched;
    (void)sigemptyset(&untouched);
    (void)sigaddset(&untouched, SIGWINCH); /* a mark */
    *mask = untouched;
    int rc = evf_fork_prepare(0, mask);
    if (rc < 0) CHECK(sigismember(mask, SIGWINCH) == 1);
    return rc;
}

static int clean_child(void) {
    int before = tap_failures();
    CHECK(evf_fork_child_begin() >= 0);
    evf_loop_free(loop);
    loop = NULL;
    TRY(open_loop());
    use_timers();
    return tap_failures() > before;
}

static int raw_child(struct evf_io *io, int *count) {
    int before = tap_failures();
    give(pairs[0][1]);
    turn_until(count, 1);
    evf_io_stop(io);
    evf_loop_free(loop);
    return tap_failures() > before;
}

static void use_forks(void) {
    struct evf_io io = {0};
    sigset_t mask;
    int count = 0;
    TRY(prepare(&mask));
    pid_t pid = fork();
    if (pid == 0) {
        int code = clean_child();
        (void)__real_sigprocmask(SIG_SETMASK, &mask, NULL);
        _exit(code);
    }
    evf_fork_restore_mask(&mask);
    (void)__real_sigprocmask(SIG_SETMASK, &mask, NULL); /* it may be that which has failed */
    CHECK_INT(reap(pid), 0);

    TRY(start_io(&io, pairs[0][0], EVF_READ, count_io, &count));
    TRY(evf_loop_run_once(loop, 0));
    pid = fork();
    if (pid == 0) _exit(raw_child(&io, &count));
    CHECK_INT(reap(pid), 0);
    TRY(evf_loop_run_once(loop, 0));
    CHECK_INT(count, 0); /* nothing of the child's */
    give(pairs[0][1]);
    turn_until(&count, 1);
    evf_io_stop(&io);
}

static bool is_warm; /* what a process keeps for ever is there */

static void whole_program(void) {
    long live_before = live;
    for (int i = 0; i < 4; i++) make_pair(pairs[i]);
    int fds_before = tap_count_fds();
    TRY(open_loop());
    use_descriptors();
    use_timers();
    use_signals();
    use_processes();
    use_forks();
    CHECK_INT(evf_loop_watchers(loop), 0);
    evf_loop_free(loop);
    CHECK_INT(tap_count_fds(), fds_before);
    if (is_warm) CHECK_INT(live, live_before);
    is_warm = true;
    for (int i = 0; i < 4; i++) close_pair(pairs[i]);
}

/* ---- Failing ------------------------------------------------------------------------------------------------ */

static void fail_each(const char *name, int code) {
    int most = tap_is_slow() ? 60 : 1000; /* far more than there are */
    bool goes_on = true;
    for (nth = 1; goes_on && nth < most && !tap_has_failed(); nth++) {
        target = name;
        target_errno = code;
        seen = 0;
        tripped = false;
        whole_program();
        goes_on = tripped;
        target = NULL;
        if (tap_has_failed()) tap_diag("with call %d of %s failing (errno %d)", nth, name, code);
    }
    tap_diag("%s, errno %d: %d failed", name, code, nth - 2);
    CHECK(!goes_on || tap_is_slow());
}

static void nothing_fails(void) {
    target = NULL;
    whole_program();
    whole_program();
}

static void memory(void) {
    fail_each("memory", ENOMEM);
}

static void poll_fails(void) {
    fail_each("poll", EINTR);
    fail_each("poll", ENOMEM);
}

static void waiting_fails(void) {
    fail_each("waitid", EINTR);
    fail_each("waitid", EINVAL); /* a kernel that does not know process descriptors there */
    fail_each("waitpid", EINTR);
}

static void signals_fail(void) {
    fail_each("sigaction", EINVAL);
    fail_each("sigprocmask", EINVAL);
}

static void descriptors_fail(void) {
    fail_each("epoll_create1", EMFILE);
    fail_each("eventfd", EMFILE);
    fail_each("dup3", EBUSY);
    fail_each("open", EMFILE);
}

static void system_calls_fail(void) {
    fail_each("syscall", ENOSYS);
    fail_each("syscall", EMFILE);
    fail_each("syscall", EPERM);
    fail_each("readlink", ENOENT);
}

/* The first of all: the handler of forks cannot be installed. Looked at before anything else, told later. */
static int atfork_rc[2];
static bool atfork_touched;

static void fail_atfork(void) {
    struct evf_loop *const untouched = (struct evf_loop *)(uintptr_t)0x5a5a;
    struct evf_loop *made = untouched;
    sigset_t mask;
    for (int i = 0; i < 2; i++) {
        target = "pthread_atfork";
        nth = 1;
        seen = 0;
        atfork_rc[i] = i == 0 ? evf_loop_new(&evf_backend_poll, NULL, NULL, &made) : evf_fork_prepare(0, &mask);
        target = NULL;
    }
    atfork_touched = made != untouched;
}

static void fork_handler(void) {
    CHECK_INT(atfork_rc[0], EVF_ENOMEM);
    CHECK_INT(atfork_rc[1], EVF_ENOMEM);
    CHECK(!atfork_touched);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(nothing_fails, "the program works, and leaves nothing"),
        TAP_TEST(fork_handler, "without a handler of forks there is no loop and no fork"),
        TAP_TEST(memory, "each allocation fails once"),
        TAP_TEST(poll_fails, "each poll fails once"),
        TAP_TEST(waiting_fails, "each waitid and waitpid fails once"),
        TAP_TEST(signals_fail, "each sigaction and sigprocmask fails once"),
        TAP_TEST(descriptors_fail, "each call that makes a descriptor fails once"),
        TAP_TEST(system_calls_fail, "each other system call fails once"),
    };
    fail_atfork();
#ifdef WITH_LIBEVENT
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
#endif
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
