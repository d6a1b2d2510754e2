/* dmabuf's command line. */
#ifndef CLIENTS_DMABUF_OPTIONS_H
#define CLIENTS_DMABUF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "dmabuf_memory.h"
#include "dmabuf_picture.h"

struct dmabuf_options {
    enum memory_source source; /* MEMORY_SOURCE_COUNT: the first that works */
    const char *device;        /* NULL: the first card */
    const struct picture_format *format;
    uint64_t modifier;
    uint64_t stride_extra, offset; /* bytes */
    int width, height;
    bool size_given; /* else what the compositor wants */
    bool fullscreen, immediate, poison, pairs, quiet, list;
    uint64_t buffers, frames, version, fence_ms, count;
    double hold_s, wait_s;
    const char *log_path, *app_id, *title, *bad;
    const char *after; /* what to do with the buffer when the last frame was committed: NULL or "destroy" */
};

enum dmabuf_options_result { DMABUF_OPTIONS_RUN, DMABUF_OPTIONS_HELP_SHOWN, DMABUF_OPTIONS_BAD };

enum dmabuf_options_result dmabuf_options_parse(struct dmabuf_options *options, int argc, char **argv);

#endif
