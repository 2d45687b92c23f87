/* The table of functions for other XS modules, eventloop_fork.h. What the core has goes there as it is; the fork is a
 * call of EventLoop::Fork->fork, so that a fork from C goes the way of all others, on every loop that way knows. */
#include "glue.h"

#include "eventloop_fork.h"

#ifndef G_LIST
#define G_LIST G_ARRAY /* before perl 5.36 */
#endif

/* ---- C functions as Perl code ------------------------------------------------------------------------------- */

/* Hangs by magic on the code that stands for one of the caller's functions, and dies with it. */
struct callback {
    int (*run)(pTHX_ SV *child, void *data);
    void (*on_exit)(pTHX_ SV *child, int wait_status, void *data);
    void *data;
};

static const MGVTBL callback_magic; /* its address is what tells our magic from another's */

static SV *code_for(pTHX_ XSUBADDR_t function, const struct callback *callback) {
    CV *code = newXS(NULL, function, __FILE__);
    /* With a length, perl keeps a copy and frees it. */
    (void)sv_magicext((SV *)code, NULL, PERL_MAGIC_ext, &callback_magic, (const char *)(const void *)callback,
                      (I32)sizeof *callback);
    return sv_2mortal(newRV_noinc((SV *)code));
}

static struct callback callback_of(const CV *code) {
    struct callback callback;
    memcpy(&callback, mg_findext((const SV *)code, PERL_MAGIC_ext, &callback_magic)->mg_ptr, sizeof callback);
    return callback;
}

XS_INTERNAL(run_in_child) {
    dXSARGS;
    const struct callback callback = callback_of(cv);
    SV *child = items > 0 ? ST(0) : &PL_sv_undef;
    int exit_code = callback.run(aTHX_ child, callback.data);
    SPAGAIN;
    EXTEND(SP, 1);
    XSRETURN_IV(exit_code);
}

XS_INTERNAL(on_exit_in_parent) {
    dXSARGS;
    const struct callback callback = callback_of(cv);
    if (items != 2) croak_xs_usage(cv, "child, wait_status");
    callback.on_exit(aTHX_ ST(0), (int)SvIV(ST(1)), callback.data);
    XSRETURN_EMPTY;
}

/* ---- The fork ----------------------------------------------------------------------------------------------- */

static int code_of_exception(pTHX_ SV *error) {
    SV **code = SvROK(error) && SvTYPE(SvRV(error)) == SVt_PVHV ? hv_fetchs((HV *)SvRV(error), "code", 0) : NULL;
    return code != NULL && SvIV(*code) < 0 ? (int)SvIV(*code) : EVF_ECALLBACK;
}

static void push_pair(pTHX_ const char *name, SV *value) {
    dSP;
    EXTEND(SP, 2);
    mPUSHp(name, strlen(name));
    PUSHs(value);
    PUTBACK;
}

static void push_options(pTHX_ const struct eventloop_fork_options *options) {
    const struct callback callback = {options->run, options->on_exit, options->data};
    push_pair(aTHX_ "code", code_for(aTHX_ run_in_child, &callback));
    if (options->on_exit != NULL) push_pair(aTHX_ "on_exit", code_for(aTHX_ on_exit_in_parent, &callback));
    if (options->loop != NULL) push_pair(aTHX_ "loop", options->loop);
    if (options->name != NULL) push_pair(aTHX_ "name", sv_2mortal(newSVpv(options->name, 0)));
    if (options->flags & EVENTLOOP_FORK_KEEP_SIGNALS) push_pair(aTHX_ "keep_signals", &PL_sv_yes);
    if (options->flags & EVENTLOOP_FORK_KEEP_SRAND) push_pair(aTHX_ "keep_srand", &PL_sv_yes);
}

/* EventLoop::Fork->fork; the pid of the child it returns. */
static pid_t fork_through_loop(pTHX_ const struct eventloop_fork_options *options) {
    dSP;
    PUSHMARK(SP);
    mXPUSHs(newSVpvs("EventLoop::Fork"));
    PUTBACK;
    push_options(aTHX_ options);
    int count = call_method("fork", G_SCALAR | G_EVAL);
    SPAGAIN;
    SV *child = count > 0 ? POPs : &PL_sv_undef;
    if (glue_has_exception(aTHX)) {
        PUTBACK;
        return -1;
    }
    PUSHMARK(SP);
    XPUSHs(child);
    PUTBACK;
    count = call_method("pid", G_SCALAR | G_EVAL);
    SPAGAIN;
    pid_t pid = count > 0 ? (pid_t)POPi : -1;
    PUTBACK;
    return pid;
}

/* What EventLoop::Fork->fork does for a loop that is not ours, without the loop. */
static pid_t fork_alone(pTHX_ const struct eventloop_fork_options *options, int *ret_fd) {
    const struct callback callback = {options->run, NULL, options->data};
    pid_t pid = -1;
    dSP;
    PUSHMARK(SP);
    EXTEND(SP, 9);
    PUSHs(&PL_sv_undef);
    PUSHs(code_for(aTHX_ run_in_child, &callback));
    PUSHs(&PL_sv_undef);
    PUSHs(options->name != NULL ? sv_2mortal(newSVpv(options->name, 0)) : &PL_sv_undef);
    PUSHs(&PL_sv_yes); /* a descriptor is wanted */
    PUSHs(boolSV(options->flags & EVENTLOOP_FORK_KEEP_SIGNALS));
    PUSHs(boolSV(options->flags & EVENTLOOP_FORK_KEEP_SRAND));
    PUSHs(&PL_sv_no);
    PUSHs(&PL_sv_undef);
    PUTBACK;
    const int count = call_pv("EventLoop::Fork::_fork", G_LIST | G_EVAL);
    SPAGAIN;
    const int fd = count > 1 ? (int)POPi : -1;
    if (count > 0 && !glue_has_exception(aTHX)) {
        pid = (pid_t)POPi;
        *ret_fd = fd;
    }
    PUTBACK;
    return pid;
}

/* Calls a Perl function that throws; the exception is in $@. */
static int refuse(pTHX_ int code, const char *message) {
    const char *name = evf_error_name(code);
    dSP;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    EXTEND(SP, 4);
    mPUSHp(name, strlen(name));
    mPUSHs(newSVpvs("fork"));
    PUSHs(&PL_sv_undef);
    mPUSHp(message, strlen(message));
    PUTBACK;
    (void)call_pv("EventLoop::Fork::Loop::_throw", G_VOID | G_DISCARD | G_EVAL);
    FREETMPS;
    LEAVE;
    return code;
}

static int check(pTHX_ const struct eventloop_fork_options *given, bool is_alone,
                 struct eventloop_fork_options *ret_options) {
    static const struct eventloop_fork_options none;
    /* Modules that were built before a member was there leave it out. */
    const size_t least = offsetof(struct eventloop_fork_options, data) + sizeof given->data;
    if (given == NULL || given->size < least || given->size > sizeof *given)
        return refuse(aTHX_ EVF_EINVAL, "'size' of the options is not that of a struct eventloop_fork_options");
    struct eventloop_fork_options options = none;
    memcpy(&options, given, given->size);
    if (options.run == NULL) return refuse(aTHX_ EVF_EINVAL, "'run' is missing");
    if (options.flags & ~(unsigned)(EVENTLOOP_FORK_KEEP_SIGNALS | EVENTLOOP_FORK_KEEP_SRAND))
        return refuse(aTHX_ EVF_EINVAL, "'flags' has a bit that has no meaning");
    if (is_alone && (options.loop != NULL || options.on_exit != NULL))
        return refuse(aTHX_ EVF_EINVAL, "'loop' and 'on_exit' do not go with a descriptor for the caller");
    *ret_options = options;
    return 0;
}

static int api_fork(pTHX_ const struct eventloop_fork_options *given, pid_t *ret_pid, int *ret_fd) {
    struct eventloop_fork_options options;
    SV *error = NULL;
    int rc = check(aTHX_ given, ret_fd != NULL, &options);
    if (rc < 0) return rc;
    ENTER;
    SAVETMPS;
    save_scalar(PL_errgv); /* local $@ */
    const pid_t pid = ret_fd != NULL ? fork_alone(aTHX_ & options, ret_fd) : fork_through_loop(aTHX_ & options);
    if (glue_has_exception(aTHX)) error = newSVsv(ERRSV);
    FREETMPS;
    LEAVE;
    if (error == NULL) {
        if (ret_pid != NULL) *ret_pid = pid;
        return 0;
    }
    rc = code_of_exception(aTHX_ error);
    sv_setsv_mg(ERRSV, error);
    SvREFCNT_dec_NN(error);
    return rc;
}

/* ---- The table ---------------------------------------------------------------------------------------------- */

void glue_api_boot(pTHX) {
    static const struct eventloop_fork_api api = {
        .version = EVENTLOOP_FORK_API_VERSION,
        .size = sizeof(struct eventloop_fork_api),
        .release = XS_VERSION,
        .error_name = evf_error_name,
        .error_text = evf_error_text,
        .fork_generation = &evf_fork_generation,
        .hook_register = evf_hook_register,
        .hook_cancel = evf_hook_cancel,
        .hook_is_registered = evf_hook_is_registered,
        .fork = api_fork,
        .process_open = evf_process_open,
        .process_reap = evf_process_reap,
        .disown_fd = evf_disown_fd,
    };
    (void)hv_stores(PL_modglobal, EVENTLOOP_FORK_API_KEY, newSViv(PTR2IV(&api)));
}
