"""Workloads of requests, checked as the RPCs that would run them check them, and estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.cost.facts import ModelFacts, of_shape
from stillroom_server.cost.looking.data import Described, data_facts
from stillroom_server.cost.looking.prompts import prompts_of
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.tables.reading import check_rank, read_paradigm
from stillroom_server.cost.workloads import EmbedWork, ParadigmWork, ServeWork
from stillroom_server.inference.options import DEFAULT_OPTIONS, EmbedOptions, plan
from stillroom_server.operations.model import Json
from stillroom_server.rpc import embed_messages
from stillroom_server.rpc.budgets import Budgets
from stillroom_server.rpc.cost_messages import plain
from stillroom_server.rpc.distill_requests import DistillRequests
from stillroom_server.rpc.drafts import Draft
from stillroom_server.rpc.estimates import Estimate
from stillroom_server.rpc.hub_sync import HubSyncs
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.server_info import missing_libraries
from stillroom_server.rpc.train_requests import TrainRequests

_NO_LIMIT = 2**31 - 1  # of tokens, for a model that has none
# Errors whose fields are those of the whole request already.
_OUTSIDE = ("workload", "environment", "calibration")


@dataclass(frozen=True)
class Asked:
    """What stands beside a workload in a request to estimate it."""

    described: Described
    environment: Json
    policy: Policy | None

    @property
    def estimating(self) -> dict[str, Any]:
        return {"environment": self.environment, "policy": self.policy}


class Workloads:
    """Estimates any workload. Starts nothing and changes nothing."""

    def __init__(
        self,
        launcher: Launcher,
        syncs: HubSyncs,
        max_texts: int,
        missing: Callable[[], Sequence[str]] = missing_libraries,
    ) -> None:
        self._launcher = launcher
        self._estimates = launcher.estimates
        self._registry: Registry = launcher.registry
        self._budgets = Budgets(launcher.estimates)
        self._distill = DistillRequests(launcher)
        self._train = TrainRequests(launcher)
        self._syncs = syncs
        self._max_texts = max_texts
        self._missing = missing

    def estimate(self, workload: pb.Workload, asked: Asked) -> Estimate:
        """Raises what the RPC of the workload raises, the field beginning with ``workload.``; what
        the estimator raises."""
        kind = workload.WhichOneof("kind")
        if kind is None:
            raise InvalidArgument(
                "say which work is to be estimated", reason="WORKLOAD_REQUIRED", field="workload"
            )
        path = f"workload.{kind}"
        given = getattr(workload, kind)
        with _under_workload(path):
            match kind:
                case "distill" | "train_classifier" | "push" | "pull":
                    body = self._body(kind, given, asked)
                    return self._installed(self._operation(kind, body, asked))
                case "embed" | "serve":
                    work = self._serving(kind, given, asked, path)
                    found = self._estimates.of_work(work, field=path, **asked.estimating)
                    heavy = work.model.computing.kind == "teacher"
                    return self._installed(found) if heavy else found
                case _:
                    paradigm = self._paradigm(given, path)
                    return self._estimates.of_work(paradigm, field=path, **asked.estimating)

    def _installed(self, estimate: Estimate) -> Estimate:
        """Of work that needs more than serving students does."""
        missing = self._missing()
        if not missing:
            return estimate
        reason = f"this installation lacks {', '.join(missing)}; install stillroom[train]"
        return {**estimate, "runnable": False, "not_runnable_reason": reason}

    def _operation(self, kind: str, body: Json, asked: Asked) -> Estimate:
        budget = body.get("budget")
        if budget:
            _, estimate = self._budgets.fitting(
                kind, body, budget, described=asked.described, **asked.estimating
            )
            return estimate
        return self._estimates.of(kind, body, described=asked.described, **asked.estimating)

    def _body(self, kind: str, request: Any, asked: Asked) -> Json:
        draft = Draft(name=True, data=asked.described.texts > 0)
        if kind == "push":
            return self._syncs.push_body(request)
        if kind == "pull":
            return self._syncs.pull_body(request, draft)
        with self._launcher.spool(dry=True) as spool:
            if kind == "distill":
                return self._distill.body(request, spool, draft)
            checked = self._train.check(request)
            encoding = checked.options.encoding
            if encoding != DEFAULT_OPTIONS:
                _, facts = self._estimates.works.model(checked.encoder.name, "encoder")
                with _renamed("options", "options.encoding"):
                    self._plan(encoding, checked.encoder.version, facts)
            return self._train.body(request, checked, spool, draft)

    def _serving(self, kind: str, given: Any, asked: Asked, path: str) -> EmbedWork | ServeWork:
        if not given.model:
            raise InvalidArgument(
                "model is empty; name the model", reason="MODEL_REQUIRED", field="model"
            )
        version, facts = self._estimates.works.model(given.model, "model")
        options = embed_messages.options(given)
        if options != DEFAULT_OPTIONS and facts.kind != "classifier":
            self._plan(options, version, facts)
        reader = EmbedWork if kind == "embed" else ServeWork
        data = data_facts(asked.described, None, None)
        return reader.from_json(
            plain(given, path), facts, data, max_texts=self._max_texts, field=path
        )

    def _plan(self, options: EmbedOptions, version: ModelVersion, facts: ModelFacts) -> None:
        """As Embed would, without loading the model."""
        plan(
            options,
            dimensions=facts.dimensions,
            max_tokens=facts.max_tokens or _NO_LIMIT,
            prompts=prompts_of(self._registry, version),
        )

    def _paradigm(self, given: pb.ParadigmWorkload, path: str) -> ParadigmWork:
        told = plain(given, path)
        paradigm = read_paradigm(told, path)
        model = self._model(given, "model_source", ("model", "shape"), path)
        if model is not None:
            check_rank(paradigm, model.hidden, path)
        teacher = None
        if given.WhichOneof("paradigm") == "distillation":
            inner = f"{path}.distillation"
            sources = ("teacher", "teacher_shape")
            teacher = self._model(given.distillation, "teacher_source", sources, inner)
        return ParadigmWork.from_json(told, paradigm, model, teacher, field=path)

    def _model(
        self, given: Any, oneof: str, names: tuple[str, str], path: str
    ) -> ModelFacts | None:
        """Of a registered model, or of a shape, by the two ``names``; None where neither is set."""
        registered, shape = names
        which = given.WhichOneof(oneof)
        if which == registered:
            return self._estimates.works.model(getattr(given, registered), f"{path}.{registered}")[
                1
            ]
        if which == shape:
            field = f"{path}.{shape}"
            return of_shape(plain(getattr(given, shape), field), field)
        return None


@contextmanager
def _under_workload(path: str) -> Iterator[None]:
    """Puts ``path`` before the fields of the workload's own request."""
    try:
        yield
    except StillroomError as error:
        if (error.field or "").partition(".")[0] not in _OUTSIDE:
            error.field = f"{path}.{error.field}" if error.field else path
        raise


@contextmanager
def _renamed(first: str, instead: str) -> Iterator[None]:
    """Fields that begin with ``first`` begin with ``instead``."""
    try:
        yield
    except StillroomError as error:
        error.field = f"{instead}{(error.field or first).removeprefix(first)}"
        raise
