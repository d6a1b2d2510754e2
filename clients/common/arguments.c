/* See arguments.h. */
#include "common/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZE_PX 16384

bool argument_u64(const char *option, const char *text, uint64_t minimum, uint64_t maximum,
                  uint64_t *value_ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* strtoull takes "-1" and leading spaces; a number begins with a digit. */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < minimum || value > maximum) {
        fprintf(stderr, "--%s: %s is not a whole number from %" PRIu64 " to %" PRIu64 "\n", option, text,
                minimum, maximum);
        return false;
    }
    *value_ret = value;
    return true;
}

static bool parse_double(const char *text, char terminator, double *value_ret, const char **end_ret)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != terminator || !isfinite(value) || value < 0) {
        return false;
    }
    *value_ret = value;
    *end_ret = end;
    return true;
}

bool argument_double(const char *option, const char *text, double minimum, double maximum, double *value_ret)
{
    const char *end = NULL;
    double value = 0;
    if (!parse_double(text, '\0', &value, &end) || value < minimum || value > maximum) {
        fprintf(stderr, "--%s: %s is not a number from %g to %g\n", option, text, minimum, maximum);
        return false;
    }
    *value_ret = value;
    return true;
}

bool argument_doubles(const char *option, const char *text, int count, double *values_ret)
{
    const char *rest = text;
    for (int i = 0; i < count; i++) {
        bool last = i == count - 1;
        if (!parse_double(rest, last ? '\0' : ',', &values_ret[i], &rest)) {
            fprintf(stderr, "--%s: %s is not a list of %d numbers, none negative, separated by commas\n",
                    option, text, count);
            return false;
        }
        rest += last ? 0 : 1;
    }
    return true;
}

bool argument_size(const char *option, const char *text, int *width_ret, int *height_ret)
{
    int width = 0, height = 0, used = 0;
    if (sscanf(text, "%5dx%5d%n", &width, &height, &used) != 2 || text[used] != '\0' || width < 1 ||
        height < 1 || width > MAX_SIZE_PX || height > MAX_SIZE_PX) {
        fprintf(stderr, "--%s: %s is not a size such as 640x480 (1 to %d each)\n", option, text, MAX_SIZE_PX);
        return false;
    }
    *width_ret = width;
    *height_ret = height;
    return true;
}

bool argument_colour(const char *option, const char *text, uint32_t *colour_ret)
{
    if (strlen(text) != 6 || strspn(text, "0123456789abcdefABCDEF") != 6) {
        fprintf(stderr, "--%s: %s is not a colour of six hex digits such as 3366cc\n", option, text);
        return false;
    }
    *colour_ret = (uint32_t)strtoul(text, NULL, 16);
    return true;
}
