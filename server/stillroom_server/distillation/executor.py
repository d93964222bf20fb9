"""Distillation as a durable operation: what the runner executes."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from stillroom_registry.names import check_model_name
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipe import PHASES, distill_static

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext

_IMPORT = "import"
_PUBLISH = "publish"

TeacherImporter: TypeAlias = "Callable[[Mapping[str, Any], OperationContext], ModelVersion]"
"""Brings a teacher that is not registered yet, reporting the phase ``import``."""


class DistillExecutor:
    """Runs requests ``{"teacher": "models/t/versions/1", "name": "s", "recipe": {"static": {...}},
    "description": "", "labels": {}}`` and publishes version by version under ``name``. Instead of
    ``teacher`` there may be ``"teacher_import": {"name": "t", "source": {...}}``.

    The result is ``{"model_version", "teacher_version", "report"}``; it commits together with the
    student. ``settings`` may hold ``device`` and ``dtype`` (see ``Teacher.load``).
    """

    kind = "distill"
    phases = (_IMPORT, *PHASES, _PUBLISH)

    def __init__(
        self,
        settings: Mapping[str, Any],
        registry: Registry,
        import_teacher: TeacherImporter | None = None,
    ) -> None:
        self._device = str(settings.get("device") or "auto")
        self._dtype = str(settings.get("dtype") or "auto")
        self._registry = registry
        self._import_teacher = import_teacher

    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        """Raises InvalidArgument, NotFound or FailedPrecondition for a request that cannot be met,
        ResourceExhausted when disk or memory do not suffice."""
        name, options = read_request(request)
        teacher = self._teacher(request, context)
        output = context.workspace / f"student-{context.attempt}"
        shutil.rmtree(output, ignore_errors=True)
        with _exhaustion():
            report = distill_static(
                self._registry.folder(teacher),
                output,
                options,
                context,
                name=name,
                teacher_name=teacher.name,
                description=str(request.get("description") or ""),
                lineage={"teacher_digest": teacher.digest},
                device=self._device,
                dtype=self._dtype,
            )
            context.progress(_PUBLISH, 0, 1, unit="student")
            context.check_cancelled()
            result: dict[str, Any] = {"teacher_version": teacher.name, "report": report}

            def succeed(connection: Any, version: Any) -> None:
                context.progress(_PUBLISH, 1, 1, unit="student")
                result["model_version"] = version.name
                context.succeed(connection, result)

            self._registry.publish(
                name,
                ModelKind.STUDENT,
                output,
                metadata={"report": report, "options": options.to_json(), "recipe": "static"},
                parents=(teacher.name,),
                description=request.get("description"),
                labels=request.get("labels"),
                in_transaction=succeed,
            )
        _remove(output)
        return result

    def _teacher(self, request: Mapping[str, Any], context: OperationContext) -> ModelVersion:
        if "teacher_import" in request:
            if self._import_teacher is None:
                raise FailedPrecondition("this runner imports no teachers", field="teacher_import")
            return self._import_teacher(request["teacher_import"], context)
        version = self._registry.resolve(str(request["teacher"]))
        if version.kind is not ModelKind.TEACHER:
            raise FailedPrecondition(
                f"{version.name} is a {version.kind}, not a teacher",
                reason="NOT_A_TEACHER",
                field="teacher",
            )
        return version


def read_request(request: Any) -> tuple[str, StaticOptions]:
    """The student's name and the options of a request. Raises InvalidArgument with the field; loads
    no teacher, so the front may call it before it makes the operation."""
    if not isinstance(request, Mapping):
        raise InvalidArgument("the request is not an object")
    registered, imported = request.get("teacher"), request.get("teacher_import")
    if not isinstance(registered, str) and not isinstance(imported, Mapping):
        raise InvalidArgument("a teacher is needed", field="teacher")
    name = request.get("name")
    if not isinstance(name, str):
        raise InvalidArgument("a name for the student is needed", field="name")
    check_model_name(name, field="name")
    recipe = request.get("recipe") or {"static": {}}
    if not isinstance(recipe, Mapping) or set(recipe) != {"static"}:
        raise InvalidArgument(
            f"the recipe {recipe!r} is not known; there is: static",
            reason="UNKNOWN_RECIPE",
            field="recipe",
        )
    return name, StaticOptions.from_json(recipe["static"] or {})


@contextmanager
def _exhaustion() -> Iterator[None]:
    """Says plainly that disk or memory ran out."""
    try:
        yield
    except MemoryError as error:
        raise ResourceExhausted(
            "not enough memory for this teacher and vocabulary", reason="OUT_OF_MEMORY"
        ) from error
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error):
            raise ResourceExhausted(
                "the disk of the data directory is full; free some space and try again",
                reason="DISK_FULL",
            ) from error
        raise


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
