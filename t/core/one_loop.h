/* For tests of one loop of the method under test. */
#ifndef ONE_LOOP_H
#define ONE_LOOP_H

#include "helpers.h"

extern struct evf_loop *loop;

void open_it(void); /* with an empty trace */
void close_it(void);

#endif
