/* See helpers.h. */
#include "helpers.h"

#ifdef WITH_LIBEV
#include "../../xs/libev/libev.h"
#elif defined WITH_LIBEVENT
#include "../../xs/libevent/libevent.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* An event that is due comes within this, on the busiest machine. */
static const int64_t event_bound_ns = 30 * SECOND;

/* ---- Loops -------------------------------------------------------------------------------------------------- */

const struct evf_backend *backend_under_test;
const char *method_under_test;

static const struct evf_backend *linked_backend(void) {
#ifdef WITH_LIBEV
    return evf_backend_libev();
#elif defined WITH_LIBEVENT
    return evf_backend_libevent();
#else
    return &evf_backend_poll;
#endif
}

/* Whoever starts the tests may have signals ignored or blocked, or allow few descriptors. */
static void clean_up_inheritance(void) {
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
    struct rlimit limit;
    sigset_t none;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) (void)signal(numbers[i], SIG_DFL); /* valid signals */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096) {
        limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* failing, some tests skip */
    }
}

/* What a process keeps for ever (the wake-up descriptor) is there before the first count. */
static void warm_up(void) {
    clean_up_inheritance();
    backend_under_test = linked_backend();
    method_under_test = backend_under_test->methods[0];
    evf_loop_free(new_loop());
}

int run_once_only(const struct tap_test *tests, size_t count, int argc, char **argv) {
    warm_up();
    tap_run("", tests, count, argc > 1 ? argv[1] : NULL);
    return tap_end();
}

int run_on_every_method(const struct tap_test *tests, size_t count, int argc, char **argv) {
    warm_up();
    for (const char *const *method = backend_under_test->methods; *method != NULL; method++) {
        char label[60];
        method_under_test = *method;
        (void)snprintf(label, sizeof label, "%s/%s", backend_under_test->name, *method);
        tap_run(label, tests, count, argc > 1 ? argv[1] : NULL);
    }
    return tap_end();
}

struct evf_loop *new_loop_with(const struct evf_loop_hooks *hooks) {
    struct evf_loop *loop = NULL;
    NEED(evf_loop_new(backend_under_test, method_under_test, hooks, &loop) == 0);
    return loop;
}

struct evf_loop *new_loop(void) {
    return new_loop_with(NULL);
}

struct sim *open_world(struct evf_loop **ret_loop) {
    struct sim *sim = sim_new();
    NEED(sim != NULL);
    NEED(sim_loop_new(sim, ret_loop) == 0);
    return sim;
}

void close_world(struct sim *sim, struct evf_loop *loop) {
    evf_loop_free(loop);
    CHECK_INT(sim->closes, sim->opens);
    CHECK_TEXT(sim->violation, "");
    CHECK_INT(sim->stuck, 0);
    sim_free(sim);
}

bool turns_until(struct evf_loop *loop, const int *counter, int wanted) {
    int64_t deadline_ns = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC) + event_bound_ns;
    while (*counter < wanted) {
        int rc = evf_loop_run_once(loop, 100 * MILLISECOND);
        if (!CHECK(rc >= 0)) return false;
        if (evf_clock_now(NULL, EVF_CLOCK_MONOTONIC) > deadline_ns) return CHECK_INT(*counter, wanted);
    }
    return true;
}

int turns(struct evf_loop *loop) {
    int count = 0;
    for (int turn = 0; turn < 5; turn++) {
        int rc = evf_loop_run_once(loop, 0);
        if (rc < 0) return rc;
        count += rc;
    }
    return count;
}

static int count_wait(void *data) {
    ++*(int *)data;
    return 0;
}

struct evf_loop *new_counting_loop(int *waits) {
    *waits = 0;
    return new_loop_with(&(struct evf_loop_hooks){.before_wait = count_wait, .data = waits});
}

void check_calm(struct evf_loop *loop, int *waits) {
    (void)turns(loop); /* news of what was done just before may be on its way */
    *waits = 0;
    CHECK_INT(evf_loop_run_once(loop, 20 * MILLISECOND), 0);
    CHECK(*waits <= 10);
}

/* ---- The trace ---------------------------------------------------------------------------------------------- */

char trace[4096];

void trace_clear(void) {
    *trace = '\0';
}

void trace_add(const char *text) {
    size_t length = strlen(trace);
    (void)snprintf(trace + length, sizeof trace - length, "%s", text);
}

int trace_io(struct evf_io *io, unsigned events, void *data) {
    (void)io;
    trace_add(data);
    trace_add(":");
    if (events & EVF_READ) trace_add("r");
    if (events & EVF_WRITE) trace_add("w");
    if (events & EVF_HANGUP) trace_add("h");
    return 0;
}

int trace_timer(struct evf_timer *timer, void *data) {
    (void)timer;
    trace_add(data);
    return 0;
}

int trace_idle(struct evf_idle *idle, void *data) {
    (void)idle;
    trace_add(data);
    return 0;
}

int trace_signal(struct evf_signal *sig, int signo, void *data) {
    (void)sig, (void)signo;
    trace_add(data);
    return 0;
}

int trace_process(struct evf_process *process, int wait_status, void *data) {
    (void)process, (void)wait_status;
    trace_add(data);
    return 0;
}

int count_io(struct evf_io *io, unsigned events, void *data) {
    (void)events;
    (void)take(io->fd);
    ++*(int *)data;
    return 0;
}

int count_timer(struct evf_timer *timer, void *data) {
    (void)timer;
    ++*(int *)data;
    return 0;
}

int count_idle(struct evf_idle *idle, void *data) {
    (void)idle;
    ++*(int *)data;
    return 0;
}

int count_signal(struct evf_signal *sig, int signo, void *data) {
    (void)sig, (void)signo;
    ++*(int *)data;
    return 0;
}

int count_process(struct evf_process *process, int wait_status, void *data) {
    (void)process, (void)wait_status;
    ++*(int *)data;
    return 0;
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

void make_pair(int ret_fds[2]) {
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ret_fds) == 0);
    for (int i = 0; i < 2; i++) (void)fcntl(ret_fds[i], F_SETFL, O_NONBLOCK); /* cannot fail on a fresh socket */
}

void close_pair(int fds[2]) {
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) (void)close(fds[i]);
        fds[i] = -1;
    }
}

void give(int fd) {
    CHECK_INT(write(fd, "x", 1), 1);
}

int take(int fd) {
    char buffer[65536];
    int sum = 0;
    ssize_t length;
    while ((length = read(fd, buffer, sizeof buffer)) > 0) sum += (int)length;
    return sum;
}

void fill_up(int fd) {
    static const char buffer[4096];
    while (write(fd, buffer, sizeof buffer) > 0) {}
    while (write(fd, buffer, 1) > 0) {}
}

void fill_table(int leave_free) {
    struct rlimit limit = {200, 200};
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* lower is always allowed */
    while (open("/dev/null", O_RDWR) >= 0) {}
    for (int fd = 199; fd > 2 && leave_free > 0; fd--) {
        if (!is_dev_null(fd)) continue;
        (void)close(fd);
        leave_free--;
    }
}

bool is_dev_null(int fd) {
    struct stat expected, st;
    return stat("/dev/null", &expected) == 0 && fstat(fd, &st) == 0 && st.st_rdev == expected.st_rdev &&
           S_ISCHR(st.st_mode);
}

/* ---- Children ----------------------------------------------------------------------------------------------- */

static void die_with_parent(void) {
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* else the alarm ends it */
#endif
}

static void read_byte(int fd) {
    char byte;
    while (read(fd, &byte, 1) < 0 && (errno == EINTR || errno == EAGAIN)) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        (void)poll(&pollfd, 1, -1);
    }
}

struct waiting_child waiting_child(int exit_code) {
    int fds[2];
    NEED(pipe(fds) == 0);
    /* Later children must not hold the other end. */
    (void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        die_with_parent();
        (void)close(fds[1]);
        (void)alarm(900);
        read_byte(fds[0]);
        _exit(exit_code);
    }
    (void)close(fds[0]);
    return (struct waiting_child){pid, fds[1]};
}

void release(struct waiting_child *child) {
    if (child->release_fd < 0) return;
    give(child->release_fd);
    (void)close(child->release_fd);
    child->release_fd = -1;
}

void wait_for_end(pid_t pid) {
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {}
}

pid_t ended_child(int exit_code) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) _exit(exit_code);
    wait_for_end(pid);
    return pid;
}

int reap(pid_t pid) {
    int status;
    pid_t reaped;
    do reaped = waitpid(pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    return reaped == pid ? status : -1;
}

bool has_pidfds(void) {
    struct evf_loop *loop = new_loop();
    struct evf_process process = {0};
    int count = 0;
    pid_t pid = ended_child(0);
    NEED(evf_process_start(loop, &process, pid, count_process, &count) == 0);
    bool has = process.pidfd >= 0;
    evf_process_stop(&process);
    (void)reap(pid);
    evf_loop_free(loop);
    return has;
}

struct pipes {
    int report[2], down[2], up[2];
};

/* Far up, where no test closes or reuses numbers. */
static void open_pipe(int ret_fds[2]) {
    int fds[2];
    NEED(pipe(fds) == 0);
    for (int i = 0; i < 2; i++) {
        ret_fds[i] = fcntl(fds[i], F_DUPFD, FAR_FD);
        NEED(ret_fds[i] >= FAR_FD);
        (void)close(fds[i]);
    }
}

static void open_pipes(struct pipes *pipes) {
    open_pipe(pipes->report);
    open_pipe(pipes->down);
    open_pipe(pipes->up);
}

static void become_tester(struct tester *tester, const struct pipes *pipes) {
    (void)close(pipes->report[0]);
    (void)close(pipes->down[1]);
    (void)close(pipes->up[0]);
    die_with_parent();
    tap_become_child(pipes->report[1]);
    *tester = (struct tester){.report_fd = pipes->report[1],
                              .from_parent = pipes->down[0],
                              .to_parent = pipes->up[1],
                              .to_child = -1,
                              .from_child = -1};
}

static void keep_tester(struct tester *tester, const struct pipes *pipes, pid_t pid) {
    (void)close(pipes->report[1]);
    (void)close(pipes->down[0]);
    (void)close(pipes->up[1]);
    *tester = (struct tester){.pid = pid,
                              .report_fd = pipes->report[0],
                              .to_child = pipes->down[1],
                              .from_child = pipes->up[0],
                              .to_parent = -1,
                              .from_parent = -1};
}

bool fork_tester(struct tester *tester) {
    struct pipes pipes;
    open_pipes(&pipes);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) become_tester(tester, &pipes);
    else keep_tester(tester, &pipes, pid);
    return pid == 0;
}

/* What fork asks of the kernel, without what the C library does around it. */
static pid_t copy(void) {
#if defined(__linux__) && defined(__s390__)
    return (pid_t)syscall(SYS_clone, 0, SIGCHLD, 0, 0, 0);
#elif defined(__linux__)
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#else
    return -1;
#endif
}

bool has_copies(void) {
#ifdef __linux__
    return true;
#else
    return false;
#endif
}

bool copy_tester(struct tester *tester) {
    struct pipes pipes;
    open_pipes(&pipes);
    pid_t pid = copy();
    NEED(pid >= 0);
    if (pid == 0) become_tester(tester, &pipes);
    else keep_tester(tester, &pipes, pid);
    return pid == 0;
}

bool fork_clean_tester_with(struct tester *tester, bool keep_signals) {
    struct pipes pipes;
    sigset_t mask;
    open_pipes(&pipes);
    NEED(evf_fork_prepare(keep_signals ? EVF_FORK_KEEP_SIGNALS : 0, &mask) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        become_tester(tester, &pipes);
        CHECK(evf_fork_child_begin() >= 0);
    } else {
        keep_tester(tester, &pipes, pid);
    }
    evf_fork_restore_mask(&mask);
    return pid == 0;
}

bool fork_clean_tester(struct tester *tester) {
    return fork_clean_tester_with(tester, false);
}

void leave(const struct tester *tester) {
    (void)tester;
    _exit(tap_failures() > 0 ? 1 : 0);
}

void check_tester(struct tester *tester) {
    char buffer[4096];
    FILE *lines = fdopen(tester->report_fd, "r");
    NEED(lines != NULL);
    while (fgets(buffer, sizeof buffer, lines) != NULL) {
        buffer[strcspn(buffer, "\n")] = '\0';
        tap_diag("in a child: %s", buffer);
    }
    (void)fclose(lines);
    (void)close(tester->to_child);
    (void)close(tester->from_child);
    int wait_status = reap(tester->pid);
    CHECK_INT(wait_status, 0);
}

void tell_child(const struct tester *tester) {
    give(tester->to_child);
}

void wait_for_child(const struct tester *tester) {
    read_byte(tester->from_child);
}

void tell_parent(const struct tester *tester) {
    give(tester->to_parent);
}

void wait_for_parent(const struct tester *tester) {
    read_byte(tester->from_parent);
}

void in_tester(void (*code)(void)) {
    struct tester tester;
    if (fork_tester(&tester)) {
        code();
        leave(&tester);
    }
    check_tester(&tester);
}
