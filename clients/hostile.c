/* hostile: a client that misbehaves in one chosen way, and says how the compositor answered.
 *
 * This file is the program: the options, the list of scenarios, the verdict.
 * `hostile --list` shows every scenario with the expected answer.
 */
#include "hostile.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/arguments.h"
#include "common/clock.h"
#include "common/json_log.h"

#define EXIT_UNEXPECTED 5

static const struct hostile_scenario *const tables[] = {
    hostile_protocol_scenarios,
    hostile_window_scenarios,
    hostile_buffer_scenarios,
    hostile_flood_scenarios,
};

static const char *const expectation_names[] = {
    [HOSTILE_KILLED] = "killed",
    [HOSTILE_SURVIVES] = "survives",
    [HOSTILE_EITHER] = "either",
    [HOSTILE_DIES] = "dies",
};

static const char help[] =
    "hostile: a client that misbehaves in one chosen way and says how the compositor answered.\n"
    "\n"
    "  hostile --list                 every scenario, what it does and the expected answer\n"
    "  hostile flood-fds              do it; one JSON line on standard output is the verdict\n"
    "  hostile title-flood --count 100000 --hold-s 2\n"
    "\n"
    "  --count N     how often, for scenarios that do something many times (default: see --list)\n"
    "  --hold-s S    stay connected for S seconds after the deed, before the verdict; default 0\n"
    "  --wait-s S    keep trying for this long while there is no compositor; default 0\n"
    "\n"
    "Verdicts: killed (by a protocol error, or disconnected without one), survives (a round trip is still\n"
    "answered), stalled (connected, but nothing is answered for 5 s), undone (the deed was not possible); "
    "the\n"
    "last two are never as expected. In a scenario that \"dies\" the client goes away by itself: exit code "
    "0, or\n"
    "killed by SIGKILL. Whether *others* noticed is for the test to find out: run pulse beside it.\n"
    "\n"
    "Exit code: 0 as expected; 1 wrong usage; 2 no compositor, or it lacks a global that is needed; 3 the\n"
    "connection failed before the deed; 4 local failure; 5 another verdict than the expected one.\n";

static void list_scenarios(void)
{
    printf("%-24s %-9s %8s  %s\n", "SCENARIO", "EXPECTED", "COUNT", "WHAT IT DOES");
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (const struct hostile_scenario *s = tables[t]; s->name != NULL; s++) {
            char count[24] = "-";
            if (s->default_count > 0) {
                snprintf(count, sizeof(count), "%" PRIu64, s->default_count);
            }
            printf("%-24s %-9s %8s  %s\n", s->name, expectation_names[s->expected], count, s->description);
        }
    }
}

static const struct hostile_scenario *find_scenario(const char *name)
{
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (const struct hostile_scenario *s = tables[t]; s->name != NULL; s++) {
            if (strcmp(s->name, name) == 0) {
                return s;
            }
        }
    }
    fprintf(stderr, "hostile: no scenario is called %s; see hostile --list\n", name);
    return NULL;
}

/* Answers are read meanwhile, so that a compositor that pings us is content. */
static void hold(struct hostile *hostile, double hold_s)
{
    uint64_t end_ns = monotonic_now_ns() + (uint64_t)(hold_s * (double)NS_PER_S);
    while (monotonic_now_ns() < end_ns) {
        if (connection_wait(&hostile->connection, end_ns) != EXIT_OK) {
            return;
        }
    }
}

static int judge(struct hostile *hostile, const struct hostile_scenario *scenario, bool alive)
{
    struct wl_display *display = hostile->connection.display;
    int error = wl_display_get_error(display);
    const char *verdict = !alive                    ? (error != 0 ? "killed" : "stalled")
                          : hostile->undone != NULL ? "undone"
                                                    : "survives";
    const struct wl_interface *interface = NULL;
    uint32_t id = 0;
    struct json_log log;
    json_log_open(&log, "-");
    json_log_begin(&log, "result");
    json_log_string(&log, "scenario", scenario->name);
    json_log_string(&log, "expected", expectation_names[scenario->expected]);
    json_log_string(&log, "verdict", verdict);
    /* Errors on wl_display itself have other errnos than EPROTO, such as EINVAL. */
    uint32_t code = error != 0 ? wl_display_get_protocol_error(display, &interface, &id) : 0;
    if (interface != NULL || error == EPROTO) {
        json_log_string(&log, "error_interface", interface != NULL ? interface->name : "(destroyed object)");
        json_log_u64(&log, "error_code", code);
    } else if (error != 0) {
        json_log_string(&log, "disconnected", strerror(error));
    }
    if (hostile->undone != NULL) {
        json_log_string(&log, "undone", hostile->undone);
    }
    json_log_end(&log);
    if (json_log_close(&log) != 0) {
        return EXIT_LOCAL;
    }
    bool as_expected =
        (scenario->expected == HOSTILE_EITHER && strcmp(verdict, "stalled") != 0 &&
         hostile->undone == NULL) ||
        (scenario->expected != HOSTILE_EITHER && strcmp(verdict, expectation_names[scenario->expected]) == 0);
    return as_expected ? EXIT_OK : EXIT_UNEXPECTED;
}

static int run_scenario(struct hostile *hostile, const struct hostile_scenario *scenario, double hold_s)
{
    struct connection *connection = &hostile->connection;
    const struct {
        bool needed;
        const void *global;
        const char *interface;
    } globals[] = {
        {true, connection->compositor, "wl_compositor 4"},
        {true, connection->shm, "wl_shm"},
        {true, connection->wm_base, "xdg_wm_base"},
        {(scenario->needs & HOSTILE_NEEDS_SUBSURFACES) != 0, connection->subcompositor, "wl_subcompositor"},
        {(scenario->needs & HOSTILE_NEEDS_VIEWPORTER) != 0, connection->viewporter, "wp_viewporter"},
    };
    for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++) {
        if (globals[i].needed &&
            connection_require(connection, globals[i].global, globals[i].interface) != EXIT_OK) {
            return EXIT_NO_COMPOSITOR;
        }
    }
    scenario->run(hostile);
    if (hold_s > 0) {
        hold(hostile, hold_s);
    }
    return judge(hostile, scenario, hostile_roundtrip(hostile));
}

int main(int argc, char **argv)
{
    enum { OPTION_HELP = 1, OPTION_LIST, OPTION_COUNT, OPTION_HOLD, OPTION_WAIT };
    static const struct option long_options[] = {
        {"help", no_argument, NULL, OPTION_HELP},         {"list", no_argument, NULL, OPTION_LIST},
        {"count", required_argument, NULL, OPTION_COUNT}, {"hold-s", required_argument, NULL, OPTION_HOLD},
        {"wait-s", required_argument, NULL, OPTION_WAIT}, {0},
    };
    struct hostile hostile = {0};
    uint64_t count = 0;
    double hold_s = 0, wait_s = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        bool good = true;
        switch (option) {
        case OPTION_HELP:
            fputs(help, stdout);
            return EXIT_OK;
        case OPTION_LIST:
            list_scenarios();
            return EXIT_OK;
        case OPTION_COUNT:
            good = argument_u64("count", optarg, 1, 100000000, &count);
            break;
        case OPTION_HOLD:
            good = argument_double("hold-s", optarg, 0, 3600, &hold_s);
            break;
        case OPTION_WAIT:
            good = argument_double("wait-s", optarg, 0, 3600, &wait_s);
            break;
        default:
            good = false;
        }
        if (!good) {
            return EXIT_USAGE;
        }
    }
    if (optind != argc - 1) {
        fputs("hostile: name one scenario; see hostile --list and --help\n", stderr);
        return EXIT_USAGE;
    }
    const struct hostile_scenario *scenario = find_scenario(argv[optind]);
    if (scenario == NULL) {
        return EXIT_USAGE;
    }
    if (count != 0 && scenario->default_count == 0) {
        fprintf(stderr, "hostile: --count means nothing to %s\n", scenario->name);
        return EXIT_USAGE;
    }
    hostile.count = count != 0 ? count : scenario->default_count;
    int result = (int)connection_connect(&hostile.connection, "hostile", wait_s);
    if (result == EXIT_OK) {
        /* Unlike the other clients we may be in the middle of a flood: SIGTERM simply ends us. */
        sigset_t signals;
        sigemptyset(&signals);
        sigprocmask(SIG_SETMASK, &signals, NULL);
        result = run_scenario(&hostile, scenario, hold_s);
    }
    /* Objects are left to the process's end: half of them are in a state that no clean-up is made for. */
    return result;
}
