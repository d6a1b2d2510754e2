/* See dmabuf_channel.h. */
#include "dmabuf_channel.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"

struct table_entry {
    uint32_t format, padding;
    uint64_t modifier;
};

/* ---- waiting ---- */

static bool wait_for(struct channel *channel, short events, uint64_t give_up_ns)
{
    uint64_t now_ns = monotonic_now_ns();
    struct pollfd fd = {.fd = wl_display_get_fd(channel->connection->display), .events = events};
    int timeout_ms = now_ns >= give_up_ns ? 0 : (int)((give_up_ns - now_ns) / NS_PER_MS) + 1;
    return poll(&fd, 1, timeout_ms) > 0;
}

bool channel_push(struct channel *channel)
{
    struct wl_display *display = channel->connection->display;
    uint64_t give_up_ns = monotonic_now_ns() + CHANNEL_STALL_S * NS_PER_S;
    while (wl_display_flush(display) < 0) {
        if (errno != EAGAIN) {
            /* The other end is closed; the reason, if there is one, is still to be read. */
            while (wait_for(channel, POLLIN, give_up_ns) && wl_display_dispatch(display) >= 0) {
            }
            return false;
        }
        if (monotonic_now_ns() >= give_up_ns) {
            return false;
        }
        wait_for(channel, POLLIN | POLLOUT, give_up_ns);
        if (wait_for(channel, POLLIN, 0) && wl_display_dispatch(display) < 0) {
            return false;
        }
    }
    return true;
}

static void handle_sync_done(void *data, struct wl_callback *callback, uint32_t serial)
{
    (void)callback;
    (void)serial;
    *(bool *)data = true;
}

static const struct wl_callback_listener sync_listener = {.done = handle_sync_done};

/* Until *done, set by a listener. */
static bool wait_until(struct channel *channel, const bool *done)
{
    struct wl_display *display = channel->connection->display;
    uint64_t give_up_ns = monotonic_now_ns() + CHANNEL_STALL_S * NS_PER_S;
    bool alive = channel_push(channel);
    while (alive && !*done && monotonic_now_ns() < give_up_ns) {
        if (wl_display_dispatch_pending(display) > 0) {
            continue;
        }
        if (wait_for(channel, POLLIN, give_up_ns)) {
            alive = wl_display_dispatch(display) >= 0;
        }
    }
    return alive && *done;
}

bool channel_roundtrip(struct channel *channel)
{
    bool done = false;
    struct wl_callback *callback = wl_display_sync(channel->connection->display);
    wl_callback_add_listener(callback, &sync_listener, &done);
    bool alive = wait_until(channel, &done);
    wl_callback_destroy(callback);
    return alive;
}

/* ---- what is offered ---- */

static void add_pair(struct channel *channel, uint32_t format, uint64_t modifier)
{
    struct channel_pair *pairs = realloc(channel->pairs, (channel->pair_count + 1) * sizeof(*channel->pairs));
    if (pairs == NULL) {
        fputs("dmabuf: no memory for the formats\n", stderr);
        exit(EXIT_LOCAL);
    }
    channel->pairs = pairs;
    pairs[channel->pair_count++] = (struct channel_pair){format, modifier, channel->tranches};
}

static void handle_format(void *data, struct zwp_linux_dmabuf_v1 *dmabuf, uint32_t format)
{
    struct channel *channel = data;
    (void)dmabuf;
    if (channel->version < ZWP_LINUX_DMABUF_V1_MODIFIER_SINCE_VERSION) {
        add_pair(channel, format, DRM_FORMAT_MOD_INVALID);
    }
}

static void handle_modifier(void *data, struct zwp_linux_dmabuf_v1 *dmabuf, uint32_t format, uint32_t high,
                            uint32_t low)
{
    (void)dmabuf;
    add_pair(data, format, (uint64_t)high << 32 | low);
}

static const struct zwp_linux_dmabuf_v1_listener dmabuf_listener = {handle_format, handle_modifier};

static void handle_table(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, int32_t fd, uint32_t size)
{
    struct channel *channel = data;
    (void)feedback;
    void *table = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (table == MAP_FAILED) {
        fprintf(stderr, "dmabuf: the format table cannot be mapped: %s\n", strerror(errno));
        exit(EXIT_LOCAL);
    }
    channel->table = table;
    channel->table_bytes = size;
}

static void handle_main_device(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback,
                               struct wl_array *device)
{
    struct channel *channel = data;
    (void)feedback;
    memcpy(&channel->main_device, device->data,
           device->size < sizeof(channel->main_device) ? device->size : sizeof(channel->main_device));
}

static void handle_tranche_formats(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback,
                                   struct wl_array *indices)
{
    struct channel *channel = data;
    const struct table_entry *table = channel->table;
    const uint16_t *index;
    (void)feedback;
    wl_array_for_each(index, indices)
    {
        if ((size_t)(*index + 1) * sizeof(*table) > channel->table_bytes) {
            fprintf(stderr, "dmabuf: the compositor's format index %u is outside of its table\n", *index);
            exit(EXIT_LOCAL);
        }
        add_pair(channel, table[*index].format, table[*index].modifier);
    }
}

static void handle_tranche_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
    (void)feedback;
    ((struct channel *)data)->tranches++;
}

static void ignore_array(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, struct wl_array *array)
{
    (void)data;
    (void)feedback;
    (void)array;
}

static void ignore_flags(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback, uint32_t flags)
{
    (void)data;
    (void)feedback;
    (void)flags;
}

static void handle_feedback_done(void *data, struct zwp_linux_dmabuf_feedback_v1 *feedback)
{
    struct channel *channel = data;
    (void)feedback;
    munmap((void *)channel->table, channel->table_bytes);
    channel->table = NULL;
}

static const struct zwp_linux_dmabuf_feedback_v1_listener feedback_listener = {
    .done = handle_feedback_done,
    .format_table = handle_table,
    .main_device = handle_main_device,
    .tranche_done = handle_tranche_done,
    .tranche_target_device = ignore_array,
    .tranche_formats = handle_tranche_formats,
    .tranche_flags = ignore_flags,
};

static void handle_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
                          uint32_t version)
{
    struct channel *channel = data;
    if (strcmp(interface, zwp_linux_dmabuf_v1_interface.name) == 0) {
        channel->version = version < channel->version ? version : channel->version;
        channel->dmabuf = wl_registry_bind(registry, name, &zwp_linux_dmabuf_v1_interface, channel->version);
        zwp_linux_dmabuf_v1_add_listener(channel->dmabuf, &dmabuf_listener, channel);
    }
}

static void ignore_global_remove(void *data, struct wl_registry *registry, uint32_t name)
{
    (void)data;
    (void)registry;
    (void)name;
}

static const struct wl_registry_listener registry_listener = {handle_global, ignore_global_remove};

enum exit_code channel_open(struct channel *channel, struct connection *connection, uint32_t version)
{
    *channel = (struct channel){.connection = connection, .version = version};
    struct wl_registry *registry = wl_display_get_registry(connection->display);
    wl_registry_add_listener(registry, &registry_listener, channel);
    bool alive = channel_roundtrip(channel);
    wl_registry_destroy(registry);
    if (!alive || connection_require(connection, channel->dmabuf, "zwp_linux_dmabuf_v1") != EXIT_OK) {
        return alive ? EXIT_NO_COMPOSITOR : EXIT_DISCONNECTED;
    }
    struct zwp_linux_dmabuf_feedback_v1 *feedback = NULL;
    if (channel->version >= ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION) {
        feedback = zwp_linux_dmabuf_v1_get_default_feedback(channel->dmabuf);
        zwp_linux_dmabuf_feedback_v1_add_listener(feedback, &feedback_listener, channel);
    }
    alive = channel_roundtrip(channel);
    if (feedback != NULL) {
        zwp_linux_dmabuf_feedback_v1_destroy(feedback);
    }
    return alive ? EXIT_OK : EXIT_DISCONNECTED;
}

void channel_close(struct channel *channel)
{
    free(channel->pairs);
    channel->pairs = NULL;
    if (channel->dmabuf != NULL) {
        zwp_linux_dmabuf_v1_destroy(channel->dmabuf);
        channel->dmabuf = NULL;
    }
}

bool channel_offers(const struct channel *channel, uint32_t format, uint64_t modifier)
{
    for (size_t i = 0; i < channel->pair_count; i++) {
        if (channel->pairs[i].format == format && channel->pairs[i].modifier == modifier) {
            return true;
        }
    }
    return false;
}

void channel_log_offer(const struct channel *channel, struct json_log *log, bool with_pairs)
{
    json_log_begin(log, "offer");
    json_log_u64(log, "version", channel->version);
    json_log_u64(log, "main_device", channel->main_device);
    json_log_u64(log, "tranches", channel->tranches);
    json_log_u64(log, "pairs", channel->pair_count);
    json_log_end(log);
    for (size_t i = 0; with_pairs && i < channel->pair_count; i++) {
        const struct channel_pair *pair = &channel->pairs[i];
        char name[5] = {(char)pair->format, (char)(pair->format >> 8), (char)(pair->format >> 16),
                        (char)(pair->format >> 24), '\0'};
        json_log_begin(log, "pair");
        json_log_string(log, "fourcc", name);
        json_log_u64(log, "modifier", pair->modifier);
        json_log_u64(log, "tranche", pair->tranche);
        json_log_end(log);
    }
}

/* ---- buffers ---- */

struct answer {
    bool done;
    struct wl_buffer *buffer;
};

static void handle_created(void *data, struct zwp_linux_buffer_params_v1 *params, struct wl_buffer *buffer)
{
    struct answer *answer = data;
    (void)params;
    answer->done = true;
    answer->buffer = buffer;
}

static void handle_failed(void *data, struct zwp_linux_buffer_params_v1 *params)
{
    (void)params;
    ((struct answer *)data)->done = true;
}

static const struct zwp_linux_buffer_params_v1_listener params_listener = {handle_created, handle_failed};

struct wl_buffer *channel_create_buffer(struct channel *channel, const struct channel_plane *planes,
                                        uint32_t count, int width, int height, uint32_t format,
                                        uint64_t modifier, bool immediate)
{
    struct zwp_linux_buffer_params_v1 *params = zwp_linux_dmabuf_v1_create_params(channel->dmabuf);
    struct answer answer = {0};
    zwp_linux_buffer_params_v1_add_listener(params, &params_listener, &answer);
    for (uint32_t i = 0; i < count; i++) {
        zwp_linux_buffer_params_v1_add(params, planes[i].fd, i, planes[i].offset, planes[i].stride,
                                       (uint32_t)(modifier >> 32), (uint32_t)modifier);
    }
    if (immediate) {
        answer.buffer = zwp_linux_buffer_params_v1_create_immed(params, width, height, format, 0);
    } else {
        zwp_linux_buffer_params_v1_create(params, width, height, format, 0);
        wait_until(channel, &answer.done);
    }
    zwp_linux_buffer_params_v1_destroy(params);
    return answer.buffer;
}
