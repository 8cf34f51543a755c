"""Loading weights is total: whatever does not fit is named, all of it at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentfp.checkpoints.adopt import NameTable, Rule, adopt, restore

TABLE = NameTable(
    "a toy network",
    {"layer/kernel": Rule("fc.weight", np.transpose), "layer/bias": Rule("fc.bias", lambda x: x)},
    constants={"*.filter": np.array([1.0, 3.0, 3.0, 1.0])},
    ignored={"optim.*": "only for training"},
)
TEMPLATE = {"layer": {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32), "bias": jnp.zeros(2)}}


def source(**changed):
    arrays = {
        "fc.weight": np.arange(6, dtype=np.float16).reshape(2, 3),
        "fc.bias": np.array([1.0, 2.0]),
        "up.filter": np.array([1.0, 3.0, 3.0, 1.0]),
        "optim.step": np.zeros(1),
    }
    arrays |= {name.replace("_", "."): value for name, value in changed.items()}
    return {name: value for name, value in arrays.items() if value is not None}


def test_every_parameter_is_filled_in_the_template_s_structure_and_type():
    params = adopt(source(), TABLE, TEMPLATE)
    assert jax.tree.structure(params) == jax.tree.structure(TEMPLATE)
    assert params["layer"]["kernel"].dtype == jnp.float32
    np.testing.assert_array_equal(params["layer"]["kernel"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(params["layer"]["bias"], [1, 2])


def test_tuples_are_addressed_by_their_index():
    table = NameTable("noise", {"noise/0": Rule("a", np.squeeze), "noise/1": Rule("b", np.squeeze)})
    template = {"noise": (jnp.zeros((2, 2)), jnp.zeros((3, 3)))}
    params = adopt({"b": np.full((1, 3, 3), 2.0), "a": np.ones((1, 1, 2, 2))}, table, template)
    assert [float(x.mean()) for x in params["noise"]] == [1.0, 2.0]


SINGLE = {
    "1 missing: fc.bias": source(fc_bias=None),
    "1 unused: fc.extra": source(fc_extra=np.ones(1)),
    r"fc.bias \(shape \[3\], which is \[3\] here, not \[2\]\)": source(fc_bias=np.ones(3)),
    r"fc.weight \(shape \[3, 2\], which is \[2, 3\] here, not \[3, 2\]\)": source(fc_weight=np.ones((3, 2))),
    r"fc.bias \(not finite\)": source(fc_bias=np.array([1.0, np.nan])),
    r"fc.weight \(not finite\)": source(fc_weight=np.full((2, 3), np.inf)),
    r"fc.bias \(int64, not floating-point\)": source(fc_bias=np.array([1, 2])),
    "1 not the constant that they should be: up.filter": source(up_filter=np.array([1.0, 2.0, 2.0, 1.0])),
    "should be: down.filter": source(down_filter=np.ones(3)),
}


@pytest.mark.parametrize("message", SINGLE)
def test_each_misfit_is_named(message):
    with pytest.raises(ValueError, match=message):
        adopt(SINGLE[message], TABLE, TEMPLATE)


def test_a_change_of_layout_that_cannot_be_made_is_a_misfit():
    table = NameTable("a network", {"w": Rule("w", lambda x: x.transpose(2, 3, 1, 0))})
    with pytest.raises(ValueError, match=r"w \(shape \[2, 2\] of an unexpected rank\)"):
        adopt({"w": np.ones((2, 2))}, table, {"w": jnp.ones((2, 2, 1, 1))})


def test_what_is_only_read_is_not_written():
    with pytest.raises(ValueError, match="a toy network is read, but not written"):
        restore(adopt(source(), TABLE, TEMPLATE), TABLE)


@pytest.mark.parametrize(("dtype", "off"), [(np.float32, 1e-4), (np.float16, 2e-3), (jnp.bfloat16, 0.02)])
def test_constants_may_be_rounded_to_the_type_of_the_file(dtype, off):
    """0.3 is no number of any of these types; what is off by more than rounding is another value."""
    table = TABLE._replace(constants={"*.filter": np.array([0.3])})
    adopt(source(up_filter=np.array([0.3], dtype)), table, TEMPLATE)
    with pytest.raises(ValueError, match="not the constant that they should be"):
        adopt(source(up_filter=np.array([0.3 + off], dtype)), table, TEMPLATE)


def test_a_table_that_does_not_cover_the_network_is_refused():
    with pytest.raises(ValueError, match="1 without a rule: layer/bias"):
        adopt(source(), TABLE._replace(rules={"layer/kernel": TABLE.rules["layer/kernel"]}), TEMPLATE)
    extra = {**TABLE.rules, "other/bias": TABLE.rules["layer/bias"]}
    with pytest.raises(ValueError, match="1 with a rule but no place: other/bias"):
        adopt(source(), TABLE._replace(rules=extra), TEMPLATE)


def test_everything_is_reported_at_once():
    wrong = source(fc_bias=None, fc_weight=np.ones((2, 2)), extra=np.ones(1), up_filter=np.ones(4))
    with pytest.raises(ValueError, match="a toy network") as caught:
        adopt(wrong, TABLE, TEMPLATE)
    for name in ("fc.bias", "fc.weight", "extra", "up.filter"):
        assert name in str(caught.value)


def test_long_lists_are_cut_with_their_length():
    many = source(**{f"extra_{i:02}": np.ones(1) for i in range(30)})
    with pytest.raises(ValueError, match=r"30 unused: extra\.00, .*extra\.07, …"):
        adopt(many, TABLE, TEMPLATE)
