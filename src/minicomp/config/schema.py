"""The sections and keys of a configuration, their types, limits and defaults.

This file is the reference: `minicomp config show` prints it filled in, and an error about a key quotes its
`description`. Structs are frozen; a changed setting is a new Config. Key names carry their units. Nothing here is read
before it means something: a key exists when the program acts on it.
"""

from typing import Annotated, Any, Literal

from minicomp.config.knobs import KnobSettings
from minicomp.config.modes import MODE_PATTERN, OUTPUT_MODE_PATTERN
from minicomp.config.validation import Meta, Struct, to_builtins

ModeText = Annotated[str, Meta(pattern=MODE_PATTERN, description='a mode "WIDTHxHEIGHT@HZ", for example "1280x720@60"')]
OutputModeText = Annotated[
    str,
    Meta(
        pattern=OUTPUT_MODE_PATTERN,
        description='"preferred", "highest-refresh", or a mode "WIDTHxHEIGHT[@HZ]", for example "1920x1080@60"',
    ),
]
Transform = Literal[
    "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270"
]  # in the order of wl_output.transform, so that the index is the protocol's number
GlobalGroup = Literal[
    "screencopy",
    "export-dmabuf",
    "virtual-keyboard",
    "virtual-pointer",
    "input-method",
    "data-control",
    "foreign-toplevel",
    "gamma-control",
    "output-management",
    "output-power",
    "layer-shell",
]
BindingKeys = Annotated[
    str,
    Meta(
        pattern=r"^((Shift|Ctrl|Alt|Super|Mod[2-5])\+)*[A-Za-z0-9_]+$",
        description='modifiers (Shift, Ctrl, Alt, Super, Mod2 to Mod5) and an xkb key name, for example "Super+Return"',
    ),
]
BindingAction = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]+(-[a-z]+)*(:.+)?$",
        description="an action of the policy, with an argument after a colon where it takes one, "
        'for example "close" or "spawn:foot"',
    ),
]
PolicyName = Annotated[
    str,
    Meta(
        pattern=r"^(kiosk|stacking|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description='"kiosk", "stacking", or your own policy as "package.module:Class"',
    ),
]
SocketName = Annotated[
    str,
    Meta(
        pattern=r"^[^/\0]*$",
        max_length=90,
        description='the name of a socket in XDG_RUNTIME_DIR (no "/"), or "" for the first free wayland-N',
    ),
]
DeviceId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$",
        description='a device\'s "vendor:product" in hexadecimal, as lsusb prints it, for example "046d:c52b"',
    ),
]
Calibration = Annotated[
    tuple[float, float, float, float, float, float],
    Meta(description="the first two rows of libinput's calibration matrix, [1, 0, 0, 0, 1, 0] for none"),
]
Fraction = Annotated[float, Meta(gt=0, le=16, description="a number above 0, at most 16")]
Milliseconds = Annotated[int, Meta(ge=0, le=3_600_000, description="milliseconds, 0 to 3600000")]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration."""


class BackendSettings(Section, frozen=True):
    """What minicomp draws to, and with what."""

    kind: Literal["auto", "drm", "headless", "nested"] = "auto"
    renderer: Literal["auto", "pixman", "gles2"] = "auto"
    clock: Literal["real", "step"] = "real"  # step: the modelled display advances only when told (headless)
    socket: SocketName = ""
    xwayland: bool = False
    vt_switching: bool = True  # Ctrl+Alt+F1 ... (drm)
    gpu: Annotated[
        str, Meta(pattern=r"^(/.*)?$", description='a DRM device such as "/dev/dri/card1", or "" for the first one')
    ] = ""  # several with colons between: the first renders (drm)


class OutputSettings(Section, frozen=True):
    """Settings for the outputs whose name matches a pattern; the first matching [[output]] counts."""

    name: Annotated[str, Meta(min_length=1, description='a name or pattern: "HDMI-A-1", "HEADLESS-*", "*"')] = "*"
    mode: OutputModeText = "preferred"
    scale: Fraction = 1.0
    transform: Transform = "normal"
    position: Annotated[tuple[int, int], Meta(description="[x, y] in layout coordinates")] | None = None
    enabled: bool = True
    adaptive_sync: bool = False


class InputSettings(Section, frozen=True):
    """Settings for the input devices that fit every condition given; the first [[input]] that fits counts.

    What is left out stays as libinput has it. A layout, variant, options or model make a keyboard independent of the
    others: clients see its keymap while it is used (barcode scanners, numeric pads).
    """

    # Conditions. `minicomp run --set log.level=debug` logs every device with its name, type and id.
    name: Annotated[str, Meta(min_length=1, description='a name or pattern: "*Touchscreen*", "*"')] = "*"
    type: Literal["keyboard", "pointer", "touchpad", "touch", "tablet"] | None = None
    id: DeviceId | None = None

    events: Literal["enabled", "disabled", "disabled-on-external-mouse"] | None = None
    map_to_output: Annotated[str, Meta(min_length=1, description='an output\'s name or pattern: "HDMI-A-1"')] | None = (
        None
    )
    calibration: Calibration | None = None
    tap: bool | None = None
    tap_drag: bool | None = None
    natural_scroll: bool | None = None
    left_handed: bool | None = None
    middle_emulation: bool | None = None
    disable_while_typing: bool | None = None
    accel_profile: Literal["flat", "adaptive"] | None = None
    accel_speed: Annotated[float, Meta(ge=-1, le=1, description="a number from -1 to 1")] | None = None
    scroll_method: Literal["none", "two-finger", "edge", "on-button"] | None = None
    click_method: Literal["none", "button-areas", "clickfinger"] | None = None
    layout: str = ""
    variant: str = ""
    options: str = ""
    model: str = ""


class IdleSettings(Section, frozen=True):
    """What happens without input. Visible clients that inhibit idleness (videos) prevent it."""

    output_off_after_s: Annotated[int, Meta(ge=0, le=604_800, description="seconds, 0 to 604800; 0 is never")] = (
        0  # any input switches the screens on again
    )


class HeadlessSettings(Section, frozen=True):
    """The modelled display."""

    outputs: Annotated[tuple[ModeText, ...], Meta(min_length=1, description="a list of at least one mode")] = (
        "1280x720@60",  # HEADLESS-1
    )  # and HEADLESS-2, ...
    latch_us: Annotated[
        int, Meta(ge=0, le=1_000_000, description="microseconds before vblank by which a frame must be committed")
    ] = 1000


class RenderSettings(Section, frozen=True):
    """Where frames are composed. With the step clock the loop thread composes, whatever is set here."""

    thread: bool = True  # on a thread of its own; false: on the loop thread, between requests
    # yes: the loop thread sends callbacks and composes when they are due, and a little earlier once every client has
    # answered; the render thread sleeps. That is half the wake-ups.
    # auto: unless the render thread is scheduled in a way of its own ([knobs.render]).
    early: Literal["auto", "yes", "no"] = "auto"


class LoopSettings(Section, frozen=True):
    """How the loop thread waits for clients, input and the display. See docs/knobs.md."""

    wait: Literal["epoll", "epoll-edge", "io-uring", "io-uring-sqpoll"] = "epoll"  # in the order of mc_wait_kind
    sqpoll_idle_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="milliseconds that io_uring's kernel thread spins idle, 1 to 60000")
    ] = 20  # io-uring-sqpoll: longer than a refresh at 60 Hz, so that it is awake for the next frame


class PacingSettings(Section, frozen=True):
    """When composing a frame begins. See docs/performance.md."""

    # asap: at once, as most compositors do. fixed: fixed_ms before the vblank. adaptive: as late as the measured cost,
    # a learned latch and the stated miss rate allow, and clients are asked for frames accordingly.
    mode: Literal["asap", "fixed", "adaptive"] = "adaptive"
    fixed_ms: Annotated[float, Meta(ge=0, le=1000, description="milliseconds before the vblank, 0 to 1000")] = 4.0
    target_miss_rate: Annotated[
        float, Meta(gt=0, lt=1, description="the share of frames that may miss their vblank, above 0 and below 1")
    ] = 0.001


class PolicySettings(Section, frozen=True):
    """Which windows go where: a file of src/minicomp/shell, or your own class."""

    name: PolicyName = "kiosk"
    options: dict[str, Any] = {}


class KeyboardSettings(Section, frozen=True):
    """The xkb keymap and key repeat of every keyboard. Empty names mean xkb's own defaults (XKB_DEFAULT_*)."""

    layout: str = ""
    variant: str = ""
    options: str = ""
    model: str = ""
    rules: str = ""
    repeat_rate_hz: Annotated[int, Meta(ge=0, le=1000, description="repeats a second, 0 to 1000; 0 is none")] = 25
    repeat_delay_ms: Milliseconds = 600


class CursorSettings(Section, frozen=True):
    """The pointer's picture. An empty theme is the system's default."""

    theme: str = ""
    size: Annotated[int, Meta(ge=1, le=512, description="pixels, 1 to 512")] = 24
    hide_after_ms: Milliseconds = 0  # 0: never hidden


class BindingSettings(Section, frozen=True):
    """A key combination and what it does. Kept from clients."""

    keys: BindingKeys
    action: BindingAction


class TrustedClient(Section, frozen=True):
    """A client that gets some of the globals that spy or inject. Every condition that is given must hold."""

    globals: tuple[GlobalGroup | Literal["all"], ...]
    exe: Annotated[str, Meta(pattern=r"^/", description="the absolute path of the client's executable")] | None = None
    uid: Annotated[int, Meta(ge=0, description="a user id")] | None = None
    socket: SocketName | None = None

    def __post_init__(self) -> None:
        if self.exe is None and self.uid is None and self.socket is None:
            raise ValueError("needs at least one of exe, uid, socket: without a condition it would trust every client")


class TrustSettings(Section, frozen=True):
    """Who is offered the globals that spy or inject (see GlobalGroup).

    same-uid: every client of the compositor's own user; listed: only the clients in [[trust.client]].
    auto is same-uid with the headless backend and listed with all others.
    """

    mode: Literal["auto", "same-uid", "listed"] = "auto"
    client: tuple[TrustedClient, ...] = ()


class LimitSettings(Section, frozen=True):
    """What one client may hold before it is disconnected, so that the others do not notice it."""

    fds_per_client: Annotated[
        int, Meta(ge=8, le=65536, description="8 to 65536 file descriptors, within a second and held at once")
    ] = 4096
    unread_bytes_per_client: Annotated[
        int, Meta(ge=4096, le=1 << 30, description="4096 to 1073741824 bytes that the client has not read")
    ] = 1 << 20
    surfaces_per_client: Annotated[int, Meta(ge=1, le=1_000_000, description="1 to 1000000 surfaces")] = 2048
    # Of the thread that reads requests. A client that wants more is not disconnected: its requests wait in its socket,
    # are read once a refresh, and if they never end a few times a second. 1: no ration.
    time_share_per_client: Annotated[float, Meta(gt=0, le=1, description="a share of the time, above 0, at most 1")] = (
        0.125
    )


class AppSettings(Section, frozen=True):
    """The program to run; `minicomp run -- COMMAND` takes its place."""

    command: tuple[str, ...] = ()
    # Of the privileged ones; for the app and what it starts, as long as those between are alive (docs/ci.md).
    globals: tuple[GlobalGroup | Literal["all"], ...] = ()
    # Its own end of a socket pair (WAYLAND_SOCKET), which has app.globals and nothing else. It serves one client: no
    # second program of a script, and no app that hands the variable on.
    own_connection: bool = False
    sandbox: bool = False  # inside bubblewrap, in namespaces of its own (docs/kiosk.md)
    sandbox_network: bool = False  # the sandbox shares the machine's network
    sandbox_read_only: tuple[str, ...] = ()  # files and folders that it sees besides /usr
    kill_grace_ms: Milliseconds = 5000  # between SIGTERM and SIGKILL


class TraceSettings(Section, frozen=True):
    """The run file (docs/trace-format.md)."""

    path: str = ""  # empty: no trace
    ring_records: Annotated[
        int, Meta(ge=1024, le=1 << 24, description="records of 32 bytes kept per thread, 1024 to 16777216")
    ] = 65536
    kernel: Literal["off", "tracefs", "bpftrace"] = "off"  # also who ran on the CPUs, to FILE.kernel; needs root
    kernel_scope: Literal["all", "own"] = "all"  # own: only switches of the compositor's threads, which is less


class ControlSettings(Section, frozen=True):
    """The control socket, which `minicomp msg` speaks to (docs/control.md)."""

    enabled: bool = True
    # Screenshots and injected input over it, for every process of the compositor's user. auto: as for Wayland clients,
    # that is where trust.mode amounts to same-uid.
    spy: Literal["auto", "yes", "no"] = "auto"


class LogSettings(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """A whole configuration; every section may be left out."""

    backend: BackendSettings = BackendSettings()
    output: tuple[OutputSettings, ...] = ()
    input: tuple[InputSettings, ...] = ()
    idle: IdleSettings = IdleSettings()
    headless: HeadlessSettings = HeadlessSettings()
    render: RenderSettings = RenderSettings()
    loop: LoopSettings = LoopSettings()
    pacing: PacingSettings = PacingSettings()
    policy: PolicySettings = PolicySettings()
    keyboard: KeyboardSettings = KeyboardSettings()
    cursor: CursorSettings = CursorSettings()
    binding: tuple[BindingSettings, ...] = ()
    trust: TrustSettings = TrustSettings()
    limits: LimitSettings = LimitSettings()
    app: AppSettings = AppSettings()
    trace: TraceSettings = TraceSettings()
    knobs: KnobSettings = KnobSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()

    def output_settings(self, name: str) -> OutputSettings:
        """The settings for the output called `name`: the first [[output]] whose pattern matches, or the defaults."""
        from fnmatch import fnmatchcase

        for settings in self.output:
            if fnmatchcase(name, settings.name):
                return settings
        return OutputSettings(name=name)

    def to_dict(self) -> dict[str, Any]:
        """The effective settings as plain values, ready for json (the run file's META chunk holds them)."""
        settings: dict[str, Any] = to_builtins(self)
        return settings


class RunOptions(Struct, frozen=True, kw_only=True):
    """What `minicomp run` was asked for beyond the configuration."""

    ready_fd: int | None = None  # an inherited fd: a line is written to it when clients can connect
    stats: bool = False  # print the summary of the frame pipeline at the end
