"""What a Hub stores: repositories with their commits, branches and tags, and large files apart."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

START = "2026-01-01T00:00:00.000Z"
LARGE_NAMES = (".safetensors", ".onnx", ".bin")
GITATTRIBUTES = "".join(
    f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_NAMES
)
MAIN = "main"


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A file in a commit. Of a large one ``sha256`` says which; ``data`` are a small one's bytes,
    ``xet`` the hash under which Xet has it."""

    size: int
    data: bytes | None = None
    sha256: str | None = None
    xet: str | None = None

    @classmethod
    def small(cls, data: bytes) -> Entry:
        return cls(len(data), data)

    @property
    def oid(self) -> str:
        """Of git: of a large file, that of the pointer to it."""
        if self.data is not None:
            return git_blob(self.data)
        pointer = (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {self.size}\n"
        )
        return git_blob(pointer.encode())


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    files: Mapping[str, Entry]
    title: str
    message: str


@dataclass
class Repository:
    """``writers`` are the tokens that may write, ``readers`` those that may see a private one."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    card: dict[str, object] | None = None
    # Files whose bytes arrive changed, though of the right size; how often, None for ever.
    broken: dict[str, int | None] = field(default_factory=dict)

    def resolve(self, revision: str) -> Commit | None:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(oid)

    def history(self, oid: str) -> list[Commit]:
        """From a commit back, newest first."""
        found = []
        commit = self.commits.get(oid)
        while commit is not None:
            found.append(commit)
            commit = self.commits.get(commit.parent or "")
        return found

    def ignored(self, path: str) -> bool:
        """By the .gitignore on the default branch: patterns of names, one a line."""
        entry = self.commits[self.branches[MAIN]].files.get(".gitignore")
        lines = [] if entry is None else (entry.data or b"").decode().split()
        return any(fnmatchcase(path.rpartition("/")[2], line) for line in lines)


@dataclass(frozen=True)
class User:
    """Whose token it is; ``owners`` are the namespaces that it may write to."""

    name: str
    owners: frozenset[str]
    expired: bool = False


class Store:
    """Everything, behind one lock. ``large_bytes``: files of this size are large, whatever their
    name. ``blobs`` is a folder where Xet's files are found by their sha256."""

    def __init__(self, *, large_bytes: int = 10_000_000) -> None:
        self.lock = threading.RLock()
        self.repos: dict[tuple[str, str], Repository] = {}
        self.users: dict[str, User] = {}
        self.large: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.large_bytes = large_bytes
        self.blobs: Path | None = None
        self._numbers = itertools.count(1)

    def create(self, kind: str, name: str, *, private: bool = False) -> Repository:
        """A repository as the Hub begins one: a commit with .gitattributes."""
        repo = Repository(name, private=private)
        files = {".gitattributes": Entry.small(GITATTRIBUTES.encode())}
        self.commit(repo, MAIN, files, "initial commit")
        self.repos[kind, name] = repo
        return repo

    def commit(
        self,
        repo: Repository,
        branch: str,
        files: Mapping[str, Entry],
        title: str,
        message: str = "",
        *,
        oid: str | None = None,
    ) -> Commit:
        """A commit with exactly ``files``, which becomes the head of the branch."""
        parent = repo.branches.get(branch)
        number = next(self._numbers)
        made = hashlib.sha1(f"{repo.name} {number}".encode(), usedforsecurity=False).hexdigest()
        commit = Commit(oid or made, parent, dict(files), title, message)
        repo.commits[commit.oid] = commit
        repo.branches[branch] = commit.oid
        return commit

    def put(
        self, kind: str, name: str, files: Mapping[str, bytes], *, branch: str = MAIN
    ) -> Commit:
        """What somebody else commits, by the browser: ``files`` over those that are there."""
        with self.lock:
            repo = self.repos[kind, name]
            before = dict(repo.commits[repo.branches[branch]].files)
            before |= {path: self.entry(path, data) for path, data in files.items()}
            return self.commit(repo, branch, before, "Update by hand")

    def entry(self, path: str, data: bytes) -> Entry:
        """A file as a commit has it; a large one's bytes are stored."""
        if not self.is_large(path, len(data)):
            return Entry.small(data)
        digest = hashlib.sha256(data).hexdigest()
        self.large[digest] = data
        return Entry(len(data), sha256=digest)

    def is_large(self, path: str, size: int) -> bool:
        by_name = path.endswith(LARGE_NAMES)
        return size > 0 and (by_name or size >= self.large_bytes)

    def bytes_of(self, entry: Entry) -> bytes:
        if entry.data is not None:
            return entry.data
        return self.large[entry.sha256 or ""]

    def contents(self, name: str, revision: str = MAIN) -> dict[str, str]:
        """sha256 by path of what a model repository holds there."""
        with self.lock:
            commit = self.repos["models", name].resolve(revision)
            assert commit is not None
            return {
                path: entry.sha256 or hashlib.sha256(entry.data or b"").hexdigest()
                for path, entry in commit.files.items()
            }
