/* Where a worker is stuck: a signal whose handler writes the place of the Perl code that runs into the worker's row of
 * the scoreboard, and rings for the supervisor, which is about to kill. It runs wherever the worker stands, also in C
 * code that never comes back, so it calls nothing of Perl: it follows the interpreter's pointers, and what they lead to
 * may be half made. */
#include "glue.h"

#include "core/scoreboard.h"

#include <pthread.h>
#include <setjmp.h>

#ifdef USE_ITHREADS
static PerlInterpreter *examined; /* the one that installed the handler */
#endif

/* ---- A fault is not a place --------------------------------------------------------------------------------- */

static sigjmp_buf back;
static pthread_t reader;
static volatile sig_atomic_t is_reading;

static void on_fault(int signo) {
    if (is_reading && pthread_equal(reader, pthread_self())) siglongjmp(back, 1);
    /* Not ours: at its return the instruction is tried again, and then the fault is what it would have been. */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    (void)sigaction(signo, &action, NULL);
}

static const int faults[] = {SIGSEGV, SIGBUS};

static void catch_faults(struct sigaction *ret_before) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    action.sa_flags = SA_NODEFER | SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask); /* none of these can fail */
    for (size_t i = 0; i < C_ARRAY_LENGTH(faults); i++) (void)sigaction(faults[i], &action, &ret_before[i]);
}

static void release_faults(const struct sigaction *before) {
    for (size_t i = 0; i < C_ARRAY_LENGTH(faults); i++) (void)sigaction(faults[i], &before[i], NULL);
}

/* ---- The place ---------------------------------------------------------------------------------------------- */

struct place {
    char text[EVF_SCOREBOARD_TEXT];
    size_t length;
};

/* Of a text that is too long the end is kept: it tells more of a path. */
static void add_path(struct place *place, const char *path, size_t room) {
    size_t length = 0;
    while (path[length] != '\0' && length < 4096) length++;
    if (length > room) {
        path += length - (room - 3);
        length = room - 3;
        for (int i = 0; i < 3; i++) place->text[place->length++] = '.';
    }
    for (size_t i = 0; i < length; i++) place->text[place->length++] = path[i];
}

static void add_text(struct place *place, const char *text) {
    for (; *text != '\0' && place->length < sizeof place->text - 1; text++) place->text[place->length++] = *text;
}

static void add_number(struct place *place, unsigned long number) {
    char digits[24];
    size_t start = sizeof digits;
    digits[--start] = '\0';
    do digits[--start] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    add_text(place, &digits[start]);
}

/* The operation under way tells a sleep from an endless loop on the same line. Those of other modules have no entry in
 * the table of names. */
static const char *operation(pTHX) {
    const OP *op = PL_op;
    PERL_UNUSED_CONTEXT;
    return op != NULL && op->op_type < OP_max && op->op_type != OP_CUSTOM ? PL_op_name[op->op_type] : NULL;
}

static void read_place(struct place *place) {
#ifdef USE_ITHREADS
    dTHXa(examined);
#endif
    enum { REST = 60 }; /* for what follows the path */
    const COP *cop = PL_curcop;
    const char *file = cop != NULL ? CopFILE(cop) : NULL;
    if (file == NULL) return;
    const unsigned long line = (unsigned long)CopLINE(cop);
    const char *name = operation(aTHX);
    add_path(place, file, sizeof place->text - REST);
    add_text(place, " line ");
    add_number(place, line);
    if (name == NULL) return;
    add_text(place, " (");
    add_text(place, name);
    add_text(place, ")");
}

static void read_carefully(struct place *place) {
    struct sigaction before[C_ARRAY_LENGTH(faults)];
    catch_faults(before);
    reader = pthread_self();
    if (sigsetjmp(back, 1) == 0) {
        is_reading = 1;
        read_place(place);
    } else {
        place->length = 0;
        add_text(place, "a place that cannot be told");
    }
    is_reading = 0;
    release_faults(before);
}

static void on_examine(int signo) {
    static struct place place; /* the handler blocks its own signal */
    const int saved_errno = errno;
    struct evf_scoreboard_row *row = evf_heartbeat_row(); /* a child of the worker has none */
    PERL_UNUSED_ARG(signo);
    if (row != NULL) {
        place.length = 0;
        read_carefully(&place);
        evf_scoreboard_set_text(row->place, sizeof row->place, place.text, place.length);
        EVF_SCOREBOARD_SET_FLAG(row->has_place, place.length > 0);
        evf_heartbeat_ring();
    }
    errno = saved_errno;
}

/* ---- The signal --------------------------------------------------------------------------------------------- */

int glue_examine_signal(void) {
#ifdef SIGRTMIN
    return SIGRTMIN + 3; /* the C library keeps the first ones for itself, and some programs the next */
#else
    return SIGURG; /* is ignored by whoever has no handler */
#endif
}

/* SA_RESTART: an idle worker that is examined by mistake goes on with most of what it waits for. */
int glue_examine_install(pTHX_ int signo) {
    struct sigaction action;
    PERL_UNUSED_CONTEXT;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_examine;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    (void)sigfillset(&action.sa_mask); /* cannot fail */
    for (size_t i = 0; i < C_ARRAY_LENGTH(faults); i++) (void)sigdelset(&action.sa_mask, faults[i]);
#ifdef USE_ITHREADS
    examined = aTHX;
#endif
    if (sigaction(signo, &action, NULL) < 0) return EVF_ESIGNAL;
    sigset_t mask;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, signo);
    (void)sigprocmask(SIG_UNBLOCK, &mask, NULL); /* a loop of others may have blocked what it does not know */
    return 0;
}
