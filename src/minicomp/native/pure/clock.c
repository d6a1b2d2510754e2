#include "clock.h"

static _Thread_local enum mc_source thread_source = MC_SOURCE_POLICY;

enum mc_source mc_thread_source(void)
{
    return thread_source;
}

void mc_thread_set_source(enum mc_source source)
{
    thread_source = source;
}
