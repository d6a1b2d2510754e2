/* pulse's command line: values, parsing, the help text. */
#ifndef CLIENTS_PULSE_OPTIONS_H
#define CLIENTS_PULSE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm_memory.h"
#include "pulse_work.h"

enum pulse_mode { PULSE_MODE_CALLBACK, PULSE_MODE_PERIOD };
enum pulse_damage { PULSE_DAMAGE_FULL, PULSE_DAMAGE_RECTANGLE, PULSE_DAMAGE_NONE };

struct pulse_options {
    uint64_t frames;   /* per surface; 0: no limit */
    double duration_s; /* 0: no limit */
    enum pulse_mode mode;
    uint64_t period_us, phase_us;
    struct pulse_work_spec work;
    const char *work_text; /* as given, for the log */
    uint64_t seed;
    int width, height;
    enum pulse_damage damage;
    int damage_width, damage_height;
    const char *damage_text;
    uint64_t surfaces, subsurfaces;
    const char *app_id, *title;
    bool fullscreen;
    bool colour_given;
    uint32_t colour;
    enum shm_backing pool;
    const char *log_path; /* NULL: no log */
    bool quiet;
    bool no_feedback; /* ask for no presentation feedback */
    bool require_presentation;
    double wait_s;
    bool first_roundtrip;
};

enum pulse_options_result { PULSE_OPTIONS_RUN, PULSE_OPTIONS_HELP_SHOWN, PULSE_OPTIONS_BAD };

/* Fills *options; on PULSE_OPTIONS_BAD it has said on stderr what is wrong. Strings are borrowed from argv.
 */
enum pulse_options_result pulse_options_parse(struct pulse_options *options, int argc, char **argv);

#endif
