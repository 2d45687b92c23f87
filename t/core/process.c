/* Children as events, by process descriptor and by SIGCHLD: each status is delivered once, and no other is taken. What
 * becomes of SIGCHLD is in process_sigchld.c. */
#include "both_ways.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Endings ------------------------------------------------------------------------------------------------ */

static void exits(void) {
    static const int codes[] = {0, 1, 3, 127, 128, 255};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct evf_process process = {0};
        struct ending ending = {0, -2};
        struct waiting_child child = waiting_child(codes[i]);
        start(&process, child.pid, &ending);
        CHECK(evf_process_find(loop, child.pid) == &process);
        CHECK_INT(evf_loop_watchers(loop), 1);
        CHECK_INT(turns(loop), 0);
        release(&child);
        CHECK(turns_until(loop, &ending.calls, 1));
        CHECK_INT(ending.wait_status, codes[i] << 8);
        CHECK(evf_process_find(loop, child.pid) == NULL);
        CHECK_INT(evf_loop_watchers(loop), 0);
        CHECK_INT(turns(loop), 0);
        CHECK_INT(reap(child.pid), -1); /* its status was taken */
    }
}

static void killed(void) {
    static const int numbers[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct evf_process process = {0};
        struct ending ending = {0, -2};
        struct waiting_child child = waiting_child(0);
        start(&process, child.pid, &ending);
        CHECK_INT(kill(child.pid, numbers[i]), 0);
        CHECK(turns_until(loop, &ending.calls, 1));
        CHECK(WIFSIGNALED(ending.wait_status) && WTERMSIG(ending.wait_status) == numbers[i]);
        (void)close(child.release_fd);
    }
}

/* Only where the kernel writes a file "core" into the current folder, which is taken away again. */
static bool dumps_into_the_folder(void) {
    char pattern[20] = "";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
    if (fd < 0) return false;
    ssize_t length = read(fd, pattern, sizeof pattern - 1);
    (void)close(fd);
    return length > 0 && strcmp(pattern, "core\n") == 0;
}

static void dumped(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    char folder[] = "/tmp/evf-core-XXXXXX", path[60];
    siginfo_t info = {0};
    if (!dumps_into_the_folder()) {
        tap_skip("a core dump would go elsewhere");
        return;
    }
    NEED(mkdtemp(folder) != NULL);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        if (chdir(folder) < 0 || setrlimit(RLIMIT_CORE, &limit) < 0) _exit(1);
        (void)signal(SIGABRT, SIG_DFL);
        abort();
    }
    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    start(&process, pid, &ending);
    CHECK(turns_until(loop, &ending.calls, 1));
    if (info.si_code == CLD_EXITED) tap_skip("core dumps are not allowed here");
    else CHECK_INT(ending.wait_status, SIGABRT | (info.si_code == CLD_DUMPED ? 0x80 : 0));
    (void)snprintf(path, sizeof path, "%s/core", folder);
    (void)unlink(path); /* there may be none, or one with its pid */
    (void)snprintf(path, sizeof path, "%s/core.%ld", folder, (long)pid);
    (void)unlink(path);
    CHECK_INT(rmdir(folder), 0);
}

static void stopped_and_continued(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(4);
    siginfo_t info;
    start(&process, child.pid, &ending);
    CHECK_INT(kill(child.pid, SIGSTOP), 0);
    CHECK_INT(waitid(P_PID, (id_t)child.pid, &info, WSTOPPED | WNOWAIT), 0);
    CHECK_INT(turns(loop), 0);
    CHECK_INT(kill(child.pid, SIGCONT), 0);
    CHECK_INT(turns(loop), 0);
    CHECK_INT(ending.calls, 0);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK_INT(ending.wait_status, 4 << 8);
}

static void ended_before(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    pid_t pid = ended_child(9);
    start(&process, pid, &ending);
    CHECK_INT(ending.calls, 0); /* not before a turn */
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(ending.wait_status, 9 << 8);
}

static void hundred(void) {
    enum { COUNT = 100 };
    static struct evf_process processes[COUNT];
    static struct ending endings[COUNT];
    static struct waiting_child children[COUNT];
    int sum = 0;
    memset(processes, 0, sizeof processes);
    memset(endings, 0, sizeof endings);
    for (int i = 0; i < COUNT; i++) {
        children[i] = waiting_child(i);
        start(&processes[i], children[i].pid, &endings[i]);
    }
    for (int i = 0; i < COUNT; i += 2) release(&children[i]); /* at once */
    for (int i = 1; i < COUNT; i += 2) release(&children[i]);
    for (int i = 0; i < COUNT; i++) CHECK(turns_until(loop, &endings[i].calls, 1));
    CHECK_INT(turns(loop), 0);
    for (int i = 0; i < COUNT; i++) {
        sum += endings[i].calls;
        CHECK_INT(endings[i].wait_status, i << 8);
    }
    CHECK_INT(sum, COUNT);
}

/* ---- Other people's children -------------------------------------------------------------------------------- */

static void not_a_child(void) {
    struct evf_process process = {0};
    struct tester tester;
    if (fork_tester(&tester)) {
        struct waiting_child grandchild = waiting_child(0);
        CHECK_INT(write(tester.to_parent, &grandchild.pid, sizeof grandchild.pid), sizeof grandchild.pid);
        wait_for_parent(&tester);
        release(&grandchild);
        CHECK_INT(reap(grandchild.pid), 0);
        leave(&tester);
    }
    pid_t grandchild;
    NEED(read(tester.from_child, &grandchild, sizeof grandchild) == sizeof grandchild);
    pid_t reaped = ended_child(0);
    CHECK_INT(reap(reaped), 0);
    const pid_t pids[] = {0, -1, INT32_MIN, getpid(), getppid(), 1, grandchild, reaped, INT32_MAX};
    for (size_t i = 0; i < COUNT_OF(pids); i++) {
        struct ending ending = {0, -2};
        CHECK_INT(evf_process_start(loop, &process, pids[i], note, &ending), EVF_ECHILD);
        CHECK(process.w.loop == NULL);
    }
    CHECK_INT(evf_loop_watchers(loop), 0);
    CHECK(evf_process_find(loop, 0) == NULL && evf_process_find(loop, -1) == NULL);
    tell_child(&tester);
    check_tester(&tester);
}

static void twice(void) {
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2}, other = {0, -2};
    struct waiting_child child = waiting_child(0);
    start(&process, child.pid, &ending);
    CHECK_INT(evf_process_start(loop, &second, child.pid, note, &other), EVF_EEXIST);
    CHECK(second.w.loop == NULL);
    evf_process_stop(&process);
    CHECK_INT(evf_process_start(loop, &second, child.pid, note, &other), 0);
    release(&child);
    CHECK(turns_until(loop, &other.calls, 1));
    CHECK_INT(ending.calls, 0);
}

static void in_two_loops(void) {
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2}, other = {0, -2};
    struct waiting_child child = waiting_child(6);
    struct evf_loop *first = loop;
    start(&process, child.pid, &ending);
    loop = new_loop();
    start(&second, child.pid, &other);
    release(&child);
    CHECK(turns_until(first, &ending.calls, 1));
    CHECK(turns_until(loop, &other.calls, 1));
    CHECK_INT(ending.wait_status, 6 << 8);
    CHECK(other.wait_status == -1 || other.wait_status == 6 << 8); /* the first took it; new kernels still tell */
    evf_loop_free(loop);
    loop = first;
}

static void others_keep_theirs(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child ours = waiting_child(1), theirs = waiting_child(2);
    pid_t ended = ended_child(3);
    start(&process, ours.pid, &ending);
    release(&theirs);
    wait_for_end(theirs.pid);
    CHECK_INT(turns(loop), 0);
    release(&ours);
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK_INT(ending.wait_status, 1 << 8);
    CHECK_INT(turns(loop), 0);
    CHECK_INT(reap(theirs.pid), 2 << 8);
    CHECK_INT(reap(ended), 3 << 8);
}

/* Linux 6.15 tells it through the process descriptor. */
static bool tells_taken_status(void) {
#ifdef __linux__
    struct utsname system;
    int major, minor;
    return with_pidfd && uname(&system) == 0 && sscanf(system.release, "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 15));
#else
    return false;
#endif
}

static void status_taken(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(7);
    start(&process, child.pid, &ending);
    release(&child);
    CHECK_INT(reap(child.pid), 7 << 8); /* by somebody else */
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK_INT(ending.wait_status, tells_taken_status() ? 7 << 8 : -1);
    CHECK_INT(turns(loop), 0);
}

static void children_discarded(void) {
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2}, other = {0, -2};
    struct waiting_child child = waiting_child(7), early = waiting_child(8);
    (void)signal(SIGCHLD, SIG_IGN);
    start(&process, child.pid, &ending);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK(ending.wait_status == -1 || (with_pidfd && ending.wait_status == 7 << 8));
    CHECK_INT(turns(loop), 0);
    release(&early);
    CHECK_INT(reap(early.pid), -1); /* waits until it has gone */
    CHECK_INT(evf_process_start(loop, &second, early.pid, note, &other),
              0); /* gone, and nobody can tell whose it was */
    CHECK(turns_until(loop, &other.calls, 1));
    CHECK_INT(other.wait_status, -1);
    (void)signal(SIGCHLD, SIG_DFL);
}

/* ---- Stopping ----------------------------------------------------------------------------------------------- */

static void stop_leaves_the_status(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(5);
    start(&process, child.pid, &ending);
    CHECK_INT(turns(loop), 0);
    evf_process_stop(&process);
    evf_process_stop(&process);
    CHECK(process.w.loop == NULL);
    CHECK(evf_process_find(loop, child.pid) == NULL);
    release(&child);
    CHECK_INT(reap(child.pid), 5 << 8);
    CHECK_INT(turns(loop), 0);

    pid_t pid = ended_child(6);
    start(&process, pid, &ending);
    evf_process_stop(&process);
    CHECK_INT(turns(loop), 0);
    CHECK_INT(reap(pid), 6 << 8);
    CHECK_INT(ending.calls, 0);
}

static struct evf_process *victims[2];

static int stop_the_other(struct evf_process *process, int wait_status, void *data) {
    evf_process_stop(victims[process == victims[0] ? 1 : 0]);
    return note(process, wait_status, data);
}

/* Both are known to have ended in the same turn; the one that is stopped keeps its status. */
static void stopped_in_a_turn(void) {
    static struct evf_process processes[2];
    struct ending endings[2] = {{0, -2}, {0, -2}};
    pid_t pids[2] = {ended_child(1), ended_child(2)};
    memset(processes, 0, sizeof processes);
    for (int i = 0; i < 2; i++) {
        victims[i] = &processes[i];
        CHECK_INT(evf_process_start(loop, &processes[i], pids[i], stop_the_other, &endings[i]), 0);
    }
    CHECK_INT(turns(loop), 1);
    int left = endings[0].calls == 0 ? 0 : 1;
    CHECK_INT(endings[1 - left].calls, 1);
    CHECK_INT(endings[1 - left].wait_status, (2 - left) << 8);
    CHECK_INT(reap(pids[left]), (left + 1) << 8);
}

static int fail(struct evf_process *process, int wait_status, void *data) {
    (void)note(process, wait_status, data);
    return -44;
}

static void error_leaves_the_rest(void) {
    static struct evf_process processes[3];
    struct ending endings[3] = {{0, -2}, {0, -2}, {0, -2}};
    memset(processes, 0, sizeof processes);
    for (int i = 0; i < 3; i++) CHECK_INT(evf_process_start(loop, &processes[i], ended_child(i), fail, &endings[i]), 0);
    for (int i = 0; i < 3; i++) CHECK_INT(evf_loop_run_once(loop, -1), -44);
    CHECK_INT(turns(loop), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(endings[i].calls, 1);
        CHECK_INT(endings[i].wait_status, i << 8);
    }
}

static int respawns;

static int respawn(struct evf_process *process, int wait_status, void *data) {
    CHECK_INT(wait_status, respawns << 8);
    (void)data;
    if (++respawns == 5) return 0;
    return evf_process_start(loop, process, ended_child(respawns), respawn, NULL);
}

static void started_again_in_its_callback(void) {
    struct evf_process process = {0};
    respawns = 0;
    CHECK_INT(evf_process_start(loop, &process, ended_child(0), respawn, NULL), 0);
    for (int i = 1; i <= 5; i++) {
        CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 1);
        CHECK_INT(respawns, i);
    }
    CHECK_INT(turns(loop), 0);
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

static void closed_on_exec(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(0);
    start(&process, child.pid, &ending);
    if (with_pidfd) CHECK((fcntl(process.pidfd, F_GETFD) & FD_CLOEXEC) != 0);
    evf_process_stop(&process);
    release(&child);
    CHECK_INT(reap(child.pid), 0);
}

/* In a child, because the table stays full. */
static void without_a_free_descriptor(void) {
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2}, other = {0, -2};
    struct waiting_child child = waiting_child(8);
    loop = new_loop();
    pid_t pid = ended_child(9);
    fill_table(0);
    CHECK_INT(evf_process_start(loop, &process, child.pid, note, &ending), 0);
    CHECK_INT(process.pidfd, -1);
    CHECK_INT(evf_process_start(loop, &second, pid, note, &other), 0);
    CHECK(turns_until(loop, &other.calls, 1));
    CHECK_INT(other.wait_status, 9 << 8);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1));
    CHECK_INT(ending.wait_status, 8 << 8);
    evf_loop_free(loop);
}

static void full_table(void) {
    in_tester(without_a_free_descriptor);
}

static void mistakes(void) {
    struct evf_process process = {0};
    struct ending ending = {0, -2};
    evf_process_stop(&process); /* zeroed: inactive */
    struct waiting_child child = waiting_child(0);
    CHECK_INT(evf_process_start(loop, &process, child.pid, NULL, NULL), EVF_EINVAL);
    start(&process, child.pid, &ending);
    struct evf_process before = process;
    CHECK_INT(evf_process_start(loop, &process, child.pid, note, &ending), EVF_EEXIST);
    CHECK(memcmp(&before, &process, sizeof process) == 0);
    release(&child);
    CHECK(turns_until(loop, &ending.calls, 1));
}

static void freed_before(void) {
    struct evf_process process = {0}, second = {0};
    struct ending ending = {0, -2};
    struct waiting_child child = waiting_child(1);
    pid_t pid = ended_child(2);
    struct evf_loop *first = loop;
    loop = new_loop();
    start(&process, child.pid, &ending);
    start(&second, pid, &ending);
    evf_loop_free(loop);
    loop = first;
    CHECK(process.w.loop == NULL && second.w.loop == NULL);
    CHECK(sigchld_handler() == SIG_DFL);
    release(&child);
    CHECK_INT(reap(child.pid), 1 << 8);
    CHECK_INT(reap(pid), 2 << 8);
    CHECK_INT(ending.calls, 0);
}

#define EACH_BOTH_WAYS(X)                                                                                              \
    X(exits, "exit codes are delivered once")                                                                          \
    X(killed, "so are signals")                                                                                        \
    X(dumped, "and core dumps are marked")                                                                             \
    X(stopped_and_continued, "a stopped child has not ended")                                                          \
    X(ended_before, "a child that had ended before is delivered in the next turn")                                     \
    X(hundred, "a hundred children, each with its own status")                                                         \
    X(not_a_child, "what is no child of this process is refused")                                                      \
    X(twice, "a loop watches a child once")                                                                            \
    X(in_two_loops, "two loops may")                                                                                   \
    X(others_keep_theirs, "children that are not watched keep their status")                                           \
    X(status_taken, "a status that somebody else took is -1, or known all the same")                                   \
    X(children_discarded, "children end also where SIGCHLD is ignored")                                                \
    X(stop_leaves_the_status, "stop leaves the status to its owner")                                                   \
    X(stopped_in_a_turn, "also when the end was known already")                                                        \
    X(error_leaves_the_rest, "after an error the rest comes in the next turn")                                         \
    X(started_again_in_its_callback, "a callback may watch the next child")                                            \
    X(closed_on_exec, "process descriptors are closed on exec")                                                        \
    X(mistakes, "a wrong start changes nothing")                                                                       \
    X(freed_before, "a freed loop leaves the children to their owner")

#define X(name, promise)                                                                                               \
    static void name##_both_ways(void) {                                                                               \
        both_ways(name);                                                                                               \
    }
EACH_BOTH_WAYS(X)
#undef X

/* ---- Without a loop ----------------------------------------------------------------------------------------- */

static bool is_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void without_a_loop(void) {
    int wait_status = 4711;
    struct waiting_child child = waiting_child(3);
    int fd = evf_process_open(child.pid);
    if (has_pidfds()) {
        CHECK(fd >= 0 && !is_readable(fd));
        CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    } else {
        CHECK_INT(fd, EVF_ENOTSUP);
        fd = -1;
    }
    CHECK_INT(evf_process_reap(child.pid, fd, &wait_status), 0);
    CHECK_INT(wait_status, 4711);
    release(&child);
    wait_for_end(child.pid);
    if (fd >= 0) CHECK(is_readable(fd));
    CHECK_INT(evf_process_reap(child.pid, fd, &wait_status), 1);
    CHECK_INT(wait_status, 3 << 8);
    if (fd >= 0) (void)close(fd);
}

static void without_a_loop_and_pidfds(void) {
    int wait_status = 4711;
    evf_process_use_pidfd(false);
    pid_t pid = ended_child(5);
    CHECK_INT(evf_process_open(pid), EVF_ENOTSUP);
    CHECK_INT(evf_process_reap(pid, -1, &wait_status), 1);
    CHECK_INT(wait_status, 5 << 8);
    CHECK_INT(evf_process_reap(pid, -1, &wait_status), 1); /* somebody has it */
    CHECK_INT(wait_status, -1);
    evf_process_use_pidfd(true);
}

static bool comes_to(pid_t pid, int fd, bool is_stopped) {
    for (int i = 0; i < 30000; i++) {
        if (evf_process_is_stopped(pid, fd) == is_stopped) return true;
        (void)poll(NULL, 0, 1);
    }
    return false;
}

static void check_stopped(bool with_fd) {
    struct waiting_child child = waiting_child(0);
    const int fd = with_fd ? evf_process_open(child.pid) : -1;
    int wait_status = -1;
    CHECK(!evf_process_is_stopped(child.pid, fd));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(kill(child.pid, SIGSTOP), 0);
        CHECK(comes_to(child.pid, fd, true));
        CHECK(comes_to(child.pid, fd, true)); /* asking takes nothing */
        CHECK_INT(evf_process_reap(child.pid, fd, &wait_status), 0);
        CHECK_INT(kill(child.pid, SIGCONT), 0);
        CHECK(comes_to(child.pid, fd, false));
    }
    release(&child);
    wait_for_end(child.pid);
    CHECK(!evf_process_is_stopped(child.pid, fd));
    CHECK_INT(evf_process_reap(child.pid, fd, &wait_status), 1);
    CHECK_INT(wait_status, 0);
    CHECK(!evf_process_is_stopped(child.pid, fd));
    if (fd >= 0) (void)close(fd);
}

static void stopped(void) {
    check_stopped(false);
    check_stopped(true);
    CHECK(!evf_process_is_stopped(getppid(), -1));
    CHECK(!evf_process_is_stopped(0, -1));
    CHECK(!evf_process_is_stopped(-1, -1));
}

static void open_strangers(void) {
    CHECK_INT(evf_process_open(getppid()), EVF_ECHILD);
    CHECK_INT(evf_process_open(0), EVF_ECHILD);
    CHECK_INT(evf_process_open(-1), EVF_ECHILD);
}

/* To waitpid they are groups, and any child. */
static void reap_no_process(void) {
    static const pid_t none[] = {0, -1, -2};
    int wait_status = 4711;
    pid_t pid = ended_child(6);
    for (size_t i = 0; i < COUNT_OF(none); i++) CHECK_INT(evf_process_reap(none[i], -1, &wait_status), EVF_EINVAL);
    CHECK_INT(evf_process_reap(-getpgrp(), -1, &wait_status), EVF_EINVAL);
    CHECK_INT(wait_status, 4711);
    CHECK_INT(evf_process_reap(pid, -1, &wait_status), 1);
    CHECK_INT(wait_status, 6 << 8);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
#define X(name, promise) {#name, promise, name##_both_ways},
        EACH_BOTH_WAYS(X)
#undef X
            TAP_TEST(without_a_loop, "a process descriptor for who has another loop"),
        TAP_TEST(without_a_loop_and_pidfds, "the same where there is none"),
        TAP_TEST(stopped, "a child that is stopped is told from one that runs"),
        TAP_TEST(open_strangers, "not of others"),
        TAP_TEST(reap_no_process, "what is no pid takes no status"),
        TAP_TEST(full_table, "without a free descriptor a child is watched all the same"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
