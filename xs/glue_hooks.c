/* Hooks at a fork, Perl's part: callbacks, the object a hook dies with, and what is said when one fails. The registry
 * and the order are the core's (xs/core/hooks.c). */
#include "glue.h"

/* One at_fork. Held by the registry while it is registered, by its handle in Perl, and by a call under way. */
struct glue_hook {
    struct evf_hook evf;
    SV *code[EVF_PHASE_COUNT];
    SV *object; /* borrowed: its magic cancels the hook */
    struct glue_hook *next_of_object, *previous_of_object;
    SV *fork_safe;                                 /* NULL: it has no say */
    struct glue_hook *next_asked, *previous_asked; /* of those that have */
    bool is_asked;
    SV *name, *label; /* as given; for messages: 'name' (file line number) */
    NV timeout;       /* seconds; 0: none */
    bool refuses;     /* the fork, when its prepare callback dies */
    bool may_skip;    /* the child callback, when it ends the children */
    bool is_skipped;
    unsigned references;
    PerlInterpreter *perl;
};

static SV *refusal; /* why, between the hook and who forks */

static void release(pTHX_ struct glue_hook *hook) {
    if (--hook->references > 0) return;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) SvREFCNT_dec(hook->code[phase]);
    SvREFCNT_dec(hook->fork_safe);
    SvREFCNT_dec(hook->name);
    SvREFCNT_dec(hook->label);
    Safefree(hook);
}

/* ---- Those that are asked before a fork --------------------------------------------------------------------- */

static struct glue_hook *first_asked, *next_to_ask; /* the latter moves on when that one is cancelled */
static bool is_asking;

/* At the head: one that is registered while others are asked waits for the next fork. */
static void link_asked(struct glue_hook *hook) {
    hook->is_asked = true;
    hook->next_asked = first_asked;
    if (first_asked != NULL) first_asked->previous_asked = hook;
    first_asked = hook;
}

static void unlink_asked(struct glue_hook *hook) {
    if (!hook->is_asked) return;
    hook->is_asked = false;
    if (next_to_ask == hook) next_to_ask = hook->next_asked;
    if (hook->next_asked != NULL) hook->next_asked->previous_asked = hook->previous_asked;
    if (hook->previous_asked != NULL) hook->previous_asked->next_asked = hook->next_asked;
    else first_asked = hook->next_asked;
}

/* ---- The object a hook belongs to --------------------------------------------------------------------------- */

/* One magic for each object, with the list of its hooks; stays, empty, when they are cancelled. */
static void cancel(pTHX_ struct glue_hook *hook);

static int object_free(pTHX_ SV *object, MAGIC *magic) {
    PERL_UNUSED_ARG(object);
    struct glue_hook *hook;
    while ((hook = (struct glue_hook *)(void *)magic->mg_ptr) != NULL) cancel(aTHX_ hook);
    return 0;
}

#ifdef USE_ITHREADS
/* Hooks belong to the thread that registered them, and so do their objects. */
static int object_dup(pTHX_ MAGIC *magic, CLONE_PARAMS *parameters) {
    PERL_UNUSED_ARG(parameters);
    magic->mg_ptr = NULL;
    return 0;
}
#else
#define object_dup NULL
#endif

static const MGVTBL object_magic = {.svt_free = object_free, .svt_dup = object_dup};

static void bind_to_object(pTHX_ struct glue_hook *hook, SV *object) {
    MAGIC *magic = SvTYPE(object) >= SVt_PVMG ? mg_findext(object, PERL_MAGIC_ext, &object_magic) : NULL;
    if (magic == NULL) {
        magic = sv_magicext(object, NULL, PERL_MAGIC_ext, &object_magic, NULL, 0);
#ifdef USE_ITHREADS
        magic->mg_flags |= MGf_DUP;
#endif
    }
    hook->object = object;
    hook->next_of_object = (struct glue_hook *)(void *)magic->mg_ptr;
    if (hook->next_of_object != NULL) hook->next_of_object->previous_of_object = hook;
    magic->mg_ptr = (char *)(void *)hook;
}

static void unbind_from_object(pTHX_ struct glue_hook *hook) {
    if (hook->object == NULL) return;
    if (hook->next_of_object != NULL) hook->next_of_object->previous_of_object = hook->previous_of_object;
    if (hook->previous_of_object != NULL) hook->previous_of_object->next_of_object = hook->next_of_object;
    else mg_findext(hook->object, PERL_MAGIC_ext, &object_magic)->mg_ptr = (char *)(void *)hook->next_of_object;
    hook->object = NULL;
    hook->next_of_object = hook->previous_of_object = NULL;
}

static void cancel(pTHX_ struct glue_hook *hook) {
    unbind_from_object(aTHX_ hook);
    if (!hook->is_asked && !evf_hook_is_registered(&hook->evf)) return;
    unlink_asked(hook);
    evf_hook_cancel(&hook->evf);
    release(aTHX_ hook);
}

/* ---- A call ------------------------------------------------------------------------------------------------- */

static const char *name_of(enum evf_phase phase) {
    static const char *const names[EVF_PHASE_COUNT] = {"prepare", "parent", "child"};
    return names[phase];
}

static void stop_watchdog(pTHX_ void *unused) {
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_ARG(unused);
    glue_watchdog_stop();
}

static int call_watched(pTHX_ struct glue_hook *hook, enum evf_phase phase, SV **error) {
    SV *arguments[1];
    int count = 0, rc;
    if (hook->object != NULL) arguments[count++] = newRV_inc(hook->object);
    if (phase != EVF_CHILD || hook->timeout <= 0) return glue_call(aTHX_ hook->code[phase], arguments, count, error);
    ENTER;
    SAVEDESTRUCTOR_X(stop_watchdog, NULL); /* also when the hook leaves by exit */
    glue_watchdog_start(hook->timeout,
                        "EventLoop::Fork: process %ld: child hook %s has run for %" NVgf " s, and goes on\n",
                        (long)getpid(), SvPV_nolen(hook->label), hook->timeout);
    rc = glue_call(aTHX_ hook->code[phase], arguments, count, error);
    LEAVE;
    return rc;
}

/* exit unwinds perl and jumps past the registry. END blocks come next, and may fork. */
static void break_unless_returned(pTHX_ void *data) {
    PERL_UNUSED_CONTEXT;
    if (!*(const bool *)data) evf_hooks_break();
}

static int on_phase(struct evf_hook *evf, enum evf_phase phase, void *data) {
    struct glue_hook *hook = data;
    SV *error = NULL;
    bool has_returned = false;
    int rc = 0;
    dTHX;
    PERL_UNUSED_ARG(evf);
    if (PERL_GET_CONTEXT != hook->perl) return 0; /* the fork of another thread */
    if (phase == EVF_CHILD && hook->is_skipped) return 0;
    ENTER;
    SAVEDESTRUCTOR_X(break_unless_returned, &has_returned);
    hook->references++;
    if (call_watched(aTHX_ hook, phase, &error) < 0) {
        if (phase == EVF_PREPARE && hook->refuses) {
            SvREFCNT_dec(refusal);
            refusal = newSVpvf("prepare hook %" SVf " refused: %" SVf, SVfARG(hook->label), SVfARG(error));
            rc = EVF_ECANCELED;
        } else {
            SV *arguments[] = {newSVpv(name_of(phase), 0), newSVsv(hook->label), newSVsv(error)}, *second = NULL;
            if (glue_call(aTHX_(SV *) get_cv("EventLoop::Fork::Loop::_report_hook", GV_ADD), arguments, 3, &second) < 0)
                SvREFCNT_dec(second);
        }
        SvREFCNT_dec(error);
    }
    release(aTHX_ hook);
    has_returned = true;
    LEAVE;
    return rc;
}

static SV *refusal_label; /* of a hook that was asked; NULL: a prepare callback refused */

/* Takes the reason over; NULL: none was given. */
static bool forbid(pTHX_ const struct glue_hook *hook, SV *reason) {
    SvREFCNT_dec(refusal);
    SvREFCNT_dec(refusal_label);
    refusal_label = newSVsv(hook->label);
    if (reason != NULL) {
        const char *text = SvPV_nolen(reason);
        refusal = newSVpvf("hook %" SVf " forbids it: %.*s", SVfARG(hook->label), (int)strcspn(text, "\n"), text);
    } else {
        refusal = newSVpvf("hook %" SVf " says that this is not safe to fork now", SVfARG(hook->label));
    }
    sv_catpv(refusal, hook->object != NULL ? "; fork before its object is made, or let that go first"
                                           : "; fork before it is there, or cancel it first");
    SvREFCNT_dec(reason);
    return false;
}

static void let_go(pTHX_ void *data) {
    struct glue_hook *hook = data;
    release(aTHX_ hook);
}

/* Code answers into a variable of ours. */
static bool allows(pTHX_ struct glue_hook *hook) {
    if (PERL_GET_CONTEXT != hook->perl) return true; /* the fork of another thread */
    if (!SvROK(hook->fork_safe)) return SvTRUE(hook->fork_safe) ? true : forbid(aTHX_ hook, NULL);
    SV *answer = newSV(0), *error = NULL;
    SV *arguments[] = {newSVsv(hook->fork_safe), newRV_inc(answer), NULL};
    const int count = hook->object != NULL ? 3 : 2;
    if (count > 2) arguments[2] = newRV_inc(hook->object);
    ENTER;
    SAVEDESTRUCTOR_X(let_go, hook); /* also when the code leaves by exit */
    hook->references++;
    (void)glue_call(aTHX_(SV *) get_cv("EventLoop::Fork::Hook::_ask", GV_ADD), arguments, count, &error);
    const bool is_safe = !hook->is_asked || (error == NULL && SvTRUE(answer)); /* it may have cancelled itself */
    if (!is_safe) (void)forbid(aTHX_ hook, error);
    else SvREFCNT_dec(error);
    SvREFCNT_dec_NN(answer);
    LEAVE;
    return is_safe;
}

bool glue_hooks_are_running(void) {
    return is_asking || evf_hooks_are_running();
}

bool glue_hooks_ask(pTHX) {
    bool is_safe = true;
    if (first_asked == NULL) return true;
    ENTER;
    SAVEBOOL(is_asking); /* restored also when the code leaves by exit */
    is_asking = true;
    next_to_ask = first_asked;
    for (struct glue_hook *hook; is_safe && (hook = next_to_ask) != NULL;) {
        next_to_ask = hook->next_asked;
        is_safe = allows(aTHX_ hook);
    }
    next_to_ask = NULL;
    LEAVE;
    return is_safe;
}

SV *glue_hooks_forbidding(pTHX) {
    SV *names = NULL;
    for (const struct glue_hook *hook = first_asked; hook != NULL; hook = hook->next_asked) {
        if (PERL_GET_CONTEXT != hook->perl || SvROK(hook->fork_safe) || SvTRUE(hook->fork_safe)) continue;
        if (names == NULL) names = sv_2mortal(newSVsv(hook->label));
        else sv_catpvf(names, ", %" SVf, SVfARG(hook->label));
    }
    return names;
}

/* A hook that lives for long would say the same at each attempt: once for each place of the two. */
static bool is_news(pTHX_ const COP *caller) {
    HV *seen = get_hv("EventLoop::Fork::Hook::_warned", GV_ADD);
    SV *key = sv_2mortal(newSVpvf("%" SVf " %s line %" UVuf, SVfARG(refusal_label),
                                  CopFILE(caller) != NULL ? CopFILE(caller) : "?", (UV)CopLINE(caller)));
    if (hv_exists_ent(seen, key, 0)) return false;
    if (HvUSEDKEYS(seen) >= 1000) hv_clear(seen); /* names may be made up anew for each object */
    (void)hv_store_ent(seen, key, newSV(0), 0);
    return true;
}

void glue_hooks_warn(pTHX) {
    const COP *caller = glue_caller(aTHX);
    const bool is_asked = refusal_label != NULL, is_wanted = !is_asked || is_news(aTHX_ caller);
    SV *text = glue_hooks_refusal(aTHX);
    if (!is_wanted) return;
    SV *message = newSVpvf("fork: %" SVf, SVfARG(text));
    if (is_asked)
        sv_catpvf(message, " (the fork is at %s line %" UVuf ")", CopFILE(caller) != NULL ? CopFILE(caller) : "?",
                  (UV)CopLINE(caller));
    glue_warn(aTHX_ message);
}

SV *glue_hooks_refusal(pTHX) {
    SvREFCNT_dec(refusal_label);
    refusal_label = NULL;
    SV *text = refusal != NULL ? refusal : newSVpvs("a hook refused");
    refusal = NULL;
    while (SvCUR(text) > 0 && SvEND(text)[-1] == '\n') SvCUR_set(text, SvCUR(text) - 1);
    *SvEND(text) = '\0';
    return sv_2mortal(text);
}

/* ---- Leaving out -------------------------------------------------------------------------------------------- */

/* Hooks of others, by the C interface, are not ours to look into. */
static struct glue_hook *next_of_ours(struct evf_hook **position) {
    while ((*position = evf_hook_next(*position, EVF_CHILD)) != NULL) {
        if ((*position)->cb[EVF_CHILD] == on_phase) return (*position)->data;
    }
    return NULL;
}

static struct glue_hook *find_skippable(UV id) {
    struct evf_hook *position = NULL;
    struct glue_hook *hook;
    while ((hook = next_of_ours(&position)) != NULL) {
        if (hook->may_skip && PTR2UV(&hook->evf) == id) return hook;
    }
    return NULL;
}

SV *glue_hook_skippable(pTHX_ UV id) {
    const struct glue_hook *hook = find_skippable(id);
    return hook != NULL ? newSVsv(hook->label) : newSV(0);
}

void glue_hook_skip(pTHX_ UV id) {
    PERL_UNUSED_CONTEXT;
    struct glue_hook *hook = find_skippable(id);
    if (hook != NULL) hook->is_skipped = true;
}

void glue_hooks_restore(pTHX) {
    PERL_UNUSED_CONTEXT;
    struct evf_hook *position = NULL;
    struct glue_hook *hook;
    while ((hook = next_of_ours(&position)) != NULL) hook->is_skipped = false;
}

/* ---- The handle --------------------------------------------------------------------------------------------- */

static int handle_free(pTHX_ SV *handle, MAGIC *magic) {
    PERL_UNUSED_ARG(handle);
    if (magic->mg_ptr != NULL) release(aTHX_(struct glue_hook *)(void *) magic->mg_ptr);
    magic->mg_ptr = NULL;
    return 0;
}

static const MGVTBL handle_magic = {.svt_free = handle_free, .svt_dup = object_dup};

SV *glue_hook_new(pTHX_ const char *class_name, const struct glue_hook_options *options) {
    struct glue_hook *hook;
    glue_fork_check(aTHX);
    Newxz(hook, 1, struct glue_hook);
    hook->perl = PERL_GET_CONTEXT;
    hook->name = options->name != NULL ? newSVsv(options->name) : newSV(0);
    const COP *caller = glue_caller(aTHX);
    hook->label = newSVpvf("%s%s%s(%s line %" UVuf ")", options->name != NULL ? "'" : "",
                           options->name != NULL ? SvPV_nolen(options->name) : "", options->name != NULL ? "' " : "",
                           CopFILE(caller) != NULL ? CopFILE(caller) : "?", (UV)CopLINE(caller));
    hook->timeout = options->timeout;
    hook->refuses = options->refuses;
    hook->may_skip = options->may_skip;
    hook->evf.data = hook;
    hook->evf.name = SvPV_nolen(hook->label);
    hook->evf.priority = options->priority;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        if (options->code[phase] == NULL) continue;
        hook->code[phase] = glue_keep_code(aTHX_ options->code[phase]);
        hook->evf.cb[phase] = on_phase;
    }
    hook->references = 2;
    if (options->fork_safe != NULL) {
        hook->fork_safe = newSVsv(options->fork_safe);
        link_asked(hook);
    }
    if (options->object != NULL) bind_to_object(aTHX_ hook, SvRV(options->object));
    (void)evf_hook_register(&hook->evf); /* checked by who took the options apart; none if it is only asked */
    SV *handle = newRV_noinc((SV *)newHV());
    MAGIC *magic = sv_magicext(SvRV(handle), NULL, PERL_MAGIC_ext, &handle_magic, (const char *)(void *)hook, 0);
#ifdef USE_ITHREADS
    magic->mg_flags |= MGf_DUP;
#else
    PERL_UNUSED_VAR(magic);
#endif
    return sv_bless(handle, gv_stashpv(class_name, GV_ADD));
}

static struct glue_hook *hook_of(pTHX_ SV *handle) {
    const MAGIC *magic = SvROK(handle) && SvTYPE(SvRV(handle)) >= SVt_PVMG
                             ? mg_findext(SvRV(handle), PERL_MAGIC_ext, &handle_magic)
                             : NULL;
    return magic != NULL ? (struct glue_hook *)(void *)magic->mg_ptr : NULL;
}

void glue_hook_cancel(pTHX_ SV *handle) {
    glue_fork_check(aTHX);
    struct glue_hook *hook = hook_of(aTHX_ handle);
    if (hook != NULL) cancel(aTHX_ hook);
}

SV *glue_hook_name(pTHX_ SV *handle) {
    const struct glue_hook *hook = hook_of(aTHX_ handle);
    return hook != NULL ? newSVsv(hook->name) : newSV(0);
}
