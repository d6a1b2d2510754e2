"""Which [[input]] a device gets, and which libinput settings come of it."""

import pytest

from minicomp.compositor.inputs import Inputs, _libinput_values
from minicomp.compositor.seat import Device
from minicomp.config import load, parse_set
from minicomp.native.wlr import lib


def device(name: str, kind: str, identity: str = "0001:0002") -> Device:
    touchpad = kind == "touchpad"
    return Device(1, "pointer" if touchpad else kind, name, False, "", True, touchpad, identity)


CONFIG = load(
    None,
    [
        parse_set(
            "input=[{type='touchpad', tap=true}, {name='*Scanner*', type='keyboard', layout='us'}, "
            "{id='046D:C52B', left_handed=true}, {type='pointer', accel_profile='flat'}]"
        )
    ],
)


@pytest.mark.parametrize(
    ("found", "index"),
    [
        (device("SynPS/2 Synaptics TouchPad", "touchpad"), 0),
        (device("ACME Scanner 3", "keyboard"), 1),
        (device("ACME Scanner 3", "pointer"), 3),
        (device("Logitech USB Receiver", "pointer", "046d:c52b"), 2),
        (device("Mouse", "pointer"), 3),
        (device("Keyboard", "keyboard"), None),
    ],
)
def test_the_first_that_fits_counts(found: Device, index: int | None) -> None:
    expected = None if index is None else CONFIG.input[index]
    assert Inputs(None, CONFIG, None).settings_for(found) is expected  # type: ignore[arg-type]


def test_only_what_is_given_is_set() -> None:
    def values(text: str) -> list[tuple[str, int, float]]:
        return list(_libinput_values(load(None, [parse_set(f"input=[{{{text}}}]")]).input[0]))

    assert values("layout='de'") == []
    assert values("tap=false, accel_speed=-0.5, events='disabled'") == [
        ("events", lib.MC_LIBINPUT_EVENTS, 1),
        ("accel_speed", lib.MC_LIBINPUT_ACCEL_SPEED, -0.5),
        ("tap", lib.MC_LIBINPUT_TAP, 0.0),
    ]
    assert values("scroll_method='edge', click_method='none'") == [
        ("scroll_method", lib.MC_LIBINPUT_SCROLL_METHOD, 2),
        ("click_method", lib.MC_LIBINPUT_CLICK_METHOD, 0),
    ]
