"""The host's end of the line to the guest's agent: sending, questions with an answer, and who hears what.

One thread reads; processes and waiting callers are told by it. What the messages are: agent.py.
"""

from __future__ import annotations

import itertools
import json
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .errors import GuestDied, LabError
from .process import GuestProcess

ANSWER_TIMEOUT_S = 30
# A guest program's request to the host: words in, answer out; LabError is the answer "failed".
RequestHandler = Callable[[Sequence[str]], str]


class AgentLink:
    """`describe_death` gives the text for GuestDied when the line is cut."""

    def __init__(
        self, connection: socket.socket, describe_death: Callable[[], str], on_request: RequestHandler | None
    ) -> None:
        self.ready = threading.Event()
        self.gone = threading.Event()
        self._connection = connection
        self._describe_death = describe_death
        self._on_request = on_request
        self._ids = itertools.count(1)
        self._processes: dict[int, GuestProcess] = {}
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._send_lock = threading.Lock()
        threading.Thread(target=self._read, name="vm-agent", daemon=True).start()

    def start(self, make: Callable[[int], GuestProcess], **how: Any) -> GuestProcess:
        """Have the agent run a command; `make` gets its number."""
        process = make(next(self._ids))
        self._processes[process.id] = process
        self.send(do="run", id=process.id, argv=list(process.argv), **how)
        return process

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and wait for its answer."""
        number = next(self._ids)
        answers = self._answers[number] = queue.Queue(1)
        self.send(id=number, **message)
        try:
            answer = answers.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            raise GuestDied(f"no answer from the guest within {ANSWER_TIMEOUT_S} s") from None
        finally:
            del self._answers[number]
        if answer["event"] == "error":
            raise LabError(f"in the guest: {answer['text']}")
        return answer

    def send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._send_lock:
                self._connection.sendall(data)
        except OSError:
            raise GuestDied(self._describe_death()) from None

    def _read(self) -> None:
        """Thread: hand each message to whom it concerns, until QEMU closes the port."""
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    self._on_message(json.loads(line))
        except ConnectionError:
            pass  # QEMU was killed: the same end
        finally:
            self.gone.set()
            for process in list(self._processes.values()):
                process.on_guest_gone()
            self._connection.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        event = message["event"]
        number = message.get("id", 0)
        if event == "hello":
            self.ready.set()
        elif event == "request":
            threading.Thread(target=self._serve_request, args=(message,), daemon=True).start()
        elif process := self._processes.get(number):
            process.on_message(message)
            if event in ("exit", "error"):
                del self._processes[number]
        elif answers := self._answers.get(number):
            answers.put(message)

    def _serve_request(self, message: dict[str, Any]) -> None:
        try:
            if self._on_request is None:
                raise LabError("nothing on the host answers requests of this guest")
            ok, text = True, self._on_request(message["words"])
        except LabError as error:
            ok, text = False, str(error)
        self.send(do="reply", id=message["id"], ok=ok, text=" ".join(text.split()))
