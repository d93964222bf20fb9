"""ServerService: what this server is."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import server_service_pb2 as pb
from stillroom_server.inference.models import LoadedModel
from stillroom_server.inference.registry_models import ClassifierPool, StudentPool
from stillroom_server.rpc import translate
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.recipes import RECIPES
from stillroom_server.settings import Settings
from stillroom_server.teachers.teachers import Teachers
from stillroom_server.teachers.values import LoadedTeacher

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["ServerService"]
_LIBRARIES = (
    *("grpcio", "numpy", "onnxruntime", "protobuf", "scipy", "tokenizers", "nanotoken"),
    "daachorse",
)
_TRAINING_LIBRARIES = ("torch", "transformers", "onnx", "huggingface-hub")
_NATIVE_FLAGS = {
    "avx512_bf16": "bf16",
    "amx_bf16": "bf16",
    "bf16": "bf16",
    "avx512_vnni": "int8",
    "avx_vnni": "int8",
    "amx_int8": "int8",
    "i8mm": "int8",
}


class ServerServicer:
    """Answers what never changes and what is loaded now."""

    def __init__(
        self,
        settings: Settings,
        start_time: datetime,
        students: StudentPool,
        classifiers: ClassifierPool,
        teachers: Teachers,
    ) -> None:
        self._students = students
        self._classifiers = classifiers
        self._teachers = teachers
        self._settings = settings
        self._start_time = start_time
        self._constant: pb.GetServerInfoResponse | None = None

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, call: Call
    ) -> pb.GetServerInfoResponse:
        if self._constant is None:  # not at the start: it reads the metadata of every package
            self._constant = await in_thread(self._unchanging)
        answer = pb.GetServerInfoResponse()
        answer.CopyFrom(self._constant)
        answer.loaded_models.extend(_loaded(model) for model in self._students.loaded())
        answer.loaded_models.extend(_loaded(model) for model in self._classifiers.loaded())
        await self._teachers.refresh()
        answer.loaded_models.extend(_loaded_teacher(each) for each in self._teachers.loaded())
        return answer

    def _unchanging(self) -> pb.GetServerInfoResponse:
        libraries = _versions((*_LIBRARIES, *_TRAINING_LIBRARIES))
        return pb.GetServerInfoResponse(
            version=version(),
            limits=limits(self._settings),
            devices=[cpu()],
            start_time=translate.timestamp(self._start_time),
            libraries=libraries,
            capabilities=capabilities(libraries),
        )


def _loaded(model: LoadedModel[Any]) -> pb.LoadedModel:
    info = model.info
    return pb.LoadedModel(
        model_version=model.name,
        engine=info.engine,
        engine_reason=info.engine_reason,
        tokenizer=info.tokenizer,
        tokenizer_reason=info.tokenizer_reason,
        memory_bytes=info.memory_bytes,
        dimensions=info.dimensions,
        max_tokens=info.max_tokens,
        load_time=translate.timestamp(model.loaded_at),
    )


def _loaded_teacher(teacher: LoadedTeacher) -> pb.LoadedModel:
    facts = teacher.facts
    return pb.LoadedModel(
        model_version=teacher.name,
        engine="torch",
        engine_reason=f"a teacher: {facts.dtype} on {facts.device}",
        tokenizer="huggingface",
        tokenizer_reason="the teacher's own",
        memory_bytes=facts.memory_bytes,
        dimensions=facts.dimensions,
        max_tokens=facts.max_tokens,
        load_time=translate.timestamp(teacher.loaded_at),
    )


def version() -> str:
    """The version of the installed distribution."""
    return importlib.metadata.version("stillroom")


def limits(settings: Settings) -> pb.ServerLimits:
    """The limits that ``settings`` set."""
    return pb.ServerLimits(
        max_request_bytes=settings.max_request_bytes,
        max_response_bytes=settings.max_response_bytes,
        max_texts=settings.max_texts,
        max_text_bytes=settings.max_text_bytes,
        max_stream_window=settings.max_stream_window,
        max_stream_bytes=settings.max_stream_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        max_concurrent_requests=settings.max_concurrent_requests,
        max_concurrent_streams=settings.max_concurrent_streams,
        max_correlation_id_bytes=settings.max_correlation_id_bytes,
        max_teacher_queue_bytes=settings.max_teacher_queue_bytes,
        max_teacher_queue_seconds=settings.max_teacher_queue_seconds,
        max_tokenize_bytes=settings.max_tokenize_bytes,
        max_calls_per_connection=settings.max_calls_per_connection,
    )


@cache
def missing_libraries() -> tuple[str, ...]:
    """What this installation lacks of what teachers, training and the Hub need."""
    return tuple(name for name in _TRAINING_LIBRARIES if not _installed(name))


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def capabilities(libraries: dict[str, str]) -> list[str]:
    """What this installation can run, by the libraries that it has."""
    result = ["classify", "embed.student"]
    if all(name in libraries for name in _TRAINING_LIBRARIES):
        result += [
            *(f"distill.{name}" for name in RECIPES if name != "auto"),
            "embed.teacher",
            "train.classifier",
            "import.copy",
            "import.student",
            "import.teacher",
            "import.hub",
        ]
    return sorted(result)


def cpu() -> pb.Device:
    """This machine's processor, as far as the system tells."""
    description, flags = "", set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                description = value
            elif key in ("flags", "Features"):
                flags = set(value.split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return pb.Device(
        name="cpu",
        description=description,
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory,
        native_types=sorted({name for flag, name in _NATIVE_FLAGS.items() if flag in flags}),
    )


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
