/* What is known of pixel formats: enough to tell whether a picture fits into its memory.
 *
 * The renderer is believed about what it imports, but not to check bounds: Mesa's software renderers read
 * where they are told to. A format that is not listed is taken for one byte a pixel, in one plane. */
#include "dmabuf.h"

#include <drm_fourcc.h>
#include <stddef.h>

/* Read by the CPU: one plane, drawn by pixman as it is and by GLES2 after glTexImage2D. */
const uint32_t mc_dmabuf_mapped_formats[MC_DMABUF_MAPPED_FORMATS] = {
    DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_XBGR8888, DRM_FORMAT_ABGR8888, DRM_FORMAT_RGB565,
};

static const uint32_t two_bytes[] = {
    DRM_FORMAT_RGB565,   DRM_FORMAT_BGR565,   DRM_FORMAT_XRGB1555, DRM_FORMAT_ARGB1555, DRM_FORMAT_XBGR1555,
    DRM_FORMAT_ABGR1555, DRM_FORMAT_RGBX5551, DRM_FORMAT_RGBA5551, DRM_FORMAT_BGRX5551, DRM_FORMAT_BGRA5551,
    DRM_FORMAT_XRGB4444, DRM_FORMAT_ARGB4444, DRM_FORMAT_XBGR4444, DRM_FORMAT_ABGR4444, DRM_FORMAT_RGBX4444,
    DRM_FORMAT_RGBA4444, DRM_FORMAT_BGRX4444, DRM_FORMAT_BGRA4444, DRM_FORMAT_R16,      DRM_FORMAT_RG88,
    DRM_FORMAT_GR88,     DRM_FORMAT_YUYV,     DRM_FORMAT_YVYU,     DRM_FORMAT_UYVY,     DRM_FORMAT_VYUY,
    DRM_FORMAT_P010,     DRM_FORMAT_P012,     DRM_FORMAT_P016,     DRM_FORMAT_P210,
};

static const uint32_t three_bytes[] = {DRM_FORMAT_RGB888, DRM_FORMAT_BGR888, DRM_FORMAT_VUY888};

static const uint32_t four_bytes[] = {
    DRM_FORMAT_XRGB8888,    DRM_FORMAT_ARGB8888,    DRM_FORMAT_XBGR8888,    DRM_FORMAT_ABGR8888,
    DRM_FORMAT_RGBX8888,    DRM_FORMAT_RGBA8888,    DRM_FORMAT_BGRX8888,    DRM_FORMAT_BGRA8888,
    DRM_FORMAT_XRGB2101010, DRM_FORMAT_ARGB2101010, DRM_FORMAT_XBGR2101010, DRM_FORMAT_ABGR2101010,
    DRM_FORMAT_RGBX1010102, DRM_FORMAT_RGBA1010102, DRM_FORMAT_BGRX1010102, DRM_FORMAT_BGRA1010102,
    DRM_FORMAT_RG1616,      DRM_FORMAT_GR1616,      DRM_FORMAT_AYUV,        DRM_FORMAT_XYUV8888,
    DRM_FORMAT_Y210,        DRM_FORMAT_Y212,        DRM_FORMAT_Y216,        DRM_FORMAT_Y410,
    DRM_FORMAT_XVYU2101010,
};

static const uint32_t eight_bytes[] = {
    DRM_FORMAT_XRGB16161616,  DRM_FORMAT_ARGB16161616,  DRM_FORMAT_XBGR16161616,  DRM_FORMAT_ABGR16161616,
    DRM_FORMAT_XRGB16161616F, DRM_FORMAT_ARGB16161616F, DRM_FORMAT_XBGR16161616F, DRM_FORMAT_ABGR16161616F,
    DRM_FORMAT_Y412,          DRM_FORMAT_Y416,          DRM_FORMAT_XVYU16161616,
};

/* Planes after the first have as many rows, half, or a quarter. */
static const uint32_t whole_chroma[] = {
    DRM_FORMAT_NV16,   DRM_FORMAT_NV61,   DRM_FORMAT_NV24,   DRM_FORMAT_NV42,
    DRM_FORMAT_P210,   DRM_FORMAT_YUV411, DRM_FORMAT_YVU411, DRM_FORMAT_YUV422,
    DRM_FORMAT_YVU422, DRM_FORMAT_YUV444, DRM_FORMAT_YVU444,
#ifdef DRM_FORMAT_NV20
    DRM_FORMAT_NV20,
#endif
};

static const uint32_t half_chroma[] = {
    DRM_FORMAT_NV12, DRM_FORMAT_NV21, DRM_FORMAT_NV15,   DRM_FORMAT_P010,   DRM_FORMAT_P012,
    DRM_FORMAT_P016, DRM_FORMAT_P030, DRM_FORMAT_YUV420, DRM_FORMAT_YVU420,
};

static const uint32_t quarter_chroma[] = {DRM_FORMAT_YUV410, DRM_FORMAT_YVU410};

#define IN(format, list) in_list(format, list, sizeof(list) / sizeof((list)[0]))

static bool in_list(uint32_t format, const uint32_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == format) {
            return true;
        }
    }
    return false;
}

bool mc_dmabuf_is_mapped_format(uint32_t format)
{
    return IN(format, mc_dmabuf_mapped_formats);
}

uint32_t mc_dmabuf_pixel_bytes(uint32_t format)
{
    return IN(format, two_bytes)     ? 2
           : IN(format, three_bytes) ? 3
           : IN(format, four_bytes)  ? 4
           : IN(format, eight_bytes) ? 8
                                     : 1;
}

uint32_t mc_dmabuf_plane_rows(uint32_t format, int plane, uint32_t height)
{
    if (plane == 0 || IN(format, whole_chroma)) {
        return height;
    }
    return IN(format, half_chroma) ? (height + 1) / 2 : IN(format, quarter_chroma) ? (height + 3) / 4 : 1;
}
