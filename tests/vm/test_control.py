"""The control socket on real KMS: looks and acts, but neither sees nor types unless the configuration says so."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from vmlab import Guest

pytestmark = pytest.mark.vm

START_TIMEOUT_S = 60
MINICOMP = ".venv/bin/minicomp"


def ask(guest: Guest, *arguments: str) -> Any:
    done = guest.run([MINICOMP, "msg", *arguments, "--json"], timeout_s=30)
    assert done.code in (0, 1), done.err
    return json.loads(done.out)


def white_share(image: Image.Image) -> float:
    """weston-simple-shm has a white rim."""
    return image.convert("L").histogram()[255] / (image.width * image.height)


@pytest.mark.parametrize("spy", ["auto", "yes"])
def test_a_screen_is_looked_at_and_set(guest: Guest, tmp_path: Path, spy: str) -> None:
    process = guest.spawn(
        [MINICOMP, "run", "--backend", "drm", "--set", f"control.spy={spy}", "--set", "output=[{mode='1024x768'}]",
         "--", "weston-simple-shm"],
        env={"WLR_RENDERER": "pixman"},
    )  # fmt: skip
    try:
        process.wait_for("ready:", START_TIMEOUT_S)
        state = ask(guest, "state")
        assert state["version"]["backend"] == "drm"
        (output,) = (output for output in state["outputs"] if output["enabled"])
        assert output["mode"].startswith("1024x768") and not output["modelled"] and len(output["modes"]) > 3
        assert {device["type"] for device in state["devices"]} >= {"keyboard", "touch"}
        changed = ask(guest, "output.set", f"output={output['name']}", "mode=800x600", "transform=90")
        assert changed["mode"].startswith("800x600") and (changed["width"], changed["height"]) == (600, 800)
        refused = ask(guest, "output.plug")
        assert refused["error"]["code"] == -32004
        answer = ask(guest, "screenshot")
        clicked = ask(guest, "input.click", "100", "100")
        if spy == "auto":
            assert answer["error"]["code"] == clicked["error"]["code"] == -32003
        else:
            image = Image.open(io.BytesIO(base64.b64decode(answer["png"])))
            assert image.size == (600, 800) and white_share(image) > 0.01
            assert (clicked["x"], clicked["y"]) == (100, 100)
        assert ask(guest, "quit") == {"quitting": True}
        assert process.wait(30).code == 0
        assert guest.run("ls /run/user/0 | grep minicomp || true").out == ""
    finally:
        process.stop(grace_s=10)
