/* See echo_options.h. */
#include "echo_options.h"

#include <getopt.h>
#include <stdio.h>

#include "common/arguments.h"

static const char help[] =
    "echo: a window that changes its colour at each input event and logs when that was shown.\n"
    "\n"
    "  echo                       click, type, touch, scroll: the colour changes; Ctrl-C ends it\n"
    "  echo --events 10 --log -   ten events as JSON lines, then exit\n"
    "\n"
    "  --motion           pointer and touch motion count as events too\n"
    "  --releases         key and button releases and touch-up count as events too\n"
    "  --events N         end once N events were shown\n"
    "  --duration-s S     end after S seconds; without it and --events: at SIGTERM, SIGINT or close\n"
    "  --size WxH         default 256x256; the compositor's own size wins where it sends one\n"
    "  --fullscreen, --app-id ID (default minicomp.echo), --title T (default echo)\n"
    "  --log FILE|-       JSON lines: start, configure (size), ready (first frame callback),\n"
    "                     capabilities, repeat, focus, input, end; written at once\n"
    "  --quiet            no summary\n"
    "  --wait-s S         keep trying for this long while there is no compositor; default 0\n"
    "\n"
    "The whole window has one colour: 202020 before any event, then, for the n-th counted event, number\n"
    "(n - 1) mod 7 of e6194b 3cb44b ffe119 4363d8 f58231 911eb4 42d4f4. The pointer is hidden over it.\n"
    "\n"
    "Exit code: 0 done; 1 wrong usage; 2 no compositor, or it lacks a global that is needed;\n"
    "3 protocol error or disconnected; 4 local failure (log not writable, no memory).\n";

enum option_value {
    OPTION_HELP = 1,
    OPTION_MOTION,
    OPTION_RELEASES,
    OPTION_EVENTS,
    OPTION_DURATION,
    OPTION_SIZE,
    OPTION_FULLSCREEN,
    OPTION_APP_ID,
    OPTION_TITLE,
    OPTION_LOG,
    OPTION_QUIET,
    OPTION_WAIT,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"motion", no_argument, NULL, OPTION_MOTION},
    {"releases", no_argument, NULL, OPTION_RELEASES},
    {"events", required_argument, NULL, OPTION_EVENTS},
    {"duration-s", required_argument, NULL, OPTION_DURATION},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"fullscreen", no_argument, NULL, OPTION_FULLSCREEN},
    {"app-id", required_argument, NULL, OPTION_APP_ID},
    {"title", required_argument, NULL, OPTION_TITLE},
    {"log", required_argument, NULL, OPTION_LOG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"wait-s", required_argument, NULL, OPTION_WAIT},
    {0},
};

static bool parse_one(struct echo_options *options, int option, const char *text)
{
    switch (option) {
    case OPTION_MOTION:
        return options->count_motion = true;
    case OPTION_RELEASES:
        return options->count_releases = true;
    case OPTION_EVENTS:
        return argument_u64("events", text, 1, UINT32_MAX, &options->event_limit);
    case OPTION_DURATION:
        return argument_double("duration-s", text, 0.001, 1e6, &options->duration_s);
    case OPTION_SIZE:
        return argument_size("size", text, &options->width, &options->height);
    case OPTION_FULLSCREEN:
        return options->fullscreen = true;
    case OPTION_APP_ID:
        options->app_id = text;
        return true;
    case OPTION_TITLE:
        options->title = text;
        return true;
    case OPTION_LOG:
        options->log_path = text;
        return true;
    case OPTION_QUIET:
        return options->quiet = true;
    case OPTION_WAIT:
        return argument_double("wait-s", text, 0, 1e6, &options->wait_s);
    default:
        fprintf(stderr, "see echo --help\n");
        return false;
    }
}

enum echo_options_result echo_options_parse(struct echo_options *options, int argc, char **argv)
{
    *options = (struct echo_options){.width = 256, .height = 256, .app_id = "minicomp.echo", .title = "echo"};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            return ECHO_OPTIONS_HELP_SHOWN;
        }
        if (!parse_one(options, option, optarg)) {
            return ECHO_OPTIONS_BAD;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument; see echo --help\n", argv[optind]);
        return ECHO_OPTIONS_BAD;
    }
    return ECHO_OPTIONS_RUN;
}
