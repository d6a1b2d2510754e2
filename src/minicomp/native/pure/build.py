"""Builds minicomp.native.pure._pure: ring, lock, queue, vblank and redraw arithmetic. No wlroots, no Wayland."""

import re
import sys
from pathlib import Path

from cffi import FFI

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # minicomp is not installed while it is built
from minicomp.native.sources import COMPILE_ARGS, DEFINES, c_files, declarations

HERE = Path(__file__).resolve().parent

CDEF = """
struct mc_trace { ...; };
void mc_trace_init(struct mc_trace *trace);
int mc_trace_start(struct mc_trace *trace, int fd, uint32_t ring_records);
void mc_trace_stop(struct mc_trace *trace);
uint64_t mc_trace_dropped(struct mc_trace *trace);
uint64_t mc_pure_trace_many(struct mc_trace *trace, uint64_t count);
uint64_t mc_pure_now_ns(void);
"""

ffi = FFI()
ffi.cdef(CDEF)
names = ("vblank", "redraw", "handles", "vclock", "window", "margin", "response", "pacing", "ration")
for header in (f"{name}.h" for name in names):
    # Array lengths are macros, which cffi does not see: it asks the compiler.
    text = re.sub(r"\[MC_\w+\]", "[...]", declarations(HERE / header))
    if header == "handles.h":
        text = text[: text.index("static inline")]
    ffi.cdef(text)
# The enum's values are read back by a test that compares them with lab/pipeline's.
trace_text = declarations(HERE / "trace.h")
ffi.cdef(trace_text[trace_text.index("enum mc_point") : trace_text.index("struct mc_record")])

ffi.set_source(
    "minicomp.native.pure._pure",
    """
#include "trace.h"
#include "vblank.h"
#include "redraw.h"
#include "handles.h"
#include "pacing.h"
#include "ration.h"

static uint64_t mc_pure_now_ns(void) { return mc_now_ns(); }

/* Writes count records back to back; the time it took, in ns: what one trace point costs. */
static uint64_t mc_pure_trace_many(struct mc_trace *trace, uint64_t count)
{
    uint64_t begin_ns = mc_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        mc_trace_now(trace, MC_POINT_COMPOSE_BEGIN, 1, (uint32_t)i, 0, i, 0);
    }
    return mc_now_ns() - begin_ns;
}
""",
    sources=c_files("pure"),
    include_dirs=[str(HERE)],
    libraries=["uring"],
    define_macros=DEFINES,
    extra_compile_args=[*COMPILE_ARGS, "-Wno-unused-function"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
