"""The measurements as tables: medians, spread, ratios against sway and tinywl, targets with marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .estimates import Ratio, mad, median, ratio, slope

TARGET_CPU_SWAY = 0.9
TARGET_CPU_TINYWL = 1.15
TARGET_START_SWAY = 2.0
TARGET_SLOPE_SWAY = 1.0
TARGET_TRACE_POINT_NS = 60.0
TARGET_TRACE_CPU = 0.01  # of one CPU
LOAD_WARNING = 0.5

Values = dict[str, dict[int, float]]  # contender -> round -> value


def render(result: Mapping[str, Any]) -> str:
    """The whole report of one run, as text of at most 120 columns."""
    names = [contender["name"] for contender in result["contenders"]]
    parts = [
        _head(result),
        _frames(result, names),
        _clients(result, names),
        _start(result, names),
        _memory(result, names),
        _trace(result),
        _breakdown(result["start_breakdown"]),
        _targets(result),
        _warnings(result),
    ]
    return "\n\n".join(part for part in parts if part)


def by_round(rows: Sequence[Mapping[str, Any]], key: str, scenario: str | None = None) -> Values:
    values: Values = defaultdict(dict)
    for row in rows:
        if scenario is None or row["scenario"] == scenario:
            values[row["contender"]][row["round"]] = row[key]
    return dict(values)


def usable_slots(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Windows in which the contender delivered what it is charged for."""
    return [slot for slot in result["slots"] if slot["delivered"]]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """The first `left` columns left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def _head(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    lines = [
        f"Side by side, headless, pixman, one output of 1280x720 at 62.5 Hz ({result['plan']} run)",
        f"{machine['cpus']} CPUs ({machine['cpu'] or 'model unknown'}), Linux {machine['kernel']}, "
        f"Python {machine['python']}",
        *(f"  {contender['name']:<22}{contender['what']}" for contender in result["contenders"]),
        *(f"  left out: {reason}" for reason in result["left_out"]),
    ]
    return "\n".join(lines)


def _frames(result: Mapping[str, Any], names: Sequence[str]) -> str:
    rows = []
    for scenario, label in (("small", "small damage"), ("full", "full damage"), ("feedback", "small, with feedback")):
        slots = [slot for slot in usable_slots(result) if slot["scenario"] == scenario]
        values = by_round(slots, "us_per_frame")
        rates, wakeups = by_round(slots, "rate_hz"), by_round(slots, "wakeups_per_frame")
        for name in names:
            if values.get(name):
                own = list(values[name].values())
                threads = _threads([slot for slot in slots if slot["contender"] == name])
                rate = f"{median(list(rates[name].values())):.1f}"
                wakes = f"{median(list(wakeups[name].values())):.1f}"
                note = " (*)" if name == "cage" else ""
                rows.append([label, f"{name}{note}", f"{median(own):.1f}", f"{mad(own):.1f}", rate, wakes, threads])
    title = (
        "CPU per delivered frame, in microseconds (user + system, all threads and children); "
        "wake-ups of its threads per frame\n"
    )
    note = "\n(*) cage makes the window as large as the output and hands its buffer on: it composes nothing here"
    return (
        title
        + table(["", "", "median", "MAD", "frames/s", "wake-ups", "by thread"], rows, left=2)
        + (note if "cage" in names else "")
    )


def _threads(slots: Sequence[Mapping[str, Any]]) -> str:
    """Microseconds per frame by thread, for those with more than one."""
    total: dict[str, float] = defaultdict(float)
    for slot in slots:
        for thread, spent_ns in slot["threads_ns"].items():
            total[thread] += spent_ns / 1000
    frames = sum(slot["frames"] for slot in slots)
    if len(total) < 2 or not frames:
        return ""
    ranked = sorted(total.items(), key=lambda item: -item[1])
    return ", ".join(f"{thread} {spent / frames:.1f}" for thread, spent in ranked)


def scale_points(result: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """contender -> number of clients -> median CPU per output frame in us."""
    points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for slot in usable_slots(result):
        if slot["scenario"].startswith("scale-"):
            points[slot["contender"]][slot["clients"]].append(slot["us_per_frame"])
    return {name: {n: median(values) for n, values in sorted(own.items())} for name, own in points.items()}


def scale_slopes(result: Mapping[str, Any]) -> Values:
    """us per output frame that one more client costs, by round."""
    slots = [slot for slot in usable_slots(result) if slot["scenario"].startswith("scale-")]
    points: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for slot in slots:
        points[slot["contender"]][slot["round"]][slot["clients"]] = slot["us_per_frame"]
    return {
        name: {round_: slope(own) for round_, own in rounds.items() if len(own) >= 2} for name, rounds in points.items()
    }


def _clients(result: Mapping[str, Any], names: Sequence[str]) -> str:
    points, slopes = scale_points(result), scale_slopes(result)
    counts = sorted({n for own in points.values() for n in own})
    rows = []
    for name in names:
        if name in points:
            cells = [f"{points[name][n]:.0f}" if n in points[name] else "-" for n in counts]
            own = list(slopes.get(name, {}).values())
            rows.append([name, *cells, f"{median(own):.2f}" if own else "-"])
    if not rows:
        return ""
    title = "CPU per output frame in microseconds against the number of clients (256x256, 32x32 damage each)\n"
    return title + table(["", *(f"{n} client{'s' if n > 1 else ''}" for n in counts), "per client"], rows)


def _start(result: Mapping[str, Any], names: Sequence[str]) -> str:
    walls, cpus = by_round(result["starts"], "first_roundtrip_ms"), by_round(result["starts"], "cpu_ms")
    rows = []
    for name in names:
        wall, cpu = list(walls.get(name, {}).values()), list(cpus.get(name, {}).values())
        if not wall:
            continue
        rows.append([name, f"{median(wall):.1f}", f"{mad(wall):.1f}", f"{min(wall):.1f}", f"{median(cpu):.1f}"])
    title = "Start: exec to the end of a client's first round trip, in ms (the client retries every ms)\n"
    return title + table(["", "median", "MAD", "min", "CPU"], rows)


def _memory(result: Mapping[str, Any], names: Sequence[str]) -> str:
    rows = []
    for name in names:
        own = [entry for entry in result["memory"] if entry["contender"] == name]
        if own:
            cells = [median([entry[key] for entry in own]) / 1024 for key in ("peak_rss_kib", "rss_kib", "pss_kib")]
            rows.append([name, *(f"{cell:.1f}" for cell in cells)])
    return "Memory in MiB, after one client\n" + table(["", "peak RSS", "RSS", "PSS"], rows)


def trace_cpu_share(result: Mapping[str, Any], scenario: str = "small") -> tuple[float, float] | None:
    """What tracing adds at one client: (share of one CPU, share of the compositor's own CPU); median of rounds."""
    values = by_round([slot for slot in usable_slots(result) if slot["scenario"] == scenario], "us_per_frame")
    on, off = values.get("minicomp", {}), values.get("minicomp-notrace", {})
    rounds = sorted(on.keys() & off.keys())
    if not rounds:
        return None
    added_us = median([on[r] - off[r] for r in rounds])
    return added_us * 60 / 1e6, added_us / median([on[r] for r in rounds])


def _trace(result: Mapping[str, Any]) -> str:
    lines = ["Trace"]
    points = result["trace_point_ns"]
    if points:
        lines.append(f"  one trace point: {median(points):.1f} ns (MAD {mad(points):.1f})")
    share = trace_cpu_share(result)
    if share is not None:
        lines.append(f"  the whole trace at 60 Hz: {share[0]:.2%} of one CPU, {share[1]:.0%} of minicomp's own")
    return "\n".join(lines)


def _breakdown(breakdown: Mapping[str, Any]) -> str:
    imports = breakdown["imports_ms"]
    packages = ", ".join(f"{name} {spent:.1f}" for name, spent in imports.items())
    slowest = ", ".join(f"{name} {spent:.1f}" for name, spent in breakdown["slowest_modules_ms"])
    return "\n".join(
        [
            "Where minicomp's start goes, in ms",
            f"  bare interpreter {breakdown['interpreter_ms']:.1f}; socket at {breakdown['socket_ms']:.0f}; "
            f"first round trip at {breakdown['first_roundtrip_ms']:.0f}",
            f"  imports, own time by package (slowed by timing them): {packages}; sum {sum(imports.values()):.1f}",
            f"  slowest modules: {slowest}",
        ]
    )


def _targets(result: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []

    def compare(what: str, values: Values, other: str, limit: float) -> None:
        found = ratio(values.get("minicomp", {}), values.get(other, {}))
        rows.append([f"{what} / {other}", f"<= {limit:g}", *_cells(found, limit)])

    usable = usable_slots(result)
    for scenario, label in (("small", "CPU per frame, small damage"), ("full", "CPU per frame, full damage")):
        values = by_round(usable, "us_per_frame", scenario)
        compare(label, values, "sway", TARGET_CPU_SWAY)
        compare(label, values, "tinywl", TARGET_CPU_TINYWL)
    compare("start to first round trip", by_round(result["starts"], "first_roundtrip_ms"), "sway", TARGET_START_SWAY)
    compare("CPU per further client", scale_slopes(result), "sway", TARGET_SLOPE_SWAY)

    def absolute(what: str, value: float | None, limit: float, show: Callable[[float], str]) -> None:
        if value is None:
            rows.append([what, f"<= {show(limit)}", "-", "", "not measured"])
        else:
            rows.append([what, f"<= {show(limit)}", show(value), "", "pass" if value <= limit else "miss"])

    points = result["trace_point_ns"]
    absolute("one trace point", median(points) if points else None, TARGET_TRACE_POINT_NS, lambda ns: f"{ns:.0f} ns")
    share = trace_cpu_share(result)
    absolute("trace at 60 Hz, of one CPU", share[0] if share else None, TARGET_TRACE_CPU, lambda s: f"{s:.2%}")
    return "Targets (minicomp with its trace on)\n" + table(["", "target", "measured", "95 % interval", ""], rows)


def _cells(found: Ratio | None, limit: float) -> list[str]:
    if found is None:
        return ["-", "", "not measured"]
    interval = f"{found.low:.2f} to {found.high:.2f}" if found.low is not None else f"{found.rounds} rounds only"
    return [f"{found.value:.2f}", interval, found.verdict(limit)]


def _warnings(result: Mapping[str, Any]) -> str:
    slots = result["slots"]
    lines = [f"failed: {failure}" for failure in result["failures"]]
    for slot in slots:
        if not slot["delivered"]:
            lines.append(
                f"not counted: {slot['contender']}, {slot['scenario']}, round {slot['round'] + 1} delivered "
                f"{slot['rate_hz']:.1f} of 62.5 frames/s to each client"
            )
    feedback = [slot for slot in slots if slot["scenario"] == "feedback"]
    if feedback:
        asked, answered = (sum(slot[key] for slot in feedback) for key in ("frames", "presented"))
        lines.append(f"checked: {answered} commits presented for {asked} frame callbacks, by minicomp's own feedback")
    disturbed = [slot for slot in slots if slot["disturbed"]]
    if disturbed:
        others = median([slot["disturbance"]["others"] for slot in slots])
        steal = max(slot["disturbance"]["steal"] for slot in slots)
        pressure = median([slot["disturbance"]["pressure"] for slot in slots if slot["clients"] == 1])
        lines.append(
            f"DISTURBED: in {len(disturbed)} of {len(slots)} windows other programs used more than 10 % of a CPU, or "
            f"the hypervisor more than 2 %\n  (median of others {others:.0%} of one CPU, largest steal {steal:.0%}, "
            f"tasks waited for a CPU {pressure:.0%} of the time): repeat when the machine is quiet"
        )
    if result["machine"]["load_before"] > LOAD_WARNING:
        lines.append(f"load average before the start was {result['machine']['load_before']:.1f}: others were at work")
    return "\n".join(lines)
