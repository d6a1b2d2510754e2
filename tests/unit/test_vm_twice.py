"""`scripts/vm --virtual-time --twice`: what is said about a second boot that differs. Booting is tested by tests/vm."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from vmlab.twice import again, differences
from vmlab.virtual_time import VirtualRun


def archive(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return data.getvalue()


def test_two_boots_are_compared_byte_for_byte() -> None:
    first = VirtualRun(0, b"done\n", 3.0, 20.0, {"/run/a": b"1", "/run/lab.tar": archive(one=b"1", two=b"2")})
    assert differences(first, VirtualRun(0, b"done\n", 3.0, 35.0, dict(first.files))) == []
    other = VirtualRun(
        1, b"Done\n", 3.0, 20.0, {"/run/b": b"1", "/run/lab.tar": archive(one=b"1", two=b"3", three=b"")}
    )
    assert differences(first, other) == [
        "exit code (0, 1)",
        "output",
        "/run/a",
        "/run/b",
        "/run/lab.tar: three",
        "/run/lab.tar: two",
    ]


def test_archives_that_differ_outside_their_files_are_not_the_same() -> None:
    first, second = archive(one=b"1"), archive(one=b"1") + b"\0" * 10240
    runs = [VirtualRun(0, b"", 1.0, 1.0, {"/run/lab.tar": data}) for data in (first, second)]
    assert differences(*runs) == ["/run/lab.tar"]


def test_the_second_boots_files_have_a_name_of_their_own() -> None:
    assert again("out/lab.tar") == Path("out/lab-again.tar")
    assert again("trace") == Path("trace-again")
