"""The layer-shell arrangement: the rules of wlr-layer-shell-unstable-v1 as properties and as examples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minicomp.compositor.geometry import Box
from minicomp.compositor.layers import (
    ANCHOR_BOTTOM,
    ANCHOR_LEFT,
    ANCHOR_RIGHT,
    ANCHOR_TOP,
    BACKGROUND,
    IGNORE_ZONES,
    OVERLAY,
    TOP,
    Wish,
    arrange,
)

OUTPUT = Box(100, 50, 1280, 720)
ACROSS = ANCHOR_LEFT | ANCHOR_RIGHT
DOWN = ANCHOR_TOP | ANCHOR_BOTTOM
ALL = ACROSS | DOWN

PANEL = Wish(anchor=ANCHOR_TOP | ACROSS, height=30, exclusive_zone=30)
DOCK = Wish(anchor=ANCHOR_LEFT | DOWN, width=64, exclusive_zone=64)
WALLPAPER = Wish(layer=BACKGROUND, anchor=ALL, exclusive_zone=IGNORE_ZONES)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    anchor = draw(st.integers(0, 15))
    sizes = st.integers(1, 2000)
    # 0 is allowed with opposite anchors only: the native side answers anything else with a protocol error.
    return Wish(
        layer=draw(st.integers(BACKGROUND, OVERLAY)),
        anchor=anchor,
        width=draw(sizes | st.just(0)) if anchor & ACROSS == ACROSS else draw(sizes),
        height=draw(sizes | st.just(0)) if anchor & DOWN == DOWN else draw(sizes),
        exclusive_zone=draw(st.integers(-1, 3000)),
        margin_top=draw(st.integers(-50, 50)),
        margin_right=draw(st.integers(-50, 50)),
        margin_bottom=draw(st.integers(-50, 50)),
        margin_left=draw(st.integers(-50, 50)),
    )


many = st.lists(st.tuples(wishes(), st.booleans()), max_size=6)


@given(many)
def test_what_is_left_is_part_of_the_output(surfaces: list[tuple[Wish, bool]]) -> None:
    boxes, usable = arrange(OUTPUT, surfaces)
    assert OUTPUT.contains(usable)
    assert usable.width >= 0 and usable.height >= 0
    assert all(box.width >= 1 and box.height >= 1 for box in boxes)


@given(many)
def test_a_size_that_is_asked_for_is_given(surfaces: list[tuple[Wish, bool]]) -> None:
    boxes, _ = arrange(OUTPUT, surfaces)
    for (wish, _), box in zip(surfaces, boxes, strict=True):
        assert wish.width in (0, box.width)
        assert wish.height in (0, box.height)


@given(many)
def test_surfaces_without_a_zone_change_nothing_for_others(surfaces: list[tuple[Wish, bool]]) -> None:
    zoned = [(wish, mapped) for wish, mapped in surfaces if wish.exclusive_zone > 0]
    boxes, usable = arrange(OUTPUT, surfaces)
    zoned_boxes, zoned_usable = arrange(OUTPUT, zoned)
    assert usable == zoned_usable
    assert [box for (wish, _), box in zip(surfaces, boxes, strict=True) if wish.exclusive_zone > 0] == zoned_boxes


@given(many)
def test_unmapped_surfaces_take_no_zone(surfaces: list[tuple[Wish, bool]]) -> None:
    _, usable = arrange(OUTPUT, [(wish, False) for wish, _ in surfaces])
    assert usable == OUTPUT


@given(many, st.integers(-500, 500), st.integers(-500, 500))
def test_moving_the_output_moves_everything(surfaces: list[tuple[Wish, bool]], dx: int, dy: int) -> None:
    boxes, usable = arrange(OUTPUT, surfaces)
    moved_boxes, moved_usable = arrange(OUTPUT._replace(x=OUTPUT.x + dx, y=OUTPUT.y + dy), surfaces)
    expected = [box._replace(x=box.x + dx, y=box.y + dy) for box in [*boxes, usable]]
    assert [*moved_boxes, moved_usable] == expected


def test_a_panel_and_a_dock_share_the_output() -> None:
    boxes, usable = arrange(OUTPUT, [(PANEL, True), (DOCK, True)])
    assert boxes[0] == Box(100, 50, 1280, 30)
    assert boxes[1] == Box(100, 80, 64, 690)  # under the panel, which came first
    assert usable == Box(164, 80, 1216, 690)


def test_zones_are_given_from_the_top_layer_down() -> None:
    lower = PANEL._replace(layer=BACKGROUND)
    boxes, _ = arrange(OUTPUT, [(lower, True), (PANEL._replace(layer=OVERLAY), True)])
    assert (boxes[0].y, boxes[1].y) == (80, 50)


def test_a_wallpaper_goes_under_panels() -> None:
    boxes, _ = arrange(OUTPUT, [(PANEL, True), (WALLPAPER, True)])
    assert boxes[1] == OUTPUT


def test_a_surface_without_zone_keeps_clear_of_panels() -> None:
    boxes, _ = arrange(OUTPUT, [(Wish(layer=TOP, anchor=ALL), True), (PANEL, True)])
    assert boxes[0] == Box(100, 80, 1280, 690)


def test_anchors_and_margins_place_a_notification() -> None:
    corner = Wish(anchor=ANCHOR_TOP | ANCHOR_RIGHT, width=300, height=80, margin_top=10, margin_right=20)
    assert arrange(OUTPUT, [(corner, True)])[0] == [Box(100 + 1280 - 300 - 20, 60, 300, 80)]


def test_without_anchors_it_is_centred() -> None:
    assert arrange(OUTPUT, [(Wish(width=400, height=200), True)])[0] == [Box(540, 310, 400, 200)]


def test_a_margin_counts_with_the_zone() -> None:
    floating = PANEL._replace(margin_top=6, margin_bottom=100)
    assert arrange(OUTPUT, [(floating, True)])[1] == Box(100, 86, 1280, 684)


def test_a_corner_has_no_edge_to_take_a_zone_from() -> None:
    corner = Wish(anchor=ANCHOR_TOP | ANCHOR_LEFT, width=100, height=100, exclusive_zone=100)
    assert arrange(OUTPUT, [(corner, True)])[1] == OUTPUT
