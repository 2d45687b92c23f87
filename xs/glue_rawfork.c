/* Forks that do not come through us. Perl's own: pp_fork and the open of a pipe to a copy of this program are wrapped,
 * so that hooks run outside of the C library's fork. Code that was compiled before this module has the old functions in
 * its ops: the first time the C library tells, inside fork, and the op is changed. Forks by C code are only told in the
 * child: what can still be done there is done at the next place where Perl looks for signals. */
#include "glue.h"

static Perl_ppaddr_t perls_fork, perls_open, perls_srand;
static despatch_signals_proc_t perls_signalhook;

static SV *families; /* of the fork under way: what their loops want to know in the child */
/* Wrapped: the hooks have run outside of it. Inside, refused: an op that was compiled before this module; the C library
 * has told. */
static enum { NONE, WRAPPED, INSIDE, REFUSED } under_way;
static bool has_own_seed;                 /* the program's, for rand: it is to go on in a child */
static volatile sig_atomic_t is_deferred; /* in a child: Perl's part is still to come */
static char noticed_at[256];              /* where a copy was found that nobody told of; "": none */
static char section_of_fork[256];         /* that prevented forks when C code made this child; "": none */

/* ---- Around a fork ------------------------------------------------------------------------------------------ */

/* Refuses before anything is done. A fork inside a hook is nobody's, but a section is its own. */
static bool may_fork(pTHX) {
    SV *refusal = glue_section_refusal(aTHX);
    if (refusal != NULL) glue_warn(aTHX_ newSVpvf("fork: %" SVf, SVfARG(refusal)));
    else if (!glue_hooks_are_running() && !glue_hooks_ask(aTHX)) glue_hooks_warn(aTHX);
    else return true;
    errno = ECANCELED; /* not EAGAIN: who waits and tries again would wait inside of the section */
    return false;
}

/* False: refused; errno is set. */
static bool begin(pTHX) {
    struct evf_hook *refused;
    glue_fork_check(aTHX);
    if (!may_fork(aTHX)) return false;
    if (glue_hooks_are_running()) return true;
    glue_fork_warn_of_threads(aTHX);
    families = glue_families_before(aTHX);
    if (evf_hooks_prepare(&refused) < 0) {
        glue_hooks_warn(aTHX);
        SvREFCNT_dec(families);
        families = NULL;
        errno = ECANCELED;
        return false;
    }
    glue_fork_remember_place(aTHX);
    return true;
}

/* mask: to be restored when the child is safe, or NULL. */
static void end(pTHX_ bool is_child, const sigset_t *mask) {
    const int saved_errno = errno;
    const bool is_nested = glue_hooks_are_running();
    if (is_child && !is_nested) {
        if (mask != NULL) glue_signals_drop_pending(aTHX); /* the parent's; the child has had none yet */
        glue_fork_keep_place(aTHX);
        glue_families_in_child(aTHX_ families, "raw", NULL);
        if (!has_own_seed) PL_srand_called = FALSE;
    }
    glue_fork_forget_place();
    if (mask != NULL) evf_fork_restore_mask(mask);
    if (!is_nested) {
        SvREFCNT_dec(families);
        families = NULL;
        evf_hooks_finish(is_child ? EVF_CHILD : EVF_PARENT);
    }
    errno = saved_errno;
}

struct wrapped {
    sig_atomic_t generation; /* of the process before the fork */
    sigset_t mask;
};

static void finish(pTHX_ void *data) {
    const struct wrapped *wrapped = data;
    under_way = NONE;
    end(aTHX_ evf_fork_generation != wrapped->generation, &wrapped->mask);
}

/* Signals wait until the child is safe: a handler would tell the parent's loop. open throws when it cannot fork. */
static OP *around(pTHX_ Perl_ppaddr_t op) {
    struct wrapped wrapped = {.generation = evf_fork_generation};
    if (evf_fork_block_signals(&wrapped.mask) < 0) (void)sigprocmask(SIG_BLOCK, NULL, &wrapped.mask);
    under_way = WRAPPED;
    ENTER;
    SAVEDESTRUCTOR_X(finish, &wrapped);
    OP *next = op(aTHX);
    LEAVE;
    return next;
}

static OP *refuse(pTHX_ SV **sp) {
    EXTEND(sp, 1);
    *++sp = &PL_sv_undef;
    PL_stack_sp = sp;
    return NORMAL;
}

static OP *fork_with_hooks(pTHX) {
    return begin(aTHX) ? around(aTHX_ perls_fork) : refuse(aTHX_ PL_stack_sp);
}

static const char *skip_space(const char *text) {
    while (isSPACE(*text)) text++;
    return text;
}

/* "|-" or "-|" of an open without a command; it may be spaced out. */
static bool is_pipe_to_copy(SV *mode) {
    if (!SvPOK(mode) || SvGMAGICAL(mode)) return false;
    const char *text = skip_space(SvPVX_const(mode));
    const char first = *text;
    if (first != '|' && first != '-') return false;
    text = skip_space(text + 1);
    return *text == (first == '|' ? '-' : '|') && *skip_space(text + 1) == '\0';
}

/* The same before a command; layers may follow. */
static bool is_pipe_mode(SV *mode) {
    if (!SvPOK(mode) || SvGMAGICAL(mode)) return false;
    const char *text = skip_space(SvPVX_const(mode));
    if (strnNE(text, "-|", 2) && strnNE(text, "|-", 2)) return false;
    return text[2] == '\0' || text[2] == ':' || isSPACE(text[2]);
}

/* open(F, "-|"), open(F, "-|", "-") and their likes, as perl sees them (Perl_do_open6). */
static bool open_forks(pTHX_ SV **mark) {
    const SSize_t count = PL_stack_sp - mark;
    if (count == 2) return is_pipe_to_copy(mark[2]);
    if (count != 3 || !is_pipe_mode(mark[2]) || !SvPOK(mark[3]) || SvGMAGICAL(mark[3])) return false;
    return strEQ(skip_space(SvPVX_const(mark[3])), "-");
}

static OP *open_with_hooks(pTHX) {
    if (!open_forks(aTHX_ PL_stack_base + TOPMARK)) return perls_open(aTHX);
    if (begin(aTHX)) return around(aTHX_ perls_open);
    SV **mark = PL_stack_base + POPMARK;
    return refuse(aTHX_ mark);
}

static OP *srand_noticed(pTHX) {
    has_own_seed = MAXARG > 0; /* without an argument perl draws a seed */
    return perls_srand(aTHX);
}

bool glue_rawfork_has_own_seed(void) {
    return has_own_seed;
}

/* ---- In a child that was not prepared for -------------------------------------------------------------------- */

/* The hooks that could not prepare are not called here either. Mortal text; NULL: there are none. */
static SV *names_of_skipped(pTHX) {
    SV *names = NULL;
    for (const struct evf_hook *hook = NULL; (hook = evf_hook_next(hook, EVF_PREPARE)) != NULL;) {
        const char *name = hook->name != NULL ? hook->name : "one without a name";
        if (names == NULL) names = sv_2mortal(newSVpv(name, 0));
        else sv_catpvf(names, ", %s", name);
    }
    return names;
}

/* How this process came to be; takes no hook's part. */
static SV *describe(pTHX_ bool was_refused) {
    const COP *caller = glue_caller(aTHX);
    if (noticed_at[0] != '\0')
        return newSVpvf("process %ld is a copy that was made by C code without telling anybody (noticed at %s): its "
                        "loops become its own only now",
                        (long)getpid(), noticed_at);
    return newSVpvf("process %ld was forked by %s (near %s line %" UVuf "), where no hook can %s", (long)getpid(),
                    was_refused ? "code older than EventLoop::Fork" : "C code",
                    CopFILE(caller) != NULL ? CopFILE(caller) : "?", (UV)CopLINE(caller),
                    was_refused ? "refuse the first time" : "prepare");
}

/* A copy is always reported: its C code does what no program should. */
static void report_skipped(pTHX_ bool was_refused) {
    SV *names = names_of_skipped(aTHX), *forbidding = glue_hooks_forbidding(aTHX);
    if (names == NULL && forbidding == NULL && noticed_at[0] == '\0' && section_of_fork[0] == '\0') return;
    SV *text = describe(aTHX_ was_refused);
    if (section_of_fork[0] != '\0') sv_catpvf(text, ", inside of prevent_fork at %s", section_of_fork);
    if (forbidding != NULL) sv_catpvf(text, "; these forbid forks: %" SVf, SVfARG(forbidding));
    if (names != NULL) sv_catpvf(text, "; these did not run: %" SVf, SVfARG(names));
    noticed_at[0] = section_of_fork[0] = '\0';
    glue_warn(aTHX_ text);
}

/* What Perl has to do in a child, where it can run. */
static void finish_in_child(pTHX) {
    const bool was_prepared = under_way == INSIDE, was_refused = under_way == REFUSED;
    under_way = NONE;
    if (!was_prepared) {
        report_skipped(aTHX_ was_refused);
        glue_fork_remember_place(aTHX); /* near enough */
    }
    end(aTHX_ true, NULL);
}

/* ---- Inside fork -------------------------------------------------------------------------------------------- */

/* system and backticks exec at once: nothing is prepared for them. */
static bool is_exec_only(void) {
    dTHX;
    if (PERL_GET_CONTEXT == NULL || PL_op == NULL) return false;
    return PL_op->op_type == OP_SYSTEM || PL_op->op_type == OP_BACKTICK;
}

/* An op that was compiled before this module: it is Perl that forks, and Perl code can run here. */
static bool is_old_op(pTHX) {
    return PERL_GET_CONTEXT != NULL && PL_op != NULL &&
           ((PL_op->op_type == OP_FORK && PL_op->op_ppaddr == perls_fork) ||
            (PL_op->op_type == OP_OPEN && PL_op->op_ppaddr == perls_open));
}

/* Inside an open that has taken its mark from the stack: the arguments lie there still. If they do not look like those
 * of an open, it may go on in Perl. */
static bool old_op_executes(pTHX) {
    if (PL_op->op_type != OP_OPEN) return false;
    SV **mark = PL_stack_base + PL_markstack_ptr[1];
    const SSize_t count = PL_stack_sp - mark;
    if (mark < PL_stack_base || count < 2 || count > 1000) return false;
    if (!isGV(mark[1]) && !SvROK(mark[1]) && SvOK(mark[1])) return false;
    return SvPOK(mark[2]) && !open_forks(aTHX_ mark);
}

static void before(void) {
    dTHX;
    if (under_way != NONE || !is_old_op(aTHX)) return;
    const bool executes = old_op_executes(aTHX);
    PL_op->op_ppaddr = PL_op->op_type == OP_FORK ? fork_with_hooks : open_with_hooks; /* from the next time on */
    if (executes) return;
    /* Too late to refuse. What hooks print must not be in the buffers of both. */
    under_way = begin(aTHX) ? INSIDE : REFUSED;
    PERL_FLUSHALL_FOR_CHILD;
}

static void in_parent(void) {
    const bool was_inside = under_way == INSIDE;
    if (under_way == WRAPPED) return;
    dTHX;
    under_way = NONE;
    if (was_inside) end(aTHX_ false, NULL);
}

/* It is its parent that is in the section. */
static void remember_section(pTHX) {
    const char *place = PERL_GET_CONTEXT != NULL ? glue_section_place_of_parent(aTHX) : NULL;
    if (place != NULL) (void)my_strlcpy(section_of_fork, place, sizeof section_of_fork);
}

static void in_child(void) {
    dTHX;
    if (under_way == WRAPPED) return;
    remember_section(aTHX);
    if (under_way != NONE && PL_op->op_type == OP_FORK) {
        finish_in_child(aTHX);
        return;
    }
    if (under_way == INSIDE) { /* its statement may be over, and freed, before the next safe point */
        glue_fork_keep_place(aTHX);
        glue_fork_forget_place();
    }
    /* An open may exec next; C code may do anything. */
    is_deferred = true;
    if (PERL_GET_CONTEXT != NULL) PL_sig_pending = 1;
}

/* Called where the copy is found, which may be anywhere that C code of ours is at work. */
static void in_copy(void) {
    dTHX;
    under_way = NONE;
    is_deferred = true;
    remember_section(aTHX);
    if (PERL_GET_CONTEXT == NULL) return;
    const COP *caller = glue_caller(aTHX);
    (void)my_snprintf(noticed_at, sizeof noticed_at, "%.200s line %lu", CopFILE(caller) != NULL ? CopFILE(caller) : "?",
                      (unsigned long)CopLINE(caller));
    PL_sig_pending = 1;
}

/* ---- At the next safe point --------------------------------------------------------------------------------- */

static void at_safe_point(pTHX) {
    if (is_deferred && PL_phase != PERL_PHASE_DESTRUCT) { /* by then callbacks may be gone */
        is_deferred = false; /* first: Perl code runs below, and looks for signals itself */
        finish_in_child(aTHX);
    }
    perls_signalhook(aTHX);
}

void glue_fork_check(pTHX) {
    (void)evf_fork_check();
    if (is_deferred) at_safe_point(aTHX);
}

void glue_rawfork_boot(pTHX) {
    static const struct evf_fork_host host = {is_exec_only, before, in_parent, in_child, in_copy};
    if (perls_fork == NULL) {
        perls_fork = PL_ppaddr[OP_FORK];
        perls_open = PL_ppaddr[OP_OPEN];
        perls_srand = PL_ppaddr[OP_SRAND];
        PL_ppaddr[OP_FORK] = fork_with_hooks;
        PL_ppaddr[OP_OPEN] = open_with_hooks;
        PL_ppaddr[OP_SRAND] = srand_noticed;
        has_own_seed = PL_srand_called; /* nobody knows whose that one is */
    }
    if (PL_signalhook != at_safe_point) {
        perls_signalhook = PL_signalhook;
        PL_signalhook = at_safe_point;
    }
    if (evf_fork_set_host(&host) < 0) Perl_croak(aTHX_ "EventLoop::Fork: out of memory\n");
}
