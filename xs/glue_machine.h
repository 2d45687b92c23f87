/* The supervisor's machine for Perl: helpers of machine.xsi. */
#ifndef GLUE_MACHINE_H
#define GLUE_MACHINE_H

#include "core/supervisor.h"

#ifdef __GNUC__
#pragma GCC visibility push(hidden) /* nobody outside of this object */
#endif

struct evf_supervisor *machine_of(pTHX_ SV *self);
void machine_store(pTHX_ HV *hash, const char *name, SV *value);
NV machine_number(pTHX_ HV *hash, const char *name);       /* 0 if it is not there */
int64_t machine_duration(pTHX_ HV *hash, const char *name); /* seconds there; nanoseconds here */
void machine_event(pTHX_ const char *type, HV *fields, struct evf_supervisor_event *event);
SV *machine_action(pTHX_ const struct evf_supervisor_action *action);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
