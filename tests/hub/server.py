"""The Hub itself: an HTTP server in a thread, as huggingface_hub 2.4 talks to one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hub.answers import Answer, Refused, error
from hub.faults import Faults
from hub.large_files import LargeFiles
from hub.reading import Reading
from hub.routes import Request, route
from hub.state import Store, User
from hub.writing import Writing

TOKEN = "hf_" + "t" * 34
LFS, MULTIPART, XET = "lfs", "multipart", "xet"


class Hub:
    """``transfer`` is how large files come: LFS in one piece, LFS in parts, or Xet, whose chunks
    are in the folder ``cas``. ``page`` entries make a page of a list."""

    def __init__(
        self,
        *,
        transfer: str = LFS,
        cas: Path | None = None,
        page: int = 1000,
        large_bytes: int = 10_000_000,
        part_bytes: int = 1 << 16,
    ) -> None:
        self.store = Store(large_bytes=large_bytes)
        self.store.users[TOKEN] = User("tester", frozenset({"tester", "org"}))
        self.faults = Faults()
        self.transfer = transfer
        self.cas = cas
        self.page = page
        self.part_bytes = part_bytes
        self.requests: list[tuple[str, str, str | None]] = []
        self.url = ""
        self.parts = (Reading(self), Writing(self), LargeFiles(self))

    @property
    def elsewhere(self) -> str:
        """Its own address under another name, as the real one's storage has another host."""
        return self.url.replace("127.0.0.1", "localhost")

    def commits(self, name: str, branch: str = "main") -> list[str]:
        """Titles of a model's commits, newest first, but for the one the Hub makes itself."""
        with self.store.lock:
            repo = self.store.repos["models", name]
            titles = [commit.title for commit in repo.history(repo.branches[branch])]
        return titles[:-1]

    def calls(self, pattern: str) -> int:
        """How many requests had this in "METHOD path"."""
        return sum(pattern in f"{method} {path}" for method, path, _ in self.requests)

    @contextmanager
    def running(self) -> Iterator[Hub]:
        handler = type("Handler", (_Handler,), {"hub": self})
        server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.faults.over.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request: Request) -> Answer:
        """What the request gets, having done what it asks."""
        try:
            user = self._user(request.token)
            with self.store.lock:
                return route(self.parts, request, user)
        except Refused as refused:
            return refused.answer

    def _user(self, token: str | None) -> User | None:
        if token is None:
            return None
        user = self.store.users.get(token)
        if user is None or user.expired:
            # What everybody gets whose token is none: the library tells it from a missing repo.
            raise error(401, "", "Invalid credentials in Authorization header")
        return user


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed leaves its connection; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet each; without this, each answer waits for an ACK.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        request = self._request()
        hub = self.hub
        hub.requests.append((self.command, self.path, self.headers.get("Authorization")))
        fault = hub.faults.take(self.command, unquote(self.path))
        if fault is None:
            return self._send(hub.answer(request))
        if fault.before is not None:
            fault.before()
        answer = None
        if fault.late or (fault.status is None and not fault.hang and not fault.drop):
            answer = hub.answer(request)
        if fault.hang:
            hub.faults.over.wait(60)
            self.close_connection = True
            return None
        if fault.drop:
            self.close_connection = True
            return None
        if fault.cut is not None and answer is not None:
            self._send(answer, cut=fault.cut)
            self.close_connection = True
            return None
        if fault.status is not None:
            answer = Answer(fault.status, b"{}", dict(fault.headers))
        assert answer is not None
        return self._send(answer)

    def _request(self) -> Request:
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        chunked = self.headers.get("Transfer-Encoding", "") == "chunked"
        body = self._chunks() if chunked else self.rfile.read(length)
        if not chunked and len(body) < length:
            raise ConnectionAbortedError("the client was gone before its request was whole")
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return Request(
            method=self.command,
            # Slashes in a revision or a branch are quoted, those of a path are not.
            parts=tuple(unquote(part) for part in split.path.strip("/").split("/")),
            query={key: values[-1] for key, values in parse_qs(split.query).items()},
            body=body,
            token=token if scheme == "Bearer" and token else None,
            range=self.headers.get("Range"),
        )

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._line().split(b";")[0], 16):
            chunk = self.rfile.read(size)
            if len(chunk) < size or not self._line():
                raise ConnectionAbortedError("the client was gone before its request was whole")
            body += chunk
        self.rfile.readline()
        return body

    def _line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionAbortedError("the client was gone before its request was whole")
        return line

    def _send(self, answer: Answer, cut: int | None = None) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if cut is None else answer.body[:cut])
        self.wfile.flush()
