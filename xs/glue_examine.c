/* Where a worker is stuck: a signal whose handler writes the place of the Perl code that runs into the worker's row of
 * the scoreboard, and rings for the supervisor, which is about to kill. */
#include "glue.h"

#include "core/scoreboard.h"

static void on_examine(int signo) {
    static char place[EVF_RECORD_TEXT]; /* the handler blocks its own signal */
    const int saved_errno = errno;
    struct evf_scoreboard_row *row = evf_heartbeat_row(); /* a child of the worker has none */
    PERL_UNUSED_ARG(signo);
    if (row != NULL) {
        const size_t length = glue_place_read(place, sizeof place);
        evf_scoreboard_set_text(row->record.place, sizeof row->record.place, place, length);
        EVF_SCOREBOARD_SET_FLAG(row->has_place, length > 0);
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
    memset(&action, 0, sizeof action);
    action.sa_handler = on_examine;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    (void)sigfillset(&action.sa_mask); /* cannot fail */
    glue_place_show(aTHX);
    if (sigaction(signo, &action, NULL) < 0) return EVF_ESIGNAL;
    sigset_t mask;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, signo);
    (void)sigprocmask(SIG_UNBLOCK, &mask, NULL); /* a loop of others may have blocked what it does not know */
    return 0;
}
