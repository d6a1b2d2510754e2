"""The kiosk and stacking policies under real clients, and what a policy of one's own can rely on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minicomp.errors import ConfigError
from minicomp.shell.policy import Policy, load_policy
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure

REPO = Path(__file__).resolve().parents[2]
MAXIMIZED, FULLSCREEN, RESIZING, ACTIVATED = 1, 2, 3, 4  # xdg_toplevel.state
RED, GREEN, BLUE = 0xC02020, 0x20C020, 0x2020C0


class Stage:
    """A compositor and one client connection that makes windows."""

    def __init__(self, instance: InProcess) -> None:
        self.instance = instance
        self.client = Client(instance.compositor.socket)
        self.windows: list[Window] = []

    def settle(self) -> None:
        """Until compositor, policy and client have nothing more to say to each other."""
        for _ in range(3):
            self.client.roundtrip()
            self.instance.settle()
        self.client.roundtrip()

    def open(
        self,
        app_id: str = "app",
        size: tuple[int, int] = (200, 100),
        colour: int = RED,
        before: Callable[[Window], object] = lambda window: None,
    ) -> Window:
        """A mapped window: of the size it is told, else of `size`. `before` runs before its initial commit."""
        window = Window(self.client, title=app_id, app_id=app_id)
        self.windows.append(window)
        before(window)
        self.map(window, size, colour)
        return window

    def map(self, window: Window, size: tuple[int, int] = (200, 100), colour: int = RED) -> None:
        window.configures.clear()
        width, height = window.initial_commit(self.instance.wait_for)
        window.commit(width or size[0], height or size[1], colour)
        self.settle()

    def obey(self, window: Window, colour: int = RED) -> None:
        """Commits the size last asked for."""
        self.settle()
        width, height, _ = window.configures[-1]
        window.commit(width, height, colour)
        self.settle()

    def known(self, window: Window) -> Any:
        """The compositor's object for a window, found by its app_id."""
        self.settle()
        found = next(known for known in self.instance.dispatcher.windows if known.app_id == window.app_id)
        found.refresh()
        return found

    def states(self, window: Window) -> list[int]:
        self.settle()
        return sorted(window.configures[-1][2])

    def focused(self) -> str:
        """The app_id of the window with the keyboard."""
        self.settle()
        window = self.instance.policy.focused_window()
        return window.app_id if window is not None else ""

    @property
    def inject(self) -> Any:
        return self.instance.compositor.seat.inject


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Parametrized by the settings of the configuration."""
    settings = {"headless__outputs": ["800x600@60"], **getattr(request, "param", {})}
    with InProcess(configure(**settings)) as instance:
        stage = Stage(instance)
        yield stage
        stage.client.close()


def under(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stage", [settings], indirect=True, ids=[""])


KIOSK = under(policy__name="kiosk")
STACKING = under(policy__name="stacking")

# ---- kiosk ----


@KIOSK
def test_kiosk_fills_the_output(stage: Stage) -> None:
    window = stage.open()
    assert window.configures[0][:2] == (800, 600)
    assert stage.states(window) == [FULLSCREEN, ACTIVATED]
    assert stage.known(window).geometry == (0, 0, 800, 600)
    assert stage.instance.image().getpixel((799, 599)) == (0xC0, 0x20, 0x20)


@KIOSK
def test_kiosk_shows_the_newest_and_goes_back(stage: Stage) -> None:
    stage.open("first", colour=RED)
    second = stage.open("second", colour=GREEN)
    assert stage.focused() == "second"
    assert stage.instance.image().getpixel((400, 300)) == (0x20, 0xC0, 0x20)
    second.toplevel.destroy()
    second.xdg_surface.destroy()
    second.surface.destroy()
    assert stage.focused() == "first"
    assert stage.instance.image().getpixel((400, 300)) == (0xC0, 0x20, 0x20)


@KIOSK
def test_kiosk_centres_dialogs_over_their_parent(stage: Stage) -> None:
    parent = stage.open("parent")
    dialog = stage.open("dialog", (300, 200), GREEN, lambda window: window.toplevel.set_parent(parent.toplevel))
    assert dialog.configures[0][:2] == (0, 0)
    assert stage.known(dialog).geometry == (250, 200, 300, 200)
    assert stage.focused() == "dialog"
    stage.inject.click(10, 10)  # on the parent: its dialog keeps the keyboard and stays on top
    assert stage.focused() == "dialog"
    assert stage.instance.image().getpixel((400, 300)) == (0x20, 0xC0, 0x20)
    dialog.commit(100, 100, GREEN)
    assert stage.known(dialog).geometry == (350, 250, 100, 100)


@KIOSK
def test_kiosk_takes_a_window_of_fixed_size_for_a_dialog(stage: Stage) -> None:
    def fix(window: Window) -> None:
        window.toplevel.set_min_size(120, 80)
        window.toplevel.set_max_size(120, 80)

    window = stage.open(size=(120, 80), before=fix)
    assert window.configures[0][:2] == (0, 0)
    assert stage.known(window).geometry == (340, 260, 120, 80)


@KIOSK
def test_kiosk_grants_full_screen_and_refuses_to_minimise(stage: Stage) -> None:
    window = stage.open()
    window.toplevel.unset_fullscreen()
    assert stage.states(window) == [MAXIMIZED, ACTIVATED]
    window.toplevel.set_fullscreen(None)
    assert stage.states(window) == [FULLSCREEN, ACTIVATED]
    window.toplevel.set_minimized()
    assert stage.known(window).shown
    assert stage.focused() == "app"


@under(policy__name="kiosk", policy__options={"state": "maximized"})
def test_kiosk_can_tell_apps_that_they_are_maximized(stage: Stage) -> None:
    assert stage.states(stage.open()) == [MAXIMIZED, ACTIVATED]


TWO = {"headless__outputs": ["800x600@60", "640x480@60"]}


@under(policy__name="kiosk", policy__options={"outputs": {"right": "HEADLESS-2"}}, **TWO)
def test_kiosk_survives_a_monitor_that_goes_and_comes(stage: Stage) -> None:
    right = stage.open("right")
    left = stage.open("left")
    assert stage.known(right).geometry == (800, 0, 640, 480)
    assert stage.known(left).geometry == (0, 0, 800, 600)
    stage.instance.compositor.unplug(2)
    stage.obey(right)
    assert stage.known(right).geometry == (0, 0, 800, 600)
    stage.instance.compositor.plug(640, 480, 60000, 2)
    stage.obey(right)
    assert stage.known(right).geometry == (800, 0, 640, 480)
    for connector in (1, 2):
        stage.instance.compositor.unplug(connector)
    stage.settle()
    stage.instance.compositor.plug(800, 600, 60000, 1)
    stage.obey(left)
    assert stage.known(left).geometry == (0, 0, 800, 600)


# ---- stacking ----


@STACKING
def test_stacking_lets_clients_choose_their_size_and_cascades(stage: Stage) -> None:
    first, second = stage.open("first"), stage.open("second")
    assert first.configures[0][:2] == (0, 0)
    assert stage.known(first).geometry == (0, 0, 200, 100)
    assert stage.known(second).geometry == (32, 32, 200, 100)


@STACKING
def test_stacking_focuses_and_raises_what_is_clicked(stage: Stage) -> None:
    first = stage.open("first", colour=RED)
    second = stage.open("second", colour=GREEN)
    assert stage.focused() == "second"
    assert stage.instance.image().getpixel((100, 50)) == (0x20, 0xC0, 0x20)
    stage.inject.click(5, 5)
    assert stage.focused() == "first"
    assert ACTIVATED in stage.states(first) and ACTIVATED not in stage.states(second)
    stage.inject.move(700, 500)  # the pointer's picture out of the way
    assert stage.instance.image().getpixel((100, 50)) == (0xC0, 0x20, 0x20)


@under(
    policy__name="stacking",
    binding=(
        {"keys": "Alt+Tab", "action": "focus-next"},
        {"keys": "Alt+Shift+Tab", "action": "focus-previous"},
        {"keys": "Super+m", "action": "maximize"},
        {"keys": "Super+f", "action": "fullscreen"},
        {"keys": "Super+n", "action": "minimize"},
        {"keys": "Super+q", "action": "close"},
    ),
)
def test_stacking_by_keyboard(stage: Stage) -> None:
    windows = {name: stage.open(name) for name in ("one", "two", "three")}
    press = stage.inject.press
    press("Alt+Tab")
    assert stage.focused() == "one"
    press("Alt+Tab")
    assert stage.focused() == "two"
    press("Alt+Shift+Tab")
    assert stage.focused() == "one"
    one = windows["one"]
    press("Super+m")
    stage.obey(one)
    assert stage.states(one) == [MAXIMIZED, ACTIVATED]
    assert stage.known(one).geometry == (0, 0, 800, 600)
    press("Super+f")
    assert stage.states(one) == [MAXIMIZED, FULLSCREEN, ACTIVATED]
    press("Super+f")
    press("Super+m")
    stage.obey(one)
    assert stage.states(one) == [ACTIVATED]
    assert stage.known(one).geometry == (0, 0, 200, 100)
    press("Super+n")
    assert stage.focused() != "one"
    assert not stage.known(one).shown
    press("Super+q")
    stage.settle()
    assert [window.closed for window in windows.values()] == [False, True, False]


@STACKING
def test_stacking_honours_what_was_asked_for_before_the_map(stage: Stage) -> None:
    window = stage.open(before=lambda window: window.toplevel.set_maximized())
    stage.obey(window)
    assert stage.states(window) == [MAXIMIZED, ACTIVATED]
    assert stage.known(window).geometry == (0, 0, 800, 600)


@STACKING
def test_stacking_makes_a_window_fit_the_output(stage: Stage) -> None:
    window = stage.open(size=(1000, 900))
    stage.obey(window)
    assert stage.known(window).geometry == (0, 0, 800, 600)


@under(policy__name="stacking", **TWO)
def test_stacking_brings_windows_back_from_an_output_that_is_gone(stage: Stage) -> None:
    window = stage.open()
    known = stage.known(window)
    stage.instance.thread.call(lambda: known.place(1000, 100))
    assert stage.known(window).geometry[:2] == (1000, 100)
    stage.instance.compositor.unplug(2)
    assert stage.known(window).geometry == (600, 100, 200, 100)


# ---- what every policy can rely on ----


class Recording(Policy):
    """Shows everything and writes down what it hears."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.heard: list[str] = []

    def on_window_new(self, window: Any) -> None:
        self.heard.append(f"new {window.app_id}")
        window.configure()

    def on_window_map(self, window: Any) -> None:
        self.heard.append(f"map {window.app_id}")
        window.show()

    def on_window_unmap(self, window: Any) -> None:
        self.heard.append("unmap")

    def on_window_gone(self, window: Any) -> None:
        self.heard.append("gone")
        assert window.show() is False  # a verb on a dead window says so

    def on_window_title(self, window: Any) -> None:
        self.heard.append(f"title {window.title}")


@pytest.fixture
def recording() -> Iterator[Stage]:
    with InProcess(policy=Recording) as instance:
        stage = Stage(instance)
        yield stage
        stage.client.close()


def test_a_window_may_come_back_after_an_unmap(recording: Stage) -> None:
    """xdg-shell: after a NULL buffer "the client will have to perform the initial commit again"."""
    window = recording.open()
    window.surface.attach(None, 0, 0)
    window.surface.commit()
    recording.settle()
    recording.map(window)
    assert recording.instance.policy.heard == ["new app", "map app", "unmap", "new ", "map "]
    window.toplevel.destroy()
    recording.settle()
    assert recording.instance.policy.heard[-2:] == ["unmap", "gone"]


def test_titles_that_flood_cost_one_event_until_it_is_read(recording: Stage) -> None:
    window = recording.open()
    policy_may_go_on = threading.Event()
    recording.instance.thread.call(lambda: policy_may_go_on.wait(10))
    for number in range(2000):
        window.toplevel.set_title(f"t{number}")
    recording.client.roundtrip()
    policy_may_go_on.set()
    recording.settle()
    assert recording.instance.policy.heard == ["new app", "map app", "title t1999"]


def test_lost_events_are_made_up_for(recording: Stage) -> None:
    """What resync does when the queue overflowed: here everything was lost."""
    recording.open("a")
    recording.open("b")
    instance = recording.instance
    recording.settle()
    before = [heard for heard in instance.policy.heard if heard[:3] in ("new", "map")]

    def forget_and_resync() -> None:
        for window in instance.dispatcher.windows:
            instance.dispatcher.windows.remove(window.handle)
        instance.dispatcher.outputs.clear()
        instance.policy.heard.clear()
        instance.dispatcher.resync()
        instance.dispatcher.resync()  # nothing is told twice

    instance.thread.call(forget_and_resync)
    recording.settle()
    assert instance.policy.heard == before
    assert len(instance.dispatcher.outputs) == 1


class Raising(Recording):
    def on_window_new(self, window: Any) -> None:
        raise RuntimeError("a bug in the policy")


def test_a_policy_that_raises_is_logged_counted_and_survived() -> None:
    instance = InProcess(policy=Raising)
    with instance:
        instance.expect("Raising.on_window_new failed")
        stage = Stage(instance)
        window = stage.open()  # the dispatcher configures it instead
        assert stage.known(window).mapped
        assert instance.dispatcher.errors == 1
        instance.dispatcher.errors = 0  # that one was meant
        stage.client.close()


class Silent(Recording):
    def on_window_new(self, window: Any) -> None:
        pass


def test_a_window_that_the_policy_forgets_is_configured_natively() -> None:
    with InProcess(policy=Silent) as instance:
        stage = Stage(instance)
        stage.open()
        assert any("configured without the policy" in message for message in instance.log.messages())
        stage.client.close()


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPO / "docs/policies.md").read_text()
    code = re.search(r"<!-- A test loads this block.*?-->\n```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "columns.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"policy__name": "columns:Columns", "headless__outputs": ["800x600@60"]}
    with InProcess(configure(**settings)) as instance:
        stage = Stage(instance)
        first, second = stage.open("first"), stage.open("second")
        stage.obey(first)
        stage.obey(second)
        assert stage.known(first).geometry == (0, 0, 400, 600)
        assert stage.known(second).geometry == (400, 0, 400, 600)
        stage.inject.click(100, 100)
        assert stage.focused() == "first"
        stage.client.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiling", 'there is no policy "tiling"'),
        ("no.such.module:Policy", 'the module "no.such.module"'),
        ("minicomp.shell.kiosk:Nothing", 'has no class "Nothing"'),
        ("minicomp.errors:ConfigError", "is not a minicomp.shell.policy.Policy"),
    ],
)
def test_a_wrong_policy_name_is_explained(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_policy(name)


def test_an_import_error_inside_a_policy_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_policy.py").write_text("import a_module_that_does_not_exist\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist"):
        load_policy("broken_policy:P")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, 'policy.options: unknown option "colour" (known options: outputs, state)'),
        ({"outputs": 3}, "policy.options.outputs: must be a dict"),
        ({"state": "tiny"}, 'policy.options.state: must be "fullscreen" or "maximized"'),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy("kiosk")(None, options)  # type: ignore[arg-type] # options are checked first
    assert str(caught.value) == message
