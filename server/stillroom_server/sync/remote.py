"""One repository of the Hub, as a push sees it: every call that it makes, errors translated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import Aborted, FailedPrecondition, NotFound, StillroomError
from stillroom_server.hub.access import HubAccess
from stillroom_server.hub.failures import status_of, translated
from stillroom_server.sync.remote_tree import Change, LocalFile, RemoteFile, Tree
from stillroom_server.sync.values import endpoint_of

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

MARK = "Stillroom-Operation: "
_MAX_ENTRIES = 100_000
_ALONE_BYTES = 1_000_000  # a file of this size is uploaded by a call of its own, for the progress


class Moved(Aborted):
    """The branch is no longer at the commit that ours was to follow."""

    default_reason = "HUB_MOVED"


@dataclass(frozen=True)
class Refs:
    """Commits by name."""

    branches: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class Upload:
    """Files that the Hub has received, not yet in any commit; ``operations`` are the library's."""

    operations: list[Any] = field(default_factory=list)


class Remote:
    """``repo`` at ``branch``. Every method asks the Hub; all raise what ``translated`` lists, with
    the field ``repo``."""

    def __init__(self, access: HubAccess, repo: str, branch: str) -> None:
        self._access = access
        self.repo = repo
        self.branch = branch

    def refs(self) -> Refs | None:
        """The branches and tags; None: there is no such repository, as far as can be seen."""
        try:
            with self._told():
                found = self._api().list_repo_refs(self.repo)
        except NotFound:
            return None
        return Refs(
            {ref.name: ref.target_commit for ref in found.branches},
            {ref.name: ref.target_commit for ref in found.tags},
        )

    def is_public(self) -> bool:
        """Whether anybody may see the repository, as far as can be told now."""
        try:
            with self._told():
                HubAccess(self._access.endpoint, timeout_seconds=self._access.timeout_seconds).api(
                    self.repo
                ).model_info(self.repo)
        except StillroomError:
            return False
        return True

    def create(self, *, private: bool) -> None:
        """Makes the repository; one that is there already stays as it is."""
        with self._told():
            self._api().create_repo(self.repo, private=private, exist_ok=True)

    def create_branch(self, start: str) -> None:
        """Makes the branch at a commit; one that is there already stays as it is."""
        with self._told():
            self._api().create_branch(self.repo, branch=self.branch, revision=start, exist_ok=True)

    def tree(self, commit: str) -> Tree:
        """Every file at a commit."""
        files: dict[str, RemoteFile] = {}
        with self._told():
            entries = self._api().list_repo_tree(self.repo, recursive=True, revision=commit)
            for number, entry in enumerate(entries):
                if number >= _MAX_ENTRIES:
                    raise FailedPrecondition(
                        f"{self.repo} holds more than {_MAX_ENTRIES:,} files; push to a repository "
                        "of the model's own",
                        reason="HUB_REPO_TOO_LARGE",
                        field="repo",
                    )
                size = getattr(entry, "size", None)
                if size is None:
                    continue  # a folder
                lfs: Any = entry.lfs
                sha256 = None if lfs is None else str(lfs.sha256)
                blob = str(entry.blob_id)
                files[entry.path] = RemoteFile(entry.path, int(size), sha256, blob)
        return files

    def marked(self, head: str, operations: Collection[str]) -> str | None:
        """The newest commit, from ``head`` back, that one of ``operations`` made."""
        wanted = {f"{MARK}operations/{operation}" for operation in operations}
        with self._told():
            for commit in self._api().list_repo_commits(self.repo, revision=head):
                if not wanted.isdisjoint(commit.message.splitlines()):
                    return str(commit.commit_id)
        return None

    def upload(
        self, change: Change, told: Callable[[int], None], check: Callable[[], None]
    ) -> Upload:
        """Sends the files of ``change``, and makes no commit. ``told`` gets the bytes done;
        ``check`` may raise to stop. Raises FailedPrecondition (HUB_FILES_IGNORED)."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        puts: list[tuple[LocalFile, CommitOperationAdd]] = []
        for file in change.put:
            operation = CommitOperationAdd(file.path, _source(file))
            operation.upload_info.sha256 = bytes.fromhex(file.sha256)
            puts.append((file, operation))
        done = 0
        with self._told():
            for group in _groups(puts):
                check()
                api = self._api()
                additions = [operation for _, operation in group]
                api.preupload_lfs_files(
                    self.repo, additions, revision=self.branch, free_memory=False
                )
                done += sum(file.size for file, _ in group)
                told(done)
        self._check_ignored([operation for _, operation in puts])
        gone: list[CommitOperationDelete] = [
            CommitOperationDelete(path, is_folder=False) for path in change.delete
        ]
        return Upload([*(operation for _, operation in puts), *gone])

    def commit(self, upload: Upload, *, parent: str, title: str, operation: str, about: str) -> str:
        """Makes the one commit of a push; its id. Raises Moved when the branch is not at ``parent``
        any more. After Unavailable nobody knows whether it was made: look for its mark."""
        try:
            with self._told():
                made = self._api().create_commit(
                    self.repo,
                    upload.operations,
                    commit_message=title,
                    commit_description=f"{about}\n{MARK}operations/{operation}",
                    revision=self.branch,
                    parent_commit=parent,
                )
        except StillroomError as error:
            if status_of(error) == 412:
                message = f"{self.repo} moved while this was pushed"
                raise Moved(message, field="repo") from None
            raise
        return str(made.oid)

    def tag(self, name: str, commit: str) -> None:
        """Sets a tag that is not there. Raises Moved if it is."""
        try:
            with self._told():
                self._api().create_tag(self.repo, tag=name, revision=commit)
        except StillroomError as error:
            if status_of(error) == 409:
                raise Moved(f"the tag {name} is there already", field="tag") from None
            raise

    def delete_tag(self, name: str) -> None:
        """Removes a tag; one that is not there is no error."""
        try:
            with self._told():
                self._api().delete_tag(self.repo, tag=name)
        except NotFound:
            return

    def url(self, commit: str) -> str:
        """Where people can look at a commit."""
        return f"{endpoint_of(self._api().endpoint)}/{self.repo}/tree/{commit}"

    def _api(self) -> Any:
        return self._access.api(self.repo)

    def _check_ignored(self, operations: list[CommitOperationAdd]) -> None:
        ignored = [each.path_in_repo for each in operations if each._should_ignore]
        if ignored:
            raise FailedPrecondition(
                f"the .gitignore of {self.repo} leaves out {ignored[0][:200]} and perhaps more, so "
                "the model would not be whole there; change it on the Hub",
                reason="HUB_FILES_IGNORED",
                field="repo",
                metadata={"repo": self.repo, "file": ignored[0][:200]},
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StillroomError:
            raise
        except ValueError as error:
            if "Invalid metadata in README.md" in str(error):
                raise FailedPrecondition(
                    "the Hub refuses the metadata of README.md; correct the card and publish the "
                    "model again",
                    reason="HUB_CARD_REFUSED",
                    field="name",
                ) from None
            raise self._translated(error) from error
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        return translated(error, self.repo, self.branch, kind="model", field="repo")


def _source(file: LocalFile) -> Any:
    return file.source if isinstance(file.source, bytes) else str(file.source)


def _groups(
    puts: list[tuple[LocalFile, CommitOperationAdd]],
) -> Iterator[list[tuple[LocalFile, CommitOperationAdd]]]:
    """The small files together, then each large one."""
    small = [put for put in puts if put[0].size < _ALONE_BYTES]
    if small:
        yield small
    for put in puts:
        if put[0].size >= _ALONE_BYTES:
            yield [put]
