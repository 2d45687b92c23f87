/* Signals between Perl and the core. A watched signal is a handler in %SIG that tells the core, so a program sees it
 * there, may save it, replace it and put it back. Perl's own C handler is wrapped: whatever it defers, it now also
 * wakes the loop, so that no handler waits for the end of a wait. */
#include "glue.h"

#if defined(PERL_USE_3ARG_SIGHANDLER) || (PERL_VERSION < 32 && defined(HAS_SIGACTION) && defined(SA_SIGINFO))
#define HANDLER_HAS_3_ARGUMENTS
#endif

/* ---- Perl's C handler, wrapped ------------------------------------------------------------------------------ */

static Sighandler_t perls_handler;
static volatile sig_atomic_t arrivals; /* of signals with a handler in %SIG */

static void tell_loops(int signo) {
    arrivals = (arrivals + 1) & 0xffffff;
    if (signo == SIGCHLD) evf_process_hint();
    else evf_wakeup();
}

#ifdef HANDLER_HAS_3_ARGUMENTS
static Signal_t wrapper(int signo, siginfo_t *info, void *context) {
    perls_handler(signo, info, context);
    tell_loops(signo);
}
#else
static Signal_t wrapper(int signo) {
    perls_handler(signo);
    tell_loops(signo);
}
#endif

#if PERL_VERSION >= 32 /* those that POSIX::sigaction installs for a safe handler, with and without SA_SIGINFO */
static Sighandler1_t perls_handler1;
static Sighandler3_t perls_handler3;

static Signal_t wrapper1(int signo) {
    perls_handler1(signo);
    tell_loops(signo);
}

static Signal_t wrapper3(int signo, Siginfo_t *info, void *context) {
    perls_handler3(signo, info, context);
    tell_loops(signo);
}

static void wrap_handlers_of_sigaction(pTHX) {
    PERL_UNUSED_CONTEXT;
    perls_handler1 = PL_csighandler1p;
    perls_handler3 = PL_csighandler3p;
    PL_csighandler1p = wrapper1;
    PL_csighandler3p = wrapper3;
}
#else
static void wrap_handlers_of_sigaction(pTHX) {
    PERL_UNUSED_CONTEXT;
}
#endif

/* Before 5.32 perl installs a handler of three arguments without SA_SIGINFO, unless POSIX::sigaction asks for it. */
static bool is_perls(const struct sigaction *action) {
#ifdef HANDLER_HAS_3_ARGUMENTS
    return action->sa_sigaction == perls_handler;
#else
    return action->sa_handler == perls_handler;
#endif
}

/* PL_csighandlerp is what perl installs for every handler in %SIG. Those that are there already are changed here. */
static void wrap_perls_handler(pTHX) {
    if (PL_csighandlerp == wrapper) return;
    perls_handler = PL_csighandlerp;
    PL_csighandlerp = wrapper;
    wrap_handlers_of_sigaction(aTHX);
    for (int signo = 1; signo < SIG_SIZE; signo++) {
        struct sigaction action;
        if (sigaction(signo, NULL, &action) < 0 || !is_perls(&action)) continue;
#ifdef HANDLER_HAS_3_ARGUMENTS
        action.sa_sigaction = wrapper;
#else
        action.sa_handler = wrapper;
#endif
        (void)sigaction(signo, &action, NULL); /* it took the same action before */
    }
}

/* Perl blocks a signal while its handler runs. A child that is forked inside the handler never comes back to unblock
 * it, so what is under way is written down. */
static Sighandler_t perls_dispatcher;
static int dispatching[SIG_SIZE];

/* At a safe point, outside of a C handler. Perl 5.32 and later tell the two apart by whether PL_sighandlerp is theirs.
 */
static void dispatch_safely(pTHX_ int signo) {
#if PERL_VERSION >= 32
    PERL_UNUSED_CONTEXT;
    Perl_perly_sighandler(signo, NULL, NULL, TRUE);
#elif defined(HANDLER_HAS_3_ARGUMENTS)
    PERL_UNUSED_CONTEXT;
    perls_dispatcher(signo, NULL, NULL);
#else
    PERL_UNUSED_CONTEXT;
    perls_dispatcher(signo);
#endif
}

#ifdef HANDLER_HAS_3_ARGUMENTS
static Signal_t dispatcher(int signo, siginfo_t *info, void *context) {
    if (info != NULL || context != NULL) { /* a C handler: perl's own protection of its stacks must be the first */
        perls_dispatcher(signo, info, context);
        return;
    }
#else
static Signal_t dispatcher(int signo) {
#endif
    dTHX;
    ENTER;
    SAVEINT(dispatching[signo]); /* restored also when the handler dies */
    dispatching[signo] = 1;
    dispatch_safely(aTHX_ signo);
    LEAVE;
}

void glue_signals_unblock_dispatched(sigset_t *mask) {
    for (int signo = 1; signo < SIG_SIZE; signo++) {
        if (!dispatching[signo]) continue;
        (void)sigdelset(mask, signo); /* cannot fail for the number of a handler */
        dispatching[signo] = 0;
    }
}

/* ---- %SIG --------------------------------------------------------------------------------------------------- */

static CV *proxies[SIG_SIZE]; /* one for each watched signal, kept for ever */
static SV *found[SIG_SIZE];   /* what %SIG held before, while watched */

XS_INTERNAL(XS_proxy);
XS_INTERNAL(XS_proxy) {
    dXSARGS;
    PERL_UNUSED_VAR(items);
    evf_signal_raise((int)XSANY.any_i32);
    XSRETURN_EMPTY;
}

static SV *element(pTHX_ const char *name) {
    HV *handlers = get_hv("SIG", GV_ADD);
    SV **element = hv_fetch(handlers, name, (I32)strlen(name), 1);
    return element != NULL ? *element : NULL;
}

static int catch_signal(int signo) {
    dTHX;
#ifdef USE_ITHREADS
    if (PL_curinterp != PERL_GET_CONTEXT) return EVF_ENOTSUP; /* perl has signal handlers in its main thread only */
#endif
    SV *handler = element(aTHX_ PL_sig_name[signo]);
    if (handler == NULL) return EVF_ENOMEM;
    if (proxies[signo] == NULL) {
        proxies[signo] = newXS(NULL, XS_proxy, __FILE__);
        CvXSUBANY(proxies[signo]).any_i32 = signo;
    }
    SvGETMAGIC(handler);
    found[signo] = newSVsv(handler);
    SV *reference = newRV_inc((SV *)proxies[signo]);
    sv_setsv_mg(handler, reference);
    SvREFCNT_dec(reference);
    return 0;
}

static void release_signal(int signo) {
    dTHX;
    SV *before = found[signo];
    found[signo] = NULL;
    if (before == NULL) return;
    SV *handler = element(aTHX_ PL_sig_name[signo]);
    SvGETMAGIC(handler);
    /* Who has set another handler since keeps it. */
    if (SvROK(handler) && SvRV(handler) == (SV *)proxies[signo]) {
        if (SvOK(before)) sv_setsv_mg(handler, before);
        else sv_setpvs_mg(handler, "DEFAULT");
    }
    SvREFCNT_dec(before);
}

int glue_signal_number(pTHX_ SV *name) {
    SvGETMAGIC(name);
    if (!SvOK(name) || SvROK(name)) return -1;
    const char *text = SvPV_nomg_nolen(name);
    for (int i = 1; i < SIG_SIZE && PL_sig_name[i] != NULL; i++) {
        if (strEQ(PL_sig_name[i], text)) return PL_sig_num[i];
    }
    return -1;
}

/* ---- In a turn ---------------------------------------------------------------------------------------------- */

/* Handlers run wherever perl looks for them, also inside the object's pre_wait and post_wait. So what counts is that a
 * signal has come since the turn began, whoever has run its handler. */
void glue_signals_begin(pTHX_ struct glue_loop *loop) {
    loop->arrivals_seen = arrivals;
    PERL_UNUSED_CONTEXT;
}

bool glue_signals_has_pending(void *data) {
    struct glue_loop *loop = data;
    dTHXa(loop->perl);
    PERL_UNUSED_CONTEXT;
    return PL_sig_pending != 0 || loop->arrivals_seen != arrivals;
}

int glue_signals_run_pending(void *data, bool *ran) {
    struct glue_loop *loop = data;
    dTHXa(loop->perl);
    *ran = true;
    loop->arrivals_seen = arrivals;
    if (PL_sig_pending == 0) return 0;
    /* Through an XSUB, so that a handler that dies comes back as an error. */
    return glue_call(aTHX_(SV *) get_cv("EventLoop::Fork::Loop::_run_handlers", 0), NULL, 0, &loop->error);
}

/* ---- In a child --------------------------------------------------------------------------------------------- */

void glue_signals_drop_pending(pTHX) {
    if (PL_sig_pending != 0) PL_sig_pending = 0;
    if (PL_psig_pend == NULL) return;
    for (int signo = 0; signo < SIG_SIZE; signo++) {
        if (PL_psig_pend[signo] != 0) PL_psig_pend[signo] = 0; /* a page that is written is copied */
    }
}

static bool is_handler(pTHX_ SV *value) {
    if (value == NULL || !SvOK(value)) return false;
    if (SvROK(value) || isGV_with_GP(value)) return true;
    const char *text = SvPV_nolen(value);
    return *text != '\0' && strNE(text, "IGNORE") && strNE(text, "DEFAULT");
}

/* Through the elements' magic, so that perl knows it too. PL_psig_ptr has what perl would call: code, globs and names;
 * to ask each element of %SIG would ask the kernel each time. */
void glue_signals_reset(pTHX) {
    if (PL_psig_ptr == NULL) return;
    for (int signo = 1; signo < SIG_SIZE; signo++) {
        SV *handler = is_handler(aTHX_ PL_psig_ptr[signo]) ? element(aTHX_ PL_sig_name[signo]) : NULL;
        if (handler != NULL) sv_setpvs_mg(handler, "DEFAULT");
    }
}

void glue_signals_boot(pTHX) {
    static const struct evf_signal_host host = {catch_signal, release_signal};
    wrap_perls_handler(aTHX);
    if (PL_sighandlerp != dispatcher) {
        perls_dispatcher = PL_sighandlerp;
        PL_sighandlerp = dispatcher;
    }
    evf_signal_set_host(&host);
}
