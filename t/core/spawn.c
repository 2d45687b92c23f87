/* What a spawned program has of its parent, and what it has not. The program is this one, which then says what it
 * finds; the lines are compared. */
#include "helpers.h"

#include "../../xs/core/evf_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_MAX = 4096, FDS_MAX = 600 };

static const char *program;
static char *no_environment[] = {NULL};

/* ---- The spawned program ------------------------------------------------------------------------------------ */

static void say_descriptors(void) {
    for (int fd = 0; fd < 2000; fd++) {
        if (fcntl(fd, F_GETFD) < 0) continue;
        const char *flag = (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 ? "!" : "";
        if (fd != STDOUT_FILENO) (void)printf("%d%s ", fd, flag);
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

/* A sanitizer has handlers of its own in every program that it is in. */
static bool is_of_sanitizer(int signo) {
    return IS_SANITIZED && (signo == SIGBUS || signo == SIGFPE || signo == SIGSEGV);
}

static void say_signals(void) {
    sigset_t blocked;
    (void)sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int signo = 1; signo < NSIG; signo++) {
        struct sigaction action;
        if (sigaction(signo, NULL, &action) < 0) continue;
        if (action.sa_handler != SIG_DFL && !is_of_sanitizer(signo)) (void)printf("action:%d ", signo);
        if (sigismember(&blocked, signo) == 1) (void)printf("blocked:%d ", signo);
    }
}

extern char **environ;

static int spawned(int argc, char **argv) {
    if (strcmp(argv[1], "--exit") == 0) return argc > 2 ? atoi(argv[2]) : 0;
    if (strcmp(argv[1], "--fds") == 0) say_descriptors();
    if (strcmp(argv[1], "--signals") == 0) say_signals();
    if (strcmp(argv[1], "--content") == 0) {
        for (int fd = 3; fd < 3 + atoi(argv[2]); fd++) {
            char text[16] = "?";
            (void)!pread(fd, text, sizeof text - 1, 0);
            (void)printf("%s ", text);
        }
    }
    if (strcmp(argv[1], "--words") == 0) {
        for (int i = 2; i < argc; i++) (void)printf("%s ", argv[i]);
        for (char **word = environ; *word != NULL; word++) (void)printf("%s ", *word);
    }
    (void)fflush(stdout);
    return 0;
}

/* ---- Starting it -------------------------------------------------------------------------------------------- */

/* What it says on STDOUT. That is a pipe while it starts: 0, 1 and 2 are inherited as they are. */
static void spawn_and_read(const struct evf_spawn *spawn, char *text) {
    int pipe_fds[2];
    pid_t pid = -1;
    size_t length = 0;
    (void)fflush(stdout);
    const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, FAR_FD);
    NEED(out >= 0 && pipe(pipe_fds) == 0);
    (void)dup2(pipe_fds[1], STDOUT_FILENO);
    (void)close(pipe_fds[1]);
    const int rc = evf_spawn(spawn, &pid);
    (void)dup2(out, STDOUT_FILENO);
    (void)close(out);
    if (CHECK_INT(rc, 0)) {
        ssize_t count;
        while ((count = read(pipe_fds[0], text + length, TEXT_MAX - 1 - length)) > 0) length += (size_t)count;
        CHECK_INT(reap(pid), 0);
    }
    (void)close(pipe_fds[0]);
    text[length] = '\0';
}

static struct evf_spawn program_with(char **arguments, const int *fds, size_t count) {
    return (struct evf_spawn){
        .program = program, .arguments = arguments, .environment = no_environment, .fds = fds, .fd_count = count};
}

/* A file with that text, at this number. */
static void open_text_at(int number, const char *text) {
    char path[] = "/tmp/evf-spawn-XXXXXX";
    const int fd = mkstemp(path);
    NEED(fd >= 0 && unlink(path) == 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    if (fd == number) return;
    NEED(dup2(fd, number) == number);
    (void)close(fd);
}

/* valgrind is in the new program, too, with descriptors, handlers and variables of its own; and where the system lets
 * the new process share memory until exec, it forks, so that nobody hears of exec's error. */
static bool in_valgrind(void) {
    const char *tool = getenv("EVF_TEST_TOOL");
    return tool != NULL && strcmp(tool, "valgrind") == 0;
}

static bool is_seen_by_valgrind(void) {
    if (in_valgrind()) tap_skip("valgrind is in the new program, too");
    return in_valgrind();
}

static bool is_lost_by_valgrind(void) {
    if (in_valgrind()) tap_skip("errors of exec are not told by valgrind");
    return in_valgrind();
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

static void only_those(void) {
    if (is_seen_by_valgrind()) return;
    char text[TEXT_MAX];
    char *arguments[] = {(char *)"spawn", (char *)"--fds", NULL};
    int fds[] = {40, 41, 300};
    const struct evf_spawn spawn = program_with(arguments, fds, 3);
    for (size_t i = 0; i < COUNT_OF(fds); i++) open_text_at(fds[i], "");
    NEED(fcntl(41, F_SETFD, FD_CLOEXEC) == 0);
    open_text_at(42, ""); /* open across exec, and not wanted */
    open_text_at(310, "");
    spawn_and_read(&spawn, text);
    CHECK_TEXT(text, "0 2 3 4 5 ");
    CHECK_INT(fcntl(41, F_GETFD), FD_CLOEXEC);
    for (size_t i = 0; i < COUNT_OF(fds); i++) (void)close(fds[i]);
    (void)close(42);
    (void)close(310);
}

static void none(void) {
    if (is_seen_by_valgrind()) return;
    char text[TEXT_MAX];
    char *arguments[] = {(char *)"spawn", (char *)"--fds", NULL};
    const struct evf_spawn spawn = program_with(arguments, NULL, 0);
    open_text_at(17, "");
    spawn_and_read(&spawn, text);
    CHECK_TEXT(text, "0 2 ");
    (void)close(17);
}

/* Numbers that are wanted are those of others; in a child, where they are free to be taken. */
static void try_orders(void) {
    static const int orders[][4] = {{3, 4, 5, 6}, {6, 5, 4, 3}, {4, 3, 6, 5}, {5, 5, 3, 3}, {7, 8, 3, 9}};
    char *arguments[] = {(char *)"spawn", (char *)"--content", (char *)"4", NULL};
    for (size_t i = 0; i < COUNT_OF(orders); i++) {
        char text[TEXT_MAX], expected[64] = "";
        const struct evf_spawn spawn = program_with(arguments, orders[i], 4);
        for (int fd = 3; fd < 10; fd++) {
            char content[2] = {(char)('0' + fd), '\0'};
            open_text_at(fd, content);
        }
        for (size_t j = 0; j < 4; j++) {
            const size_t length = strlen(expected);
            (void)snprintf(expected + length, sizeof expected - length, "%d ", orders[i][j]);
        }
        spawn_and_read(&spawn, text);
        CHECK_TEXT(text, expected);
    }
}

static void in_order(void) {
    in_tester(try_orders);
}

static void many(void) {
    if (is_seen_by_valgrind()) return;
    char text[TEXT_MAX], expected[TEXT_MAX] = "0 2 ";
    char *arguments[] = {(char *)"spawn", (char *)"--fds", NULL};
    int fds[FDS_MAX];
    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    NEED(file >= 0);
    for (size_t i = 0; i < FDS_MAX / 4; i++) fds[i] = file;
    for (size_t i = 0; i < FDS_MAX / 4; i++) {
        const size_t length = strlen(expected);
        (void)snprintf(expected + length, sizeof expected - length, "%d ", 3 + (int)i);
    }
    const struct evf_spawn spawn = program_with(arguments, fds, FDS_MAX / 4);
    spawn_and_read(&spawn, text);
    CHECK_TEXT(text, expected);
    (void)close(file);
}

/* A record lock goes with any close of its file by the process that has it. */
static void locks_stay(void) {
    char *arguments[] = {(char *)"spawn", (char *)"--exit", NULL};
    const int fds[] = {50, 50};
    const struct evf_spawn spawn = program_with(arguments, fds, 2);
    struct flock wish = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct tester tester;
    pid_t pid = -1;
    open_text_at(50, "locked");
    NEED(fcntl(50, F_SETLK, &wish) == 0);
    CHECK_INT(evf_spawn(&spawn, &pid), 0);
    CHECK_INT(reap(pid), 0);
    if (fork_tester(&tester)) {
        struct flock question = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        CHECK_INT(fcntl(50, F_GETLK, &question), 0);
        CHECK_INT(question.l_type, F_WRLCK);
        CHECK_INT(question.l_pid, getppid());
        leave(&tester);
    }
    check_tester(&tester);
    (void)close(50);
}

/* ---- Signals, words ----------------------------------------------------------------------------------------- */

static void on_signal(int signo) {
    (void)signo;
}

static void signals(void) {
    if (is_seen_by_valgrind()) return;
    char text[TEXT_MAX], expected[64];
    char *arguments[] = {(char *)"spawn", (char *)"--signals", NULL};
    struct evf_spawn spawn = program_with(arguments, NULL, 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, handle = {.sa_handler = on_signal}, usr1, usr2, pipe_action;
    sigset_t set, old, wanted;
    (void)sigaction(SIGUSR1, &ignore, &usr1);
    (void)sigaction(SIGUSR2, &handle, &usr2);
    (void)sigaction(SIGPIPE, &ignore, &pipe_action);
    (void)sigfillset(&set);
    (void)sigprocmask(SIG_BLOCK, &set, &old);
    spawn_and_read(&spawn, text);
    CHECK_TEXT(text, "");
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    spawn.blocked_signals = &wanted;
    spawn_and_read(&spawn, text);
    (void)snprintf(expected, sizeof expected, "blocked:%d ", SIGTERM);
    CHECK_TEXT(text, expected);
    sigset_t now;
    (void)sigprocmask(SIG_SETMASK, &old, &now);
    CHECK(sigismember(&now, SIGUSR2) == 1); /* this process's own stays */
    (void)sigaction(SIGUSR1, &usr1, &handle);
    CHECK(handle.sa_handler == SIG_IGN);
    (void)sigaction(SIGUSR2, &usr2, NULL);
    (void)sigaction(SIGPIPE, &pipe_action, NULL);
}

static void words(void) {
    if (is_seen_by_valgrind()) return;
    char text[TEXT_MAX];
    char *arguments[] = {(char *)"spawn", (char *)"--words", (char *)"one", (char *)"", (char *)"t w o", NULL};
    char *environment[] = {(char *)"A=1", (char *)"B=", NULL};
    struct evf_spawn spawn = program_with(arguments, NULL, 0);
    spawn.environment = environment;
    spawn_and_read(&spawn, text);
    CHECK_TEXT(text, "one  t w o A=1 B= ");
}

/* ---- What fails --------------------------------------------------------------------------------------------- */

static void refused(void) {
    if (is_lost_by_valgrind()) return;
    char *arguments[] = {(char *)"spawn", (char *)"--exit", NULL}, *nothing[] = {NULL};
    const int negative[] = {-1}, closed[] = {99};
    pid_t pid = 7;
    struct evf_spawn spawn = program_with(arguments, NULL, 0);
    spawn.program = "/nowhere/perl";
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EFORK);
    CHECK_INT(errno, ENOENT);
    spawn.program = "evf-no-such-program";
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EFORK);
    CHECK_INT(errno, ENOENT);
    spawn.program = "/dev/null";
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EFORK);
    CHECK_INT(errno, EACCES);
    spawn.program = "";
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EINVAL);
    spawn = program_with(nothing, NULL, 0);
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EINVAL);
    spawn = program_with(arguments, negative, 1);
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EBADF);
    spawn = program_with(arguments, closed, 1);
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EFORK);
    CHECK_INT(errno, EBADF);
    CHECK_INT(pid, 7);
}

static void too_long(void) {
    if (is_lost_by_valgrind()) return;
    enum { LENGTH = 4 << 20 };
    char *word = malloc(LENGTH + 1);
    NEED(word != NULL);
    memset(word, 'x', LENGTH);
    word[LENGTH] = '\0';
    char *arguments[] = {(char *)"spawn", (char *)"--exit", word, NULL};
    const struct evf_spawn spawn = program_with(arguments, NULL, 0);
    pid_t pid = 7;
    CHECK_INT(evf_spawn(&spawn, &pid), EVF_EFORK);
    CHECK_INT(errno, E2BIG);
    CHECK_INT(pid, 7);
    free(word);
}

static void by_path(void) {
    char *arguments[] = {(char *)"sh", (char *)"-c", (char *)"exit 3", NULL};
    struct evf_spawn spawn = program_with(arguments, NULL, 0);
    pid_t pid = -1;
    spawn.program = "sh";
    CHECK_INT(evf_spawn(&spawn, &pid), 0);
    CHECK_INT(reap(pid), 3 << 8);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(only_those, "the given descriptors arrive, from 3 on, and no other"),
        TAP_TEST(none, "without any there are 0, 1 and 2"),
        TAP_TEST(in_order, "in the order given, whatever numbers they have"),
        TAP_TEST(many, "as many as there are"),
        TAP_TEST(locks_stay, "record locks of this process stay"),
        TAP_TEST(signals, "all actions are the default ones, and only what is asked for is blocked"),
        TAP_TEST(words, "arguments and environment are those given"),
        TAP_TEST(refused, "what cannot be started is told with its errno"),
        TAP_TEST(too_long, "arguments that are too long, too"),
        TAP_TEST(by_path, "a name without a slash is looked for"),
    };
    program = argv[0];
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0) return spawned(argc, argv);
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
