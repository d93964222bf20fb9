"""Large files: LFS in one piece or in parts, the tokens of Xet, and the storage they lie in."""

from __future__ import annotations

import hashlib
import time
from math import ceil
from typing import TYPE_CHECKING, Any

from hub.answers import Answer, error
from hub.reading import Reading
from hub.routes import Request
from hub.state import User
from hub.writing import Writing

if TYPE_CHECKING:
    from hub.server import Hub


class LargeFiles:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reading = Reading(hub)
        self._writing = Writing(hub)

    def answer(self, request: Request, user: User | None) -> Answer | None:
        match (request.method, *request.parts):
            case ("POST", owner, name, "info", "lfs", "objects", "batch"):
                repo = f"{owner}/{name.removesuffix('.git')}"
                self._writing.writable("models", repo, user)
                return self._batch(repo, request.json())
            case ("POST", owner, name, "info", "lfs", "verify"):
                return self._verify(request.json())
            case ("PUT", "storage", digest):
                self._hub.store.large[digest] = request.body
                return Answer()
            case ("PUT", "storage", digest, "part", number):
                self._hub.store.parts.setdefault(digest, {})[int(number)] = request.body
                return Answer(headers={"ETag": f'"{hashlib.sha256(request.body).hexdigest()}"'})
            case ("POST", "storage", digest, "complete"):
                return self._complete(digest, request.json())
            case ("GET", "api", kind, owner, name, "xet-write-token", _):
                self._writing.writable(kind, f"{owner}/{name}", user)
                return self._token()
            case ("GET", "api", kind, owner, name, "xet-read-token", _):
                self._reading.repo(kind, f"{owner}/{name}", user)
                return self._token()
            case ("GET" | "HEAD", "cdn", kind, owner, name, commit, *path):
                return self._stored(kind, f"{owner}/{name}", commit, "/".join(path), request)
        return None

    def _batch(self, repo: str, asked: dict[str, Any]) -> Answer:
        return Answer.json(
            {"transfer": "basic", "objects": [self._object(repo, o) for o in asked["objects"]]}
        )

    def _object(self, repo: str, asked: dict[str, Any]) -> dict[str, Any]:
        digest, size = asked["oid"], asked["size"]
        told: dict[str, Any] = {"oid": digest, "size": size}
        if digest in self._hub.store.large:
            return told  # no actions: it is there already
        place = f"{self._hub.elsewhere}/storage/{digest}"
        signed = "?X-Amz-Signature=secret-signature"
        upload: dict[str, Any] = {"href": f"{place}{signed}"}
        if self._hub.transfer == "multipart" and size > self._hub.part_bytes:
            count = ceil(size / self._hub.part_bytes)
            parts = {str(n): f"{place}/part/{n}{signed}" for n in range(1, count + 1)}
            upload = {
                "href": f"{self._hub.url}/storage/{digest}/complete",
                "header": {"chunk_size": str(self._hub.part_bytes), **parts},
            }
        verify = {"href": f"{self._hub.url}/{repo}.git/info/lfs/verify"}
        return {**told, "actions": {"upload": upload, "verify": verify}}

    def _verify(self, asked: dict[str, Any]) -> Answer:
        data = self._hub.store.large.get(asked["oid"])
        if data is None or hashlib.sha256(data).hexdigest() != asked["oid"]:
            self._hub.store.large.pop(asked["oid"], None)
            raise error(400, "", "The uploaded file does not match its hash")
        return Answer.json({})

    def _complete(self, digest: str, asked: dict[str, Any]) -> Answer:
        parts = self._hub.store.parts.pop(digest, {})
        for part in asked["parts"]:
            found = hashlib.sha256(parts[part["partNumber"]]).hexdigest()
            if part["etag"] != f'"{found}"':
                raise error(400, "", "One or more of the parts could not be found")
        self._hub.store.large[digest] = b"".join(parts[number] for number in sorted(parts))
        return Answer.json({})

    def _token(self) -> Answer:
        headers = {
            "X-Xet-Cas-Url": f"local://{self._hub.cas}",
            "X-Xet-Access-Token": "xet-access-token",
            "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
        }
        told = {
            "casUrl": headers["X-Xet-Cas-Url"],
            "accessToken": headers["X-Xet-Access-Token"],
            "exp": int(headers["X-Xet-Token-Expiration"]),
        }
        answer = Answer.json(told)
        return Answer(200, answer.body, {**answer.headers, **headers})

    def _stored(self, kind: str, name: str, commit: str, path: str, request: Request) -> Answer:
        if request.token is not None:
            raise error(400, "", "Only one auth mechanism allowed")  # as S3 says it
        repo = self._hub.store.repos[kind, name]
        entry = repo.commits[commit].files[path]
        data = self._reading.arriving(repo, path, entry)
        headers = {"ETag": f'"{entry.sha256}"', "Accept-Ranges": "bytes"}
        start = int((request.range or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if not start:
            return Answer(200, data, headers)
        told = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, data[start:], {**headers, "Content-Range": told})
