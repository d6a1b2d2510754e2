/* echo's command line: values, parsing, the help text. */
#ifndef CLIENTS_ECHO_OPTIONS_H
#define CLIENTS_ECHO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct echo_options {
    uint64_t event_limit; /* 0: no limit */
    double duration_s;    /* 0: no limit */
    double wait_s;
    bool count_motion, count_releases, fullscreen, quiet;
    int width, height;
    const char *app_id, *title;
    const char *log_path; /* NULL: no log */
};

enum echo_options_result { ECHO_OPTIONS_RUN, ECHO_OPTIONS_HELP_SHOWN, ECHO_OPTIONS_BAD };

/* Fills *options; on ECHO_OPTIONS_BAD it has said on stderr what is wrong. Strings are borrowed from argv. */
enum echo_options_result echo_options_parse(struct echo_options *options, int argc, char **argv);

#endif
