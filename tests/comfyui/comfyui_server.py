"""A real ComfyUI server on the loopback address, and what a browser would ask of it."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Refused", "Run", "Server", "to_prompt"]

Json = Any
CHECKOUT = Path(__file__).parents[2]
PACKAGES = [CHECKOUT, CHECKOUT / "cli", CHECKOUT / "plugins" / "comfyui"]
#: Seconds; a busy machine takes a while to import everything.
START, ANSWER = 180, 240
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = ("INT", "FLOAT", "STRING", "COMBO", DYNAMIC)


class Refused(Exception):
    """The server did not take a prompt; ``answer`` is what it said."""

    def __init__(self, answer: Json) -> None:
        super().__init__(json.dumps(answer)[:500])
        self.answer = answer


@dataclass
class Run:
    """What the server told while it worked on one prompt."""

    outputs: dict[str, Json] = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)  # node, value, max
    error: Json = None
    interrupted: bool = False


class Server:
    """``main.py`` of the ComfyUI in ``comfyui``, with all its folders in ``base``.

    ``packages``: folders where its Python finds the suite.
    """

    def __init__(self, comfyui: Path, base: Path, packages: Sequence[Path] = PACKAGES) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.base = base
        options = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        options += ["--base-directory", str(base), "--disable-api-nodes", "--disable-auto-launch"]
        options += ["--database-url", f"sqlite:///{base / 'comfyui.db'}"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(p) for p in packages),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = base / "server.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [os.environ.get("COMFYUI_PYTHON", sys.executable), "main.py", *options],
                cwd=comfyui,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_up(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError(f"ComfyUI did not start:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End this server and no other."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            body: bytes = answer.read()
        return body

    def get_json(self, path: str) -> Json:
        """The body of an answer, read."""
        return json.loads(self.get(path))

    def post(self, path: str, data: Json) -> Json:
        """The answer to JSON. Raises `Refused`."""
        url, body = f"http://127.0.0.1:{self.port}{path}", json.dumps(data).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Refused(json.loads(error.read())) from error

    def run(self, prompt: Json, *, interrupt_at: int | None = None) -> Run:
        """Work through ``prompt``; stop it at that progress value. Raises `Refused`."""
        run = Run()
        with WebSocket(self.port) as messages:
            request = {"prompt": prompt, "client_id": messages.client}
            prompt_id = self.post("/prompt", request)["prompt_id"]
            for message in messages:
                data = message["data"]
                if data.get("prompt_id") not in (None, prompt_id):
                    continue
                match message["type"]:
                    case "progress":
                        run.progress.append((data["node"], data["value"], data["max"]))
                        if interrupt_at is not None and data["value"] >= interrupt_at:
                            self.post("/interrupt", {})
                            interrupt_at = None
                    case "executed":
                        run.outputs[data["node"]] = data["output"]
                    case "execution_error":
                        run.error = data
                        return run
                    case "execution_interrupted":
                        run.interrupted = True
                        return run
                    case "execution_success":
                        return run
        raise AssertionError(f"no answer:\n{self.log.read_text()[-3000:]}")

    def memory(self, what: str) -> int:
        """``VmRSS`` or ``VmHWM`` (its peak) in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * next(
            int(line.split()[1]) for line in status.splitlines() if line.startswith(what)
        )

    def forget_peak(self) -> None:
        """Let the peak start again from what is used now."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")


class WebSocket:
    """Reads the server's text messages (RFC 6455, without extensions)."""

    def __init__(self, port: int) -> None:
        self.client = os.urandom(8).hex()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(
            f"GET /ws?clientId={self.client} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        while self._stream.readline().strip():
            pass

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def __iter__(self) -> Iterator[Json]:
        while True:
            kind, length = self._stream.read(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._stream.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._stream.read(8))
            body = self._stream.read(length)
            if kind & 15 == 1:
                yield json.loads(body)


def to_prompt(workflow: Json, object_info: Json) -> Json:
    """A saved workflow as the page sends it: links and widget values by name of the input."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        known = object_info[node["type"]]["input"]
        inputs = _widgets(known, iter(node["widgets_values"]))
        linked = {i["name"]: sources[i["link"]] for i in node["inputs"] if i["link"] is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs | linked}
    return prompt


def _widgets(known: Json, values: Iterator[Json], prefix: str = "") -> dict[str, Json]:
    """What is left of ``values`` by name of the widget; some choices bring widgets of their own."""
    found = {}
    for name, (kind, *options) in (known.get("required", {}) | known.get("optional", {})).items():
        if not isinstance(kind, list) and kind not in WIDGETS:
            continue
        value = next(values, None)
        if value is None:
            break
        found[prefix + name] = value
        if kind == DYNAMIC:
            (chosen,) = (o for o in options[0]["options"] if o["key"] == value)
            found |= _widgets(chosen["inputs"], values, f"{prefix}{name}.")
    return found
