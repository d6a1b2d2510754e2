"""The configuration: what loads, and what an error says about a setting that cannot be used."""

from pathlib import Path

import pytest

from minicomp.config import Config, Mode, load, parse_mode, parse_set
from minicomp.config.locate import line_of
from minicomp.config.show import as_toml
from minicomp.errors import ConfigError, ExitCode

CONFIGS = Path(__file__).parents[2] / "configs"


def load_text(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "test.toml"
    file.write_text(text, encoding="utf-8")
    return load(str(file))


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value).removeprefix(f"{tmp_path}/")


def set_error_of(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, [parse_set(argument) for argument in arguments])
    return str(caught.value)


def test_nothing_given_is_all_defaults() -> None:
    assert load() == Config()


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.toml")))
def test_shipped_configurations_load_and_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    config = load(str(CONFIGS / name))
    assert config != Config()
    assert load_text(tmp_path, as_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[backend]\n\nkimd = 1",
            "test.toml:3: backend.kimd: unknown key; allowed are: kind, renderer, clock, socket, xwayland, "
            'vt_switching, gpu (did you mean "kind"?)',
        ),
        (
            '[backend]\nkind = "headles"',
            'test.toml:2: backend.kind: "headles" is not allowed; allowed: one of "auto", "drm", "headless", "nested" '
            '(did you mean "headless"?)',
        ),
        (
            '[[output]]\nname = "a"\n[[output]]\n# the second one\nscale = 0',
            "test.toml:5: output[1].scale: 0 is not allowed; allowed: a number above 0, at most 16",
        ),
        (
            '[[input]]\ntype = "touchscreen"',
            'test.toml:2: input[0].type: "touchscreen" is not allowed; allowed: one of "keyboard", "pointer", "touchpad", '
            '"touch", "tablet" (did you mean "touch"?)',
        ),
        (
            '[[input]]\nid = "46d:c52b"',
            'test.toml:2: input[0].id: "46d:c52b" is not allowed; allowed: a device\'s "vendor:product" in hexadecimal, '
            'as lsusb prints it, for example "046d:c52b"',
        ),
        (
            "[[input]]\ncalibration = [1, 0, 0]",
            "test.toml:2: input[0].calibration: a list is not allowed; allowed: the first two rows of libinput's "
            "calibration matrix, [1, 0, 0, 0, 1, 0] for none",
        ),
        (
            "[[input]]\naccel_speed = 2",
            "test.toml:2: input[0].accel_speed: 2 is not allowed; allowed: a number from -1 to 1",
        ),
        (
            "[idle]\noutput_off_after_s = -1",
            "test.toml:2: idle.output_off_after_s: -1 is not allowed; allowed: seconds, 0 to 604800; 0 is never",
        ),
        (
            '[backend]\ngpu = "card1"',
            'test.toml:2: backend.gpu: "card1" is not allowed; allowed: a DRM device such as ',
        ),
        ("output = 3", "test.toml:1: output: 3 is not allowed; allowed: a list of tables"),
        (
            '[[output]]\nmode = "prefered"',
            'test.toml:2: output[0].mode: "prefered" is not allowed; allowed: "preferred", "highest-refresh", or a '
            'mode "WIDTHxHEIGHT[@HZ]", for example "1920x1080@60" (did you mean "preferred"?)',
        ),
        (
            '[log]\nlevel = "info"\n\n[[binding]]\nkeys = "a"',
            "test.toml:4: binding[0]: action is missing: an action of the policy, with an argument after a colon where "
            'it takes one, for example "close" or "spawn:foot"',
        ),
        (
            '[[trust.client]]\nglobals = ["all"]',
            "test.toml:1: trust.client[0]: needs at least one of exe, uid, socket: without a condition it would trust "
            "every client",
        ),
        ("[keyboard]\nlayout = 3", "test.toml:2: keyboard.layout: 3 is not allowed; allowed: a string "),
        ("[backend]\nxwayland = 1", "test.toml:2: backend.xwayland: 1 is not allowed; allowed: true or false"),
        ("[headless]\nlatch_us = 1.5", "test.toml:2: headless.latch_us: 1.5 is not allowed; allowed: microseconds "),
        ("[render]\nthread = 1", "test.toml:2: render.thread: 1 is not allowed; allowed: true or false"),
        ("[pacing]\ntarget_miss_rate = 1.0", "test.toml:2: pacing.target_miss_rate: 1.0 is not allowed; allowed: the "),
        ("\n[bakend]\n", "test.toml:2: bakend: unknown section; allowed are: backend, output, "),
        ("a = 1\nb = = 2\n", "test.toml:2: not valid TOML: "),
        ("a = [1,\n", "test.toml:2: not valid TOML: "),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_what_is_allowed(text: str, message: str, tmp_path: Path) -> None:
    error = error_of(tmp_path, text)
    assert error.startswith(message)
    assert "\n" not in error


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot read the configuration: No such file"):
        load(str(tmp_path / "missing.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(str(binary))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("log.level=debug", "debug"),
        ('log.level="debug"', "debug"),
        ("backend.xwayland=true", True),
        ("headless.latch_us=1_500", 1500),
        ('headless.outputs=["800x600@60", "1x1@1"]', ["800x600@60", "1x1@1"]),
        ("trace.path=/tmp/run=1.mct", "/tmp/run=1.mct"),
        ("policy.name=my.module:Class", "my.module:Class"),
        ("keyboard.layout=", ""),
        ("policy.options={a = 1}", {"a": 1}),
        ("keyboard.layout=x\ny = 1", "x\ny = 1"),
    ],
)
def test_set_takes_toml_values_and_bare_strings(argument: str, value: object) -> None:
    override = parse_set(argument)
    assert override.path == tuple(argument.split("=")[0].split("."))
    assert override.value == value


def test_set_counts_more_than_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('[log]\nlevel = "error"\n[cursor]\nsize = 10\n')
    config = load(str(file), [parse_set("log.level=debug"), parse_set("cursor.size=20"), parse_set("cursor.size=30")])
    assert (config.log.level, config.cursor.size) == ("debug", 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["log.level"], "--set log.level: not of the form section.key=value (for example --set log.level=debug)"),
        ([".level=debug"], "--set .level=debug: not of the form section.key=value"),
        (["log.levl=debug"], '--set log.levl=debug: log.levl: unknown key; allowed are: level (did you mean "level"?)'),
        (["cursor.size=9", "log.level=dbug"], '--set log.level=dbug: log.level: "dbug" is not allowed; '),
        (["backend=3"], "--set backend=3: backend: 3 is not allowed; allowed: a table"),
        (["render.thread=yes"], '--set render.thread=yes: render.thread: "yes" is not allowed; allowed: true or false'),
    ],
)
def test_set_is_checked_like_the_file(arguments: list[str], message: str) -> None:
    assert set_error_of(*arguments).startswith(message)


def test_set_cannot_reach_into_a_list_of_tables(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('[[output]]\nname = "*"\n')
    with pytest.raises(ConfigError, match="output is a list of tables"):
        load(str(file), [parse_set("output.scale=2")])


def test_the_first_matching_output_block_counts(tmp_path: Path) -> None:
    config = load_text(
        tmp_path, '[[output]]\nname = "HEADLESS-2"\nscale = 2\n[[output]]\nname = "HEADLESS-*"\nscale = 3'
    )
    assert config.output_settings("HEADLESS-2").scale == 2
    assert config.output_settings("HEADLESS-1").scale == 3
    assert config.output_settings("DP-1").scale == 1


def test_structs_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load().cursor.size = 3  # type: ignore[misc]


def test_modes() -> None:
    assert parse_mode("1920x1080@59.94") == Mode(1920, 1080, 59940)
    assert parse_mode("800x600") == Mode(800, 600, 0)
    assert [str(parse_mode(text)) for text in ("1920x1080@59.94", "800x600", "1x2@60")] == [
        "1920x1080@59.94",
        "800x600",
        "1x2@60",
    ]
    with pytest.raises(ValueError, match="preferred"):
        parse_mode("preferred")


def test_lines_are_found_past_anything_a_value_can_hold() -> None:
    text = '''# [not] a = table
top = "x = 1 # no comment" # a comment
many = [
  "[fake]",
  { wanted = 1 },
]
long = """
[fake]
wanted = 1
"""
[ section . "in side" ]
a.b = 1
'quoted key' = { x = [1,
2] }
[[list]]
[list.inner]
wanted = 1
[[list]]
wanted = 2
'''
    assert line_of(text, ("top",)) == 2
    assert line_of(text, ("many", 1, "wanted")) == 3
    assert line_of(text, ("long",)) == 7
    assert line_of(text, ("section", "in side", "a", "b")) == 12
    assert line_of(text, ("section", "in side", "quoted key", "x")) == 13
    assert line_of(text, ("list", 0)) == 15
    assert line_of(text, ("list", 0, "inner", "wanted")) == 17
    assert line_of(text, ("list", 1, "wanted")) == 19
    assert line_of(text, ("list", 1, "missing")) == 18
    assert line_of(text, ("missing",)) == 1
