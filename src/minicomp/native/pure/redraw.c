#include "redraw.h"

#include <stdio.h>
#include <stdlib.h>

static void expect(const struct mc_redraw *redraw, bool ok, const char *transition)
{
    if (!ok) {
        fprintf(stderr, "minicomp: redraw loop: %s in state %d\n", transition, redraw->state);
        abort();
    }
}

bool mc_redraw_queue(struct mc_redraw *redraw, uint32_t reasons)
{
    redraw->reasons |= reasons;
    switch (redraw->state) {
    case MC_REDRAW_IDLE:
        redraw->state = MC_REDRAW_QUEUED;
        return true;
    case MC_REDRAW_WAIT_ESTIMATED:
        if ((redraw->reasons & ~(uint32_t)MC_REDRAW_CALLBACK) == 0) {
            return false;
        }
        redraw->state = MC_REDRAW_QUEUED;
        return true;
    case MC_REDRAW_QUEUED:
    case MC_REDRAW_WAIT_PRESENT:
        return false;
    }
    abort();
}

void mc_redraw_committed(struct mc_redraw *redraw)
{
    expect(redraw, redraw->state == MC_REDRAW_QUEUED, "commit");
    redraw->state = MC_REDRAW_WAIT_PRESENT;
    redraw->reasons = 0;
}

void mc_redraw_estimate(struct mc_redraw *redraw)
{
    expect(redraw, redraw->state == MC_REDRAW_QUEUED, "estimate");
    redraw->state = MC_REDRAW_WAIT_ESTIMATED;
    redraw->reasons = 0;
}

void mc_redraw_failed(struct mc_redraw *redraw)
{
    expect(redraw, redraw->state == MC_REDRAW_QUEUED, "failed commit");
    redraw->reasons |= MC_REDRAW_RETRY;
}

bool mc_redraw_done(struct mc_redraw *redraw)
{
    expect(redraw, redraw->state == MC_REDRAW_WAIT_PRESENT || redraw->state == MC_REDRAW_WAIT_ESTIMATED,
           "vblank");
    redraw->state = redraw->reasons != 0 ? MC_REDRAW_QUEUED : MC_REDRAW_IDLE;
    return redraw->state == MC_REDRAW_QUEUED;
}

void mc_redraw_reset(struct mc_redraw *redraw)
{
    redraw->state = MC_REDRAW_IDLE;
    redraw->reasons = 0;
}
