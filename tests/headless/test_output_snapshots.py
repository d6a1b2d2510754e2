"""Several threads look at the outputs at the same time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from minicomp.testing.instance import InProcess, configure

SIZES = {"HEADLESS-1": (640, 480), "HEADLESS-2": (320, 200), "HEADLESS-3": (800, 600)}


def test_threads_do_not_get_each_others_answers() -> None:
    """The main thread waits for all outputs to be on while policy configures them and control describes them."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        modes = [f"{width}x{height}@60" for width, height in SIZES.values()]
        with InProcess(configure(headless__outputs=modes)) as instance:
            outputs = instance.compositor.outputs
            handles = {output.handle: output.name for output in outputs}

            def look(start: int) -> None:
                order = [*handles][start:] + [*handles][:start]
                for handle in order * 2000:
                    output = outputs[handle]
                    assert output.name == handles[handle]
                    assert (output.mode_width, output.mode_height) == SIZES[output.name]

            with ThreadPoolExecutor(3) as pool:
                list(pool.map(look, range(3)))
    finally:
        sys.setswitchinterval(interval_s)
