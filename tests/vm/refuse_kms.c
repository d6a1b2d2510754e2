/* For LD_PRELOAD: a display driver that takes a cursor's picture and then refuses to show it, or refuses
 * every frame, while a file exists. With WLR_DRM_NO_ATOMIC, for whose calls this stands in. */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

static int refused(const char *file_name)
{
    int error = access(file_name, F_OK) == 0 ? EINVAL : 0;
    errno = error;
    return -error;
}

int drmModeSetCursor(int fd, uint32_t crtc, uint32_t handle, uint32_t width, uint32_t height)
{
    int (*real)(int, uint32_t, uint32_t, uint32_t, uint32_t);
    *(void **)&real = dlsym(RTLD_NEXT, "drmModeSetCursor");
    int error = handle != 0 ? refused("/run/refuse-cursor") : 0;
    return error != 0 ? error : real(fd, crtc, handle, width, height);
}

int drmModePageFlip(int fd, uint32_t crtc, uint32_t buffer, uint32_t flags, void *data)
{
    int (*real)(int, uint32_t, uint32_t, uint32_t, void *);
    *(void **)&real = dlsym(RTLD_NEXT, "drmModePageFlip");
    int error = refused("/run/refuse-flips");
    return error != 0 ? error : real(fd, crtc, buffer, flags, data);
}
