"""What the tests with real programs share: starting one, waiting for its window, and looking at the screen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from minicomp.testing.instance import InProcess

BACKGROUND = (12, 12, 12)
"""What minicomp shows where nothing is."""


def rgb(colour: int) -> tuple[int, int, int]:
    """0xRRGGBB as Pillow has it."""
    return colour >> 16 & 255, colour >> 8 & 255, colour & 255


def start(instance: InProcess, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Starts a client whose standard output nobody needs."""
    return instance.launch(
        [str(part) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def shown_window(instance: InProcess, title: str = "", timeout_s: float = 15.0) -> Any:
    """The newest window on the screen (whose title contains `title`), once there is one."""

    def find() -> Any:
        for window in reversed(list(instance.dispatcher.windows)):
            if window.refresh() and window.shown and title in window.title:
                return window
        return None

    return instance.wait_for(find, f"a window {title!r} to be shown", timeout_s)


def picture_with(
    instance: InProcess,
    right: Callable[[Image], object],
    what: str,
    output: str | None = None,
    timeout_s: float = 6.0,
) -> Image:
    """The screen, once it is as wanted. When it never is, the last picture is kept beside the message."""
    last: list[Image] = []

    def look() -> bool:
        last[:] = [instance.image(output)]
        return bool(right(last[0]))

    try:
        instance.wait_for(look, what, timeout_s)
    except AssertionError as error:
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="minicomp-failed-", suffix=".png", delete=False) as file:
            last[0].save(file)
        raise AssertionError(f"{error}\nthe last picture is {file.name}") from None
    return last[0]


def share(image: Image, colour: tuple[int, int, int], box: tuple[int, int, int, int] | None = None) -> float:
    """Which part (0 to 1) of the picture, or of a box (left, top, right, bottom) of it, has exactly this colour."""
    part = image if box is None else image.crop(box)
    counts = {found: count for count, found in part.getcolors(part.width * part.height) or []}
    return counts.get(colour, 0) / (part.width * part.height)


def colours(image: Image, box: tuple[int, int, int, int] | None = None) -> set[tuple[int, int, int]]:
    """All colours in a picture or a box of it."""
    part = image if box is None else image.crop(box)
    return {found for _, found in part.getcolors(part.width * part.height) or []}


def output_of(instance: InProcess, command: Sequence[str | Path], **environment: str) -> str:
    """Runs a client to its end, which must be a good one; what it printed."""
    code, text = instance.run([str(part) for part in command], env=environment)
    assert code == 0, f"{command}: exit code {code}\n{text}"
    return text


def end(instance: InProcess, process: subprocess.Popen[str], expected: Sequence[int] = (0, -15)) -> None:
    """Asks a program to end, and looks at how it does."""
    process.terminate()
    instance.wait_for(lambda: process.poll() is not None, "the program to end")
    assert process.returncode in expected


def pacing(instance: InProcess) -> Any:
    """struct mc_pacing_info of the first output."""
    compositor = instance.compositor
    info = compositor.ffi.new("struct mc_pacing_info *")
    output = next(iter(compositor.outputs))
    assert compositor.lib.mc_output_pacing(compositor.server, output.handle, info) == 0
    return info
