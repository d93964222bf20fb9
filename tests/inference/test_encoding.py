"""Vectors as bytes, read back the way a client would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stillroom_server.inference import encoding
from stillroom_server.inference.options import ElementType

blocks = st.tuples(st.integers(0, 5), st.integers(1, 20)).flatmap(
    lambda shape: arrays(
        np.float32, shape, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=True)
    )
)


@given(blocks)
def test_float32_is_the_block_itself(vectors: np.ndarray) -> None:
    encoded = encoding.encode(vectors, ElementType.FLOAT32)
    assert encoded.scales is None
    np.testing.assert_array_equal(
        np.frombuffer(encoded.data, "<f4").reshape(vectors.shape), vectors
    )


@given(blocks)
def test_float16_rounds_and_clamps(vectors: np.ndarray) -> None:
    found = np.frombuffer(encoding.encode(vectors, ElementType.FLOAT16).data, "<f2")
    expected = np.clip(vectors, -65504, 65504)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.reshape(vectors.shape), expected, rtol=1e-3, atol=1e-7)


@given(blocks)
def test_int8_is_within_half_a_step(vectors: np.ndarray) -> None:
    encoded = encoding.encode(vectors, ElementType.INT8)
    assert encoded.scales is not None
    assert encoded.scales.shape == (len(vectors),)
    values = np.frombuffer(encoded.data, np.int8).reshape(vectors.shape)
    assert values.min(initial=0) >= -127
    error = np.abs(values * encoded.scales.astype(np.float64)[:, None] - vectors)
    peak = np.abs(vectors.astype(np.float64)).max(axis=1, initial=0)
    assert (error <= peak[:, None] / 127 * 0.5001 + 1e-35).all()


def test_int8_keeps_the_peak_and_zeros() -> None:
    encoded = encoding.to_int8(np.array([[0.5, -1.0], [0, 0]], np.float32))
    assert list(np.frombuffer(encoded.data, np.int8)) == [64, -127, 0, 0]
    assert encoded.scales is not None
    np.testing.assert_allclose(encoded.scales, [1 / 127, 0])


@given(blocks)
def test_binary_is_the_signs(vectors: np.ndarray) -> None:
    data = np.frombuffer(encoding.encode(vectors, ElementType.BINARY).data, np.uint8)
    width = (vectors.shape[1] + 7) // 8
    bits = np.unpackbits(data.reshape(len(vectors), width), axis=1, count=vectors.shape[1])
    np.testing.assert_array_equal(bits.astype(bool), vectors > 0)


@pytest.mark.parametrize("element_type", ElementType)
@pytest.mark.parametrize("dimensions", [1, 7, 8, 9, 256])
def test_sizes_are_known_beforehand(element_type: ElementType, dimensions: int) -> None:
    vectors = np.ones((3, dimensions), np.float32)
    encoded = encoding.encode(vectors, element_type)
    scales = encoded.scales.nbytes if encoded.scales is not None else 0
    assert len(encoded.data) + scales == 3 * encoding.bytes_per_vector(dimensions, element_type)
