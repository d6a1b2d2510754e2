/* dmabuf --bad: what its scenarios share.
 *
 * A scenario does its deed on an open connection and returns early when the connection is gone; dmabuf_bad.c
 * then finds out what became of it. None may block for ever. What it leaves open goes with the process.
 */
#ifndef CLIENTS_DMABUF_BAD_H
#define CLIENTS_DMABUF_BAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/window.h"
#include "dmabuf.h"

#define BAD_WIDTH_PX 64
#define BAD_HEIGHT_PX 32
#define BAD_STRIDE (BAD_WIDTH_PX * 4)

enum bad_expectation {
    BAD_ERROR,    /* the protocol error in `code`, of zwp_linux_buffer_params_v1 */
    BAD_KILLED,   /* disconnected, by whatever error */
    BAD_FAILED,   /* the `failed` event; the connection goes on */
    BAD_REFUSED,  /* one of the three above: versions and renderers differ in which */
    BAD_SURVIVES, /* odd, but within the protocol: buffers are made, the connection goes on */
    BAD_EITHER,   /* only others must not notice */
    BAD_DIES,     /* the client itself goes away in the middle of it */
};

enum bad_needs { BAD_NEEDS_NOTHING, BAD_NEEDS_DMABUF, BAD_NEEDS_WL_DRM /* and a dma-buf */ };

struct bad {
    const struct dmabuf_options *options;
    struct connection *connection;
    struct channel channel;
    struct window window;
    bool configured;
    enum memory_source source; /* of dma-bufs */
    struct memory memory;      /* a page or more, made for scenarios that need a dma-buf */
    int memfd;                 /* no dma-buf; of the size of a good one */
    uint64_t count;
    bool failed;        /* the `failed` event came */
    uint32_t created;   /* buffers */
    const char *undone; /* why the deed could not be done; static text */
};

struct bad_scenario {
    const char *name;
    enum bad_needs needs;
    enum bad_expectation expected;
    uint32_t code;
    uint64_t default_count; /* 0: --count means nothing to it */
    const char *description;
    void (*run)(struct bad *bad);
};

/* Each file's scenarios, ended by one without a name. */
extern const struct bad_scenario bad_params_scenarios[];
extern const struct bad_scenario bad_buffer_scenarios[];
extern const struct bad_scenario bad_drm_scenarios[];

/* Params whose answer is noted in `failed` and `created`. */
struct zwp_linux_buffer_params_v1 *bad_params(struct bad *bad);
/* One plane of linear memory at offset 0 with the usual stride. */
void bad_add(struct zwp_linux_buffer_params_v1 *params, int fd, uint32_t plane);
/* A good wl_buffer of bad->memory, or NULL: `undone` says why. */
struct wl_buffer *bad_good_buffer(struct bad *bad);
/* Attaches and commits it. */
void bad_show(struct bad *bad, struct wl_buffer *buffer);
/* Long enough for some frames to be composed. */
void bad_let_it_compose(struct bad *bad);
/* Shows a window that waits for a buffer; false when the connection is gone. */
bool bad_open_window(struct bad *bad);

#endif
