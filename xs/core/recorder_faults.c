/* Faults of a recorded process: notes what came and where, then lets it be what it would have been. Everything here may
 * run at any instruction of the program: only what signal-safety(7) allows. */
#include "internal.h"
#include "recorder.h"
#include "scoreboard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

static const struct {
    int number;
    const char *name;
} faults[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGABRT, "SIGABRT"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

static struct sigaction before[FAULTS];
static evf_place_reader read_place;
static int told_fd = -1;
static pthread_t recorded; /* the thread whose place the reader knows */
static volatile sig_atomic_t is_noting;

/* ---- The note ----------------------------------------------------------------------------------------------- */

static void add(char *line, size_t size, const char *text) {
    size_t length = strlen(line);
    while (*text != '\0' && length + 2 < size) line[length++] = *text++;
    line[length] = '\0';
}

static void tell(const struct evf_record *record, const char *name) {
    static const char *const hooks[EVF_STAGE_COUNT] = {[EVF_STAGE_PREPARE] = " in prepare hook ",
                                                       [EVF_STAGE_PARENT] = " in parent hook ",
                                                       [EVF_STAGE_CHILD] = " in child hook "};
    static char line[3 * EVF_RECORD_TEXT];
    const unsigned stage = EVF_SCOREBOARD_GET(record->stage);
    line[0] = '\0';
    add(line, sizeof line, "EventLoop::Fork: ");
    add(line, sizeof line, name);
    if (stage < EVF_STAGE_COUNT && hooks[stage] != NULL) {
        add(line, sizeof line, hooks[stage]);
        add(line, sizeof line, record->hook);
    }
    if (record->place[0] != '\0') {
        add(line, sizeof line, " at ");
        add(line, sizeof line, record->place);
    }
    const size_t length = strlen(line);
    line[length] = '\n';
    const ssize_t written = write(told_fd, line, length + 1);
    (void)written; /* nobody else is there to hear of it */
}

static void note(struct evf_record *record, size_t index) {
    static char place[EVF_RECORD_TEXT];
    const size_t length = read_place != NULL ? read_place(place, sizeof place) : 0;
    EVF_SCOREBOARD_SET(record->fault_ns, evf_clock_now(NULL, EVF_CLOCK_MONOTONIC));
    EVF_SCOREBOARD_SET(record->is_foreign, pthread_equal(recorded, pthread_self()) ? 0u : 1u);
    evf_scoreboard_set_text(record->place, sizeof record->place, place, length);
    EVF_SCOREBOARD_SET_FLAG(record->fault, (uint32_t)faults[index].number);
    if (told_fd >= 0) tell(record, faults[index].name);
}

/* ---- Passing on --------------------------------------------------------------------------------------------- */

static bool is_sent(const siginfo_t *info) {
    return info == NULL || info->si_code <= 0; /* by kill and its likes; not by the instruction */
}

static void use_default(int signo) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    (void)sigaction(signo, &action, NULL); /* cannot fail */
}

/* Once more, when the handler returns; for this thread, with the sender it had. */
static void send_again(int signo, siginfo_t *info) {
#if defined(__linux__) && defined(SYS_rt_tgsigqueueinfo)
    if (info != NULL && syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signo, info) == 0) return;
#else
    (void)info;
#endif
    (void)raise(signo);
}

/* As the kernel would call it. Some recover: then nothing was wrong. */
static void call_before(size_t index, siginfo_t *info, void *context) {
    const struct sigaction action = before[index];
    const int signo = faults[index].number;
    sigset_t mask = action.sa_mask;
    if ((action.sa_flags & SA_NODEFER) == 0) (void)sigaddset(&mask, signo);
    else {
        sigset_t own;
        (void)sigemptyset(&own);
        (void)sigaddset(&own, signo);
        (void)pthread_sigmask(SIG_UNBLOCK, &own, NULL);
    }
    (void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
    if ((action.sa_flags & (int)SA_RESETHAND) != 0) {
        before[index].sa_flags = 0; /* first: it says which of the two handlers is meant */
        before[index].sa_handler = SIG_DFL;
    }
    if ((action.sa_flags & SA_SIGINFO) != 0) action.sa_sigaction(signo, info, context);
    else action.sa_handler(signo);
}

static void forget(struct evf_record *record) {
    if (record != NULL) EVF_SCOREBOARD_SET_FLAG(record->fault, 0);
}

static void on_fault(int signo, siginfo_t *info, void *context) {
    const int saved_errno = errno;
    struct evf_record *record = evf_recorder_record();
    size_t index = 0;
    while (index < FAULTS - 1 && faults[index].number != signo) index++;
    if (record != NULL && !is_noting) {
        is_noting = 1;
        note(record, index);
        is_noting = 0;
    }
    const bool is_ignored = (before[index].sa_flags & SA_SIGINFO) == 0 && before[index].sa_handler == SIG_IGN;
    const bool is_default = (before[index].sa_flags & SA_SIGINFO) == 0 && before[index].sa_handler == SIG_DFL;
    if (is_ignored && is_sent(info)) forget(record);
    else if (is_default || is_ignored) {
        use_default(signo);
        /* A fault comes again by itself, where it came from. */
        if (is_sent(info)) send_again(signo, info);
    } else {
        call_before(index, info, context);
        forget(record);
    }
    errno = saved_errno;
}

/* ---- The handler -------------------------------------------------------------------------------------------- */

/* A stack that has overflowed cannot take a handler. One that the program has set up is used. */
static int use_own_stack(void) {
    static char memory[64 * 1024];
    stack_t stack;
    if (sigaltstack(NULL, &stack) < 0) return EVF_ESIGNAL;
    if ((stack.ss_flags & SS_DISABLE) == 0) return 0;
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    return sigaltstack(&stack, NULL) < 0 ? EVF_ESIGNAL : 0;
}

static int catch_one(size_t index) {
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    (void)sigfillset(&action.sa_mask);
    if (sigaction(faults[index].number, &action, &old) < 0) return EVF_ESIGNAL;
    if ((old.sa_flags & SA_SIGINFO) == 0 || old.sa_sigaction != on_fault) before[index] = old;
    return 0;
}

int evf_recorder_catch_faults(evf_place_reader reader, int tell_fd) {
    int rc = use_own_stack();
    read_place = reader;
    told_fd = tell_fd;
    recorded = pthread_self();
    for (size_t i = 0; i < FAULTS && rc == 0; i++) rc = catch_one(i);
    return rc;
}
