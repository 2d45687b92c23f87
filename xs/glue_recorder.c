/* The flight recorder, Perl's part: records as objects, and where Perl stands when a fault comes. */
#include "glue.h"

#include "core/recorder.h"
#include "core/scoreboard.h"

static const char class_name[] = "EventLoop::Fork::Record";

SV *glue_record_new(pTHX) {
    struct evf_record *record = evf_record_new();
    if (record == NULL) return newSV(0);
    SV *self = newSV(0);
    return sv_setref_pv(self, class_name, record);
}

struct evf_record *glue_record_of(pTHX_ SV *self) {
    if (!sv_isobject(self) || !sv_derived_from(self, class_name) || !SvIOK(SvRV(self))) return NULL;
    return INT2PTR(struct evf_record *, SvIV(SvRV(self)));
}

void glue_record_free(pTHX_ SV *self) {
    evf_record_free(glue_record_of(aTHX_ self));
    if (SvROK(self)) sv_setiv(SvRV(self), 0);
}

static void store(pTHX_ HV *hash, const char *name, SV *value) {
    (void)hv_store(hash, name, (I32)strlen(name), value, 0);
}

static void store_text(pTHX_ HV *hash, const char *name, const char *field) {
    char text[EVF_RECORD_TEXT];
    const size_t length = evf_scoreboard_get_text(field, sizeof text, text);
    SV *value = newSVpvn(text, length);
    (void)sv_utf8_decode(value); /* what is none stays bytes */
    store(aTHX_ hash, name, value);
}

/* The fault first: what was written before it is then in the hash. */
SV *glue_record_read(pTHX_ const struct evf_record *record) {
    HV *hash = newHV();
    store(aTHX_ hash, "fault", newSVuv(EVF_SCOREBOARD_GET_FLAG(record->fault)));
    store(aTHX_ hash, "stage", newSVpv(evf_stage_name(EVF_SCOREBOARD_GET_FLAG(record->stage)), 0));
    store(aTHX_ hash, "began", newSVnv((NV)EVF_SCOREBOARD_GET(record->began_ns) / 1e9));
    store(aTHX_ hash, "fault_at", newSVnv((NV)EVF_SCOREBOARD_GET(record->fault_ns) / 1e9));
    store(aTHX_ hash, "hook_id", newSVuv((UV)EVF_SCOREBOARD_GET(record->hook_id)));
    store(aTHX_ hash, "hook_priority", newSVuv(EVF_SCOREBOARD_GET(record->hook_priority)));
    store(aTHX_ hash, "is_foreign", newSVuv(EVF_SCOREBOARD_GET(record->is_foreign)));
    store_text(aTHX_ hash, "hook", record->hook);
    store_text(aTHX_ hash, "place", record->place);
    store_text(aTHX_ hash, "error", record->error);
    return newRV_noinc((SV *)hash);
}

void glue_record_attach(pTHX_ struct evf_record *record, int tell_fd) {
    evf_recorder_attach(record);
    glue_place_show(aTHX);
    /* Failing, the signal ends it without a note. */
    (void)evf_recorder_catch_faults(glue_place_read, tell_fd);
}

void glue_record_error(pTHX_ SV *text) {
    struct evf_record *record = evf_recorder_record();
    STRLEN length;
    if (record == NULL || record->error[0] != '\0') return;
    text = sv_mortalcopy(text); /* the caller's is not turned into UTF-8 */
    const char *bytes = SvPVutf8(text, length);
    while (length > 0 && isSPACE(bytes[length - 1])) length--;
    evf_scoreboard_set_text(record->error, sizeof record->error, bytes, strnlen(bytes, length));
}
