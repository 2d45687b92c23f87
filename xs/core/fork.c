/* Forking. Two ways lead into a child: a fork of the host's own, between evf_fork_prepare and evf_fork_child_begin,
 * after which the child starts clean; and a raw fork by whomever, after which the child may go on with the very same
 * loops (a daemon does), so that they are only made private. The pthread_atfork handler sees both. A copy that it does
 * not see is found by the tripwire (tripwire.c), and made private late. */
#include "internal.h"

#include <pthread.h>
#include <sys/stat.h>

volatile sig_atomic_t evf_fork_generation;

static bool is_ours;       /* the fork under way is the host's own */
static unsigned flags_now; /* of that fork */
static bool isolates_always;
static const struct evf_fork_host *host;
static bool initialized;

int evf_fork_set_host(const struct evf_fork_host *new_host) {
    host = new_host;
    return evf__fork_init();
}

static bool only_execs(void) {
    return host != NULL && host->is_exec_only != NULL && host->is_exec_only();
}

void evf_fork_isolate_always(bool always) {
    isolates_always = always;
}

static void before(void) {
    evf__fork_check_by_call(); /* the child would be told that it is one, and its parent would not */
    if (!is_ours && !only_execs()) {
        if (host != NULL && host->before != NULL) host->before();
        /* What is not found stays shared, as it was; nobody is there to tell. */
        if (isolates_always) (void)evf__isolate_prepare();
    }
    evf__loops_lock(); /* another thread that has it would not be there to give it back in the child */
}

static void in_parent(void) {
    evf__loops_unlock();
    if (!is_ours && !only_execs() && host != NULL && host->in_parent != NULL) host->in_parent();
}

/* What the parent writes of itself is not of this process. */
static void leave_row(void) {
    evf__heartbeat_forget();
    evf__recorder_forget();
}

/* Closes what the parent shares. A loop is re-armed at its next use. Frees memory, which the C library allows here. */
static void leave_parent(bool for_good, bool is_late) {
    const sig_atomic_t parent = evf_fork_generation++;
    leave_row();
    for (struct evf_link *link = evf__loops.next; link != &evf__loops; link = link->next) {
        struct evf_loop *loop = EVF__CONTAINER(link, struct evf_loop, all);
        if (loop->abandoned) continue;
        /* A loop that the parent had inherited itself, and not used, has lost its descriptors already. */
        if (loop->generation == parent) evf__processes_close_fds(loop);
        loop->backend->leave(loop->state, for_good);
        /* Late, those that came to this process since cannot be told from the parent's: better twice than never. */
        if (!for_good && !is_late) evf__signals_forget(loop);
    }
    evf__wakeup_close();
    evf__wakeup_fd_close();
}

/* In the child of every fork that goes on in this program, before any of its code. */
static void in_child(void) {
    evf__loops_unlock(); /* there is one thread */
    if (only_execs()) {
        leave_row();
        return;
    }
    evf__tripwire_arm();
    leave_parent(is_ours && (flags_now & EVF_FORK_KEEP_LOOPS) == 0, false);
    if (is_ours) return;
    if (isolates_always) (void)evf__isolate_all();
    if (host != NULL && host->in_child != NULL) host->in_child();
}

/* The same, late. Epoll instances of others stay: the copy's own cannot be told from those that it inherited. */
bool evf__fork_notice(void) {
    if (!evf__tripwire_take()) return false;
    evf__loops_renew();
    is_ours = false;
    leave_parent(false, true);
    if (host != NULL && host->in_copy != NULL) host->in_copy();
    return true;
}

bool evf_fork_check(void) {
    return (evf__fork_is_unnoticed() || evf__tripwire_owner != 0) && evf__fork_notice();
}

int evf__fork_init(void) {
    if (initialized) {
        evf__fork_check_by_call();
        return 0;
    }
    if (pthread_atfork(before, in_parent, in_child) != 0) return EVF_ENOMEM;
    evf__tripwire_init();
    initialized = true;
    return 0;
}

int evf_fork_block_signals(sigset_t *ret_old_mask) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t mask;
    (void)sigfillset(&mask); /* these cannot fail on valid numbers */
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) (void)sigdelset(&mask, faults[i]);
    return sigprocmask(SIG_BLOCK, &mask, ret_old_mask) < 0 ? EVF_ESYSTEM : 0;
}

int evf_fork_prepare(unsigned flags, sigset_t *ret_old_mask) {
    int rc = evf__fork_init();
    evf__fork_check_by_call();
    if (rc < 0 || (rc = evf__isolate_prepare()) < 0 || (rc = evf_fork_block_signals(ret_old_mask)) < 0) return rc;
    is_ours = true;
    flags_now = flags;
    return 0;
}

void evf_fork_restore_mask(const sigset_t *old_mask) {
    is_ours = false;
    (void)sigprocmask(SIG_SETMASK, old_mask, NULL); /* a mask that was in force is valid */
}

static void default_actions(void) {
    for (int signo = 1; signo < NSIG; signo++) {
        struct sigaction action;
        if (sigaction(signo, NULL, &action) < 0) continue; /* not a number of this system */
        if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) continue;
        action.sa_handler = SIG_DFL;
        action.sa_flags = 0;
        (void)sigaction(signo, &action, NULL); /* the C library's own may refuse; they are reset by nobody */
    }
}

int evf_fork_child_begin(void) {
    int count = evf__isolate_all();
    if ((flags_now & EVF_FORK_KEEP_SIGNALS) == 0) default_actions();
    if ((flags_now & EVF_FORK_KEEP_LOOPS) != 0) return count;
    for (struct evf_link *link = evf__loops.next; link != &evf__loops; link = link->next)
        evf__loop_abandon(EVF__CONTAINER(link, struct evf_loop, all));
    return count;
}

int evf_fork_threads(void) {
#ifdef __linux__
    /* A directory has one link for itself, one for its name, one for each directory in it. */
    struct stat st;
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 2 ? (int)st.st_nlink - 2 : 0;
#else
    return 0;
#endif
}
