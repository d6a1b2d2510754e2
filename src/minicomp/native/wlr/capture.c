/* A copy of one composed frame, for screenshots: asked for by a verb, made while composing, taken by another.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/interfaces/wlr_output.h>
#include <wlr/render/wlr_renderer.h>
#include <wlr/types/wlr_output.h>

#include "server.h"
#include "server_verbs.h"

/* The whole frame as it goes to the display, in buffer orientation, XRGB8888. Allocates: only when asked for.
 */
void mc_capture_frame(struct mc_output *output)
{
    uint32_t width = (uint32_t)output->wlr_output->width, height = (uint32_t)output->wlr_output->height;
    uint8_t *pixels = malloc((size_t)width * height * 4);
    uint32_t flags = 0;
    output->capture_wanted = false;
    if (pixels == NULL || !wlr_renderer_read_pixels(output->wlr_output->renderer, DRM_FORMAT_XRGB8888, &flags,
                                                    width * 4, width, height, 0, 0, 0, 0, pixels)) {
        mc_log(output->server, MC_LOG_WARNING, "output %s: its pixels cannot be read",
               output->wlr_output->name);
        free(pixels);
        return;
    }
    if ((flags & WLR_RENDERER_READ_PIXELS_Y_INVERT) != 0) {
        for (uint32_t top = 0, bottom = height - 1; top < bottom; top++, bottom--) {
            for (uint32_t i = 0; i < width * 4; i++) {
                uint8_t byte = pixels[top * width * 4 + i];
                pixels[top * width * 4 + i] = pixels[bottom * width * 4 + i];
                pixels[bottom * width * 4 + i] = byte;
            }
        }
    }
    output->capture = pixels;
    output->capture_width = (int32_t)width;
    output->capture_height = (int32_t)height;
}

int mc_output_capture(struct mc_server *server, uint64_t handle)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    int result = output == NULL ? -ENOENT : !output->wlr_output->enabled ? -EINVAL : 0;
    if (result == 0) {
        mc_capture_drop(output);
        output->capture_wanted = true;
        wlr_output_update_needs_frame(output->wlr_output);
    }
    mc_verb_end(server);
    return result;
}

int mc_output_capture_take(struct mc_server *server, uint64_t handle, uint8_t *pixels_ret, size_t size,
                           int32_t *width_ret, int32_t *height_ret)
{
    uint8_t *taken = NULL; /* copied without the lock: a large picture takes longer than a frame may wait */
    size_t needed = 0;
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    int result = 0;
    if (output == NULL) {
        result = -ENOENT;
    } else if (output->capture == NULL) {
        result = output->capture_wanted ? -EAGAIN : -EIO;
    } else {
        *width_ret = output->capture_width;
        *height_ret = output->capture_height;
        needed = (size_t)output->capture_width * (size_t)output->capture_height * 4;
        if (needed > size) {
            result = -ENOSPC;
        } else {
            taken = output->capture;
            output->capture = NULL;
            mc_capture_drop(output);
        }
    }
    mc_look_end(server);
    if (taken != NULL) {
        memcpy(pixels_ret, taken, needed);
        free(taken);
    }
    return result;
}

void mc_capture_drop(struct mc_output *output)
{
    free(output->capture);
    output->capture = NULL;
    output->capture_wanted = false;
}
