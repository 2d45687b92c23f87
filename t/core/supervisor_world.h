/* A driver and its workers made of random choices: they start slowly, fail, die, hang, ignore what they are told;
 * answers come late or never; the clock jumps, this process sleeps, the operator is nervous. Each step goes through the
 * checker. Where the choices come from is the caller's: a generator (supervisor_sim.c) or a fuzzer's bytes (t/fuzz). */
#ifndef SUPERVISOR_WORLD_H
#define SUPERVISOR_WORLD_H

#include "supervisor_check.h"

struct world;

/* A number below the given one, which is at least 1. */
typedef uint64_t world_draw(void *data, uint64_t below);

/* NULL: no memory. The supervisor is started by the first step, or later. */
struct world *world_new(world_draw *draw, void *data);
void world_free(struct world *world);
/* False when it is over: finished and nothing came after it, or the checker complains. */
bool world_step(struct world *world);
/* Makes the operator stop it soon. */
void world_stop(struct world *world);
struct checker *world_checker(struct world *world); /* borrowed */

#endif
