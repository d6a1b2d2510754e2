/* See dmabuf_options.h. */
#include "dmabuf_options.h"

#include <drm_fourcc.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/arguments.h"

#define MAX_BUFFERS 16

static const char help[] =
    "dmabuf: a Wayland client whose buffers are dma-bufs, drawn by the CPU and passed by linux-dmabuf.\n"
    "\n"
    "  dmabuf                                 one picture from whatever memory there is, until SIGTERM\n"
    "  dmabuf --allocator udmabuf --frames 60 --log -   60 frames, three buffers in turn, a line for each "
    "step\n"
    "  dmabuf --format RGB565 --stride-extra 60 --offset 4100 --size 333x111\n"
    "  dmabuf --list                          the ways to misuse the protocol, and the answers expected\n"
    "  dmabuf --bad not-a-dmabuf              one of them; a JSON line on standard output is the verdict\n"
    "  dmabuf --pairs                         only show what the compositor offers, as JSON lines\n"
    "\n"
    "Where the memory comes from\n"
    "  --allocator A       udmabuf | heap | dumb | auto (the first of these that works; default)\n"
    "  --device CARD       for dumb buffers; default: the first /dev/dri/card* that has them\n"
    "What is told about it\n"
    "  --format F          XRGB8888 (default) | ARGB8888 | XBGR8888 | ABGR8888 | RGB565\n"
    "  --modifier M        linear (default) | invalid (implicit)\n"
    "  --stride-extra N    bytes after each row; default 0\n"
    "  --offset N          bytes before the first row; default 0\n"
    "  --immed             create_immed in place of create\n"
    "  --version N         bind linux-dmabuf at most at this version; default 4\n"
    "What is shown: a white rim around cells of 8x8 pixels in colours of their place and the frame's number\n"
    "  --size WxH          this size, whatever the compositor wants; default: what it wants, else 256x256\n"
    "  --buffers N         1 to 16, reused when released; default 3\n"
    "  --frames N          frames, one on each frame callback; default 1\n"
    "  --hold-s S          stay for S seconds after the last frame; default: until SIGTERM\n"
    "  --poison            fill a buffer with magenta as soon as it is released: nobody may see that\n"
    "  --after destroy     destroy the wl_buffer that is shown, and free its memory, after the last frame\n"
    "  --fence-ms N        commit each frame N ms before its dma-buf says that it is written (vgem only)\n"
    "  --app-id ID, --title T, --fullscreen\n"
    "What is written\n"
    "  --log FILE|-        JSON lines: start, offer, buffer, frame, presented, release, end\n"
    "  --quiet             no summary\n"
    "Connecting\n"
    "  --wait-s S          keep trying for this long while there is no compositor; default 0\n"
    "With --bad\n"
    "  --count N           how often, for scenarios that do something many times\n"
    "\n"
    "Exit code: 0 done, and with --bad: the expected answer; 1 wrong usage; 2 no compositor, or it lacks a\n"
    "global that is needed; 3 protocol error or disconnected; 4 local failure (no such memory here, log not\n"
    "writable); 5 with --bad: another answer than expected; 6 the compositor refused a good buffer.\n";

enum option_value {
    OPTION_HELP = 1,
    OPTION_LIST,
    OPTION_PAIRS,
    OPTION_BAD,
    OPTION_COUNT,
    OPTION_ALLOCATOR,
    OPTION_DEVICE,
    OPTION_FORMAT,
    OPTION_MODIFIER,
    OPTION_STRIDE,
    OPTION_OFFSET,
    OPTION_IMMED,
    OPTION_VERSION,
    OPTION_SIZE,
    OPTION_BUFFERS,
    OPTION_FRAMES,
    OPTION_HOLD,
    OPTION_POISON,
    OPTION_AFTER,
    OPTION_FENCE,
    OPTION_APP_ID,
    OPTION_TITLE,
    OPTION_FULLSCREEN,
    OPTION_LOG,
    OPTION_QUIET,
    OPTION_WAIT,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"list", no_argument, NULL, OPTION_LIST},
    {"pairs", no_argument, NULL, OPTION_PAIRS},
    {"bad", required_argument, NULL, OPTION_BAD},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"allocator", required_argument, NULL, OPTION_ALLOCATOR},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"modifier", required_argument, NULL, OPTION_MODIFIER},
    {"stride-extra", required_argument, NULL, OPTION_STRIDE},
    {"offset", required_argument, NULL, OPTION_OFFSET},
    {"immed", no_argument, NULL, OPTION_IMMED},
    {"version", required_argument, NULL, OPTION_VERSION},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"buffers", required_argument, NULL, OPTION_BUFFERS},
    {"frames", required_argument, NULL, OPTION_FRAMES},
    {"hold-s", required_argument, NULL, OPTION_HOLD},
    {"poison", no_argument, NULL, OPTION_POISON},
    {"after", required_argument, NULL, OPTION_AFTER},
    {"fence-ms", required_argument, NULL, OPTION_FENCE},
    {"app-id", required_argument, NULL, OPTION_APP_ID},
    {"title", required_argument, NULL, OPTION_TITLE},
    {"fullscreen", no_argument, NULL, OPTION_FULLSCREEN},
    {"log", required_argument, NULL, OPTION_LOG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"wait-s", required_argument, NULL, OPTION_WAIT},
    {0},
};

static bool parse_source(const char *text, enum memory_source *source_ret)
{
    for (enum memory_source source = 0; source < MEMORY_MEMFD; source++) {
        if (strcmp(text, memory_source_names[source]) == 0) {
            *source_ret = source;
            return true;
        }
    }
    if (strcmp(text, "auto") == 0) {
        *source_ret = MEMORY_SOURCE_COUNT;
        return true;
    }
    fprintf(stderr, "dmabuf: --allocator %s: must be udmabuf, heap, dumb or auto\n", text);
    return false;
}

static bool parse_format(const char *text, const struct picture_format **format_ret)
{
    for (const struct picture_format *format = picture_formats; format->name != NULL; format++) {
        if (strcmp(text, format->name) == 0) {
            *format_ret = format;
            return true;
        }
    }
    fprintf(stderr, "dmabuf: --format %s: must be XRGB8888, ARGB8888, XBGR8888, ABGR8888 or RGB565\n", text);
    return false;
}

static bool parse_modifier(const char *text, uint64_t *modifier_ret)
{
    bool linear = strcmp(text, "linear") == 0;
    if (!linear && strcmp(text, "invalid") != 0) {
        fprintf(stderr, "dmabuf: --modifier %s: must be linear or invalid\n", text);
        return false;
    }
    *modifier_ret = linear ? DRM_FORMAT_MOD_LINEAR : DRM_FORMAT_MOD_INVALID;
    return true;
}

static bool parse_after(const char *text, const char **after_ret)
{
    if (strcmp(text, "destroy") != 0) {
        fprintf(stderr, "dmabuf: --after %s: must be destroy\n", text);
        return false;
    }
    *after_ret = text;
    return true;
}

static bool parse_one(struct dmabuf_options *options, int option)
{
    switch (option) {
    case OPTION_LIST:
        return options->list = true;
    case OPTION_PAIRS:
        return options->pairs = true;
    case OPTION_BAD:
        return (options->bad = optarg) != NULL;
    case OPTION_COUNT:
        return argument_u64("count", optarg, 1, 100000000, &options->count);
    case OPTION_ALLOCATOR:
        return parse_source(optarg, &options->source);
    case OPTION_DEVICE:
        return (options->device = optarg) != NULL;
    case OPTION_FORMAT:
        return parse_format(optarg, &options->format);
    case OPTION_MODIFIER:
        return parse_modifier(optarg, &options->modifier);
    case OPTION_STRIDE:
        return argument_u64("stride-extra", optarg, 0, 1 << 20, &options->stride_extra);
    case OPTION_OFFSET:
        return argument_u64("offset", optarg, 0, 1 << 24, &options->offset);
    case OPTION_IMMED:
        return options->immediate = true;
    case OPTION_VERSION:
        return argument_u64("version", optarg, 2, 4, &options->version);
    case OPTION_SIZE:
        options->size_given = true;
        return argument_size("size", optarg, &options->width, &options->height);
    case OPTION_BUFFERS:
        return argument_u64("buffers", optarg, 1, MAX_BUFFERS, &options->buffers);
    case OPTION_FRAMES:
        return argument_u64("frames", optarg, 1, UINT32_MAX, &options->frames);
    case OPTION_HOLD:
        return argument_double("hold-s", optarg, 0, 3600, &options->hold_s);
    case OPTION_POISON:
        return options->poison = true;
    case OPTION_AFTER:
        return parse_after(optarg, &options->after);
    case OPTION_FENCE:
        return argument_u64("fence-ms", optarg, 1, 60000, &options->fence_ms);
    case OPTION_APP_ID:
        return (options->app_id = optarg) != NULL;
    case OPTION_TITLE:
        return (options->title = optarg) != NULL;
    case OPTION_FULLSCREEN:
        return options->fullscreen = true;
    case OPTION_LOG:
        return (options->log_path = optarg) != NULL;
    case OPTION_QUIET:
        return options->quiet = true;
    case OPTION_WAIT:
        return argument_double("wait-s", optarg, 0, 3600, &options->wait_s);
    default:
        return false;
    }
}

enum dmabuf_options_result dmabuf_options_parse(struct dmabuf_options *options, int argc, char **argv)
{
    *options = (struct dmabuf_options){
        .source = MEMORY_SOURCE_COUNT,
        .format = &picture_formats[0],
        .modifier = DRM_FORMAT_MOD_LINEAR,
        .width = 256,
        .height = 256,
        .buffers = 3,
        .frames = 1,
        .version = 4,
        .hold_s = -1,
        .app_id = "dmabuf",
        .title = "dmabuf",
    };
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            return DMABUF_OPTIONS_HELP_SHOWN;
        }
        if (!parse_one(options, option)) {
            return DMABUF_OPTIONS_BAD;
        }
    }
    if (optind != argc) {
        fprintf(stderr, "dmabuf: unexpected argument %s; see dmabuf --help\n", argv[optind]);
        return DMABUF_OPTIONS_BAD;
    }
    return DMABUF_OPTIONS_RUN;
}
