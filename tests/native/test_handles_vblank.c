/* Handles never dangle; vblanks keep KMS's rules; the redraw loop takes only the transitions it names. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handles.h"
#include "redraw.h"
#include "vblank.h"

static void test_handles(void)
{
    struct mc_handles handles = {0};
    int objects[1000];
    uint64_t names[1000];
    for (int i = 0; i < 1000; i++) {
        names[i] = mc_handles_add(&handles, MC_HANDLE_WINDOW, &objects[i]);
        assert(names[i] != 0 && mc_handle_kind(names[i]) == MC_HANDLE_WINDOW);
    }
    assert(handles.live == 1000);
    assert(mc_handles_get(&handles, MC_HANDLE_WINDOW, names[500]) == &objects[500]);
    assert(mc_handles_get(&handles, MC_HANDLE_OUTPUT, names[500]) == NULL);
    mc_handles_remove(&handles, names[500]);
    mc_handles_remove(&handles, names[500]); /* twice is harmless */
    assert(handles.live == 999);
    assert(mc_handles_get(&handles, MC_HANDLE_WINDOW, names[500]) == NULL);
    uint64_t again = mc_handles_add(&handles, MC_HANDLE_WINDOW, &objects[0]);
    assert((uint32_t)again == (uint32_t)names[500] &&
           again != names[500]); /* same slot, another generation */
    assert(mc_handles_get(&handles, MC_HANDLE_WINDOW, names[500]) == NULL);
    assert(mc_handles_get(&handles, MC_HANDLE_WINDOW, 0) == NULL);
    assert(mc_handles_get(&handles, MC_HANDLE_WINDOW, ~0ull) == NULL);
    mc_handles_finish(&handles);
}

static void test_vblank(void)
{
    struct mc_vblank vblank = {.base_ns = 1000, .refresh_mhz = 60000, .latch_ns = 1000000};
    assert(mc_vblank_time(&vblank, 0) == 1000);
    assert(mc_vblank_time(&vblank, 60) == 1000 + 1000000000ull);
    assert(mc_vblank_time(&vblank, 60ull * 3600 * 24 * 365) ==
           1000 + 1000000000ull * 3600 * 24 * 365); /* no drift */
    for (uint64_t seq = 1; seq < 5000; seq++) {
        uint64_t at = mc_vblank_time(&vblank, seq);
        assert(mc_vblank_seq_at_or_after(&vblank, at) == seq);
        assert(mc_vblank_seq_at_or_after(&vblank, at + 1) == seq + 1);
        assert(mc_vblank_flip_seq(&vblank, at - vblank.latch_ns) == seq);         /* just in time */
        assert(mc_vblank_flip_seq(&vblank, at - vblank.latch_ns + 1) == seq + 1); /* 1 ns late */
    }
    uint64_t now_ns = mc_vblank_time(&vblank, 100) - 5;
    mc_vblank_set_refresh(&vblank, now_ns, 144000);
    assert(vblank.refresh_mhz == 144000 && vblank.base_ns == now_ns + 5);
}

static void expect_abort(enum mc_redraw_state state, void (*transition)(struct mc_redraw *))
{
    pid_t pid = fork();
    if (pid == 0) {
        freopen("/dev/null", "w", stderr);
        signal(SIGABRT, SIG_DFL);
        struct mc_redraw redraw = {.state = state};
        transition(&redraw);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void done(struct mc_redraw *redraw)
{
    mc_redraw_done(redraw);
}

static void test_redraw(void)
{
    struct mc_redraw redraw = {0};
    assert(mc_redraw_queue(&redraw, MC_REDRAW_DAMAGE));
    assert(!mc_redraw_queue(&redraw, MC_REDRAW_CALLBACK)); /* joins the queued frame */
    mc_redraw_committed(&redraw);
    assert(redraw.reasons == 0);
    assert(!mc_redraw_queue(&redraw, MC_REDRAW_DAMAGE)); /* the next one, after this flip */
    assert(mc_redraw_done(&redraw) && redraw.state == MC_REDRAW_QUEUED);
    mc_redraw_failed(&redraw);
    assert((redraw.reasons & MC_REDRAW_RETRY) != 0);
    mc_redraw_committed(&redraw);
    assert(!mc_redraw_done(&redraw) && redraw.state == MC_REDRAW_IDLE);

    assert(mc_redraw_queue(&redraw, MC_REDRAW_CALLBACK));
    mc_redraw_estimate(&redraw);
    assert(
        !mc_redraw_queue(&redraw, MC_REDRAW_CALLBACK)); /* waits for the estimated vblank with the others */
    assert(mc_redraw_queue(&redraw, MC_REDRAW_DAMAGE)); /* damage does not */
    assert(redraw.state == MC_REDRAW_QUEUED);
    mc_redraw_reset(&redraw);
    assert(redraw.state == MC_REDRAW_IDLE && redraw.reasons == 0);

    expect_abort(MC_REDRAW_IDLE, mc_redraw_committed);
    expect_abort(MC_REDRAW_WAIT_PRESENT, mc_redraw_committed);
    expect_abort(MC_REDRAW_IDLE, mc_redraw_estimate);
    expect_abort(MC_REDRAW_IDLE, done);
    expect_abort(MC_REDRAW_QUEUED, done);
    expect_abort(MC_REDRAW_IDLE, mc_redraw_failed);
}

int main(void)
{
    test_handles();
    test_vblank();
    test_redraw();
    puts("handles, vblank, redraw: ok");
    return 0;
}
