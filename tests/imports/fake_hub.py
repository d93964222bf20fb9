"""A Hub of a few repositories, as huggingface_hub 2.4 talks to it: only what downloads need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """``files`` by path, ``large`` those in LFS, ``token`` needed to see it, ``broken`` files whose
    bytes arrive changed."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    token: str | None = None
    gated: bool = False
    broken: frozenset[str] = frozenset()


@dataclass
class FakeHub:
    repos: dict[str, Repo]
    failing: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        authorization = self.headers.get("Authorization")
        self.hub.requests.append((self.command, self.path, authorization))
        if self.hub.failing:
            return self._error(503, "")
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            return self._cdn(self.hub.repos["/".join(parts[1:3])], parts[3])
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[0:2])
        repo = self.hub.repos.get(name)
        if repo is None or (repo.token and authorization != f"Bearer {repo.token}"):
            return self._error(401, "RepoNotFound")
        if parts[0] == "api":
            return self._info(name, repo, parts[5] if len(parts) > 5 else "main")
        if repo.gated:
            return self._error(403, "GatedRepo")
        return self._file(name, repo, parts[3], "/".join(parts[4:]))

    def _info(self, name: str, repo: Repo, revision: str) -> None:
        if revision not in ("main", "v1", COMMIT):
            return self._error(404, "RevisionNotFound")
        if repo.gated:
            return self._error(403, "GatedRepo")
        siblings = [_sibling(path, data, path in repo.large) for path, data in repo.files.items()]
        body = {"_id": "1", "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
        return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, repo: Repo, revision: str, path: str) -> None:
        if revision != COMMIT:
            return self._error(404, "RevisionNotFound")
        if path not in repo.files:
            return self._error(404, "EntryNotFound")
        data = repo.files[path]
        headers = {"X-Repo-Commit": COMMIT}
        if path in repo.large:
            digest = hashlib.sha256(data).hexdigest()
            headers |= {
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(data)),
                # Another host, as the real Hub's: a redirect within one host is followed at once.
                "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/cdn/{name}/{digest}",
            }
            return self._send(302, b"", headers)
        if path in repo.broken:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self._send(200, data, {**headers, "ETag": f'"{_git(data)}"'})

    def _cdn(self, repo: Repo, digest: str) -> None:
        for path, data in repo.files.items():
            if hashlib.sha256(data).hexdigest() == digest:
                broken = path in repo.broken
                sent = data[:-1] + bytes([data[-1] ^ 1]) if broken else data
                return self._send(200, sent, {"ETag": f'"{digest}"'})
        return self._error(404, "EntryNotFound")

    def _error(self, status: int, code: str) -> None:
        messages = {"RepoNotFound": "Repository not found", "GatedRepo": "Access is restricted"}
        headers = {"X-Error-Code": code, "X-Error-Message": messages.get(code, code)}
        self._send(status, b"{}", headers if code else {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _sibling(path: str, data: bytes, large: bool) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": _git(data)}
    if large:
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
    return entry
