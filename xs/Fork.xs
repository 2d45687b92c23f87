/* The Perl interface: takes arguments apart and hands over to the glue. One file for each package. */
#include "glue.h"
#include "glue_doctor.h"
#include "glue_machine.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "core/scoreboard.h"
#include "core/supervisor.h"

/* A tied variable, $1 and their likes are asked once: what is returned has no magic and is looked at as often as needed. */
static SV *take_value(pTHX_ SV *value) {
    return SvGMAGICAL(value) ? sv_mortalcopy(value) : value;
}

/* Options of a method called with key => value pairs. */
struct option {
    const char *name;
    SV *value; /* NULL: not given */
};

static void take_options(pTHX_ const char *operation, SV **arguments, I32 count, struct option *options,
                         size_t known, bool refuse_unknown) {
    if (count % 2 != 0)
        glue_throw(aTHX_ EVF_EINVAL, operation, NULL, "arguments are not pairs of name => value");
    for (I32 i = 0; i < count; i += 2) {
        SV *key = take_value(aTHX_ arguments[i]);
        const char *name = SvPV_nolen(key);
        size_t found = 0;
        while (found < known && strNE(name, options[found].name)) found++;
        if (found < known)
            options[found].value = take_value(aTHX_ arguments[i + 1]);
        else if (refuse_unknown)
            glue_throw(aTHX_ EVF_EINVAL, operation, key, "unknown option '%s'", name);
    }
}

static SV *take_code(pTHX_ const char *operation, const char *name, SV *code) {
    if (code == NULL) glue_throw(aTHX_ EVF_EINVAL, operation, NULL, "'%s' is missing", name);
    code = take_value(aTHX_ code);
    if (!glue_is_code(aTHX_ code))
        glue_throw(aTHX_ EVF_EINVAL, operation, code, "'%s' is not code: '%s'", name, glue_text(aTHX_ code));
    return code;
}

static pid_t take_pid(pTHX_ const char *operation, SV *pid) {
    pid = take_value(aTHX_ pid);
    if (!SvOK(pid) || !looks_like_number(pid) || SvNV(pid) != (NV)SvIV(pid) || SvIV(pid) < 0 || SvIV(pid) > INT_MAX)
        glue_throw(aTHX_ EVF_EINVAL, operation, pid, "not a process id: '%s'", glue_text(aTHX_ pid));
    return (pid_t)SvIV(pid);
}

static int error_code(const char *name) {
#define EVF_X(error, number, text)                                                                                     \
    if (strEQ(name, #error)) return number;
    EVF_ERRORS(EVF_X)
#undef EVF_X
    return 0;
}

MODULE = EventLoop::Fork    PACKAGE = EventLoop::Fork::Loop

PROTOTYPES: DISABLE

BOOT:
    glue_signals_boot(aTHX);
    glue_rawfork_boot(aTHX);
    glue_api_boot(aTHX);

INCLUDE: loop.xsi

INCLUDE: fork.xsi

INCLUDE: machine.xsi

INCLUDE: board.xsi

INCLUDE: record.xsi

INCLUDE: doctor.xsi
