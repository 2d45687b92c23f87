/* The flight recorder: what is known of a child when it has ended, however it ended, and that a fault stays what it
 * would have been. */
#include "helpers.h"

#include "../../xs/core/recorder.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_OWN_FAULTS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_OWN_FAULTS false
#endif
#endif
#ifndef HAS_OWN_FAULTS
#define HAS_OWN_FAULTS (getenv("EVF_TEST_SLOW") == NULL) /* valgrind reports them */
#endif

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static size_t place(char *text, size_t size) {
    static const char here[] = "here line 3";
    CHECK(size >= sizeof here);
    memcpy(text, here, sizeof here);
    return strlen(here);
}

/* ---- A recorded child --------------------------------------------------------------------------------------- */

static struct evf_record *record;
static int tell_fd = -1;

/* Runs the code in a child that has a record and no handlers but those of `before`; returns its wait status. */
static int in_recorded(void (*code)(void), void (*before_faults)(void)) {
    const struct rlimit no_core = {0, 0};
    evf_record_begin(record, 5);
    const pid_t pid = fork();
    NEED(pid >= 0);
    if (pid > 0) {
        wait_for_end(pid);
        return reap(pid);
    }
    (void)alarm(60);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    for (size_t i = 0; i < COUNT_OF(faults); i++) (void)signal(faults[i], SIG_DFL); /* a sanitizer has its own */
    if (before_faults != NULL) before_faults();
    evf_recorder_attach(record);
    if (evf_recorder_catch_faults(place, tell_fd) < 0) _exit(99);
    evf_recorder_enter(EVF_STAGE_CODE);
    code();
    _exit(7);
}

static void setup(void) {
    record = evf_record_new();
    NEED(record != NULL);
}

static void tear_down(void) {
    evf_record_free(record);
    record = NULL;
}

/* ---- Steps -------------------------------------------------------------------------------------------------- */

static int die_in_hook(struct evf_hook *hook, enum evf_phase phase, void *data) {
    (void)hook;
    (void)phase;
    (void)data;
    (void)kill(getpid(), SIGKILL);
    return 0;
}

static int do_nothing(struct evf_hook *hook, enum evf_phase phase, void *data) {
    (void)hook;
    (void)phase;
    (void)data;
    return 0;
}

static struct evf_hook first_hook = {.name = "first", .priority = 10, .cb = {[EVF_CHILD] = do_nothing}};
static struct evf_hook deadly_hook = {.name = "deadly", .priority = 40, .cb = {[EVF_CHILD] = die_in_hook}};
static struct evf_hook last_hook = {.name = "last", .priority = 60, .cb = {[EVF_CHILD] = do_nothing}};

static void run_hooks(void) {
    evf_hooks_finish(EVF_CHILD);
}

static void the_hook_that_runs(void) {
    setup();
    CHECK_INT(evf_hook_register(&first_hook), 0);
    CHECK_INT(evf_hook_register(&deadly_hook), 0);
    CHECK_INT(evf_hook_register(&last_hook), 0);
    struct evf_hook *refused;
    CHECK_INT(evf_hooks_prepare(&refused), 0);
    const int status = in_recorded(run_hooks, NULL);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_TEXT(evf_stage_name(record->stage), "child");
    CHECK_TEXT(record->hook, "deadly");
    CHECK_INT(record->hook_priority, 40);
    CHECK(record->hook_id == (uint64_t)(uintptr_t)&deadly_hook);
    CHECK_INT(record->fault, 0);
    CHECK_INT(record->began_ns, 5);
    evf_hook_cancel(&deadly_hook);
    CHECK_INT(WEXITSTATUS(in_recorded(run_hooks, NULL)), 7);
    CHECK_TEXT(evf_stage_name(record->stage), "code"); /* as before the hooks */
    CHECK_TEXT(record->hook, "last");
    evf_hooks_finish(EVF_PARENT);
    evf_hook_cancel(&first_hook);
    evf_hook_cancel(&last_hook);
    tear_down();
}

static void fork_and_say(void) {
    const pid_t pid = fork();
    if (pid == 0) {
        if (evf_recorder_record() != NULL) _exit(1);
        evf_recorder_enter(EVF_STAGE_END); /* nobody's */
        _exit(0);
    }
    int status = -1;
    (void)waitpid(pid, &status, 0);
    if (status != 0) _exit(1);
}

static void a_child_of_a_child(void) {
    setup();
    CHECK_INT(WEXITSTATUS(in_recorded(fork_and_say, NULL)), 7);
    CHECK_TEXT(evf_stage_name(record->stage), "code");
    tear_down();
}

static void stages(void) {
    CHECK_TEXT(evf_stage_name(EVF_STAGE_NONE), "none");
    CHECK_TEXT(evf_stage_name(EVF_STAGE_END), "end");
    CHECK_TEXT(evf_stage_name(EVF_STAGE_COUNT), "unknown");
    evf_recorder_enter(EVF_STAGE_READY); /* without a record */
    CHECK(evf_recorder_record() == NULL);
}

/* ---- Faults ------------------------------------------------------------------------------------------------- */

static int signal_number;

static void send_it(void) {
    (void)kill(getpid(), signal_number);
}

static void every_signal(void) {
    setup();
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        signal_number = faults[i];
        const int status = in_recorded(send_it, NULL);
        CHECK(WIFSIGNALED(status));
        CHECK_INT(WTERMSIG(status), faults[i]);
        CHECK_INT(record->fault, faults[i]);
        CHECK_TEXT(record->place, "here line 3");
        CHECK(record->fault_ns > 5);
        CHECK_INT(record->is_foreign, 0);
    }
    tear_down();
}

static void write_nowhere(void) {
    volatile int *nowhere = (int *)(uintptr_t)16;
    *nowhere = 1;
}

static void call_abort(void) {
    abort();
}

static volatile char *deepest;

static int overflow(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    deepest = frame;
    return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

static void overflow_the_stack(void) {
    const struct rlimit small = {256 * 1024, 256 * 1024};
    (void)setrlimit(RLIMIT_STACK, &small);
    (void)overflow(0);
}

static void a_real_one(void) {
    setup();
    int status = in_recorded(call_abort, NULL);
    CHECK_INT(WTERMSIG(status), SIGABRT);
    CHECK_INT(record->fault, SIGABRT);
    if (!HAS_OWN_FAULTS) {
        tear_down();
        tap_skip("what looks for faults would report them");
        return;
    }
    status = in_recorded(write_nowhere, NULL);
    CHECK_INT(WTERMSIG(status), SIGSEGV);
    CHECK_INT(record->fault, SIGSEGV);
    status = in_recorded(overflow_the_stack, NULL);
    CHECK_INT(WTERMSIG(status), SIGSEGV);
    CHECK_INT(record->fault, SIGSEGV);
    CHECK_TEXT(record->place, "here line 3");
    tear_down();
}

static void *send_it_there(void *unused) {
    (void)unused;
    (void)pthread_kill(pthread_self(), SIGSEGV);
    return NULL;
}

static void in_a_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, send_it_there, NULL) != 0) _exit(98);
    (void)pthread_join(thread, NULL);
}

static void of_another_thread(void) {
    setup();
    CHECK_INT(WTERMSIG(in_recorded(in_a_thread, NULL)), SIGSEGV);
    CHECK_INT(record->fault, SIGSEGV);
    CHECK_INT(record->is_foreign, 1);
    tear_down();
}

/* ---- Handlers of others ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t handled;
static sigset_t mask_inside;

static void recover(int signo) {
    (void)sigprocmask(SIG_BLOCK, NULL, &mask_inside);
    handled = signo;
}

static void install_plain(void) {
    struct sigaction action = {.sa_handler = recover};
    (void)sigaddset(&action.sa_mask, SIGUSR1);
    (void)sigaction(SIGSEGV, &action, NULL);
}

static void recover_with_info(int signo, siginfo_t *info, void *context) {
    if (info != NULL && info->si_pid == getpid() && context != NULL) handled = signo;
}

static void install_once(void) {
    struct sigaction action = {.sa_sigaction = recover_with_info, .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND)};
    (void)sigaction(SIGBUS, &action, NULL);
}

static void ignore(void) {
    (void)signal(SIGSEGV, SIG_IGN);
}

static void survive(void) {
    (void)kill(getpid(), SIGSEGV);
    const bool had_mask = sigismember(&mask_inside, SIGUSR1) == 1 && sigismember(&mask_inside, SIGSEGV) == 1;
    _exit(handled == SIGSEGV && had_mask ? 11 : 12);
}

static void twice(void) {
    (void)kill(getpid(), SIGBUS);
    if (handled != SIGBUS) _exit(12);
    (void)kill(getpid(), SIGBUS); /* ends it now */
}

static void handlers_before(void) {
    setup();
    CHECK_INT(WEXITSTATUS(in_recorded(survive, install_plain)), 11);
    CHECK_INT(record->fault, 0); /* nothing was wrong */
    int status = in_recorded(twice, install_once);
    CHECK(WIFSIGNALED(status));
    CHECK_INT(WTERMSIG(status), SIGBUS);
    CHECK_INT(record->fault, SIGBUS);
    signal_number = SIGSEGV;
    status = in_recorded(send_it, ignore);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
    CHECK_INT(record->fault, 0);
    if (HAS_OWN_FAULTS) CHECK_INT(WTERMSIG(in_recorded(write_nowhere, ignore)), SIGSEGV);
    tear_down();
}

/* ---- Telling ------------------------------------------------------------------------------------------------ */

static void die_in_prepare(void) {
    static struct evf_hook hook = {
        .name = "'flags' (app.pl line 1)", .priority = 40, .cb = {[EVF_PREPARE] = die_in_hook}};
    struct evf_hook *refused;
    (void)evf_hook_register(&hook);
    (void)evf_hooks_prepare(&refused);
}

static int abort_in_hook(struct evf_hook *hook, enum evf_phase phase, void *data) {
    (void)hook;
    (void)phase;
    (void)data;
    abort();
}

static void abort_in_prepare(void) {
    static struct evf_hook hook = {.name = "'flags' (app.pl line 1)", .cb = {[EVF_PREPARE] = abort_in_hook}};
    struct evf_hook *refused;
    (void)evf_hook_register(&hook);
    (void)evf_hooks_prepare(&refused);
}

static void nobody_else_to_tell(void) {
    int fds[2];
    char text[400] = "";
    setup();
    NEED(pipe(fds) == 0);
    tell_fd = fds[1];
    CHECK_INT(WTERMSIG(in_recorded(abort_in_prepare, NULL)), SIGABRT);
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    CHECK_TEXT(text, "EventLoop::Fork: SIGABRT in prepare hook 'flags' (app.pl line 1) at here line 3\n");
    tell_fd = -1;
    close_pair(fds);
    CHECK_INT(WTERMSIG(in_recorded(die_in_prepare, NULL)), SIGKILL);
    CHECK_TEXT(evf_stage_name(record->stage), "prepare");
    tear_down();
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

static void records(void) {
    enum { MANY = 200 };
    struct evf_record *all[MANY];
    for (int i = 0; i < MANY; i++) {
        all[i] = evf_record_new();
        NEED(all[i] != NULL);
        evf_record_begin(all[i], i);
    }
    for (int i = 0; i < MANY; i++) CHECK_INT(all[i]->began_ns, i);
    for (int i = 0; i < MANY; i++) evf_record_free(all[i]);
    evf_record_free(NULL);
    struct evf_record *one = evf_record_new(), *other = evf_record_new();
    CHECK(one != other);
    struct tester tester;
    if (fork_tester(&tester)) {
        struct evf_record *own = evf_record_new();
        NEED(own != NULL);
        evf_record_begin(own, 1234);
        evf_record_free(one); /* the parent's */
        CHECK(evf_record_new() != one);
        leave(&tester);
    }
    check_tester(&tester);
    struct evf_record *again = evf_record_new();
    CHECK(again != one && again != other);
    CHECK(again->began_ns != 1234);
    evf_record_free(again);
    evf_record_free(other);
    evf_record_free(one);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(stages, "stages have names"),
        TAP_TEST(the_hook_that_runs, "the hook that ended a child is known"),
        TAP_TEST(a_child_of_a_child, "a forked child has no record"),
        TAP_TEST(every_signal, "each signal of a fault is noted, and does what it does"),
        TAP_TEST(a_real_one, "faults of the program, and of its stack"),
        TAP_TEST(of_another_thread, "a fault in another thread"),
        TAP_TEST(handlers_before, "handlers that were there before are called"),
        TAP_TEST(nobody_else_to_tell, "who has no supervisor tells by itself"),
        TAP_TEST(records, "records are taken and given back"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
