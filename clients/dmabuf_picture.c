/* See dmabuf_picture.h. */
#include "dmabuf_picture.h"

#include <drm_fourcc.h>
#include <stdbool.h>

#define CELL_PX 8
#define HALF_ALPHA 128u

const struct picture_format picture_formats[] = {
    {"XRGB8888", DRM_FORMAT_XRGB8888, 4}, {"ARGB8888", DRM_FORMAT_ARGB8888, 4},
    {"XBGR8888", DRM_FORMAT_XBGR8888, 4}, {"ABGR8888", DRM_FORMAT_ABGR8888, 4},
    {"RGB565", DRM_FORMAT_RGB565, 2},     {0},
};

static uint32_t premultiply(uint32_t rgb, uint32_t alpha)
{
    uint32_t red = (rgb >> 16 & 0xff) * alpha / 255, green = (rgb >> 8 & 0xff) * alpha / 255,
             blue = (rgb & 0xff) * alpha / 255;
    return red << 16 | green << 8 | blue;
}

static uint32_t encode(const struct picture_format *format, uint32_t rgb, uint32_t alpha)
{
    uint32_t red = rgb >> 16 & 0xff, green = rgb >> 8 & 0xff, blue = rgb & 0xff;
    switch (format->fourcc) {
    case DRM_FORMAT_RGB565:
        return red >> 3 << 11 | green >> 2 << 5 | blue >> 3;
    case DRM_FORMAT_XBGR8888:
        return blue << 16 | green << 8 | red; /* X is left 0: it must not matter */
    case DRM_FORMAT_ABGR8888:
        return alpha << 24 | blue << 16 | green << 8 | red;
    case DRM_FORMAT_ARGB8888:
        return alpha << 24 | rgb;
    default:
        return rgb;
    }
}

static void put(void *pixels, size_t stride, int x, int y, const struct picture_format *format,
                uint32_t value)
{
    uint8_t *row = (uint8_t *)pixels + stride * (size_t)y;
    if (format->bytes == 2) {
        ((uint16_t *)row)[x] = (uint16_t)value;
    } else {
        ((uint32_t *)row)[x] = value;
    }
}

void picture_draw(void *pixels, size_t stride, int width, int height, const struct picture_format *format,
                  uint64_t seq)
{
    bool has_alpha = format->fourcc == DRM_FORMAT_ARGB8888 || format->fourcc == DRM_FORMAT_ABGR8888;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            uint32_t cx = (uint32_t)x / CELL_PX, cy = (uint32_t)y / CELL_PX;
            uint32_t red = (40 * cx + 24 * (uint32_t)seq) & 0xf8, green = 36 * cy & 0xfc,
                     blue = 56 * (cx + cy) & 0xf8;
            bool rim = x == 0 || y == 0 || x == width - 1 || y == height - 1;
            uint32_t rgb = rim ? 0xffffff : red << 16 | green << 8 | blue;
            uint32_t alpha = has_alpha && x >= width / 2 && y >= height / 2 ? HALF_ALPHA : 255;
            put(pixels, stride, x, y, format, encode(format, premultiply(rgb, alpha), alpha));
        }
    }
}

void picture_fill(void *pixels, size_t stride, int width, int height, const struct picture_format *format,
                  uint32_t colour)
{
    uint32_t value = encode(format, colour, 255);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            put(pixels, stride, x, y, format, value);
        }
    }
}
