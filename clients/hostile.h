/* hostile: what its scenarios share.
 *
 * A scenario does its deed on an open connection and returns; it may leave windows mapped. hostile.c then
 * finds out what became of the connection. Scenarios return early when a send or round trip fails: the
 * compositor has already answered. None of them may block for ever.
 */
#ifndef CLIENTS_HOSTILE_H
#define CLIENTS_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/connection.h"
#include "common/shm_pool.h"
#include "common/window.h"

#define HOSTILE_STALL_S 5 /* a compositor that takes nothing from us, or sends no answer, for this long */

enum hostile_expectation {
    HOSTILE_KILLED,   /* the compositor ends this connection: protocol error or disconnect */
    HOSTILE_SURVIVES, /* the connection goes on: odd, but within the protocol */
    HOSTILE_EITHER,   /* the protocol leaves it open; only others must not notice */
    HOSTILE_DIES,     /* the client itself goes away in the middle of it */
};

enum hostile_needs { HOSTILE_NEEDS_NOTHING = 0, HOSTILE_NEEDS_SUBSURFACES = 1, HOSTILE_NEEDS_VIEWPORTER = 2 };

struct hostile {
    struct connection connection;
    uint64_t count;       /* how often, for the floods */
    struct window window; /* mapped by hostile_map_window */
    struct shm_pool pool;
    bool configured;
    const char *undone; /* why the scenario could not do its deed; static text, NULL: it did */
};

struct hostile_scenario {
    const char *name;
    enum hostile_expectation expected;
    unsigned needs;         /* enum hostile_needs */
    uint64_t default_count; /* 0: --count means nothing to it */
    const char *description;
    void (*run)(struct hostile *hostile);
};

/* Each file's scenarios, ended by one without a name. */
extern const struct hostile_scenario hostile_protocol_scenarios[];
extern const struct hostile_scenario hostile_window_scenarios[];
extern const struct hostile_scenario hostile_buffer_scenarios[];
extern const struct hostile_scenario hostile_flood_scenarios[];

/* Waits for the window's configure and commits a buffer. */
bool hostile_show_window(struct hostile *hostile);

/* Creates and shows a well-behaved window of 200x150; false when the connection is gone. */
bool hostile_map_window(struct hostile *hostile);

/* Sends everything that is queued, reading (and dispatching) answers meanwhile if read_answers. False when
 * the connection is gone or the compositor has taken nothing for HOSTILE_STALL_S. */
bool hostile_push(struct hostile *hostile, bool read_answers);

/* One round trip; false when the connection is gone or no answer came in HOSTILE_STALL_S. */
bool hostile_roundtrip(struct hostile *hostile);

/* Sends bytes outside libwayland's bookkeeping, with `fd_count` copies of one fd (at most 28 in one message,
 * as libwayland does). False as in hostile_push. */
bool hostile_send_raw(struct hostile *hostile, const void *bytes, size_t length, int fd, int fd_count);

#endif
