/* For the tests of forks: a loop that watches a descriptor, and checks that a loop works. */
#ifndef WATCHED_H
#define WATCHED_H

#include "helpers.h"

extern struct evf_loop *loop;
extern int waits, count; /* of the loop; of calls for io */
extern int fds[2];       /* watched; its other end */
extern struct evf_io io;

void open_it(void);
void close_it(void);                              /* when it works, and is calm */
void check_works(void);                           /* the loop still does what it did */
void check_loop_works(struct evf_loop *any_loop); /* any loop, with any descriptor */

#endif
