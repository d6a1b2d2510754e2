"""A client whose buffers' memory a test controls page by page."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from typing import Any

from minicomp.testing.client import XRGB8888, Client, Window
from tests.headless.traced import Traced

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


class PagedWindow:
    """A window with two buffers that are used in turn; it commits at each frame callback."""

    def __init__(self, run: Traced, width: int, height: int) -> None:
        self.run, self.size = run, (width, height)
        self.client = Client(run.compositor.socket)
        self.window = Window(self.client)
        self.buffers: list[tuple[Any, int, mmap.mmap]] = []
        self.drawn = 0

    def __enter__(self) -> PagedWindow:
        width, height = self.size
        self.window.initial_commit(self.run.instance.wait_for)
        for _ in range(2):
            fd = os.memfd_create("paged", os.MFD_CLOEXEC)
            os.ftruncate(fd, width * height * 4)
            memory = mmap.mmap(fd, width * height * 4)
            memory[:] = b"\x80\x90\xa0\xff" * (width * height)
            pool = self.client.bound["wl_shm"].create_pool(fd, width * height * 4)
            self.buffers.append((pool.create_buffer(0, width, height, width * 4, XRGB8888), fd, memory))
            pool.destroy()
        return self

    def chill(self) -> None:
        """Gives back every page of the buffer that the next frame will use; the compositor's mapping loses them, too."""
        self.client.roundtrip()  # the frame before has taken the other one
        _buffer, fd, memory = self.buffers[self.drawn % 2]
        flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        assert _libc.fallocate(fd, flags, ctypes.c_long(0), ctypes.c_long(len(memory))) == 0

    def draw(self, frames: int, *, whole: bool = False, then_chill: bool = False) -> None:
        """Commits so many frames, and waits after each to be asked for the next. `then_chill`: and chills meanwhile."""
        width, height = self.size
        for _ in range(frames):
            buffer, _fd, _memory = self.buffers[self.drawn % 2]
            asked = len(self.window.callbacks)
            self.window.surface.attach(buffer, 0, 0)
            self.window.surface.damage_buffer(0, 0, *((width, height) if whole else (64, 64)))
            self.window.commit_only(feedback=False)
            self.drawn += 1
            if then_chill:
                self.chill()
            deadline = time.monotonic() + 5
            while len(self.window.callbacks) == asked:
                self.client.roundtrip()
                time.sleep(0.0003)
                assert time.monotonic() < deadline, "no frame callback"

    def __exit__(self, *exc: object) -> None:
        self.client.close()
        for _buffer, fd, memory in self.buffers:
            memory.close()
            os.close(fd)
