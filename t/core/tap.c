/* See tap.h. */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BOUND_SECONDS = 120, SLOW_BOUND_SECONDS = 900, HIGHEST_FD = 2100, SIGNALS = 65 };

static int tests_run, tests_failed;
static int checks, failures; /* of the test under way */
static const char *skip_reason;
static int report_fd = -1; /* in a child */

bool tap_is_slow(void) {
    const char *value = getenv("EVF_TEST_SLOW");
    return value != NULL && *value != '\0' && strcmp(value, "0") != 0;
}

/* One write: lines of several processes do not mix. */
static void write_line(int fd, const char *prefix, const char *format, va_list arguments) {
    char line[1000];
    int length = snprintf(line, sizeof line, "%s", prefix);
    int more = vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    if (more < 0) return;
    length += more;
    if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
    line[length++] = '\n';
    if (write(fd, line, (size_t)length) < 0) return; /* nobody listens any more */
}

void tap_diag(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(report_fd >= 0 ? report_fd : STDOUT_FILENO, report_fd >= 0 ? "" : "# ", format, arguments);
    va_end(arguments);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line(STDOUT_FILENO, "", format, arguments);
    va_end(arguments);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

bool tap_check(bool is_ok, const char *file, int line, const char *text) {
    checks++;
    if (is_ok) return true;
    failures++;
    tap_diag("%s line %d: not true: %s", base_name(file), line, text);
    return false;
}

bool tap_check_int(intmax_t got, intmax_t expected, const char *file, int line, const char *text) {
    checks++;
    if (got == expected) return true;
    failures++;
    tap_diag("%s line %d: %s is %jd, not %jd", base_name(file), line, text, got, expected);
    return false;
}

bool tap_check_text(const char *got, const char *expected, const char *file, int line, const char *text) {
    checks++;
    if (strcmp(got, expected) == 0) return true;
    failures++;
    tap_diag("%s line %d: %s is \"%s\", not \"%s\"", base_name(file), line, text, got, expected);
    return false;
}

void tap_give_up(void) {
    tap_diag("cannot go on (errno %d)", errno);
    if (report_fd >= 0) _exit(1);
    say("not ok %d - gave up", tests_run + 1);
    exit(1);
}

void tap_skip(const char *reason) {
    skip_reason = reason;
}

bool tap_has_failed(void) {
    return failures > 0;
}

void tap_become_child(int new_report_fd) {
    report_fd = new_report_fd;
    checks = failures = 0;
    (void)alarm(tap_is_slow() ? SLOW_BOUND_SECONDS : BOUND_SECONDS);
}

int tap_failures(void) {
    return failures;
}

/* ---- What a test leaves behind ------------------------------------------------------------------------------ */

int tap_count_fds(void) {
    int count = 0;
    for (int fd = 0; fd < HIGHEST_FD; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

struct footprint {
    int fds;
    sigset_t mask;
    struct sigaction actions[SIGNALS];
};

static void take_footprint(struct footprint *footprint) {
    memset(footprint, 0, sizeof *footprint);
    footprint->fds = tap_count_fds();
    (void)sigprocmask(SIG_SETMASK, NULL, &footprint->mask); /* reading cannot fail */
    for (int signo = 1; signo < SIGNALS; signo++) (void)sigaction(signo, NULL, &footprint->actions[signo]);
}

static void name_fds(void) {
    char line[900] = "";
    for (int fd = 0; fd < HIGHEST_FD; fd++) {
        char path[40], target[60];
        size_t end = strlen(line);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0) (void)snprintf(line + end, sizeof line - end, " %d=%.*s", fd, (int)length, target);
    }
    tap_diag("open:%s", line);
}

static void check_footprint(const struct footprint *before) {
    static struct footprint now;
    take_footprint(&now);
    if (!CHECK_INT(now.fds - before->fds, 0)) name_fds();
    for (int signo = 1; signo < SIGNALS; signo++) {
        if (sigismember(&now.mask, signo) != sigismember(&before->mask, signo))
            CHECK_INT(-signo, 0); /* blocked, or no longer */
        if (now.actions[signo].sa_handler != before->actions[signo].sa_handler) CHECK_INT(signo, 0);
    }
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0) CHECK_INT(info.si_pid, -1); /* a child is left */
    else CHECK_INT(errno, ECHILD);
}

/* ---- Running ------------------------------------------------------------------------------------------------ */

static void run_one(const char *label, const struct tap_test *test) {
    static struct footprint before;
    const char *gap = *label != '\0' ? " " : "";
    checks = failures = 0;
    skip_reason = NULL;
    take_footprint(&before);
    (void)alarm(tap_is_slow() ? SLOW_BOUND_SECONDS : BOUND_SECONDS);
    test->run();
    int checks_of_test = checks;
    check_footprint(&before);
    tests_run++;
    if (checks_of_test == 0 && skip_reason == NULL) {
        failures++;
        tap_diag("%s checked nothing", test->name);
    }
    if (failures > 0) tests_failed++;
    say("%s %d - %s%s%s: %s%s%s", failures > 0 ? "not ok" : "ok", tests_run, label, gap, test->name, test->promise,
        skip_reason != NULL ? " # SKIP " : "", skip_reason != NULL ? skip_reason : "");
}

void tap_run(const char *label, const struct tap_test *tests, size_t count, const char *filter) {
    char full_name[200];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(full_name, sizeof full_name, "%s %s", label, tests[i].name);
        if (filter == NULL || strstr(full_name, filter) != NULL) run_one(label, &tests[i]);
    }
}

int tap_end(void) {
    say("1..%d", tests_run);
    if (tests_failed > 0) tap_diag("%d of %d failed", tests_failed, tests_run);
    return tests_failed > 0 ? 1 : 0;
}
