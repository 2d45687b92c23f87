/* Errors, the trampoline, and what Perl values mean to the core. */
#include "glue.h"

#include <math.h>

/* ---- Errors ------------------------------------------------------------------------------------------------- */

static bool is_ours(const char *package) {
    static const char *const prefixes[] = {"EventLoop::Fork", "IO::Async::Loop"};
    for (size_t i = 0; package != NULL && i < C_ARRAY_LENGTH(prefixes); i++) {
        size_t length = strlen(prefixes[i]);
        if (strnEQ(package, prefixes[i], length) && (package[length] == '\0' || package[length] == ':')) return true;
    }
    return false;
}

/* Tests and examples of this distribution are callers like any other. */
static bool is_caller(pTHX_ const COP *cop) {
    const char *package = CopSTASHPV(cop);
    return package == NULL || strstr(package, "::Test") != NULL || !is_ours(package);
}

const COP *glue_caller(pTHX) {
    const COP *cop = PL_curcop;
    for (I32 level = 0; !is_caller(aTHX_ cop); level++) {
        const PERL_CONTEXT *context = caller_cx(level, NULL);
        if (context == NULL) return PL_curcop;
        cop = context->blk_oldcop;
    }
    return cop;
}

void glue_throw(pTHX_ int code, const char *operation, SV *value, const char *format, ...) {
    HV *error = newHV();
    const COP *caller = glue_caller(aTHX);
    va_list arguments;
    va_start(arguments, format);
    SV *message = vnewSVpvf(format, &arguments);
    va_end(arguments);
    (void)hv_stores(error, "name", newSVpv(evf_error_name(code), 0));
    (void)hv_stores(error, "code", newSViv(code));
    (void)hv_stores(error, "operation", newSVpv(operation, 0));
    (void)hv_stores(error, "value", value != NULL ? newSVsv(value) : newSV(0));
    (void)hv_stores(error, "message", message);
    (void)hv_stores(error, "file", newSVpv(CopFILE(caller) != NULL ? CopFILE(caller) : "?", 0));
    (void)hv_stores(error, "line", newSVuv((UV)CopLINE(caller)));
    croak_sv(sv_2mortal(sv_bless(newRV_noinc((SV *)error), gv_stashpvs("EventLoop::Fork::Error", GV_ADD))));
}

/* ---- The trampoline ----------------------------------------------------------------------------------------- */

bool glue_has_exception(pTHX) {
    SV *error = GvSV(PL_errgv);
    return error != NULL && (SvROK(error) || (SvPOK(error) ? SvCUR(error) > 0 : SvTRUE(error)));
}

static int call(pTHX_ SV *code, SV **arguments, int count, SV **ret_error) {
    dSP;
    int rc = 0;
    PUSHMARK(SP);
    EXTEND(SP, count);
    for (int i = 0; i < count; i++) PUSHs(sv_2mortal(arguments[i]));
    PUTBACK;
    (void)call_sv(code, G_VOID | G_DISCARD | G_EVAL);
    if (UNLIKELY(glue_has_exception(aTHX))) {
        *ret_error = newSVsv(ERRSV);
        rc = EVF_ECALLBACK;
    }
    return rc;
}

int glue_call(pTHX_ SV *code, SV **arguments, int count, SV **ret_error) {
    dSP;
    const int saved_errno = errno;
    int rc;
    /* A context stack of its own: last, next and goto find nothing of the caller's to leave by. */
    PUSHSTACKi(PERLSI_REQUIRE);
    if (count == 0 && !glue_has_exception(aTHX)) { /* call_sv has a scope of its own; ours is for what lies around it */
        rc = call(aTHX_ code, arguments, count, ret_error);
        if (UNLIKELY(rc < 0)) CLEAR_ERRSV();
    } else {
        ENTER;
        SAVETMPS;
        save_scalar(PL_errgv); /* local $@ */
        rc = call(aTHX_ code, arguments, count, ret_error);
        FREETMPS;
        LEAVE;
    }
    POPSTACK;
    errno = saved_errno;
    return rc;
}

void glue_warn(pTHX_ SV *text) {
    SV *error = NULL;
    if (glue_call(aTHX_(SV *) get_cv("EventLoop::Fork::Loop::_warn", GV_ADD), &text, 1, &error) < 0)
        SvREFCNT_dec(error);
}

/* ---- Values ------------------------------------------------------------------------------------------------- */

const char *glue_text(pTHX_ SV *value) {
    return value != NULL && SvOK(value) ? SvPV_nolen(value) : "undef";
}

bool glue_is_code(pTHX_ SV *code) {
    SvGETMAGIC(code);
    if (!SvROK(code)) return false;
    if (SvTYPE(SvRV(code)) == SVt_PVCV) return true;
    return SvAMAGIC(code) && gv_fetchmeth_pvn(SvSTASH(SvRV(code)), "(&{}", 4, -1, 0) != NULL;
}

SV *glue_keep_code(pTHX_ SV *code) {
    return SvTYPE(SvRV(code)) == SVt_PVCV ? SvREFCNT_inc_simple_NN(SvRV(code)) : newSVsv(code);
}

int64_t glue_nanoseconds(pTHX_ const char *operation, const char *name, SV *seconds) {
    const NV limit = 9.0e18; /* below INT64_MAX: 285 years */
    SvGETMAGIC(seconds);
    if (!SvOK(seconds) || !(SvNIOK(seconds) || looks_like_number(seconds)))
        glue_throw(aTHX_ EVF_EINVAL, operation, seconds, "%s is not a number: '%s'", name, glue_text(aTHX_ seconds));
    NV value = SvNV_nomg(seconds);
    if (value != value) glue_throw(aTHX_ EVF_EINVAL, operation, seconds, "%s is not a number: NaN", name);
    value *= 1e9;
    if (value >= limit) return (int64_t)limit;
    if (value <= -limit) return (int64_t)-limit;
    return (int64_t)value;
}

static int fileno_by_method(pTHX_ SV *handle) {
    int fd = -1;
    dSP;
    ENTER;
    SAVETMPS;
    save_scalar(PL_errgv); /* local $@ */
    PUSHMARK(SP);
    XPUSHs(handle);
    PUTBACK;
    if (call_method("fileno", G_SCALAR | G_EVAL) == 1) {
        SPAGAIN;
        SV *number = POPs;
        if (SvOK(number) && looks_like_number(number)) fd = (int)SvIV(number);
        PUTBACK;
    }
    FREETMPS;
    LEAVE;
    return fd;
}

int glue_fileno(pTHX_ SV *handle) {
    SvGETMAGIC(handle);
    SV *target = SvROK(handle) ? SvRV(handle) : handle;
    IO *io = NULL;
    if (isGV_with_GP(target)) io = GvIO((GV *)target);
    else if (SvTYPE(target) == SVt_PVIO) io = (IO *)target;
    if (io != NULL && !SvTIED_mg((SV *)io, PERL_MAGIC_tiedscalar)) {
        PerlIO *file = IoIFP(io) != NULL ? IoIFP(io) : IoOFP(io);
        return file != NULL ? PerlIO_fileno(file) : -1;
    }
    return SvROK(handle) && SvOBJECT(target) ? fileno_by_method(aTHX_ handle) : -1;
}
