/* The fork protocol, Perl's part. In the parent: flush, block signals, fork through perl's own wrapper, open the
 * process descriptor before anything can reap, unblock. In the child: signals, loops and singletons clean before any
 * Perl code runs; then the code on stacks of its own, so that neither die nor exit unwinds into the parent's frames;
 * then flush and _exit. */
#include "glue.h"

#include "core/scoreboard.h"

#include <dirent.h>

/* ---- The place of a fork ------------------------------------------------------------------------------------ */

static const COP *place; /* while a fork is under way: the statement that forks may be freed next */
static char kept_place[256];

void glue_fork_remember_place(pTHX) {
    place = glue_caller(aTHX);
}

void glue_fork_forget_place(void) {
    place = NULL;
}

/* Only where somebody may ask: a page that is written is copied. */
void glue_fork_keep_place(pTHX) {
    PERL_UNUSED_CONTEXT;
    if (place == NULL || (evf_hook_next(NULL, EVF_CHILD) == NULL && kept_place[0] == '\0')) return;
    (void)my_snprintf(kept_place, sizeof kept_place, "%s line %lu", CopFILE(place) != NULL ? CopFILE(place) : "?",
                      (unsigned long)CopLINE(place));
}

const char *glue_fork_place(void) {
    return kept_place[0] != '\0' ? kept_place : NULL;
}

/* ---- Threads ------------------------------------------------------------------------------------------------ */

static void append_thread_names(pTHX_ SV *message) {
    DIR *directory = opendir("/proc/self/task");
    if (directory == NULL) return;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char path[300], name[64];
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        if (fgets(name, sizeof name, file) != NULL)
            sv_catpvf(message, " %s (%.*s)", entry->d_name, (int)strcspn(name, "\n"), name);
        (void)fclose(file);
    }
    (void)closedir(directory);
}

/* Only the thread that forks exists in the child; locks that others hold stay locked there for ever. */
void glue_fork_warn_of_threads(pTHX) {
    static bool has_warned;
    int threads = has_warned ? 1 : evf_fork_threads();
    if (threads <= 1) return;
    has_warned = true;
    SV *message = sv_2mortal(newSVpvf("EventLoop::Fork: fork with %d threads; the child has only this one:", threads));
    append_thread_names(aTHX_ message);
    Perl_warn(aTHX_ "%" SVf "\n", SVfARG(message));
}

/* ---- Stacks ------------------------------------------------------------------------------------------------- */

/* Perl's stacks, as pointers: those in use, or a spare set. */
struct stacks {
    PERL_SI *curstackinfo;
    AV *curstack, *mainstack;
    SV **stack_base, **stack_sp, **stack_max;
    SV **tmps_stack;
    SSize_t tmps_ix, tmps_floor, tmps_max;
    I32 *markstack, *markstack_ptr, *markstack_max;
    ANY *savestack;
    I32 savestack_ix, savestack_max;
    I32 *scopestack, scopestack_ix, scopestack_max;
#ifdef DEBUGGING
    const char **scopestack_name; /* runs beside scopestack */
#endif
};

#ifdef DEBUGGING
#define DEBUGGING_STACK_VARIABLE(X) X(scopestack_name)
#else
#define DEBUGGING_STACK_VARIABLE(X)
#endif

/* clang-format off */
#define EACH_STACK_VARIABLE(X)                                                                                         \
    X(curstackinfo) X(curstack) X(mainstack) X(stack_base) X(stack_sp) X(stack_max)                                    \
    X(tmps_stack) X(tmps_ix) X(tmps_floor) X(tmps_max) X(markstack) X(markstack_ptr) X(markstack_max)                  \
    X(savestack) X(savestack_ix) X(savestack_max) X(scopestack) X(scopestack_ix) X(scopestack_max)                     \
    DEBUGGING_STACK_VARIABLE(X)
/* clang-format on */

static void get_stacks(pTHX_ struct stacks *stacks) {
#define GET(name) stacks->name = PL_##name;
    EACH_STACK_VARIABLE(GET)
#undef GET
}

static void set_stacks(pTHX_ const struct stacks *stacks) {
#define SET(name) PL_##name = stacks->name;
    EACH_STACK_VARIABLE(SET)
#undef SET
}

/* For the next child: exit unwinds to the bottom of the stacks it finds, and on the parent's it would run the
 * destructors of all that the parent's frames hold. Made in the parent, because memory is cheap to allocate there. */
static __thread struct stacks spare_stacks;
/* The interpreter in whose memory they lie, and with which they go; NULL: there is no set. One that was made later may
 * have its address, but not on a thread that has a set. */
static __thread void *spare_stacks_owner;

static void make_spare_stacks(pTHX) {
    struct stacks used;
    if (spare_stacks_owner == PERL_GET_CONTEXT) return;
    get_stacks(aTHX_ & used);
    init_stacks();
    get_stacks(aTHX_ & spare_stacks);
    set_stacks(aTHX_ & used);
    spare_stacks_owner = PERL_GET_CONTEXT;
}

/* ---- The child ---------------------------------------------------------------------------------------------- */

/* What a loop in this process is made on, unless it is told otherwise; set in a child. Not Perl variables: each page
 * that a child writes is copied. */
static const char *parent_backend, *parent_method;
static char told_backend[32], told_method[32];

const char *glue_fork_parent_backend(void) {
    return parent_backend;
}

const char *glue_fork_parent_method(void) {
    return parent_method;
}

void glue_fork_set_parent_loop(const char *backend, const char *method) {
    (void)my_strlcpy(told_backend, backend, sizeof told_backend);
    (void)my_strlcpy(told_method, method, sizeof told_method);
    parent_backend = told_backend;
    parent_method = told_method;
}

/* The next IO::Async::Loop->new, or EventLoop::Fork::Loop->new, makes a loop like the parent's. */
static void renew_singletons(pTHX_ const struct glue_loop *loop) {
    if (loop != NULL) {
        parent_backend = evf_loop_backend(loop->evf);
        parent_method = evf_loop_method(loop->evf);
    }
    SV *singleton = get_sv("IO::Async::Loop::ONE_TRUE_LOOP", 0);
    if (singleton != NULL && SvOK(singleton)) {
        /* The object stays alive: its destructor, and those of all it holds, are the parent's to run. */
        if (SvROK(singleton)) SvREFCNT_inc_simple_void(SvRV(singleton));
        sv_setsv_mg(singleton, &PL_sv_undef);
    }
    if (loop != NULL && loop->is_io_async)
        sv_setpv_mg(get_sv("IO::Async::Loop::LOOP", GV_ADD), HvNAME(SvSTASH(loop->object)));
}

/* Calls a helper of EventLoop::Fork::Loop that prints; what it throws has nowhere to go. */
static void report(pTHX_ const char *helper, SV *name, SV *what) {
    SV *arguments[] = {newSVsv(name != NULL ? name : &PL_sv_undef), newSVsv(what)}, *error = NULL;
    if (glue_call(aTHX_(SV *) get_cv(helper, GV_ADD), arguments, 2, &error) < 0) SvREFCNT_dec(error);
}

static int exit_code_of(pTHX_ SV *value, SV *name) {
    if (!SvOK(value)) return 255;
    if (SvNIOK(value) || looks_like_number(value)) { /* a false comparison is a number, and no text of one */
        NV number = SvNV(value);
        if (number == -1) return 255;
        if (number >= 0 && number <= 255 && number == (NV)(int)number) return (int)number;
    }
    report(aTHX_ "EventLoop::Fork::Loop::_report_exit_value", name, value);
    return 255;
}

static int run_code(pTHX_ SV *code, SV *name) {
    dSP;
    PUSHMARK(SP);
    int count = call_sv(code, G_SCALAR | G_EVAL);
    SPAGAIN;
    SV *value = count > 0 ? POPs : &PL_sv_undef;
    PUTBACK;
    if (glue_has_exception(aTHX)) {
        report(aTHX_ "EventLoop::Fork::Loop::_report_exception", name, ERRSV);
        return 255;
    }
    return exit_code_of(aTHX_ value, name);
}

void glue_run_to_end(pTHX_ SV *code, SV *name, void (*before)(void)) {
    int ret, exit_code = 255;
    dJMPENV;
    JMPENV_PUSH(ret);
    if (ret == 0) {
        if (before != NULL) before();
        exit_code = run_code(aTHX_ code, name);
        evf_recorder_enter(EVF_STAGE_END); /* exit leaves the stage that it was called in */
    } else if (ret == 2) {                 /* exit was called */
        exit_code = STATUS_EXIT & 0xff;
    }
    JMPENV_POP;
    (void)PerlIO_flush(NULL); /* a handle that cannot be written is reported by nobody at this point in perl either */
    _exit(exit_code);
}

static void run_child_hooks(void) {
    evf_hooks_finish(EVF_CHILD);
    evf_recorder_enter(EVF_STAGE_CODE);
}

/* First of all: whatever ends this child from here on, it is known where. */
static void record_steps(const struct glue_fork_options *options) {
    if (options->row != NULL) {
        evf_heartbeat_attach(options->row);
        evf_heartbeat_set_bell(options->bell);
    }
    evf_recorder_attach(options->record);
    evf_recorder_enter(EVF_STAGE_CLEAN);
}

/* When the parent's handlers are gone. A worker can be asked where it stands in its hooks already. */
static void record_faults(pTHX_ const struct glue_fork_options *options, sigset_t *mask) {
    if (options->record == NULL) return;
    glue_record_attach(aTHX_ options->record, -1);
    if (options->row != NULL && glue_examine_install(aTHX_ glue_examine_signal()) == 0)
        (void)sigdelset(mask, glue_examine_signal());
    evf_recorder_enter(EVF_STAGE_FAMILIES);
}

static void child(pTHX_ struct glue_loop *loop, const struct glue_fork_options *options, SV *families, sigset_t *mask)
    __attribute__((noreturn));
static void child(pTHX_ struct glue_loop *loop, const struct glue_fork_options *options, SV *families, sigset_t *mask) {
    record_steps(options);
    glue_signals_drop_pending(aTHX);
    (void)evf_fork_child_begin();
    set_stacks(aTHX_ & spare_stacks);
    spare_stacks_owner = NULL; /* a child of this child needs others */
    glue_fork_keep_place(aTHX);
    glue_fork_forget_place();
    if (!options->keep_signals) glue_signals_reset(aTHX);
    record_faults(aTHX_ options, mask);
    if (!options->keep_loops) renew_singletons(aTHX_ loop);
    if (!options->keep_srand) PL_srand_called = FALSE;
    if (families != NULL) {
        glue_families_in_child(aTHX_ families, "renew", options->kept_family);
        glue_families_unblock(aTHX_ families, options->kept_family, mask);
    }
    glue_signals_unblock_dispatched(mask);
    evf_fork_restore_mask(mask);
    glue_run_to_end(aTHX_ options->code, options->name, run_child_hooks);
}

/* ---- The parent --------------------------------------------------------------------------------------------- */

/* Their memory is shared as well, so there is nothing to replace. Those of libraries that we know renew them. */
static void warn_of_rings(pTHX) {
    static bool has_warned;
    int fds[4];
    const size_t count = has_warned ? 0 : evf_fork_find_rings(fds, C_ARRAY_LENGTH(fds));
    if (count == 0) return;
    has_warned = true;
    SV *message =
        newSVpvs("fork with io_uring rings, which a child must not use before its library made them anew: descriptor");
    for (size_t i = 0; i < count && i < C_ARRAY_LENGTH(fds); i++) sv_catpvf(message, "%s %d", i > 0 ? "," : "", fds[i]);
    if (count > C_ARRAY_LENGTH(fds)) sv_catpvs(message, ", ...");
    glue_warn(aTHX_ message);
}

static void refuse(pTHX_ int rc) {
    if (rc == EVF_EBUSY)
        glue_throw(aTHX_ rc, "fork", NULL, "%s: a hook cannot fork; fork before or after it", evf_error_text(rc));
    SV *reason = rc == EVF_EPREVENTED ? glue_section_refusal(aTHX) : glue_hooks_refusal(aTHX);
    glue_throw(aTHX_ rc, "fork", NULL, "%" SVf, SVfARG(reason));
}

pid_t glue_fork(pTHX_ struct glue_loop *loop, struct glue_fork_options *options) {
    sigset_t mask;
    struct evf_hook *refused;
    const unsigned flags =
        (options->keep_signals ? EVF_FORK_KEEP_SIGNALS : 0u) | (options->keep_loops ? EVF_FORK_KEEP_LOOPS : 0u);
    if (loop != NULL && evf_loop_is_abandoned(loop->evf))
        glue_throw(aTHX_ EVF_EABANDONED, "fork", NULL, "%s; make a new one here", evf_error_text(EVF_EABANDONED));
    glue_fork_check(aTHX);
    if (glue_hooks_are_running()) refuse(aTHX_ EVF_EBUSY);
    if (glue_section_place(aTHX) != NULL) refuse(aTHX_ EVF_EPREVENTED);
    if (!glue_hooks_ask(aTHX)) refuse(aTHX_ EVF_ECANCELED);
    glue_fork_warn_of_threads(aTHX);
    warn_of_rings(aTHX);
    SV *families = glue_families_before(aTHX);
    if (families != NULL) sv_2mortal(families);
    int rc = evf_hooks_prepare(&refused);
    if (rc < 0) refuse(aTHX_ rc);
    make_spare_stacks(aTHX);
    PERL_FLUSHALL_FOR_CHILD;
    rc = evf_fork_prepare(flags, &mask);
    if (rc < 0) {
        evf_hooks_finish(EVF_PARENT);
        glue_throw(aTHX_ rc, "fork", NULL, "%s", evf_error_text(rc));
    }
    glue_fork_remember_place(aTHX);
    if (options->record != NULL) evf_record_begin(options->record, evf_clock_now(NULL, EVF_CLOCK_MONOTONIC));
    pid_t pid = PerlProc_fork();
    if (pid == 0) child(aTHX_ loop, options, families, &mask);
    const int saved_errno = errno;
    glue_fork_forget_place();
    /* Before the signals are let in: nothing can have reaped the child. */
    if (pid > 0 && options->wants_fd) options->fd = evf_process_open(pid);
    if (pid > 0 && loop != NULL && options->on_exit != NULL) rc = glue_start_process(aTHX_ loop, pid, options->on_exit);
    evf_fork_restore_mask(&mask);
    evf_hooks_finish(EVF_PARENT);
    if (pid < 0) {
        glue_throw(aTHX_ EVF_EFORK, "fork", NULL, "cannot fork: %s%s", Strerror(saved_errno),
                   saved_errno == EAGAIN ? " (a limit on processes: ulimit -u, or pids.max of the cgroup)" : "");
    }
    if (rc < 0)
        glue_throw(aTHX_ rc, "fork", sv_2mortal(newSViv((IV)pid)), "process %ld runs, but cannot be watched: %s",
                   (long)pid, evf_error_text(rc));
    return pid;
}
