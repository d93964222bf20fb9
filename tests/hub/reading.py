"""Repositories as they are read: infos, trees, refs, histories, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.answers import Answer, error, no_repo, no_revision
from hub.routes import KINDS, Request
from hub.state import START, Commit, Entry, Repository, User, git_blob

if TYPE_CHECKING:
    from hub.server import Hub


class Reading:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def answer(self, request: Request, user: User | None) -> Answer | None:
        match (request.method, *request.parts):
            case ("GET", "api", "whoami-v2"):
                if user is None:
                    raise error(401, "", "Invalid username or password.")
                orgs = [{"name": owner} for owner in sorted(user.owners - {user.name})]
                return Answer.json({"type": "user", "name": user.name, "orgs": orgs})
            case ("GET", "api", kind, owner, name) if kind in KINDS:
                return self._info(kind, f"{owner}/{name}", "main", request, user)
            case ("GET", "api", kind, owner, name, "revision", revision) if kind in KINDS:
                return self._info(kind, f"{owner}/{name}", revision, request, user)
            case ("GET", "api", kind, owner, name, "tree", revision):
                return self._tree(self.at(kind, f"{owner}/{name}", revision, user)[1], request)
            case ("GET", "api", kind, owner, name, "refs"):
                return self._refs(self.repo(kind, f"{owner}/{name}", user))
            case ("GET", "api", kind, owner, name, "commits", revision):
                repo, commit = self.at(kind, f"{owner}/{name}", revision, user)
                return self._page([_commit(each) for each in repo.history(commit.oid)], request)
            case ("POST", "api", kind, owner, name, "paths-info", revision):
                _, commit = self.at(kind, f"{owner}/{name}", revision, user)
                return self._paths(commit, request)
            case ("GET" | "HEAD", "datasets", owner, name, "resolve", revision, *path):
                return self._file("datasets", f"{owner}/{name}", revision, "/".join(path), user)
            case ("GET" | "HEAD", owner, name, "resolve", revision, *path):
                return self._file("models", f"{owner}/{name}", revision, "/".join(path), user)
        return None

    def repo(self, kind: str, name: str, user: User | None) -> Repository:
        """One that the user may see."""
        repo = self._hub.store.repos.get((kind, name))
        owner = name.partition("/")[0]
        if repo is None or (repo.private and (user is None or owner not in user.owners)):
            raise no_repo(user is not None)
        return repo

    def at(
        self, kind: str, name: str, revision: str, user: User | None
    ) -> tuple[Repository, Commit]:
        repo = self.repo(kind, name, user)
        commit = repo.resolve(revision)
        if commit is None:
            raise no_revision(revision)
        return repo, commit

    def _info(
        self, kind: str, name: str, revision: str, request: Request, user: User | None
    ) -> Answer:
        repo, commit = self.at(kind, name, revision, user)
        blobs = request.query.get("blobs") in ("True", "true", "1")
        siblings = [_sibling(path, entry, blobs) for path, entry in sorted(commit.files.items())]
        body: dict[str, Any] = {
            "_id": git_blob(name.encode())[:24],
            "id": name,
            "sha": commit.oid,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "tags": [],
            "siblings": siblings,
        }
        if kind == "models":
            body["modelId"] = name
        if repo.card is not None:
            body["cardData"] = repo.card
        return Answer.json(body)

    def _tree(self, commit: Commit, request: Request) -> Answer:
        folders = {
            "/".join(path.split("/")[:depth])
            for path in commit.files
            for depth in range(1, path.count("/") + 1)
        }
        entries: list[dict[str, Any]] = [
            {"type": "directory", "oid": git_blob(folder.encode()), "size": 0, "path": folder}
            for folder in folders
        ]
        entries += [_entry(path, entry) for path, entry in commit.files.items()]
        return self._page(sorted(entries, key=lambda each: each["path"]), request)

    def _page(self, entries: list[dict[str, Any]], request: Request) -> Answer:
        start, size = int(request.query.get("cursor", "0")), self._hub.page
        page = entries[start : start + size]
        if start + size >= len(entries):
            return Answer.json(page)
        path = "/".join(part.replace("/", "%2F") for part in request.parts)
        more = "&".join(f"{key}={value}" for key, value in request.query.items() if key != "cursor")
        address = f"{self._hub.url}/{path}?{more}&cursor={start + size}"
        return Answer.json(page, Link=f'<{address}>; rel="next"')

    def _refs(self, repo: Repository) -> Answer:
        def listed(refs: dict[str, str], folder: str) -> list[dict[str, str]]:
            return [
                {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid}
                for name, oid in refs.items()
            ]

        return Answer.json(
            {
                "branches": listed(repo.branches, "heads"),
                "converts": [],
                "tags": listed(repo.tags, "tags"),
            }
        )

    def _paths(self, commit: Commit, request: Request) -> Answer:
        from urllib.parse import parse_qs

        wanted = parse_qs(request.body.decode()).get("paths", [])
        return Answer.json(
            [_entry(path, commit.files[path]) for path in wanted if path in commit.files]
        )

    def _file(self, kind: str, name: str, revision: str, path: str, user: User | None) -> Answer:
        repo, commit = self.at(kind, name, revision, user)
        if repo.gated:
            raise error(403, "GatedRepo", f"Access to model {name} is restricted.")
        entry = commit.files.get(path)
        if entry is None:
            raise error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit.oid}
        if entry.data is not None:
            data = self.arriving(repo, path, entry)
            return Answer(200, data, {**headers, "ETag": f'"{entry.oid}"'})
        # Signed, as the storage's addresses are: none of it may reach a log.
        signed = f"?X-Amz-Signature={git_blob(path.encode())}"
        place = f"{self._hub.elsewhere}/cdn/{kind}/{name}/{commit.oid}/{path}"
        headers |= {
            "X-Linked-Etag": f'"{entry.sha256}"',
            "X-Linked-Size": str(entry.size),
            "Location": place.replace(" ", "%20") + signed,
        }
        if entry.xet is not None:
            route = f"{self._hub.url}/api/{kind}/{name}/xet-read-token/{commit.oid}"
            headers |= {"X-Xet-Hash": entry.xet, "Link": f'<{route}>; rel="xet-auth"'}
        return Answer(302, b"", headers)

    def arriving(self, repo: Repository, path: str, entry: Entry) -> bytes:
        """The bytes of a file, changed on the way if that was wanted."""
        data = self._hub.store.bytes_of(entry)
        left = repo.broken.get(path, 0)
        if left == 0:
            return data
        if left is not None:
            repo.broken[path] = left - 1
        return data[:-1] + bytes([data[-1] ^ 1]) if data else data


def _lfs(entry: Entry, name: str) -> dict[str, Any]:
    return {name: entry.sha256, "size": entry.size, "pointerSize": 134}


def _entry(path: str, entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.sha256 is not None:
        told["lfs"] = _lfs(entry, "oid")
    if entry.xet is not None:
        told["xetHash"] = entry.xet
    return told


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": path}
    if blobs:
        told |= {"size": entry.size, "blobId": entry.oid}
        if entry.sha256 is not None:
            told["lfs"] = _lfs(entry, "sha256")
    return told


def _commit(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": "tester"}],
        "date": START,
    }
