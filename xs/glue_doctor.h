/* What the doctor asks of C; see glue_doctor.c. */
#ifndef GLUE_DOCTOR_H
#define GLUE_DOCTOR_H

#include "glue.h"

#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* From now on each hook's begin and end is a line in canary_fd (of a child) or parent_fd; -1: nobody is told. The
 * labels of the hooks, by number; mortal. */
AV *glue_doctor_watch_hooks(pTHX_ int canary_fd, int parent_fd);
bool glue_doctor_skip_hook(UV number); /* in children; false: there is no such number */
/* Seconds in prepare, parent and child of this process; undef: not called. Mortal. */
AV *glue_doctor_spent(pTHX_ UV number);
void glue_doctor_unwatch_hooks(pTHX); /* also when nothing is watched */

AV *glue_doctor_handles(pTHX);    /* references to hashes, one for each open glob; mortal */
UV glue_doctor_stdio_bytes(void); /* in the buffer of C's stdout; 0 where that is not known */
/* Whether the number is the same open file in both processes; -1: the system does not tell. */
int glue_doctor_shares_file(pid_t pid, int fd);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
