/* See pulse_options.h. */
#include "pulse_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"

#define MAX_DURATION_S 1e6
#define MAX_PERIOD_US 60000000ull

static const char help[] =
    "pulse: a Wayland client that commits frames at known times and says when each one was shown.\n"
    "\n"
    "  pulse --frames 300                      300 frames, one on each frame callback, then a summary\n"
    "  pulse --duration-s 5 --log run.jsonl    one JSON line a frame: commit_ns, presented_ns, ...\n"
    "  pulse --mode period --period-us 20000   50 commits a second, whatever the display does\n"
    "  pulse --work-dist bimodal:1000,9000,0.1 a game that needs 1 ms, and 9 ms every tenth frame or so\n"
    "  pulse --size 1280x800 --damage 32x32    a big window in which little changes\n"
    "\n"
    "When to stop (whichever comes first; without any: SIGTERM, SIGINT or the window being closed)\n"
    "  --frames N          commits per surface\n"
    "  --duration-s S      seconds\n"
    "When to commit\n"
    "  --mode callback     on wl_surface.frame callbacks, after the work (default)\n"
    "  --mode period       at absolute times: work starts when CLOCK_MONOTONIC is phase + k * period\n"
    "  --period-us N       default 16667\n"
    "  --phase-us N        default 0\n"
    "What each frame costs the client: a busy loop that uses this much CPU time, then drawing\n"
    "(CLOCK_THREAD_CPUTIME_ID: being preempted makes it longer, as it does for real rendering)\n"
    "  --work-us N         default 0\n"
    "  --work-dist D       fixed | normal:MEAN_US,SD_US | bimodal:A_US,B_US,P_B | pareto:MIN_US,ALPHA\n"
    "                      drawn anew for each frame; at most 1 s; negative draws become 0\n"
    "  --seed N            of those draws; default 1: the same seed gives the same sequence\n"
    "What is shown\n"
    "  --size WxH          default 256x256; the compositor's own size wins where it sends one\n"
    "  --damage full       every frame draws and damages the whole window (default)\n"
    "  --damage WxH        only this rectangle, in the middle\n"
    "  --damage none       after the first frame, commits carry no new content\n"
    "  --surfaces N        windows, each on its own callbacks; default 1\n"
    "  --subsurfaces N     synchronized subsurfaces in each window, redrawn with it; default 0\n"
    "  --color RRGGBB      a flat window of this colour; default: a colour that changes with each frame\n"
    "  --app-id ID, --title T, --fullscreen\n"
    "  In the damaged rectangle a white bar, 8 px wide, moves 8 px a frame. The square of 16x16 px in its "
    "upper\n"
    "  left corner has the frame's number as its colour (0xRRGGBB = seq): a screenshot tells the frame.\n"
    "  --pool KIND         memory of the buffers: memfd (default) | advised (MADV_HUGEPAGE) | hugetlb-2M | "
    "hugetlb-1G;\n"
    "                      without the option MINICOMP_POOL is heeded, which minicomp's "
    "knobs.memory.hugetlb_pool sets\n"
    "What is written\n"
    "  --log FILE|-        JSON lines: \"start\"; \"frame\", one per commit once its feedback arrived; "
    "\"end\"\n"
    "  --quiet             no summary\n"
    "Connecting\n"
    "  --wait-s S          keep trying for this long while there is no compositor; default 0\n"
    "  --no-feedback       ask for no presentation feedback: the same requests to every compositor, and a\n"
    "                      \"frame\" line for every commit, without presented_ns\n"
    "  --require-presentation   exit 2 without wp_presentation (otherwise presented_ns is 0 then)\n"
    "  --first-roundtrip   connect, get the registry with one round trip, print CLOCK_MONOTONIC in ns, exit\n"
    "\n"
    "Exit code: 0 done; 1 wrong usage; 2 no compositor, or it lacks a global that is needed;\n"
    "3 protocol error or disconnected; 4 local failure (log not writable, no memory).\n";

enum option_value {
    OPTION_HELP = 1,
    OPTION_FRAMES,
    OPTION_DURATION,
    OPTION_MODE,
    OPTION_PERIOD,
    OPTION_PHASE,
    OPTION_WORK,
    OPTION_WORK_DIST,
    OPTION_SEED,
    OPTION_SIZE,
    OPTION_DAMAGE,
    OPTION_SURFACES,
    OPTION_SUBSURFACES,
    OPTION_APP_ID,
    OPTION_TITLE,
    OPTION_FULLSCREEN,
    OPTION_COLOR,
    OPTION_POOL,
    OPTION_LOG,
    OPTION_QUIET,
    OPTION_NO_FEEDBACK,
    OPTION_REQUIRE_PRESENTATION,
    OPTION_WAIT,
    OPTION_FIRST_ROUNDTRIP,
    OPTION_COUNT,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"frames", required_argument, NULL, OPTION_FRAMES},
    {"duration-s", required_argument, NULL, OPTION_DURATION},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"period-us", required_argument, NULL, OPTION_PERIOD},
    {"phase-us", required_argument, NULL, OPTION_PHASE},
    {"work-us", required_argument, NULL, OPTION_WORK},
    {"work-dist", required_argument, NULL, OPTION_WORK_DIST},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"damage", required_argument, NULL, OPTION_DAMAGE},
    {"surfaces", required_argument, NULL, OPTION_SURFACES},
    {"subsurfaces", required_argument, NULL, OPTION_SUBSURFACES},
    {"app-id", required_argument, NULL, OPTION_APP_ID},
    {"title", required_argument, NULL, OPTION_TITLE},
    {"fullscreen", no_argument, NULL, OPTION_FULLSCREEN},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"pool", required_argument, NULL, OPTION_POOL},
    {"log", required_argument, NULL, OPTION_LOG},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"no-feedback", no_argument, NULL, OPTION_NO_FEEDBACK},
    {"require-presentation", no_argument, NULL, OPTION_REQUIRE_PRESENTATION},
    {"wait-s", required_argument, NULL, OPTION_WAIT},
    {"first-roundtrip", no_argument, NULL, OPTION_FIRST_ROUNDTRIP},
    {0},
};

static bool parse_mode(struct pulse_options *options, const char *text)
{
    if (strcmp(text, "callback") == 0) {
        options->mode = PULSE_MODE_CALLBACK;
    } else if (strcmp(text, "period") == 0) {
        options->mode = PULSE_MODE_PERIOD;
    } else {
        fprintf(stderr, "--mode: %s is neither callback nor period\n", text);
        return false;
    }
    return true;
}

static bool parse_damage(struct pulse_options *options, const char *text)
{
    options->damage_text = text;
    if (strcmp(text, "full") == 0) {
        options->damage = PULSE_DAMAGE_FULL;
    } else if (strcmp(text, "none") == 0) {
        options->damage = PULSE_DAMAGE_NONE;
    } else {
        options->damage = PULSE_DAMAGE_RECTANGLE;
        return argument_size("damage", text, &options->damage_width, &options->damage_height);
    }
    return true;
}

static bool parse_pool(struct pulse_options *options, const char *where, const char *text)
{
    if (shm_backing_parse(text, &options->pool)) {
        return true;
    }
    fprintf(stderr, "%s: %s is not memfd, advised, hugetlb-2M or hugetlb-1G\n", where, text);
    return false;
}

static bool parse_one(struct pulse_options *options, int option, const char *text)
{
    switch ((enum option_value)option) {
    case OPTION_FRAMES:
        return argument_u64("frames", text, 1, UINT32_MAX, &options->frames);
    case OPTION_DURATION:
        return argument_double("duration-s", text, 0.001, MAX_DURATION_S, &options->duration_s);
    case OPTION_MODE:
        return parse_mode(options, text);
    case OPTION_PERIOD:
        return argument_u64("period-us", text, 100, MAX_PERIOD_US, &options->period_us);
    case OPTION_PHASE:
        return argument_u64("phase-us", text, 0, MAX_PERIOD_US, &options->phase_us);
    case OPTION_WORK:
        options->work_text = "fixed";
        options->work.kind = PULSE_WORK_FIXED;
        return argument_double("work-us", text, 0, PULSE_WORK_MAX_US, &options->work.parameters[0]);
    case OPTION_WORK_DIST:
        options->work_text = text;
        return pulse_work_parse(&options->work, text);
    case OPTION_SEED:
        return argument_u64("seed", text, 0, UINT64_MAX, &options->seed);
    case OPTION_SIZE:
        return argument_size("size", text, &options->width, &options->height);
    case OPTION_DAMAGE:
        return parse_damage(options, text);
    case OPTION_SURFACES:
        return argument_u64("surfaces", text, 1, 256, &options->surfaces);
    case OPTION_SUBSURFACES:
        return argument_u64("subsurfaces", text, 0, 64, &options->subsurfaces);
    case OPTION_APP_ID:
        options->app_id = text;
        return true;
    case OPTION_TITLE:
        options->title = text;
        return true;
    case OPTION_FULLSCREEN:
        return options->fullscreen = true;
    case OPTION_COLOR:
        options->colour_given = true;
        return argument_colour("color", text, &options->colour);
    case OPTION_POOL:
        return parse_pool(options, "--pool", text);
    case OPTION_LOG:
        options->log_path = text;
        return true;
    case OPTION_QUIET:
        return options->quiet = true;
    case OPTION_NO_FEEDBACK:
        return options->no_feedback = true;
    case OPTION_REQUIRE_PRESENTATION:
        return options->require_presentation = true;
    case OPTION_WAIT:
        return argument_double("wait-s", text, 0, MAX_DURATION_S, &options->wait_s);
    case OPTION_FIRST_ROUNDTRIP:
        return options->first_roundtrip = true;
    case OPTION_HELP:
    case OPTION_COUNT:
        break;
    }
    fprintf(stderr, "see pulse --help\n"); /* getopt has said which option it is */
    return false;
}

/* Options that would be ignored without a word are errors instead. */
static bool check_combination(const struct pulse_options *options, const bool *given)
{
    if (options->mode == PULSE_MODE_CALLBACK && (given[OPTION_PERIOD] || given[OPTION_PHASE])) {
        fprintf(stderr, "--period-us and --phase-us need --mode period\n");
        return false;
    }
    if (given[OPTION_WORK] && given[OPTION_WORK_DIST] && options->work.kind != PULSE_WORK_FIXED) {
        fprintf(stderr, "--work-us is the value of --work-dist fixed; other distributions carry their own\n");
        return false;
    }
    if (options->no_feedback && options->require_presentation) {
        fprintf(stderr, "--no-feedback and --require-presentation contradict each other\n");
        return false;
    }
    return true;
}

enum pulse_options_result pulse_options_parse(struct pulse_options *options, int argc, char **argv)
{
    *options = (struct pulse_options){
        .mode = PULSE_MODE_CALLBACK,
        .period_us = 16667,
        .work_text = "fixed",
        .seed = 1,
        .width = 256,
        .height = 256,
        .damage_text = "full",
        .surfaces = 1,
        .app_id = "minicomp.pulse",
        .title = "pulse",
    };
    const char *pool = getenv("MINICOMP_POOL");
    if (pool != NULL && !parse_pool(options, "MINICOMP_POOL", pool)) {
        return PULSE_OPTIONS_BAD;
    }
    bool given[OPTION_COUNT] = {false};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            return PULSE_OPTIONS_HELP_SHOWN;
        }
        if (!parse_one(options, option, optarg)) {
            return PULSE_OPTIONS_BAD;
        }
        given[option] = true;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument; see pulse --help\n", argv[optind]);
        return PULSE_OPTIONS_BAD;
    }
    return check_combination(options, given) ? PULSE_OPTIONS_RUN : PULSE_OPTIONS_BAD;
}
