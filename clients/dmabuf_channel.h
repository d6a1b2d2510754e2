/* dmabuf: the linux-dmabuf side of the connection: what is offered, and buffers made of dma-bufs. */
#ifndef CLIENTS_DMABUF_CHANNEL_H
#define CLIENTS_DMABUF_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wayland-client.h>

#include "common/connection.h"
#include "common/json_log.h"
#include "linux-dmabuf-unstable-v1-client-protocol.h"

#define CHANNEL_STALL_S 5 /* a compositor that gives no answer for this long */

struct channel_pair {
    uint32_t format;
    uint64_t modifier;
    uint32_t tranche; /* 0: of the most wanted; version 3 has one only */
};

struct channel {
    struct connection *connection; /* borrowed */
    struct zwp_linux_dmabuf_v1 *dmabuf;
    uint32_t version;           /* as bound */
    struct channel_pair *pairs; /* owned: what is offered, in the order it was */
    size_t pair_count;
    uint64_t main_device; /* dev_t; 0 without feedback */
    uint32_t tranches;
    const void *table; /* the format table, while feedback is being read */
    size_t table_bytes;
};

/* Binds the global at most at `version` and reads what it offers. */
enum exit_code channel_open(struct channel *channel, struct connection *connection, uint32_t version);
void channel_close(struct channel *channel);
void channel_log_offer(const struct channel *channel, struct json_log *log, bool with_pairs);
bool channel_offers(const struct channel *channel, uint32_t format, uint64_t modifier);

/* One plane of a buffer. */
struct channel_plane {
    int fd; /* borrowed */
    uint32_t offset, stride;
};

/* A wl_buffer of `count` planes; NULL: the compositor said `failed`, or the connection is gone. With
 * `immediate` the request is create_immed, and the answer (an error, if any) comes later. */
struct wl_buffer *channel_create_buffer(struct channel *channel, const struct channel_plane *planes,
                                        uint32_t count, int width, int height, uint32_t format,
                                        uint64_t modifier, bool immediate);

/* One round trip; false when the connection is gone or no answer came in CHANNEL_STALL_S. */
bool channel_roundtrip(struct channel *channel);
/* Sends what is queued, waiting for room; false as above. */
bool channel_push(struct channel *channel);

#endif
