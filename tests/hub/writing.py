"""What changes repositories: making them, commits, branches, tags."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from hub.answers import Answer, error, no_revision
from hub.reading import Reading
from hub.routes import KINDS, Request
from hub.state import MAIN, Entry, Repository, User

if TYPE_CHECKING:
    from hub.server import Hub


class Writing:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._reading = Reading(hub)

    def answer(self, request: Request, user: User | None) -> Answer | None:
        match (request.method, *request.parts):
            case ("POST", "api", "repos", "create"):
                return self._create(request.json(), user)
            case ("DELETE", "api", "repos", "delete"):
                return self._delete(request.json(), user)
            case ("POST", "api", "validate-yaml"):
                return _validate(request.json()["content"])
            case ("POST", "api", kind, owner, name, "preupload", revision) if kind in KINDS:
                repo = self.writable(kind, f"{owner}/{name}", user)
                return self._preupload(repo, revision, request.json())
            case ("POST", "api", kind, owner, name, "commit", branch) if kind in KINDS:
                repo = self.writable(kind, f"{owner}/{name}", user)
                return self._commit(repo, branch, request.body)
            case ("POST", "api", kind, owner, name, "branch", branch):
                repo = self.writable(kind, f"{owner}/{name}", user)
                start = request.json().get("startingPoint") or MAIN
                return _point(repo, repo.branches, branch, start)
            case ("POST", "api", kind, owner, name, "tag", revision):
                repo = self.writable(kind, f"{owner}/{name}", user)
                return _point(repo, repo.tags, request.json()["tag"], revision)
            case ("DELETE", "api", kind, owner, name, "branch" | "tag" as what, ref):
                repo = self.writable(kind, f"{owner}/{name}", user)
                refs = repo.branches if what == "branch" else repo.tags
                if refs.pop(ref, None) is None:
                    raise no_revision(ref)
                return Answer.json({})
        return None

    def writable(self, kind: str, name: str, user: User | None) -> Repository:
        """One that the user may change."""
        repo = self._reading.repo(kind, name, user)
        _check_owner(name.partition("/")[0], user)
        return repo

    def _create(self, asked: dict[str, Any], user: User | None) -> Answer:
        if user is None:
            raise error(401, "", "Invalid username or password.")
        owner = asked.get("organization") or user.name
        _check_owner(owner, user)
        name, kind = f"{owner}/{asked['name']}", f"{asked.get('type') or 'model'}s"
        url = f"{self._hub.url}/{name}"
        if (kind, name) in self._hub.store.repos:
            raise error(409, "", "You already created this model repo", url=url)
        private = asked.get("visibility") == "private"
        self._hub.store.create(kind, name, private=private)
        return Answer.json({"url": url, "name": name})

    def _delete(self, asked: dict[str, Any], user: User | None) -> Answer:
        name = f"{asked.get('organization')}/{asked['name']}"
        kind = f"{asked.get('type') or 'model'}s"
        self.writable(kind, name, user)
        del self._hub.store.repos[kind, name]
        return Answer.json({})

    def _preupload(self, repo: Repository, revision: str, asked: dict[str, Any]) -> Answer:
        commit = repo.resolve(revision)
        if commit is None:
            raise no_revision(revision)
        files = []
        for file in asked["files"]:
            there = commit.files.get(file["path"])
            large = self._hub.store.is_large(file["path"], file["size"])
            told = {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": repo.ignored(file["path"]),
            }
            if there is not None:
                told["oid"] = there.sha256 or there.oid
            files.append(told)
        return Answer.json({"files": files})

    def _commit(self, repo: Repository, branch: str, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = lines[0]["value"]
        head = repo.branches.get(branch)
        if head is None:
            raise no_revision(branch)
        parent = header.get("parentCommit")
        if parent is not None and parent != head:
            raise error(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(repo.commits[head].files)
        for line in lines[1:]:
            _apply(files, line["key"], line["value"], self._large)
        made = self._hub.store.commit(
            repo, branch, files, header["summary"], header.get("description", "")
        )
        url = f"{self._hub.url}/{repo.name}/commit/{made.oid}"
        return Answer.json({"success": True, "commitOid": made.oid, "commitUrl": url})

    def _large(self, value: dict[str, Any]) -> Entry:
        store, digest = self._hub.store, value["oid"]
        if self._hub.transfer == "xet":
            return _from_xet(store.blobs, digest, store.large)
        if digest not in store.large:
            raise error(400, "", "Your push was rejected because an LFS pointer pointed to a file"
                        " that does not exist")  # fmt: skip
        return Entry(len(store.large[digest]), sha256=digest)


def _from_xet(blobs: Any, digest: str, large: dict[str, bytes]) -> Entry:
    """The real Hub learns from Xet which hash a sha256 has there; here the bytes tell."""
    import hf_xet

    path = blobs / digest[:2] / digest
    large[digest] = path.read_bytes()
    (info,) = hf_xet.hash_files([str(path)])
    return Entry(len(large[digest]), sha256=digest, xet=info.hash)


def _apply(files: dict[str, Entry], key: str, value: dict[str, Any], large: Any) -> None:
    path = value.get("path")
    if key == "file":
        files[path] = Entry.small(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        files[path] = large(value)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise error(404, "EntryNotFound", "A file with this name doesn't exist")
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]
    else:
        raise error(400, "", f"unknown key {key}")


def _point(repo: Repository, refs: dict[str, str], name: str, start: str) -> Answer:
    if name in refs:
        raise error(409, "", f"Reference {name} already exists")
    commit = repo.resolve(start)
    if commit is None:
        raise no_revision(start)
    refs[name] = commit.oid
    return Answer.json({})


def _check_owner(owner: str, user: User | None) -> None:
    if user is None or owner not in user.owners:
        raise error(403, "", "You don't have the rights to create a model under this namespace")


def _validate(content: str) -> Answer:
    import yaml

    front = content.split("---\n")[1] if content.startswith("---\n") else ""
    try:
        value = yaml.safe_load(front) or {}
        bad = None if isinstance(value, dict) else "metadata must be an object"
    except yaml.YAMLError:
        bad = "bad indentation of a mapping entry"
    if bad is None and not isinstance(value.get("tags", []), list):
        bad = '"tags" must be an array'
    if bad is not None:
        return Answer.json({"errors": [{"message": bad}], "warnings": []}, 400)
    return Answer.json({"errors": [], "warnings": []})
