from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from classification.training.trainings import texts
from inference.students import write_student

from stillroom_server.classification.features.encode import encode_texts
from stillroom_server.classification.features.load import load_encoder
from stillroom_server.classification.features.ngram_matrix import choose_features, ngram_matrix
from stillroom_server.classification.training.adam import Adam
from stillroom_server.classification.training.fitted import Fitted
from stillroom_server.classification.training.losses import Loss
from stillroom_server.classification.training.network import Dropout, Network
from stillroom_server.classification.training.problem import Problem
from stillroom_server.distillation.context import Silent
from stillroom_server.inference.options import EmbedOptions


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("hidden", [(), (5, 4)])
def test_the_derivative_of_every_array_is_its_slope(
    tmp_path: Path, hidden: tuple[int, ...], normalize: bool
) -> None:
    encoder = load_encoder(
        write_student(tmp_path, dimensions=6), "static", EmbedOptions(normalize=normalize)
    )
    encoded = encode_texts(encoder, [*(text for text, _ in texts(9)), "😀"], Silent())
    runs = choose_features(encoded, 1, 2, 1000, 1)
    targets = np.arange(10) % 3
    problem = Problem(
        *(encoded.vectors, targets, 3, Loss(False), runs),
        *(ngram_matrix(runs, encoded), encoded.ids, encoded.offsets),
    )
    network = Network(problem, hidden, encoder.table, table=True, seed=0)
    rng = np.random.default_rng(1)
    for value in network.values.values():
        value += rng.normal(0, 0.3, value.shape).astype(np.float32)
    batch = np.arange(10)

    def loss() -> float:
        return network.slopes(problem, batch, rng, Dropout())[0] / 10

    _, slopes = network.slopes(problem, batch, rng, Dropout())
    assert set(slopes) == set(network.values)
    for name, (rows, slope) in slopes.items():
        value = network.values[name]
        for _ in range(6):
            at = tuple(int(rng.integers(size)) for size in slope.shape)
            place = at if rows is None else (int(rows[at[0]]), *at[1:])
            ends = []
            for sign in (1, -1):
                value[place] += np.float32(sign * 2e-3)
                ends.append(loss())
                value[place] -= np.float32(sign * 2e-3)
            assert slope[at] == pytest.approx((ends[0] - ends[1]) / 4e-3, abs=2e-3), name


def test_scores_are_those_that_were_trained(tmp_path: Path) -> None:
    encoder = load_encoder(write_student(tmp_path), "static", EmbedOptions())
    encoded = encode_texts(encoder, [text for text, _ in texts(20)], Silent())
    runs = choose_features(encoded, 2, 2, 1000, 1)
    matrix = ngram_matrix(runs, encoded)
    targets = np.arange(20) % 3
    problem = Problem(
        *(encoded.vectors, targets, 3, Loss(False), runs, matrix),
        *(encoded.ids, encoded.offsets),
    )
    network = Network(problem, (7,), encoder.table, table=True, seed=3)
    rng = np.random.default_rng(1)
    for value in network.values.values():
        value += rng.normal(0, 0.1, value.shape).astype(np.float32)
    network.values["rows"][0] = 0
    total, _ = network.slopes(problem, np.arange(20), rng, Dropout())
    fitted = Fitted(network.head(problem), network.student_rows())
    scores = fitted.scores(encoded, encoder.table)
    assert problem.loss.value(scores, targets) == pytest.approx(total / 20, rel=1e-4)
    again = Fitted.from_arrays(*fitted.to_arrays())
    assert np.array_equal(again.scores(encoded, encoder.table), scores)


def test_adam_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    slopes = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(5)]
    adam = Adam({"a": start.copy()})
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = torch.optim.AdamW([parameter], lr=0.1, betas=(0.9, 0.99), weight_decay=0.3)
    for slope in slopes:
        adam.begin()
        adam.move("a", slope, 0.1, decay=0.3)
        parameter.grad = torch.from_numpy(slope)
        reference.step()
    assert np.allclose(adam.values["a"], parameter.detach().numpy(), atol=1e-4)


def test_rows_that_no_text_touches_stay() -> None:
    adam = Adam({"a": np.ones((4, 2), np.float32)})
    for _ in range(3):
        adam.begin()
        adam.move("a", np.ones((2, 2), np.float32), 0.1, rows=np.array([1, 3]))
    assert (adam.values["a"][[0, 2]] == 1).all()
    assert (adam.values["a"][[1, 3]] < 1).all()
