/* The supervisor's machine as Perl sees it: hashes to events, actions to hashes. Decides nothing. */
#include "glue.h"

#include "glue_machine.h"

struct glue_machine *glue_machine_of(pTHX_ SV *self) {
    return INT2PTR(struct glue_machine *, SvIV(SvRV(self)));
}

static void write_line(int fd, char *text, int length) {
    if (length < 0) return;
    text[length] = '\n';
    const ssize_t written = write(fd, text, (size_t)length + 1);
    PERL_UNUSED_VAR(written);
}

SV *glue_machine_new(pTHX_ const char *class_name, const struct evf_supervisor_options *options, int trace_fd) {
    struct evf_supervisor *supervisor;
    const int rc = evf_supervisor_new(options, &supervisor);
    if (rc < 0) glue_throw(aTHX_ rc, "new", NULL, "the options of the machine: %s", evf_error_text(rc));
    struct glue_machine *machine;
    Newx(machine, 1, struct glue_machine);
    machine->supervisor = supervisor;
    machine->trace_fd = trace_fd;
    if (trace_fd >= 0) {
        char text[EVF_TRACE_LINE_MAX + 1];
        write_line(trace_fd, text, evf_supervisor_trace_format_options(options, text, EVF_TRACE_LINE_MAX));
    }
    return sv_setref_pv(newSV(0), class_name, machine);
}

void glue_machine_trace(const struct glue_machine *machine, const struct evf_supervisor_event *event, int64_t now_ns) {
    char text[EVF_TRACE_LINE_MAX + 1];
    if (machine->trace_fd < 0) return;
    write_line(machine->trace_fd, text, evf_supervisor_trace_format(event, now_ns, text, EVF_TRACE_LINE_MAX));
}

void glue_machine_store(pTHX_ HV *hash, const char *name, SV *value) {
    (void)hv_store(hash, name, (I32)strlen(name), value, 0); /* a plain hash takes it */
}

NV glue_machine_number(pTHX_ HV *hash, const char *name) {
    SV **value = hv_fetch(hash, name, (I32)strlen(name), 0);
    if (value == NULL || !SvOK(*value)) return 0;
    return SvNV(*value);
}

int64_t glue_machine_duration(pTHX_ HV *hash, const char *name) {
    NV seconds = glue_machine_number(aTHX_ hash, name);
    return seconds < 9e9 ? (int64_t)(seconds * 1e9) : INT64_MAX / 2;
}

static const struct {
    const char *name;
    enum evf_event_type type;
} event_names[] = {
    {"START", EVF_EVENT_START},         {"TICK", EVF_EVENT_TICK},
    {"SPAWNED", EVF_EVENT_SPAWNED},     {"SPAWN_FAILED", EVF_EVENT_SPAWN_FAILED},
    {"READY", EVF_EVENT_READY},         {"EXITED", EVF_EVENT_EXITED},
    {"HEARTBEAT", EVF_EVENT_HEARTBEAT}, {"SAMPLE", EVF_EVENT_SAMPLE},
    {"EXAMINED", EVF_EVENT_EXAMINED},   {"STOP", EVF_EVENT_STOP},
    {"RELOAD", EVF_EVENT_RELOAD},       {"RESIZE", EVF_EVENT_RESIZE},
};

void glue_machine_event(pTHX_ const char *type, HV *fields, struct evf_supervisor_event *event) {
    size_t i = 0;
    while (i < C_ARRAY_LENGTH(event_names) && strNE(event_names[i].name, type)) i++;
    if (i == C_ARRAY_LENGTH(event_names)) glue_throw(aTHX_ EVF_EINVAL, "step", NULL, "unknown event '%s'", type);
    event->type = event_names[i].type;
    if (fields == NULL) return;
    event->berth = (unsigned)glue_machine_number(aTHX_ fields, "berth");
    event->pid = (pid_t)glue_machine_number(aTHX_ fields, "pid");
    event->wait_status = (int)glue_machine_number(aTHX_ fields, "wait_status");
    event->error = (int)glue_machine_number(aTHX_ fields, "error");
    event->busy_since_ns = glue_machine_duration(aTHX_ fields, "busy_since");
    event->extension_ns = glue_machine_duration(aTHX_ fields, "extension");
    event->requests = (uint64_t)glue_machine_number(aTHX_ fields, "requests");
    event->rss_bytes = (uint64_t)glue_machine_number(aTHX_ fields, "rss");
    event->culprit = (uint64_t)glue_machine_number(aTHX_ fields, "culprit");
    event->workers = (unsigned)glue_machine_number(aTHX_ fields, "workers");
    event->is_fast = glue_machine_number(aTHX_ fields, "is_fast") != 0;
}

static const char *const action_names[] = {
    [EVF_ACTION_SPAWN] = "SPAWN",   [EVF_ACTION_DRAIN] = "DRAIN", [EVF_ACTION_EXAMINE] = "EXAMINE",
    [EVF_ACTION_KILL] = "KILL",     [EVF_ACTION_LOOK] = "LOOK",   [EVF_ACTION_REPORT] = "REPORT",
    [EVF_ACTION_FINISH] = "FINISH", [EVF_ACTION_SKIP] = "SKIP",   [EVF_ACTION_RESTORE] = "RESTORE",
};

SV *glue_machine_action(pTHX_ const struct evf_supervisor_action *action) {
    HV *hash = newHV();
    glue_machine_store(aTHX_ hash, "type", newSVpv(action_names[action->type], 0));
    glue_machine_store(aTHX_ hash, "berth", newSVuv(action->berth));
    glue_machine_store(aTHX_ hash, "pid", newSViv(action->pid));
    glue_machine_store(aTHX_ hash, "generation", newSVuv(action->generation));
    glue_machine_store(aTHX_ hash, "cause", newSVpv(evf_cause_word(action->cause), 0));
    if (action->culprit != 0) glue_machine_store(aTHX_ hash, "culprit", newSVuv((UV)action->culprit));
    if (action->type == EVF_ACTION_SPAWN) {
        glue_machine_store(aTHX_ hash, "method", newSVpv(action->method == EVF_START_SPAWN ? "spawn" : "fork", 0));
        glue_machine_store(aTHX_ hash, "requests_max", newSVnv((NV)action->requests_max));
    }
    if (action->type == EVF_ACTION_REPORT) {
        glue_machine_store(aTHX_ hash, "report", newSVpv(evf_report_word(action->report), 0));
        glue_machine_store(aTHX_ hash, "method", newSVpv(action->method == EVF_START_SPAWN ? "spawn" : "fork", 0));
        glue_machine_store(aTHX_ hash, "wait_status", newSViv(action->wait_status));
        glue_machine_store(aTHX_ hash, "error", newSViv(action->error));
        glue_machine_store(aTHX_ hash, "count", newSVuv(action->count));
        glue_machine_store(aTHX_ hash, "elapsed", newSVnv((NV)action->elapsed_ns / 1e9));
        glue_machine_store(aTHX_ hash, "is_fast", newSVuv(action->is_fast));
    }
    if (action->type == EVF_ACTION_FINISH || action->type == EVF_ACTION_REPORT)
        glue_machine_store(aTHX_ hash, "exit_code", newSViv(action->exit_code));
    return newRV_noinc((SV *)hash);
}
