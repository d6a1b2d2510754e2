/* What the native threads say of themselves for the lab's knobs (threads.c). */
#ifndef MC_THREADS_H
#define MC_THREADS_H

#include <stdatomic.h>
#include <stdint.h>

#include "overrun.h"
#include "usage.h"

struct mc_server;

struct mc_threads {
    _Atomic int32_t tids[2];  /* kernel thread ids of loop and render, by enum mc_source; 0: not running */
    struct mc_usage usage[2]; /* with the lock held */
    uint64_t overruns_traced; /* with the lock held */
};

/* A native thread has begun, or is about to end. */
void mc_thread_begins(struct mc_server *server);
void mc_thread_ends(struct mc_server *server);
/* It has done what it woke up for at woke_ns. Lock held. */
void mc_thread_worked(struct mc_server *server, uint64_t woke_ns);

#endif
