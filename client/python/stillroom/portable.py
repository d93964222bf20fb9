"""A trained classifier without a server: NumPy computes, safetensors and tokenizers read.

>>> from stillroom.portable import PortableClassifier
>>> classifier = PortableClassifier.load("path/to/folder")
>>> classifier.predict(["where is my card?"])

The folder is what ``client.download`` or ``stillroom models download`` wrote of a classifier.
Nothing in it is executed. Needs ``pip install stillroom[portable]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom._portable.computing import Ngrams, StaticEncoder, normalized
from stillroom._portable.reading import Float32, read_json, read_layers, read_tensors
from stillroom.errors import DataLoss, FailedPrecondition, InvalidArgument

Encoder = Callable[[Sequence[str]], npt.ArrayLike]

FORMAT = 1
_MULTI_LABEL = "CLASSIFICATION_TASK_MULTI_LABEL"
_TEXTS_AT_ONCE = 4096


class PortableClassifier:
    """A classifier with the methods of one of scikit-learn, already fitted. Make it with ``load``.

    ``classes_`` (K,) are the labels in the order of the columns; ``multi_label`` says whether a
    text has any number of them; ``thresholds_`` (K,) where each begins to apply then, else None;
    ``temperature_`` what scores are divided by; ``abstention_threshold_`` the confidence below
    which the server would abstain.
    """

    _estimator_type = "classifier"

    def __init__(self, folder: str | Path = "", encoder: Encoder | None = None) -> None:
        self.folder = folder
        self.encoder = encoder
        if folder:
            self._read(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, *, encoder: Encoder | None = None) -> PortableClassifier:
        """Read the classifier in ``folder``.

        One on a static student needs nothing else. One on another student or a teacher needs
        ``encoder``: it takes a list of texts and gives their vectors (n, d) as Embed would, such as
        ``lambda texts: client.embed(texts, model="mini")``. Raises DataLoss for files that are
        damaged, FailedPrecondition for a missing encoder, ImportError without the extra.
        """
        if not str(folder):
            raise InvalidArgument("name the classifier's folder", field="folder")
        return cls(folder, encoder)

    def predict(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        """The best label of each text: (n,) of str. Multi-label: (n, K) of 0 and 1, by the
        classifier's thresholds, as scikit-learn has it."""
        if self.thresholds_ is not None:
            return (self.predict_proba(texts) >= self.thresholds_).astype(np.int64)
        best: npt.NDArray[Any] = self.classes_[self.decision_function(texts).argmax(axis=1)]
        return best

    def predict_proba(self, texts: Sequence[str]) -> Float32:
        """Calibrated probabilities float32 (n, K). A text without a known token gets what the head
        says about nothing; the server abstains from it."""
        scores = self.decision_function(texts)
        scores *= np.float32(1 / self.temperature_)
        if self.multi_label:
            small = np.exp(-np.abs(scores))  # never overflows
            found: Float32 = np.where(scores >= 0, np.float32(1), small)
            found /= 1 + small
            return found
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def decision_function(self, texts: Sequence[str]) -> Float32:
        """Scores float32 (n, K) before calibration; of two labels also (n, 2)."""
        texts = _checked(texts)
        parts = [
            self._scores(texts[i : i + _TEXTS_AT_ONCE])
            for i in range(0, len(texts), _TEXTS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes_)), np.float32)

    def score(self, texts: Sequence[str], labels: npt.ArrayLike) -> float:
        """The share of right answers; multi-label: of texts with all labels right."""
        right = self.predict(texts) == np.asarray(labels)
        return float((right.all(axis=1) if right.ndim == 2 else right).mean())

    def fit(self, texts: object = None, labels: object = None) -> PortableClassifier:  # noqa: ARG002
        """It is trained already, on the server: nothing changes."""
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """The arguments that make the same classifier."""
        return {"folder": self.folder, "encoder": self.encoder}

    def set_params(self, **params: Any) -> PortableClassifier:
        """Read another folder, or take another encoder."""
        unknown = set(params) - {"folder", "encoder"}
        if unknown:
            raise ValueError(f"no such parameter: {', '.join(sorted(unknown))}")
        # By its own method, as scikit-learn does: the object stays the same.
        PortableClassifier.__init__(self, **{**self.get_params(), **params})
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.folder)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; only it calls this."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(multi_label=self.multi_label),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            requires_fit=False,
        )

    def __repr__(self) -> str:
        return f"PortableClassifier(folder={str(self.folder)!r})"

    def _read(self, folder: Path) -> None:
        about = read_json(folder / "classifier.json")
        if about.get("format") != FORMAT:
            raise DataLoss(
                f"classifier.json is of the format {about.get('format')!r}, this client reads "
                f"{FORMAT}; update it, or download the classifier again",
                reason="FORMAT_UNKNOWN",
            )
        tensors = read_tensors(folder / "classifier.safetensors")
        try:
            self.multi_label = about.get("task") == _MULTI_LABEL
            self.classes_ = np.array(about["labels"])
            self.temperature_ = float(about.get("temperature", 1.0))
            self.abstention_threshold_ = float(about.get("abstention_threshold", 0.0))
            stated = about.get("thresholds") or []
            self.thresholds_ = np.array(stated, np.float32) if self.multi_label else None
            self._dimensions = int(about["dimensions"])
            self._layers = read_layers(tensors)
            ngrams = about.get("ngrams")
            self._ngrams = Ngrams(ngrams["min_n"], ngrams["max_n"], tensors) if ngrams else None
            encoding = (about.get("options") or {}).get("encoding") or {}
            kind = about["encoder_kind"]
            self._table: StaticEncoder | None = None
            if kind == "static":
                self._table = StaticEncoder(folder, encoding, int(about["max_tokens"]))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataLoss(
                f"{folder.name}: its files contradict each other ({error!r}); download it again",
                reason="FILE_CORRUPT",
            ) from error
        if self._table is None and self.encoder is None:
            raise FailedPrecondition(
                f"this classifier is on a {'teacher' if kind == 'teacher' else 'transformer'}; "
                "give load an encoder, or run its ONNX file",
                reason="ENCODER_REQUIRED",
                field="encoder",
            )

    def _scores(self, texts: list[str]) -> Float32:
        bags: Float32 | None = None
        if self._table is not None:
            ids, offsets = self._table.tokens(texts)
            vectors = self._table.vectors(ids, offsets)[:, : self._dimensions]
            vectors = normalized(vectors) if self._table.normalize else vectors
            bags = self._ngrams.sums(ids, offsets) if self._ngrams else None
        else:
            assert self.encoder is not None
            vectors = np.asarray(self.encoder(texts), np.float32)
            if vectors.shape != (len(texts), self._dimensions):
                raise InvalidArgument(
                    f"the encoder gave the shape {vectors.shape}, not "
                    f"({len(texts)}, {self._dimensions})",
                    field="encoder",
                )
        last = len(self._layers) - 1
        for i, (weights, bias) in enumerate(self._layers):
            vectors = vectors @ weights.T + bias
            vectors = np.maximum(vectors, 0) if i < last else vectors
        return vectors if bags is None else vectors + bags


def _checked(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise InvalidArgument("give a list of texts, not one text", field="texts")
    listed = [str(text) if isinstance(text, np.str_) else text for text in texts]
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidArgument(
                f"texts[{i}] is a {type(text).__name__}, not a string", field=f"texts[{i}]"
            )
    return listed
