"""`scripts/vm`: boot a guest on this tree, run one command in it, act on it from outside, return its exit code.

Exit codes: the command's own; 124 when --timeout ended it; 125 when the lab itself failed; 130 after Ctrl-C,
143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from . import steps
from .apt import say
from .errors import CommandTimeout, LabError
from .guest import TREE, Guest
from .layers import LayerStore
from .process import GuestProcess
from .qemu import INPUT_DEVICES, Machine
from .twice import again, differences
from .virtual_time import VirtualRun, VirtualTime, store_results

DEFAULT_CPUS = 2
EXIT_TIMEOUT = 124
EXIT_LAB_FAILED = 125
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.help_steps:
        print(steps.__doc__)
        return 0
    # A supervisor's SIGTERM is as orderly an end as Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    try:
        if options.refresh:
            LayerStore().refresh()
        if options.fetch:
            _fetch(options.kernel)
        if not options.command:
            if options.refresh or options.fetch:
                return 0
            parser.error("no COMMAND")
        if options.twice and not options.virtual_time:
            parser.error("--twice needs --virtual-time: no other two runs are the same")
        return _virtual(options) if options.virtual_time else _function(options)
    except CommandTimeout as error:
        say(str(error))
        return EXIT_TIMEOUT
    except LabError as error:
        say(str(error))
        return EXIT_LAB_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _function(options: argparse.Namespace) -> int:
    width, height = options.screen
    machine = Machine(
        memory=options.memory,
        cpus=options.cpus or DEFAULT_CPUS,
        outputs=options.outputs,
        screen=(width, height),
        devices=options.devices,
        cmdline=options.cmdline,
        kvm=options.kvm,
    )
    actions = [steps.parse(text) for text in options.actions or []]
    guest = Guest(
        machine,
        share=options.share,
        kernel=options.kernel,
        packages=options.package,
        seatd=not options.no_seatd,
        on_request=lambda words: _request(guest, words),
    )
    with guest:
        if not options.quiet:
            say(f"guest is up after {guest.boot_s:.0f} s")
        for head in range(1, machine.outputs):
            guest.plug_output(head, width, height)
        process = guest.spawn(options.command, cwd=_working_folder(), env=dict(options.env), sink=_stream)
        failures: list[LabError] = []
        person = threading.Thread(target=_act, args=(guest, process, actions, options, failures), daemon=True)
        person.start()
        done = process.wait(options.timeout)
        # What the person at the screen still wanted to do came too late; a screenshot is owed in any case.
        person.join(0.5)
        if options.screenshot and not options.screenshot.exists():
            guest.screenshot(options.screenshot)
        if failures:
            raise failures[0]
    return done.code


def _act(
    guest: Guest, process: GuestProcess, actions: list[list[str]], options: argparse.Namespace, failures: list[LabError]
) -> None:
    """Thread: the steps of --keys and --pointer in the order given, then the screenshot."""
    try:
        for words in actions:
            steps.perform(guest, words, process)
        if options.screenshot and (actions or options.screenshot_after is not None):
            steps.perform(guest, [f"wait:{options.screenshot_after or 0}"], process)
            guest.screenshot(options.screenshot)
    except LabError as error:
        if process.running:
            failures.append(error)


def _request(guest: Guest, words: Sequence[str]) -> str:
    """What a program in the guest asks by `vmhost`."""
    if len(words) == 2 and words[0] == "screenshot":
        return str(guest.screenshot(Path(words[1])))
    if words and words[0] == "input":
        steps.perform(guest, [word for text in words[1:] for word in steps.parse(text)])
        return "done"
    raise LabError("vmhost knows: screenshot FILE; input STEP...")


def _virtual(options: argparse.Namespace) -> int:
    with VirtualTime(
        options.command,
        files=options.file,
        programs=options.program,
        results=options.result,
        timeout_s=options.timeout,
        memory=options.memory,
        kernel=options.kernel,
        cmdline=options.cmdline,
        env=dict(options.env),
        packages=options.package,
        gles2=options.gles2,
        display=options.display,
        khugepaged=options.khugepaged,
        cpus=options.cpus or 1,
    ) as image:
        run = image.run()
        sys.stdout.buffer.write(run.output)
        sys.stdout.flush()
        store_results(run, options.result)
        if not options.quiet:
            say(f"{run.guest_s:.1f} guest seconds in {run.host_s:.1f} s")
        if options.twice:
            _once_more(image, run, options.result, quiet=options.quiet)
    return run.code


def _once_more(image: VirtualTime, first: VirtualRun, results: Sequence[str], *, quiet: bool) -> None:
    """A second boot of the same image, compared with the first. Raises LabError when it differs; its files are kept."""
    second = image.run()
    found = differences(first, second)
    if not found:
        if not quiet:
            say(
                f"the same image once more, in {second.host_s:.1f} s: code, output, results are the same, byte for byte"
            )
        return
    kept = []
    for guest_path, _, host_path in (result.partition("=") for result in results):
        if guest_path in second.files:
            kept.append(again(host_path or Path(guest_path).name))
            kept[-1].write_bytes(second.files[guest_path])
    where = f"; kept: {', '.join(map(str, kept))}" if kept else ""
    raise LabError(f"the same image once more: {len(found)} differ: {', '.join(found[:10])}{where}")


def _fetch(kernel: str | None) -> None:
    from .layers import MESA, QEMU, TOOLS

    store = LayerStore()
    for recipe in (TOOLS, QEMU, MESA):
        store.layer(recipe)
    say(f"the cache {store.folder} has all of it, kernel {store.kernel(kernel).release}")


def _stream(stream: str, data: bytes) -> None:
    target = sys.stdout if stream == "out" else sys.stderr
    target.buffer.write(data)
    target.buffer.flush()


def _working_folder() -> Path:
    """The caller's folder when the guest has it at the same place, the tree otherwise."""
    here = Path.cwd()
    return here if here.is_relative_to(TREE) else TREE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/vm",
        description="Run COMMAND as root in a virtual machine with a real DRM/KMS display, on this tree.",
        epilog="The tree is writable in the guest; all other changes are thrown away. Manual: docs/vm.md",
    )
    add = parser.add_argument
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    add("--timeout", type=float, default=600, metavar="S", help="end COMMAND after S seconds, exit 124 (default 600)")
    add("--memory", default="2G", help="guest memory (default 2G)")
    add("--cpus", type=int, help="guest CPUs (default 2; with --virtual-time 1, more run in turn)")
    add("--outputs", type=int, default=1, metavar="N", help="monitors plugged in (default 1)")
    add("--screen", type=_size, default=(1280, 800), metavar="WxH", help="their preferred mode (default 1280x800)")
    devices = ",".join(INPUT_DEVICES)
    add("--devices", type=_names, default=("keyboard", "tablet"), metavar="LIST", help=f"of {devices}, or none")
    add("--cmdline", default="", metavar="TEXT", help="added to the kernel's command line")
    add("--kernel", metavar="VERSION", help="e.g. 7.3, 6.12, 6.1 (default: Debian's newest, 7.x)")
    add("--kvm", action="store_true", help="hardware virtualization instead of emulation")
    add("--no-seatd", action="store_true", help="do not start seatd")
    add("--package", action="append", default=[], metavar="NAME", help="have this Debian package in the guest")
    add("--env", action="append", default=[], type=_assignment, metavar="K=V", help="in COMMAND's environment")
    add("--share", type=Path, metavar="DIR", help="host folder that is /run/share in the guest")
    add("--screenshot", type=Path, metavar="OUT.png", help="what the screen shows after the steps, or at the end")
    add("--screenshot-after", type=float, metavar="S", help="take it S seconds after start (or after the steps)")
    for name in ("--keys", "--pointer"):
        add(name, action="append", dest="actions", metavar="STEPS", help="act from outside; see --help-steps")
    add("--virtual-time", action="store_true", help="run on QEMU's instruction clock: repeatable, no input or 9p")
    add("--file", action="append", default=[], metavar="PATH", help="with --virtual-time: also put this in the image")
    add("--program", action="append", default=[], metavar="NAME", help="the same for a program and its libraries")
    add("--gles2", action="store_true", help="with --virtual-time: also put Mesa's GLES2 into the image")
    add("--display", default="bochs-display", metavar="DEVICE", help="with --virtual-time: or virtio-vga")
    add("--khugepaged", action="store_true", help="with --virtual-time: leave khugepaged running, as the kernel has it")
    add("--result", action="append", default=[], metavar="GUEST=HOST", help="with --virtual-time: bring a file back")
    add("--twice", action="store_true", help="with --virtual-time: boot the image again and compare, byte for byte")
    add("--fetch", action="store_true", help="only fill the cache")
    add("--refresh", action="store_true", help="empty the cache first")
    add("--quiet", action="store_true", help="no lines of the lab's own")
    add("--help-steps", action="store_true", help="the steps of --keys and --pointer")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
