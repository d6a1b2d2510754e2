/* The redraw loop of one output as a state machine without a display (after niri's).
 *
 *   IDLE --queue--> QUEUED --flip--> WAIT_PRESENT --shown--> IDLE (or QUEUED again if something queued
 * meanwhile)
 *                     '--no damage--> WAIT_ESTIMATED --estimated vblank--> the same
 *
 * WAIT_ESTIMATED: clients asked for frame callbacks but nothing changed, so no flip will come; the callbacks
 * are sent at the vblank that a flip would have made. Every transition is checked: a wrong one is a bug in
 * us. */
#ifndef MC_REDRAW_H
#define MC_REDRAW_H

#include <stdbool.h>
#include <stdint.h>

enum mc_redraw_state {
    MC_REDRAW_IDLE = 0,
    MC_REDRAW_QUEUED = 1,
    MC_REDRAW_WAIT_PRESENT = 2,
    MC_REDRAW_WAIT_ESTIMATED = 3,
};

/* Why a frame is needed; the flags of FRAME_QUEUED in the run file. */
enum mc_redraw_reason {
    MC_REDRAW_DAMAGE = 1,
    MC_REDRAW_CALLBACK = 2,
    MC_REDRAW_OUTPUT = 4,
    MC_REDRAW_CAPTURE = 8,
    MC_REDRAW_RETRY = 16,
};

struct mc_redraw {
    enum mc_redraw_state state;
    uint32_t reasons; /* enum mc_redraw_reason bits, of the frame that is queued or will be */
};

/* Something needs a frame. True when this started one: it was IDLE, or it waits for an estimated vblank that
 * real damage need not wait for. */
bool mc_redraw_queue(struct mc_redraw *redraw, uint32_t reasons);
/* QUEUED -> WAIT_PRESENT: the frame was committed. */
void mc_redraw_committed(struct mc_redraw *redraw);
/* QUEUED -> WAIT_ESTIMATED: nothing to show. */
void mc_redraw_estimate(struct mc_redraw *redraw);
/* QUEUED stays QUEUED, to be tried again: the display refused the frame. */
void mc_redraw_failed(struct mc_redraw *redraw);
/* WAIT_* -> IDLE or QUEUED: the vblank came. True when QUEUED. */
bool mc_redraw_done(struct mc_redraw *redraw);
/* Any -> IDLE: the output was switched off or went away. */
void mc_redraw_reset(struct mc_redraw *redraw);

#endif
