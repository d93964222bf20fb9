"""Whether a branch is where this model left it: decided from the outbox and the head alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillroom_registry.errors import Aborted
from stillroom_registry.values import ModelVersion
from stillroom_server.sync.remote_tree import Change
from stillroom_server.sync.values import Direction, Sync, SyncState

_SHOWN = 20  # paths in an error


@dataclass(frozen=True)
class Known:
    """What is known of a branch: ``commit`` is where a push or pull of the model last left it,
    ``model_version`` what that was, ``others`` are commits of the same repository that it knows
    from elsewhere; ``paths`` are the files that its pushes put there."""

    commit: str | None
    model_version: str
    others: frozenset[str]
    paths: frozenset[str]

    @classmethod
    def of(cls, syncs: Sequence[Sync], branch: str, version: ModelVersion, repo: str) -> Known:
        """``syncs`` are the model's with ``repo``, newest first."""
        done = [each for each in syncs if each.state is SyncState.DONE and each.commit]
        here = [each for each in done if each.branch == branch]
        others = {str(each.commit) for each in done}
        if (origin := _origin(version.metadata, repo)) is not None:
            others.add(origin)
        pushed = [each for each in here if each.direction is Direction.PUSH]
        return cls(
            commit=here[0].commit if here else None,
            model_version=_name(here[0]) if here else "",
            others=frozenset(others),
            paths=frozenset(pushed[0].paths) if pushed else frozenset(),
        )

    def is_left(self, head: str) -> bool:
        """Whether the branch's ``head`` is where it was left."""
        return head == self.commit if self.commit is not None else head in self.others


def conflict(
    known: Known, head: str, version: ModelVersion, repo: str, branch: str, change: Change
) -> Aborted:
    """The remote moved: both sides, by name."""
    left = (
        f"this model was last synced with it at {known.commit[:12]} ({known.model_version})"
        if known.commit
        else "this model was never synced with it"
    )
    paths = change.paths[:_SHOWN]
    return Aborted(
        f"{repo} is at {head[:12]} on {branch}, and {left}; {version.name} differs from it in "
        f"{len(change.paths)} files. Pull it and decide, push to another branch, or force the "
        "push to overwrite it.",
        reason="HUB_CONFLICT",
        field="force",
        metadata={
            "repo": repo,
            "branch": branch,
            "remote_commit": head,
            "known_commit": known.commit or "",
            "known_version": known.model_version,
            "model_version": version.name,
            "files": ", ".join(paths)[:1000],
        },
    )


def tag_conflict(tag: str, commit: str, version: ModelVersion, repo: str) -> Aborted:
    """The tag is there and names something else."""
    return Aborted(
        f"the tag {tag} of {repo} is at {commit[:12]}, which is not {version.name}; choose another "
        "tag, or force the push to move it",
        reason="HUB_TAG_TAKEN",
        field="tag",
        metadata={
            "repo": repo,
            "tag": tag,
            "remote_commit": commit,
            "model_version": version.name,
        },
    )


def _name(sync: Sync) -> str:
    return f"models/{sync.model}/versions/{sync.version}" if sync.version else ""


def _origin(metadata: Mapping[str, Any], repo: str) -> str | None:
    """The commit that an import took the version from."""
    origin = metadata.get("origin")
    hub = origin.get("hub") if isinstance(origin, dict) else None
    if not isinstance(hub, dict) or hub.get("repo") != repo:
        return None
    commit = hub.get("commit")
    return commit if isinstance(commit, str) else None
