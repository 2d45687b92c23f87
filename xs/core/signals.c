/* Signals as events. A handler only counts and wakes; watchers compare counts in the turn. Who installs the handler is
 * the host's choice. No signal is ever blocked here. */
#include "internal.h"

#include <stdatomic.h>

/* Written by handlers. An unsigned counter wraps without harm: only inequality counts. */
static atomic_uint raised[NSIG];
static atomic_uint raised_total;

static unsigned watcher_counts[NSIG];
static struct sigaction found[NSIG]; /* what the default host replaced */

void evf_signal_raise(int signo) {
    if (signo <= 0 || signo >= NSIG) return;
    raised[signo]++;
    raised_total++;
    evf_wakeup();
}

static int catch_by_sigaction(int signo) {
    struct sigaction action = {.sa_handler = evf_signal_raise, .sa_flags = SA_RESTART};
    (void)sigfillset(&action.sa_mask); /* cannot fail */
    return sigaction(signo, &action, &found[signo]) < 0 ? EVF_ESIGNAL : 0;
}

static void release_by_sigaction(int signo) {
    struct sigaction now;
    if (sigaction(signo, NULL, &now) < 0) return;
    /* Somebody has installed a handler since: it is theirs. */
    if (now.sa_handler == evf_signal_raise) (void)sigaction(signo, &found[signo], NULL);
}

static const struct evf_signal_host by_sigaction = {catch_by_sigaction, release_by_sigaction};
static const struct evf_signal_host *host = &by_sigaction;

void evf_signal_set_host(const struct evf_signal_host *new_host) {
    host = new_host != NULL ? new_host : &by_sigaction;
}

static bool can_be_caught(int signo) {
    switch (signo) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
        return false;
    default:
        return signo > 0 && signo < NSIG;
    }
}

int evf_signal_start(struct evf_loop *loop, struct evf_signal *sig, int signo, evf_signal_cb cb, void *data) {
    if (cb == NULL) return EVF_EINVAL;
    if (!can_be_caught(signo)) return EVF_ESIGNAL;
    int rc = evf__watcher_check(loop, &sig->w);
    if (rc < 0) return rc;
    /* Before the catch: the host may find one that has come and raise it there, and that is this watch's first. */
    const unsigned seen = raised[signo];
    if (watcher_counts[signo] == 0) {
        rc = host->catch_signal(signo);
        if (rc < 0) return rc;
    }
    watcher_counts[signo]++;
    sig->w.internal = false;
    sig->cb = cb;
    sig->signo = signo;
    sig->seen = seen;
    evf__watcher_start(loop, &sig->w, EVF_WATCHER_SIGNAL, data);
    evf__list_append(&loop->signals, &sig->w.link);
    return 0;
}

void evf_signal_stop(struct evf_signal *sig) {
    if (sig->w.loop == NULL || sig->w.loop->abandoned) return;
    evf__watcher_stop(&sig->w);
    if (--watcher_counts[sig->signo] == 0) host->release_signal(sig->signo);
}

bool evf__signals_pending(const struct evf_loop *loop) {
    return loop->raised_seen != raised_total;
}

void evf__signals_collect(struct evf_loop *loop) {
    loop->raised_seen = raised_total; /* before the counts: a delivery in between is seen twice, never lost */
    for (struct evf_link *link = loop->signals.next; link != &loop->signals; link = link->next) {
        struct evf_signal *sig = EVF__CONTAINER(EVF__WATCHER_OF_LINK(link), struct evf_signal, w);
        unsigned now = raised[sig->signo];
        if (sig->seen == now) continue;
        sig->seen = now;
        evf__ready(loop, &sig->w);
    }
}

void evf__signals_forget(struct evf_loop *loop) {
    loop->raised_seen = raised_total;
    for (struct evf_link *link = loop->signals.next; link != &loop->signals; link = link->next) {
        struct evf_signal *sig = EVF__CONTAINER(EVF__WATCHER_OF_LINK(link), struct evf_signal, w);
        sig->seen = raised[sig->signo];
        evf__list_remove(&sig->w.ready);
    }
}
