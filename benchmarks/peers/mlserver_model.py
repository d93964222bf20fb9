"""A model2vec student as a model of MLServer, the way its documentation writes custom runtimes."""

from __future__ import annotations

from typing import Any

from mlserver import MLModel  # type: ignore[import-not-found,unused-ignore]
from mlserver.codecs import (  # type: ignore[import-not-found,unused-ignore]
    NumpyCodec,
    StringCodec,
)
from mlserver.types import (  # type: ignore[import-not-found,unused-ignore]
    InferenceRequest,
    InferenceResponse,
)
from model2vec import StaticModel


class Model2Vec(MLModel):  # type: ignore[misc,unused-ignore]
    """One input of texts, one output of float32 vectors."""

    async def load(self) -> bool:
        """Loads the student that the settings name."""
        self._model: Any = StaticModel.from_pretrained(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The vectors of all texts of a request."""
        texts = StringCodec.decode_input(payload.inputs[0])
        vectors = self._model.encode(texts, use_multiprocessing=False)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("embeddings", vectors.astype("float32"))],
        )
