"""Builds the two cffi modules; everything else about the project is in pyproject.toml.

A module is compiled again when any source or header in the native folders is newer than it: cffi's own modules know
only the sources they were given, so the headers are added here.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

NATIVE = Path("src/minicomp/native")


class BuildNative(build_ext):
    def build_extension(self, ext: Extension) -> None:
        own = NATIVE / ext.name.split(".")[-2]
        sources = {*own.glob("*.c"), *own.glob("*.py"), *NATIVE.glob("*/*.h")}
        ext.depends = sorted({*ext.depends, *map(str, sources)})
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildNative},
    cffi_modules=["src/minicomp/native/pure/build.py:ffi", "src/minicomp/native/wlr/build.py:ffi"],
)
