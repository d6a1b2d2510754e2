/* Command-line values: each parser wants the whole text to be consumed and says on stderr what is allowed.
 * All return false on a bad value, after the message. `option` is the option's name, without dashes.
 */
#ifndef CLIENTS_COMMON_ARGUMENTS_H
#define CLIENTS_COMMON_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

bool argument_u64(const char *option, const char *text, uint64_t minimum, uint64_t maximum,
                  uint64_t *value_ret);
bool argument_double(const char *option, const char *text, double minimum, double maximum, double *value_ret);
bool argument_size(const char *option, const char *text, int *width_ret,
                   int *height_ret);                                              /* WxH, 1 to 16384 */
bool argument_colour(const char *option, const char *text, uint32_t *colour_ret); /* RRGGBB */

/* The same for a comma-separated list of exactly `count` numbers that are not negative. */
bool argument_doubles(const char *option, const char *text, int count, double *values_ret);

#endif
