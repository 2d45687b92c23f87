/* Where the Perl code of this process stands, for handlers of signals. It is asked wherever the process is, also in C
 * code that never comes back, or that has just made a fault: so it calls nothing of Perl, but follows the interpreter's
 * pointers, and what they lead to may be half made. */
#include "glue.h"

#include <pthread.h>
#include <setjmp.h>

#ifdef USE_ITHREADS
static PerlInterpreter *shown; /* the one whose place it is */
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
    char *text;
    size_t size, length;
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
    for (; *text != '\0' && place->length < place->size - 1; text++) place->text[place->length++] = *text;
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
    dTHXa(shown);
#endif
    enum { REST = 60 }; /* for what follows the path */
    const COP *cop = PL_curcop;
    const char *file = cop != NULL ? CopFILE(cop) : NULL;
    if (file == NULL) return;
    const unsigned long line = (unsigned long)CopLINE(cop);
    const char *name = operation(aTHX);
    add_path(place, file, place->size - REST);
    add_text(place, " line ");
    add_number(place, line);
    if (name == NULL) return;
    add_text(place, " (");
    add_text(place, name);
    add_text(place, ")");
}

/* Whoever asks may be a handler that blocks what is caught here, even that of a fault. */
static void unblock_faults(sigset_t *ret_before) {
    sigset_t mask;
    (void)sigemptyset(&mask); /* none of these can fail */
    for (size_t i = 0; i < C_ARRAY_LENGTH(faults); i++) (void)sigaddset(&mask, faults[i]);
    (void)pthread_sigmask(SIG_UNBLOCK, &mask, ret_before);
}

size_t glue_place_read(char *text, size_t size) {
    struct sigaction before[C_ARRAY_LENGTH(faults)];
    struct place place = {.text = text, .size = size};
    sigset_t mask;
    catch_faults(before);
    unblock_faults(&mask);
    reader = pthread_self();
    if (sigsetjmp(back, 1) == 0) {
        is_reading = 1;
        read_place(&place);
    } else {
        place.length = 0;
        add_text(&place, "a place that cannot be told");
    }
    is_reading = 0;
    release_faults(before);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return place.length;
}

void glue_place_show(pTHX) {
#ifdef USE_ITHREADS
    shown = aTHX;
#else
    PERL_UNUSED_CONTEXT;
#endif
}
