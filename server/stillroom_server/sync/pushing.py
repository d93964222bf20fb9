"""One attempt at a push: compare, upload, one commit, the tag last.

Nothing is sent twice. A commit says which operation made it and is only accepted on the commit that
it was compared with, so one whose answer was lost is found, and one that comes late is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import Unavailable
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.sync import known as knowledge
from stillroom_server.sync.jobs import PushJob
from stillroom_server.sync.known import Known
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.remote import Moved, Refs, Remote
from stillroom_server.sync.remote_tree import Change, LocalFile, Tree, difference
from stillroom_server.sync.settings import SyncSettings
from stillroom_server.sync.values import MAIN, Direction, Sync, SyncState
from stillroom_server.sync.version_files import VersionFiles
from stillroom_server.sync.waiting import Wait

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext

_TRIES = 6
_FIRST_PAUSE = 1.0  # seconds, doubled each time
_LONGEST_PAUSE = 60.0


class Push:
    """One attempt."""

    def __init__(
        self,
        job: PushJob,
        version: ModelVersion,
        sync: Sync,
        outbox: Outbox,
        settings: SyncSettings,
        registry: Registry,
        context: OperationContext,
    ) -> None:
        self._job = job
        self._version = version
        self._sync = sync
        self._outbox = outbox
        self._context = context
        self._access = settings.access()
        self._remote = Remote(self._access, job.repo, job.branch)
        self._files = VersionFiles(registry, outbox, settings.endpoint, self._is_public)
        self._sent = sync.base is not None

    def run(self, wait: Wait) -> dict[str, Any]:
        """Tries until it is done, or it is certain that it cannot be."""
        local = self._read()
        for left in reversed(range(_TRIES)):
            try:
                commit, changed = self._bring(local)
                self._tag(commit)
                return self._finish(local, commit, changed)
            except (Moved, Unavailable) as error:
                if not left:
                    raise
                first = _FIRST_PAUSE * 2 ** (_TRIES - 1 - left)
                seconds = 0.0 if isinstance(error, Moved) else first
                if error.reason == "HUB_RATE_LIMITED":
                    seconds = error.retry_after or first
                wait(min(seconds, _LONGEST_PAUSE), self._context.check_cancelled)
        raise AssertionError("unreachable")

    def _read(self) -> list[LocalFile]:
        total = self._version.size

        def told(done: int) -> None:
            self._context.check_cancelled()
            self._context.progress("compare", done, total, unit="bytes")

        return self._files.read(self._version, told)

    def _bring(self, local: list[LocalFile]) -> tuple[str, bool]:
        """The commit that holds the version, and whether it was made by this operation."""
        self._context.check_cancelled()
        refs = self._prepare()
        head = refs.branches[self._job.branch]
        if self._sent:
            landed = self._remote.marked(head, [self._context.operation_id])
            if landed is not None:
                return landed, True
        syncs = self._outbox.of_repo(self._version.model, self._sync.endpoint, self._job.repo)
        known = Known.of(syncs, self._job.branch, self._version, self._job.repo)
        tree = self._remote.tree(head)
        change = difference(local, tree, known.paths)
        if not change:
            self._check_tag(refs.tags, head)
            return head, False
        if not self._job.force:
            if not self._is_left(known, refs, tree, syncs):
                raise knowledge.conflict(
                    known, head, self._version, self._job.repo, self._job.branch, change
                )
            self._check_tag(refs.tags, None)
        return self._commit(change, head), True

    def _prepare(self) -> Refs:
        """What there is; the repository and the branch are made if they are not there."""
        refs = self._remote.refs()
        if refs is None:
            self._remote.create(private=self._job.private)
            refs = self._remote.refs()
        if refs is not None and self._job.branch not in refs.branches and MAIN in refs.branches:
            self._remote.create_branch(refs.branches[MAIN])
            refs = self._remote.refs()
        if refs is None or self._job.branch not in refs.branches:
            raise Unavailable(
                f"the Hub does not show {self._job.repo} at {self._job.branch}, which it has just "
                "made; try again",
                reason="HUB_UNAVAILABLE",
                field="repo",
                retry_after=_LONGEST_PAUSE,
            )
        return refs

    def _is_left(self, known: Known, refs: Refs, tree: Tree, syncs: list[Sync]) -> bool:
        """Whether the branch is where this model left it, or nobody left anything there."""
        head = refs.branches[self._job.branch]
        if known.is_left(head):
            return True
        if known.commit is None:
            # The Hub begins with hidden files alone, and a new branch with what main has.
            new = self._job.branch != MAIN and head == refs.branches.get(MAIN)
            if new or all(path.startswith(".") for path in tree):
                return True
        # A push whose end nobody could write down, such as one that was killed too often.
        sent = [each.operation for each in syncs if each.direction is Direction.PUSH]
        return self._remote.marked(head, sent) == head

    def _check_tag(self, tags: dict[str, str], commit: str | None) -> None:
        there = tags.get(self._job.tag) if self._job.tag else None
        if there is not None and there != commit and not self._job.force:
            raise knowledge.tag_conflict(self._job.tag, there, self._version, self._job.repo)

    def _commit(self, change: Change, head: str) -> str:
        total = sum(file.size for file in change.put)
        sent = 0

        def told(done: int) -> None:
            nonlocal sent
            self._context.progress("upload", done, total, unit="bytes")
            self._context.moved(done - sent)
            sent = done

        told(0)
        upload = self._remote.upload(change, told, self._context.check_cancelled)
        self._context.check_cancelled()
        self._context.progress("commit", 0, 1, unit="commits")
        with self._outbox.database.write() as connection:
            # From here on the commit may be there, whatever is heard of it.
            self._context.guard(connection)
            self._outbox.change(connection, self._context.operation_id, base=head)
        self._sent = True
        return self._remote.commit(
            upload,
            parent=head,
            title=f"Publish {self._version.name}",
            operation=self._context.operation_id,
            about=f"Stillroom-Version: {self._version.name}\n"
            f"Stillroom-Digest: {self._version.digest}",
        )

    def _tag(self, commit: str) -> None:
        """Sets the tag, if one was asked for and it is not there already."""
        self._context.progress("commit", 1, 1, unit="commits")
        tag = self._job.tag
        if not tag:
            return
        self._context.progress("tag", 0, 1, unit="tags")
        refs = self._remote.refs()
        tags = {} if refs is None else refs.tags
        if tags.get(tag) == commit:
            return
        self._check_tag(tags, commit)
        with self._outbox.database.write() as connection:
            self._context.guard(connection)
        if tag in tags:
            self._remote.delete_tag(tag)
        self._remote.tag(tag, commit)

    def _finish(self, local: list[LocalFile], commit: str, changed: bool) -> dict[str, Any]:
        result = {"commit": commit, "changed": changed, "url": self._remote.url(commit)}
        if self._job.tag:
            self._context.progress("tag", 1, 1, unit="tags")
        with self._outbox.database.write() as connection:
            self._outbox.change(
                connection,
                self._context.operation_id,
                state=SyncState.DONE,
                commit=commit,
                paths=[file.path for file in local],
                reason="",
                message="",
            )
            self._context.succeed(connection, result)
        return result

    def _is_public(self, repo: str) -> bool:
        return Remote(self._access, repo, MAIN).is_public()
