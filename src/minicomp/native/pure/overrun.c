#include "overrun.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "clock.h"

static _Atomic uint64_t count, last_ns;

static void handle_overrun(int number)
{
    (void)number;
    int kept = errno;
    atomic_store(&last_ns, mc_now_ns()); /* clock_gettime is async-signal-safe */
    atomic_fetch_add(&count, 1);
    errno = kept;
}

int mc_overrun_watch(void)
{
    struct sigaction action = {.sa_handler = handle_overrun, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGXCPU, &action, NULL) == 0 ? 0 : -errno;
}

uint64_t mc_overrun_count(uint64_t *at_ns_ret)
{
    uint64_t seen = atomic_load(&count);
    if (at_ns_ret != NULL) {
        *at_ns_ret = atomic_load(&last_ns);
    }
    return seen;
}
