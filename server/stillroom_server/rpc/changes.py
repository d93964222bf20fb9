"""What an UpdateModel request changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.rpc import translate
from stillroom_server.rpc.described import check_description, check_labels

_FIELDS = ("description", "labels")


@dataclass(frozen=True)
class ModelChange:
    """What is None stays."""

    name: str
    description: str | None
    labels: Mapping[str, str] | None

    @classmethod
    def of(cls, request: pb.UpdateModelRequest) -> ModelChange:
        """Raises InvalidArgument with the field."""
        model = request.model
        name = translate.model_name(model.name, "model.name")
        paths = set(request.update_mask.paths)
        for path in sorted(paths):
            if path not in _FIELDS:
                raise InvalidArgument(
                    f"{path[:80]!r} of a model cannot be changed; the mask takes"
                    f" {' and '.join(_FIELDS)}",
                    reason="FIELD_NOT_CHANGEABLE",
                    field="update_mask",
                )
        if not request.HasField("update_mask"):
            paths = {field for field in _FIELDS if getattr(model, field)}
        check_description(model.description, "model.description")
        check_labels(model.labels, "model.labels")
        return cls(
            name,
            model.description if "description" in paths else None,
            dict(model.labels) if "labels" in paths else None,
        )
