/*
 * Paints the first connected output through KMS alone, for the VM lab's own tests: a dumb buffer in four
 * coloured quarters, shown by a plain mode set. Prints "painted WxH" and keeps it on the screen until
 * SIGTERM.
 *
 * With "flip N" it then flips N times between two such buffers and prints for each flip's event
 * "flip SEQUENCE MICROSECONDS", from which a test sees whether the display has a vblank clock.
 *
 * Single thread; the kernel frees everything at exit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

static const uint32_t quarters[4] = {0x00ff0000, 0x0000ff00, 0x000000ff, 0x00ffff00};

static void die(const char *what)
{
    fprintf(stderr, "kms_paint: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t make_buffer(int fd, uint32_t width, uint32_t height)
{
    uint32_t handle, pitch, buffer_id;
    uint64_t size, offset;
    if (drmModeCreateDumbBuffer(fd, width, height, 32, 0, &handle, &pitch, &size) != 0) {
        die("create dumb buffer");
    }
    if (drmModeAddFB(fd, width, height, 24, 32, pitch, handle, &buffer_id) != 0) {
        die("add framebuffer");
    }
    if (drmModeMapDumbBuffer(fd, handle, &offset) != 0) {
        die("map dumb buffer");
    }
    uint8_t *pixels = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (pixels == MAP_FAILED) {
        die("mmap");
    }
    for (uint32_t y = 0; y < height; y++) {
        uint32_t *row = (uint32_t *)(void *)(pixels + (size_t)y * pitch);
        for (uint32_t x = 0; x < width; x++) {
            row[x] = quarters[(y >= height / 2) * 2 + (x >= width / 2)];
        }
    }
    return buffer_id;
}

static drmModeConnector *first_connected(int fd, const drmModeRes *resources)
{
    for (int i = 0; i < resources->count_connectors; i++) {
        drmModeConnector *connector = drmModeGetConnector(fd, resources->connectors[i]);
        if (connector != NULL && connector->connection == DRM_MODE_CONNECTED && connector->count_modes > 0) {
            return connector;
        }
        drmModeFreeConnector(connector);
    }
    errno = ENODEV;
    die("no connected output");
    return NULL;
}

static void handle_flip(int fd, unsigned int sequence, unsigned int seconds, unsigned int microseconds,
                        void *data)
{
    (void)fd;
    (void)data;
    printf("flip %u %llu\n", sequence, seconds * 1000000ull + microseconds);
}

int main(int argc, char **argv)
{
    int fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        die("/dev/dri/card0");
    }
    drmModeRes *resources = drmModeGetResources(fd);
    if (resources == NULL) {
        die("get resources");
    }
    drmModeConnector *connector = first_connected(fd, resources);
    drmModeModeInfo mode = connector->modes[0];
    uint32_t crtc_id = resources->crtcs[0];
    uint32_t buffers[2] = {make_buffer(fd, mode.hdisplay, mode.vdisplay),
                           make_buffer(fd, mode.hdisplay, mode.vdisplay)};
    if (drmModeSetCrtc(fd, crtc_id, buffers[0], 0, 0, &connector->connector_id, 1, &mode) != 0) {
        die("set mode");
    }
    printf("painted %ux%u\n", mode.hdisplay, mode.vdisplay);
    fflush(stdout);
    int flips = argc == 3 && strcmp(argv[1], "flip") == 0 ? atoi(argv[2]) : 0;
    drmEventContext events = {.version = 2, .page_flip_handler = handle_flip};
    for (int i = 0; i < flips; i++) {
        if (drmModePageFlip(fd, crtc_id, buffers[(i + 1) % 2], DRM_MODE_PAGE_FLIP_EVENT, NULL) != 0) {
            die("page flip");
        }
        drmHandleEvent(fd, &events);
    }
    if (flips == 0) {
        pause();
    }
    return 0;
}
