/* wlroots' and libwayland's log handlers, in C: a Python callback would take the GIL on the frame path.
 *
 * The handlers are process-wide and know no server, so neither is the ring they fill. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/util/log.h>

#include "log_verbs.h"
#include "server.h"

static struct mc_logring *process_ring;
static enum mc_log_level lowest = MC_LOG_INFO;
static enum wlr_log_importance wlr_lowest = WLR_ERROR;
static _Thread_local bool errors_expected;

/* X11 answers late: what wlroots tells a window that its client has destroyed meanwhile comes back as
 * BadWindow (3), at the end of nearly every X11 window. That is no error of anybody's. */
static bool is_late_x11_answer(const char *format, va_list args)
{
    if (strstr(format, "xcb error: op ") == NULL) {
        return false;
    }
    char text[256];
    va_list copy;
    va_copy(copy, args);
    vsnprintf(text, sizeof(text), format, copy);
    va_end(copy);
    return strstr(text, ", code 3, ") != NULL || strstr(text, ", code Window ") != NULL;
}

static void handle_wlr_log(enum wlr_log_importance importance, const char *format, va_list args)
{
    /* wlroots filters by importance in its own handler only. */
    if (importance == WLR_ERROR && (errors_expected || is_late_x11_answer(format, args))) {
        importance = WLR_DEBUG;
    }
    if (process_ring != NULL && importance != WLR_SILENT && importance <= wlr_lowest) {
        mc_logring_vput(process_ring, MC_LOG_FROM_WLROOTS, (enum mc_log_level)importance, format, args);
    }
}

static void handle_wayland_log(const char *format, va_list args)
{
    if (process_ring != NULL) {
        /* libwayland has one level and uses it for clients' faults and for its own troubles alike. */
        mc_logring_vput(process_ring, MC_LOG_FROM_LIBWAYLAND, MC_LOG_WARNING, format, args);
    }
}

struct mc_logring *mc_log_init(int level)
{
    lowest = (enum mc_log_level)level;
    /* wlroots' "info" is what others call debug: how each piece is set up. */
    wlr_lowest = level >= MC_LOG_DEBUG ? WLR_DEBUG : WLR_ERROR;
    if (process_ring == NULL) {
        struct mc_logring *ring = malloc(sizeof(*ring));
        if (ring == NULL || mc_logring_init(ring) != 0) {
            free(ring);
            return NULL;
        }
        process_ring = ring; /* lives as long as the process: the handlers can be called until its very end */
    }
    wlr_log_init(wlr_lowest, handle_wlr_log);
    wl_log_set_handler_server(handle_wayland_log);
    return process_ring;
}

void mc_log(struct mc_server *server, enum mc_log_level level, const char *format, ...)
{
    (void)server;
    if (process_ring == NULL || (level == MC_LOG_DEBUG && lowest < MC_LOG_DEBUG)) {
        return;
    }
    va_list args;
    va_start(args, format);
    mc_logring_vput(process_ring, MC_LOG_FROM_MINICOMP, level, format, args);
    va_end(args);
}

void mc_log_expect_errors(bool expected)
{
    errors_expected = expected;
}

int mc_log_fd(struct mc_logring *ring)
{
    return ring->fd;
}
