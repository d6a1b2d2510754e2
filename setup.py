"""Builds the cffi modules; everything else about the project is in pyproject.toml.

setuptools compiles every C file of a module, one after another, whenever one of them has changed. `BuildNative`
compiles what is older than its source, any of our headers or the build description, as many files at a time as there
are CPUs.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

NATIVE = Path("src/minicomp/native")


def modified_ns(path: str | Path) -> int:
    """When `path` was last written; 0 when it does not exist."""
    try:
        return Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


class BuildNative(build_ext):
    def build_extension(self, ext: Extension) -> None:
        own = NATIVE / ext.name.split(".")[-2]
        shared = [Path("setup.py"), *NATIVE.glob("*.py"), *own.glob("*.py"), *NATIVE.glob("*/*.h")]
        ext.depends = sorted({*ext.depends, *map(str, shared), *map(str, own.glob("*.c"))})
        newest_shared_ns = max(map(modified_ns, shared))

        compiler, common_temp = self.compiler, self.build_temp
        compile_all = compiler.compile

        def compile_changed(sources: list[str], **options: Any) -> list[str]:
            output_dir = options.pop("output_dir")

            def compile_one(source: str) -> list[str]:
                (object_file,) = compiler.object_filenames([source], output_dir=output_dir)
                if modified_ns(object_file) > max(modified_ns(source), newest_shared_ns):
                    return [object_file]
                return list(compile_all([source], output_dir=output_dir, **options))

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [object_file for objects in pool.map(compile_one, sources) for object_file in objects]

        # Both modules compile the pure C files, each with its own flags: an object folder for each module.
        self.build_temp = str(Path(common_temp) / ext.name)
        compiler.compile = compile_changed
        try:
            super().build_extension(ext)
        finally:
            self.build_temp = common_temp
            compiler.compile = compile_all


setup(
    cmdclass={"build_ext": BuildNative},
    cffi_modules=[f"src/minicomp/native/{name}/build.py:ffi" for name in ("pure", "probes", "wlr")],
)
