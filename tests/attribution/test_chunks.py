import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution.chunks import chunk_shape, map_chunks


@pytest.mark.parametrize(
    ("images", "starts", "pairs", "multiple", "expected"),
    [
        (100, 20, 45, 1, (2, 20)),  # whole images
        (1, 20, 1000, 1, (1, 20)),  # no more than there are
        (5, 20, 8, 1, (1, 7)),  # three parts of 7, 7 and 6
        (5, 20, 1, 1, (1, 1)),
        (5, 4, 1000, 8, (8, 4)),  # filled up for eight devices
        (100, 4, 100, 8, (24, 4)),
        (100, 4, 1, 8, (8, 1)),  # one image a device, even where that is beyond the budget
    ],
)
def test_chunk_shape(images, starts, pairs, multiple, expected):
    assert chunk_shape(images, starts, pairs=pairs, multiple=multiple) == expected


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (5, 4), (8, 8)])
def test_chunks_are_put_together_in_order(rows, columns):
    targets, starts = jnp.arange(5.0), jnp.arange(20.0).reshape(5, 4)
    seen = []

    def function(some, some_starts, pairs):
        seen.append((some.shape, some_starts.shape, pairs))
        return {"sum": some[:, None] + some_starts, "start": some_starts[..., None]}

    out = map_chunks(function, targets, starts, rows=rows, columns=columns)
    np.testing.assert_array_equal(out["sum"], np.arange(5.0)[:, None] + starts)
    np.testing.assert_array_equal(out["start"][..., 0], starts)
    assert {shapes[:2] for shapes in seen} == {((rows,), (rows, columns))}
    assert sum(pairs for *_, pairs in seen) == 20
