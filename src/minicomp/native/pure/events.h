/* What the native plane tells the policy: kinds of struct mc_event and the meaning of handle, a and b. */
#ifndef MC_EVENTS_H
#define MC_EVENTS_H

enum mc_event_kind {
    MC_EVENT_NONE = 0,
    /* outputs: handle is the output */
    MC_EVENT_OUTPUT_NEW = 1,     /* needs a mode and a place: outputs are born disabled */
    MC_EVENT_OUTPUT_GONE = 2,    /* handle is dead already */
    MC_EVENT_OUTPUT_CHANGED = 3, /* mode, scale, transform, place or enabled */
    MC_EVENT_OUTPUT_POWER = 4,   /* output-power client: a = 1 on, 0 off */
    MC_EVENT_OUTPUT_CONFIG = 5,  /* output-management client: a = configuration pointer, b = 1 test only */
    /* windows (xdg toplevels and X11 windows): handle is the window */
    MC_EVENT_WINDOW_NEW = 16, /* its first commit: waits for window_configure; a = 1 X11 */
    MC_EVENT_WINDOW_MAP = 17, /* has content; hidden until window_show; a, b = geometry width, height */
    MC_EVENT_WINDOW_UNMAP = 18,
    MC_EVENT_WINDOW_GONE = 19, /* handle is dead already */
    MC_EVENT_WINDOW_TITLE = 20,
    MC_EVENT_WINDOW_APP_ID = 21,
    MC_EVENT_WINDOW_PARENT = 22,             /* a = parent's handle or 0 */
    MC_EVENT_WINDOW_RESIZED = 23,            /* its geometry changed: a, b = width, height */
    MC_EVENT_WINDOW_PRESSED = 24,            /* a button or finger went down on it (or on a popup of it) */
    MC_EVENT_WINDOW_REQUEST_ACTIVATE = 25,   /* a = 1 by a taskbar, 2 by a valid activation token, 3 by X11 */
    MC_EVENT_WINDOW_REQUEST_FULLSCREEN = 26, /* a = on, b = output handle or 0 */
    MC_EVENT_WINDOW_REQUEST_MAXIMIZE = 27,   /* a = on */
    MC_EVENT_WINDOW_REQUEST_MINIMIZE = 28,   /* a = on */
    MC_EVENT_WINDOW_REQUEST_MOVE = 29,       /* interactive, with a button held */
    MC_EVENT_WINDOW_REQUEST_RESIZE = 30,     /* a = enum wlr_edges bits */
    MC_EVENT_WINDOW_REQUEST_MENU = 31,       /* a, b = surface-local x, y */
    MC_EVENT_WINDOW_REQUEST_CLOSE = 32,      /* by a taskbar */
    MC_EVENT_WINDOW_REQUEST_PLACE = 33, /* X11 configure request: a = x << 32 | y, b = width << 32 | height */
    /* layer surfaces: handle is the layer surface */
    MC_EVENT_LAYER_NEW = 48,     /* its first commit: waits for layer_configure */
    MC_EVENT_LAYER_CHANGED = 49, /* anchor, size, margin, exclusive zone, layer or keyboard interactivity */
    MC_EVENT_LAYER_MAP = 50,
    MC_EVENT_LAYER_UNMAP = 51,
    MC_EVENT_LAYER_GONE = 52, /* handle is dead already */
    MC_EVENT_LAYER_PRESSED = 53,
    /* seat */
    MC_EVENT_BINDING = 64,     /* a = the number given with the binding */
    MC_EVENT_GRAB_END = 65,    /* interactive move or resize ended: handle is the window */
    MC_EVENT_DEVICE_NEW = 66,  /* handle is the device; a = enum wlr_input_device_type, b = 1 virtual */
    MC_EVENT_DEVICE_GONE = 67, /* handle is dead already */
    MC_EVENT_INHIBITORS = 68,  /* a = number of active idle inhibitors */
    MC_EVENT_IDLE = 69,        /* no input for as long as was set (idle_verbs.h) */
    MC_EVENT_RESUMED = 70,     /* input again */
    /* the rest */
    MC_EVENT_CLIENT_NEW = 80,  /* handle is the client; a = pid */
    MC_EVENT_CLIENT_GONE = 81, /* handle is dead already */
    MC_EVENT_XWAYLAND_READY = 82,
};

#endif
