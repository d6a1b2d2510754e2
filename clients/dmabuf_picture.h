/* dmabuf: formats, and the picture that is drawn in them; a test computes the same from position and frame
 * number.
 */
#ifndef CLIENTS_DMABUF_PICTURE_H
#define CLIENTS_DMABUF_PICTURE_H

#include <stddef.h>
#include <stdint.h>

struct picture_format {
    const char *name;
    uint32_t fourcc;
    uint32_t bytes; /* of one pixel */
};

extern const struct picture_format picture_formats[]; /* ended by one without a name */

/* Draws frame `seq`: a white rim of one pixel around cells of 8x8 pixels, of a cell in column cx and row cy
 *   red (40 cx + 24 seq) & 0xf8, green (36 cy) & 0xfc, blue 56 (cx + cy) & 0xf8
 * In formats with alpha the lower right quarter (x >= width / 2, y >= height / 2) has alpha 128, and colours
 * premultiplied with it, rounded down; everything else 255. */
void picture_draw(void *pixels, size_t stride, int width, int height, const struct picture_format *format,
                  uint64_t seq);

/* One colour (0xRRGGBB, opaque) everywhere. */
void picture_fill(void *pixels, size_t stride, int width, int height, const struct picture_format *format,
                  uint32_t colour);

#endif
