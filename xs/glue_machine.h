/* The supervisor's machine for Perl: helpers of machine.xsi. */
#ifndef GLUE_MACHINE_H
#define GLUE_MACHINE_H

#include "core/supervisor.h"

#ifdef __GNUC__
#pragma GCC visibility push(hidden) /* nobody outside of this object */
#endif

/* Owned by the Perl object. */
struct glue_machine {
    struct evf_supervisor *supervisor;
    int trace_fd; /* where each event is written before it is taken; -1: nowhere. The caller's to close */
};

struct glue_machine *glue_machine_of(pTHX_ SV *self);
SV *glue_machine_new(pTHX_ const char *class_name, const struct evf_supervisor_options *options, int trace_fd);
/* One line is one write. What cannot be written is lost: a full disk must not stop a server. */
void glue_machine_trace(const struct glue_machine *machine, const struct evf_supervisor_event *event, int64_t now_ns);
void glue_machine_store(pTHX_ HV *hash, const char *name, SV *value);
NV glue_machine_number(pTHX_ HV *hash, const char *name);        /* 0 if it is not there */
int64_t glue_machine_duration(pTHX_ HV *hash, const char *name); /* seconds there; nanoseconds here */
void glue_machine_event(pTHX_ const char *type, HV *fields, struct evf_supervisor_event *event);
SV *glue_machine_action(pTHX_ const struct evf_supervisor_action *action);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
