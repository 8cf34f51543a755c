"""Conjugate gradients on matrices that are known, against NumPy's solutions in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.attribution import conjugate_gradients as cg

ROWS, D = 3, 6
# float32 rounding 6e-8 times a condition of 10, lost orthogonality over 6 steps: below 1e-4 of the largest
NEAR = 1e-4


def systems(seed=8):
    """Random positive definite matrices of condition below 10, and right sides."""
    random = np.random.default_rng(seed)
    q = np.linalg.qr(random.normal(size=(ROWS, D, D)))[0]
    matrices = q * random.uniform(1, 10, size=(ROWS, 1, D)) @ np.swapaxes(q, 1, 2)
    return matrices, random.normal(size=(ROWS, D)).astype(np.float32)


def times(matrices):
    return lambda x: jnp.einsum("rij,rj->ri", jnp.asarray(matrices, jnp.float32), x)


def solve(matrices, right, precondition, *, steps):
    """The solution after these steps, and what is remembered of them."""
    search, learnt = cg.begin(precondition, jnp.asarray(right)), []
    for _ in range(steps):
        direction = search.direction
        curved = times(matrices)(direction)
        learnt.append(cg.pair(direction, curved))
        search = cg.advance(curved, precondition, search)
    return search.x, cg.remembered(cg.nothing(ROWS, D, pairs=D), learnt)


def exact(matrices, right):
    return np.linalg.solve(matrices, right[..., None])[..., 0]


@pytest.mark.parametrize("preconditioned", [False, True])
def test_solve_in_as_many_steps_as_dimensions(preconditioned):
    matrices, right = systems()
    diagonal = jnp.asarray(np.einsum("rii->ri", matrices) if preconditioned else np.ones_like(right))
    found, _ = solve(matrices, right, lambda x: x / diagonal, steps=D)
    expected = exact(matrices, right)
    np.testing.assert_allclose(found, expected, atol=NEAR * np.abs(expected).max())


def test_stay_at_a_solution():
    """A solved row, by a zero right side or an exact preconditioner, is left as it is: no 0 / 0."""
    right, twice = jnp.asarray([[0.0, 0.0], [3.0, -1.0]]), np.eye(2) * 2
    search = cg.begin(lambda x: x / 2, right)
    for _ in range(5):
        search = cg.advance(search.direction @ twice, lambda x: x / 2, search)
    np.testing.assert_array_equal(search.x, right / 2)


def test_a_memory_of_all_directions_inverts_the_matrix():
    """BFGS with as many conjugate directions as dimensions has the exact inverse (quadratic termination)."""
    matrices, right = systems()
    _, memory = solve(matrices, right, lambda x: x, steps=D)
    other = np.random.default_rng(9).normal(size=right.shape).astype(np.float32)
    found = cg.corrected(lambda x: x, *memory)(jnp.asarray(other))
    expected = exact(matrices, other)
    np.testing.assert_allclose(found, expected, atol=10 * NEAR * np.abs(expected).max())


def test_a_memory_of_some_directions_is_a_positive_definite_symmetric_inverse():
    matrices, right = systems()
    _, memory = solve(matrices, right, lambda x: x, steps=3)
    apply = cg.corrected(lambda x: x, *memory)
    columns = [np.asarray(apply(jnp.tile(one, (ROWS, 1)))) for one in np.eye(D, dtype=np.float32)]
    inverse = np.stack(columns, axis=2)
    np.testing.assert_allclose(inverse, np.swapaxes(inverse, 1, 2), atol=NEAR)
    assert np.linalg.eigvalsh(inverse).min() > 0
    # the secant equations of the directions that are remembered, which are conjugate to each other
    for move, curved in zip(*(np.moveaxis(np.asarray(leaf), 1, 0)[-3:] for leaf in memory), strict=True):
        np.testing.assert_allclose(apply(jnp.asarray(curved)), move, atol=NEAR)


def test_a_memory_makes_the_next_system_cheaper():
    """Two conjugate gradients of a matrix that is a little different: ten times nearer than without."""
    matrices, right = systems()
    _, memory = solve(matrices, right, lambda x: x, steps=D)
    changed = matrices + 0.05 * systems(seed=10)[0]
    curved = np.einsum("rij,rmj->rmi", changed, memory.moves).astype(np.float32)
    expected = exact(changed, right)
    errors = [
        np.abs(np.asarray(solve(changed, right, precondition, steps=2)[0]) - expected).max()
        for precondition in (lambda x: x, cg.corrected(lambda x: x, memory.moves, jnp.asarray(curved)))
    ]
    assert errors[1] < errors[0] / 10


def test_an_empty_memory_changes_nothing():
    right = systems()[1]
    apply = cg.corrected(lambda x: 3 * x, *cg.nothing(ROWS, D, pairs=4))
    np.testing.assert_array_equal(apply(jnp.asarray(right)), 3 * right)


def test_a_memory_drops_the_oldest():
    vectors = [jnp.full((ROWS, D), float(i)) for i in range(5)]
    memory = cg.remembered(cg.nothing(ROWS, D, pairs=3), [(one, 10 * one) for one in vectors[:2]])
    np.testing.assert_array_equal(memory.moves[0, :, 0], [0, 0, 1])
    memory = cg.remembered(memory, [(one, 10 * one) for one in vectors[2:]])
    np.testing.assert_array_equal(memory.moves[1, :, 0], [2, 3, 4])
    np.testing.assert_array_equal(memory.curved[1, :, 0], [20, 30, 40])
    memory = cg.remembered(memory, [(one, one) for one in vectors])  # more than there is room for
    np.testing.assert_array_equal(memory.moves[2, :, 0], [2, 3, 4])


def test_a_direction_of_no_length_is_remembered_as_none():
    zero = jnp.zeros((ROWS, D))
    for leaf in cg.pair(zero, zero):
        np.testing.assert_array_equal(leaf, 0)
