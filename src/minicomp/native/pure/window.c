#include "window.h"

#include <stdbool.h>
#include <string.h>

#include "clock.h"

static uint32_t to_us(uint64_t value_ns)
{
    uint64_t us = (value_ns + MC_NSEC_PER_USEC - 1) / MC_NSEC_PER_USEC; /* up: these are upper bounds */
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void remove_sorted(struct mc_window_stats *window, uint32_t value_us)
{
    uint32_t i = 0;
    while (window->sorted_us[i] != value_us) {
        i++;
    }
    memmove(&window->sorted_us[i], &window->sorted_us[i + 1], (window->count - 1 - i) * sizeof(uint32_t));
    window->count--;
}

void mc_window_add(struct mc_window_stats *window, uint64_t value_ns)
{
    uint32_t value_us = to_us(value_ns);
    if (window->count == MC_WINDOW_SIZE) {
        remove_sorted(window, window->values_us[window->next]);
    }
    uint32_t i = window->count;
    while (i > 0 && window->sorted_us[i - 1] > value_us) {
        window->sorted_us[i] = window->sorted_us[i - 1];
        i--;
    }
    window->sorted_us[i] = value_us;
    window->count++;
    window->values_us[window->next] = value_us;
    window->next = (window->next + 1) % MC_WINDOW_SIZE;
}

uint64_t mc_window_upper_ns(const struct mc_window_stats *window, uint32_t drop)
{
    if (window->count == 0) {
        return 0;
    }
    uint32_t top = window->count - 1;
    /* Of few samples fewer are dropped, of very few none: they could be the rule. */
    uint32_t allowed = window->count < MC_WINDOW_FEW ? 0 : drop * window->count / MC_WINDOW_SIZE;
    if (allowed == 0 && drop > 0 && window->count >= MC_WINDOW_FEW) {
        allowed = 1;
    }
    return (uint64_t)window->sorted_us[top - (allowed < top ? allowed : top)] * MC_NSEC_PER_USEC;
}

uint64_t mc_window_median_ns(const struct mc_window_stats *window)
{
    return window->count == 0 ? 0 : (uint64_t)window->sorted_us[window->count / 2] * MC_NSEC_PER_USEC;
}

uint64_t mc_window_recent_ns(const struct mc_window_stats *window, uint32_t n)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i <= n && i <= window->count; i++) {
        uint32_t value = window->values_us[(window->next + MC_WINDOW_SIZE - i) % MC_WINDOW_SIZE];
        largest = value > largest ? value : largest;
    }
    return (uint64_t)largest * MC_NSEC_PER_USEC;
}

uint64_t mc_window_expected_ns(const struct mc_window_stats *window, uint32_t drop, uint32_t n)
{
    return mc_max_ns(mc_window_upper_ns(window, drop), mc_window_recent_ns(window, n));
}
