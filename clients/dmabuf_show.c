/* dmabuf: the window with its buffers, reused as they are released, and the log of all that happens to them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json_log.h"
#include "common/window.h"
#include "dmabuf.h"
#include "presentation-time-client-protocol.h"

#define POISON_COLOUR 0xff00ffu

struct show;

struct buffer {
    struct show *show;
    uint64_t index;
    struct memory memory;
    struct wl_buffer *wl_buffer;
    uint64_t seq; /* of the frame that is in it; 0: none yet */
    bool busy;
    uint32_t fence;    /* 0: none is attached */
    uint64_t fence_ns; /* when it is to be signalled */
};

struct show {
    const struct dmabuf_options *options;
    struct connection *connection;
    struct channel channel;
    struct window window;
    struct json_log log;
    struct buffer *buffers; /* options->buffers of them */
    enum memory_source source;
    int width, height;
    uint32_t stride;
    struct wl_callback *callback;
    uint64_t seq, presented, released, waits, last_commit_ns;
    bool configured, wants_frame;
    int failure; /* exit code, 0 while there is none */
};

/* ---- buffers ---- */

static void *pixels_of(const struct buffer *buffer)
{
    return (uint8_t *)buffer->memory.map + buffer->show->options->offset;
}

static void handle_release(void *data, struct wl_buffer *wl_buffer)
{
    struct buffer *buffer = data;
    struct show *show = buffer->show;
    (void)wl_buffer;
    buffer->busy = false;
    show->released++;
    json_log_begin(&show->log, "release");
    json_log_u64(&show->log, "buffer", buffer->index);
    json_log_u64(&show->log, "seq", buffer->seq);
    json_log_u64(&show->log, "release_ns", monotonic_now_ns());
    json_log_u64(&show->log, "last_seq", show->seq);
    json_log_end(&show->log);
    if (show->options->poison && memory_begin_write(&buffer->memory)) {
        picture_fill(pixels_of(buffer), show->stride, show->width, show->height, show->options->format,
                     POISON_COLOUR);
        memory_end_write(&buffer->memory);
    }
}

static const struct wl_buffer_listener buffer_listener = {.release = handle_release};

static bool make_buffer(struct show *show, struct buffer *buffer, uint64_t index)
{
    const struct dmabuf_options *options = show->options;
    size_t bytes = options->offset + (size_t)show->stride * (size_t)show->height;
    *buffer = (struct buffer){.show = show, .index = index, .memory = {.fd = -1, .device = -1}};
    if (!memory_allocate(&buffer->memory, show->source, bytes, show->stride, options->device)) {
        show->failure = EXIT_LOCAL;
        return false;
    }
    struct channel_plane plane = {buffer->memory.fd, (uint32_t)options->offset, show->stride};
    buffer->wl_buffer = channel_create_buffer(&show->channel, &plane, 1, show->width, show->height,
                                              options->format->fourcc, options->modifier, options->immediate);
    json_log_begin(&show->log, "buffer");
    json_log_u64(&show->log, "buffer", index);
    json_log_u64(&show->log, "bytes", buffer->memory.bytes);
    json_log_u64(&show->log, "offset", options->offset);
    json_log_u64(&show->log, "stride", show->stride);
    json_log_bool(&show->log, "created", buffer->wl_buffer != NULL);
    json_log_end(&show->log);
    if (buffer->wl_buffer == NULL) {
        bool alive = wl_display_get_error(show->connection->display) == 0;
        fprintf(stderr, "dmabuf: the compositor refused the buffer%s\n", alive ? "" : " and disconnected us");
        show->failure = alive ? EXIT_REFUSED : EXIT_DISCONNECTED;
        return false;
    }
    wl_buffer_add_listener(buffer->wl_buffer, &buffer_listener, buffer);
    return true;
}

static void destroy_buffer(struct buffer *buffer)
{
    if (buffer->wl_buffer != NULL) {
        wl_buffer_destroy(buffer->wl_buffer);
        buffer->wl_buffer = NULL;
    }
    memory_free(&buffer->memory);
}

static struct buffer *free_buffer(struct show *show)
{
    for (uint64_t i = 0; i < show->options->buffers; i++) {
        struct buffer *buffer = &show->buffers[i];
        if (buffer->wl_buffer == NULL) {
            return make_buffer(show, buffer, i) ? buffer : NULL;
        }
        if (!buffer->busy && buffer->fence == 0) {
            return buffer;
        }
    }
    return NULL;
}

/* ---- presentation ---- */

struct feedback {
    struct show *show;
    uint64_t seq;
};

static void log_presented(struct wp_presentation_feedback *object, struct feedback *feedback,
                          uint64_t presented_ns)
{
    struct json_log *log = &feedback->show->log;
    json_log_begin(log, "presented");
    json_log_u64(log, "seq", feedback->seq);
    json_log_u64(log, "presented_ns", presented_ns); /* 0: discarded */
    json_log_end(log);
    wp_presentation_feedback_destroy(object);
    free(feedback);
}

static void handle_presented(void *data, struct wp_presentation_feedback *object, uint32_t tv_sec_hi,
                             uint32_t tv_sec_lo, uint32_t tv_nsec, uint32_t refresh_ns, uint32_t seq_hi,
                             uint32_t seq_lo, uint32_t flags)
{
    struct feedback *feedback = data;
    (void)refresh_ns;
    (void)seq_hi;
    (void)seq_lo;
    (void)flags;
    feedback->show->presented++;
    log_presented(object, feedback,
                  connection_presented_ns(feedback->show->connection, tv_sec_hi, tv_sec_lo, tv_nsec));
}

static void handle_discarded(void *data, struct wp_presentation_feedback *object)
{
    log_presented(object, data, 0);
}

static void handle_sync_output(void *data, struct wp_presentation_feedback *object, struct wl_output *output)
{
    (void)data;
    (void)object;
    (void)output;
}

static const struct wp_presentation_feedback_listener feedback_listener = {
    .sync_output = handle_sync_output,
    .presented = handle_presented,
    .discarded = handle_discarded,
};

static void ask_for_feedback(struct show *show)
{
    struct feedback *feedback = malloc(sizeof(*feedback));
    if (show->connection->presentation == NULL || feedback == NULL) {
        free(feedback);
        return;
    }
    *feedback = (struct feedback){show, show->seq};
    struct wp_presentation_feedback *object =
        wp_presentation_feedback(show->connection->presentation, show->window.surface);
    wp_presentation_feedback_add_listener(object, &feedback_listener, feedback);
}

/* ---- frames ---- */

static void handle_frame_done(void *data, struct wl_callback *callback, uint32_t time_ms)
{
    struct show *show = data;
    (void)time_ms;
    wl_callback_destroy(callback);
    show->callback = NULL;
    show->wants_frame = true;
}

static const struct wl_callback_listener frame_listener = {.done = handle_frame_done};

static void commit_frame(struct show *show, struct buffer *buffer)
{
    const struct dmabuf_options *options = show->options;
    show->seq++;
    show->wants_frame = false;
    if (!memory_begin_write(&buffer->memory)) {
        show->failure = EXIT_LOCAL;
        return;
    }
    picture_draw(pixels_of(buffer), show->stride, show->width, show->height, options->format, show->seq);
    memory_end_write(&buffer->memory);
    buffer->seq = show->seq;
    buffer->busy = true;
    if (options->fence_ms > 0) {
        buffer->fence = memory_attach_fence(&buffer->memory);
        buffer->fence_ns = monotonic_now_ns() + options->fence_ms * NS_PER_MS;
        show->failure = buffer->fence == 0 ? EXIT_LOCAL : 0;
    }
    struct wl_surface *surface = show->window.surface;
    show->callback = wl_surface_frame(surface);
    wl_callback_add_listener(show->callback, &frame_listener, show);
    ask_for_feedback(show);
    wl_surface_attach(surface, buffer->wl_buffer, 0, 0);
    wl_surface_damage_buffer(surface, 0, 0, show->width, show->height);
    show->last_commit_ns = monotonic_now_ns();
    wl_surface_commit(surface);
    connection_flush(show->connection);
    json_log_begin(&show->log, "frame");
    json_log_u64(&show->log, "seq", show->seq);
    json_log_u64(&show->log, "buffer", buffer->index);
    json_log_u64(&show->log, "commit_ns", show->last_commit_ns);
    json_log_end(&show->log);
    json_log_flush(&show->log); /* a test that follows the log sees what is to be on the screen */
}

/* Fences that are due; when the next one is, or 0. */
static uint64_t signal_fences(struct show *show)
{
    uint64_t next_ns = 0, now_ns = monotonic_now_ns();
    for (uint64_t i = 0; i < show->options->buffers; i++) {
        struct buffer *buffer = &show->buffers[i];
        if (buffer->fence != 0 && now_ns >= buffer->fence_ns) {
            memory_signal_fence(&buffer->memory, buffer->fence);
            buffer->fence = 0;
        } else if (buffer->fence != 0 && (next_ns == 0 || buffer->fence_ns < next_ns)) {
            next_ns = buffer->fence_ns;
        }
    }
    return next_ns;
}

static void handle_configured(void *data)
{
    struct show *show = data;
    if (show->configured) {
        return; /* the size of the first configure stays: buffers are made once */
    }
    const struct dmabuf_options *options = show->options;
    show->configured = show->wants_frame = true;
    show->width = options->size_given ? options->width : show->window.width;
    show->height = options->size_given ? options->height : show->window.height;
    show->stride = (uint32_t)show->width * options->format->bytes + (uint32_t)options->stride_extra;
}

static void handle_closed(void *data)
{
    ((struct show *)data)->connection->stop_requested = true;
}

static const struct window_events window_events = {.configured = handle_configured, .closed = handle_closed};

/* After the last frame nothing of the client's needs to live for it to be seen. */
static void destroy_shown(struct show *show)
{
    for (uint64_t i = 0; i < show->options->buffers; i++) {
        if (show->buffers[i].wl_buffer != NULL) {
            destroy_buffer(&show->buffers[i]);
        }
    }
    connection_flush(show->connection);
    json_log_begin(&show->log, "destroyed");
    json_log_end(&show->log);
    json_log_flush(&show->log);
}

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns == 0 || (b_ns != 0 && b_ns < a_ns) ? b_ns : a_ns;
}

static int run(struct show *show)
{
    const struct dmabuf_options *options = show->options;
    uint64_t end_ns = 0;
    while (show->failure == 0 && !show->connection->stop_requested) {
        if (show->wants_frame && show->seq < options->frames) {
            struct buffer *buffer = free_buffer(show);
            if (buffer != NULL) {
                commit_frame(show, buffer);
            } else {
                show->waits++;
            }
        }
        if (end_ns == 0 && show->seq == options->frames && show->wants_frame) {
            /* The last frame's callback has come: it is on the screen, or about to be. */
            end_ns = options->hold_s >= 0
                         ? monotonic_now_ns() + (uint64_t)(options->hold_s * (double)NS_PER_S)
                         : UINT64_MAX;
            if (options->after != NULL) {
                destroy_shown(show);
            }
        }
        if (end_ns != 0 && monotonic_now_ns() >= end_ns) {
            break;
        }
        uint64_t deadline_ns = earlier(signal_fences(show), end_ns != UINT64_MAX ? end_ns : 0);
        json_log_flush(&show->log);
        if (show->failure == 0 && connection_wait(show->connection, deadline_ns) != EXIT_OK) {
            return EXIT_DISCONNECTED;
        }
    }
    return show->failure;
}

static void log_start(struct show *show)
{
    const struct dmabuf_options *options = show->options;
    json_log_begin(&show->log, "start");
    json_log_string(&show->log, "program", "dmabuf");
    json_log_u64(&show->log, "pid", (uint64_t)getpid());
    json_log_string(&show->log, "allocator", memory_source_names[show->source]);
    json_log_string(&show->log, "format", options->format->name);
    json_log_u64(&show->log, "modifier", options->modifier);
    json_log_u64(&show->log, "buffers", options->buffers);
    json_log_u64(&show->log, "frames", options->frames);
    json_log_end(&show->log);
    channel_log_offer(&show->channel, &show->log, false);
}

static void log_end(struct show *show, int result)
{
    json_log_begin(&show->log, "end");
    json_log_u64(&show->log, "exit_code", (uint64_t)result);
    json_log_u64(&show->log, "commits", show->seq);
    json_log_u64(&show->log, "presented", show->presented);
    json_log_u64(&show->log, "released", show->released);
    json_log_u64(&show->log, "buffer_waits", show->waits);
    json_log_end(&show->log);
    if (!show->options->quiet) {
        fprintf(stderr, "dmabuf: %llu frames from %s memory, %llu presented, %llu releases\n",
                (unsigned long long)show->seq, memory_source_names[show->source],
                (unsigned long long)show->presented, (unsigned long long)show->released);
    }
}

static enum exit_code prepare(struct show *show)
{
    const struct dmabuf_options *options = show->options;
    struct connection *connection = show->connection;
    if (connection_require(connection, connection->compositor, "wl_compositor 4") != EXIT_OK ||
        connection_require(connection, connection->wm_base, "xdg_wm_base") != EXIT_OK) {
        return EXIT_NO_COMPOSITOR;
    }
    show->source =
        options->source != MEMORY_SOURCE_COUNT ? options->source : memory_find_source(options->device);
    if (show->source == MEMORY_MEMFD) {
        fputs("dmabuf: no dma-buf can be allocated here: no /dev/udmabuf, /dev/dma_heap/system or "
              "/dev/dri/card*\n",
              stderr);
        return EXIT_LOCAL;
    }
    show->buffers = calloc(options->buffers, sizeof(*show->buffers));
    if (show->buffers == NULL) {
        fputs("dmabuf: no memory for buffers\n", stderr);
        return EXIT_LOCAL;
    }
    for (uint64_t i = 0; i < options->buffers; i++) {
        show->buffers[i].memory.fd = show->buffers[i].memory.device = -1;
    }
    return channel_open(&show->channel, connection, (uint32_t)options->version);
}

int dmabuf_show(const struct dmabuf_options *options, struct connection *connection)
{
    static struct show show; /* static: the log's buffer is too large for a stack frame */
    show.options = options;
    show.connection = connection;
    int log_error = json_log_open(&show.log, options->log_path);
    if (log_error != 0) {
        fprintf(stderr, "dmabuf: --log %s: %s\n", options->log_path, strerror(log_error));
        return EXIT_LOCAL;
    }
    int result = (int)prepare(&show);
    if (result == EXIT_OK) {
        log_start(&show);
        window_init(&show.window, connection, options->width, options->height, options->app_id,
                    options->title, options->fullscreen, &window_events, &show);
        result = run(&show);
        log_end(&show, result);
        if (show.callback != NULL) {
            wl_callback_destroy(show.callback);
        }
        window_finish(&show.window);
        for (uint64_t i = 0; i < options->buffers; i++) {
            destroy_buffer(&show.buffers[i]);
        }
    }
    channel_close(&show.channel);
    free(show.buffers);
    log_error = json_log_close(&show.log);
    if (log_error != 0) {
        fprintf(stderr, "dmabuf: writing the log: %s\n", strerror(log_error));
        result = result == EXIT_OK ? EXIT_LOCAL : result;
    }
    return result;
}
