/* The event loops of others, seen from a fork: which of them are in this process, and the calls to the adapters that
 * know them (EventLoop::Fork::Adapter). A program with none of them pays for a look into %INC. */
#include "glue.h"

static bool is_loaded(pTHX_ const char *file) {
    return PL_incgv != NULL && GvHV(PL_incgv) != NULL && hv_exists(GvHV(PL_incgv), file, (I32)strlen(file));
}

/* IO::Async's own loops; ours are the core's business. */
static bool has_foreign_io_async(pTHX) {
    if (!is_loaded(aTHX_ "IO/Async/Loop.pm")) return false;
    SV *singleton = get_sv("IO::Async::Loop::ONE_TRUE_LOOP", 0);
    return singleton != NULL && SvROK(singleton) && !glue_is_loop(aTHX_ singleton);
}

static bool are_present(pTHX) {
    return is_loaded(aTHX_ "EventLoop/Fork/Adapter.pm") || is_loaded(aTHX_ "EV.pm") || is_loaded(aTHX_ "AnyEvent.pm") ||
           is_loaded(aTHX_ "Mojo/IOLoop.pm") || has_foreign_io_async(aTHX);
}

/* The list that the function returns; NULL if it fails, which is reported: the fork goes on. Arguments are taken over.
 */
static AV *call_adapter(pTHX_ const char *function, SV **arguments, int count) {
    SV *error = NULL, *result = sv_newmortal(), *all[5];
    all[0] = newSVpv(function, 0);
    all[1] = newRV_inc(result);
    for (int i = 0; i < count; i++) all[i + 2] = arguments[i];
    if (glue_call(aTHX_(SV *) get_cv("EventLoop::Fork::Loop::_call_adapter", GV_ADD), all, count + 2, &error) < 0) {
        glue_warn(aTHX_ newSVpvf("%s: %" SVf, function, SVfARG(error)));
        SvREFCNT_dec(error);
    }
    return SvROK(result) ? (AV *)SvRV(result) : NULL;
}

SV *glue_families_before(pTHX) {
    if (!are_present(aTHX)) return NULL;
    AV *answer = call_adapter(aTHX_ "_before_fork", NULL, 0);
    SV **state = answer != NULL ? av_fetch(answer, 0, 0) : NULL;
    return state != NULL && SvOK(*state) ? SvREFCNT_inc_NN(*state) : NULL;
}

void glue_families_unblock(pTHX_ SV *state, SV *kept_family, sigset_t *mask) {
    if (state == NULL) return;
    SV *arguments[] = {newSVsv(state), kept_family != NULL ? newSVsv(kept_family) : newSV(0)};
    AV *names = call_adapter(aTHX_ "_blocked", arguments, 2);
    for (SSize_t i = 0; names != NULL && i <= av_len(names); i++) {
        SV **name = av_fetch(names, i, 0);
        const int signo = name != NULL ? glue_signal_number(aTHX_ * name) : -1;
        if (signo > 0) (void)sigdelset(mask, signo); /* cannot fail for the number of a name */
    }
}

void glue_families_in_child(pTHX_ SV *state, const char *mode, SV *kept_family) {
    if (state == NULL && !are_present(aTHX)) return;
    SV *arguments[] = {state != NULL ? newSVsv(state) : newSV(0), newSVpv(mode, 0),
                       kept_family != NULL ? newSVsv(kept_family) : newSV(0)};
    (void)call_adapter(aTHX_ "_in_child", arguments, 3);
}
