/* Sections that prevent forks: EventLoop::Fork->prevent_fork. A list for each thread, because a section is its thread's
 * and its process's; who forks asks here. How a section is left is Perl's part (EventLoop::Fork::Section). */
#include "glue.h"

struct section {
    struct section *outer;
    void *perl;              /* the interpreter: a thread may have several */
    sig_atomic_t generation; /* of its process: a child has left it */
    UV number;
    char place[200];
};

static __thread struct section *innermost;
static UV last_number; /* only ever compared with one of the same thread */

/* Of a block the first statement: perl counts the call's line at its end. */
static const COP *begin_of(pTHX_ SV *code) {
    const CV *cv = SvROK(code) && SvTYPE(SvRV(code)) == SVt_PVCV ? (const CV *)SvRV(code) : NULL;
    const OP *start = cv != NULL && CvANON(cv) && !CvISXSUB(cv) ? CvSTART(cv) : NULL;
    if (start != NULL && (start->op_type == OP_NEXTSTATE || start->op_type == OP_DBSTATE)) return (const COP *)start;
    return glue_caller(aTHX);
}

UV glue_section_enter(pTHX_ SV *code) {
    struct section *section;
    const COP *caller = begin_of(aTHX_ code);
    Newxz(section, 1, struct section);
    section->outer = innermost;
    section->perl = PERL_GET_CONTEXT;
    section->generation = evf_fork_generation;
    section->number = ++last_number;
    (void)my_snprintf(section->place, sizeof section->place, "%.150s line %lu",
                      CopFILE(caller) != NULL ? CopFILE(caller) : "?", (unsigned long)CopLINE(caller));
    innermost = section;
    return section->number;
}

void glue_section_leave(pTHX_ UV number) {
    PERL_UNUSED_CONTEXT;
    for (struct section **at = &innermost, *section; (section = *at) != NULL; at = &section->outer) {
        if (section->number != number) continue;
        *at = section->outer;
        Safefree(section);
        return;
    }
}

static const char *place_in(pTHX_ sig_atomic_t generation) {
    PERL_UNUSED_CONTEXT;
    for (const struct section *section = innermost; section != NULL; section = section->outer) {
        if (section->perl == PERL_GET_CONTEXT && section->generation == generation) return section->place;
    }
    return NULL;
}

const char *glue_section_place(pTHX) {
    return place_in(aTHX_ evf_fork_generation);
}

const char *glue_section_place_of_parent(pTHX) {
    return place_in(aTHX_ evf_fork_generation - 1);
}

SV *glue_section_refusal(pTHX) {
    const char *place = glue_section_place(aTHX);
    if (place == NULL) return NULL;
    return sv_2mortal(
        newSVpvf("%s, inside of prevent_fork at %s; fork when that has ended", evf_error_text(EVF_EPREVENTED), place));
}
