import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from latentfp.runtime import metrics
from latentfp.runtime.metrics import Window, Writer


@pytest.fixture
def without_clu(monkeypatch):
    monkeypatch.setitem(sys.modules, "clu", None)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_mean_does_not_depend_on_how_the_window_is_split():
    values = np.random.default_rng(0).normal(3, 2, 60)
    for size in (1, 4, 60):
        rows = [{"loss": (jnp.float32(part.sum()), jnp.float32(size))} for part in values.reshape(-1, size)]
        mean = metrics.mean_metrics(rows)["loss"]
        # each sum is rounded to float32 once or a few times: 2^-24 relative of a sum of up to 60 values
        np.testing.assert_allclose(mean, values.mean(), rtol=1e-6)


def test_uneven_parts_weigh_by_their_count():
    rows = [{"x": (jnp.float32(1), jnp.float32(1))}, {"x": (jnp.float32(30), jnp.float32(3))}]
    assert metrics.mean_metrics(rows) == {"x": 31 / 4}


def test_a_metric_that_was_not_counted_is_left_out():
    rows = [{"a": (0.0, 0.0), "b": (2.0, 1.0)}, {"b": (4.0, 1.0), "c": (5.0, 1.0)}]
    assert metrics.mean_metrics(rows) == {"b": 3.0, "c": 5.0}


def test_a_window_forgets_only_when_cleared():
    window = Window()
    window.add(1, {"x": (jnp.float32(2), jnp.float32(1))})
    window.wait(ahead=0)
    assert window.means() == window.means() == {"x": 2}
    window.clear()
    assert window.means() == {}


@pytest.mark.parametrize("bad", [(np.nan, 1), (np.inf, 1), (1, np.nan)])
def test_the_first_step_not_finite_is_named(bad):
    window = Window()
    for step, pair in enumerate([(1, 1), (1, 1), bad, bad], start=41):
        window.add(step, {"good": (1.0, 1.0), "loss": tuple(map(jnp.float32, pair))})
    with pytest.raises(FloatingPointError, match=r"step 43 .*'loss'") as error:
        window.means()
    assert "good" not in str(error.value)


def test_grid_places_images_row_by_row():
    values = np.array([-1, -0.5, 0, 0.5, 2], np.float32)  # 2 is limited to 1
    images = np.broadcast_to(values[:, None, None, None], (5, 2, 3, 3))
    pixels = np.array(
        [0, 64, 128, 191, 255, 128], np.uint8
    )  # round((x + 1) 127.5), half to even; grey at the end
    expected = np.kron(pixels.reshape(2, 3), np.ones((2, 3), np.uint8))
    np.testing.assert_array_equal(metrics.grid(images), np.repeat(expected[..., None], 3, axis=2))


def test_grid_keeps_the_inside_of_images_and_colours():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 5, 6, 3)).astype(np.float32)
    sheet = metrics.grid(images)
    assert sheet.shape == (10, 12, 3)
    np.testing.assert_array_equal(sheet[5:, :6], np.round((images[2] + 1) * 127.5))


@pytest.mark.usefixtures("without_clu")
def test_without_clu_numbers_and_pictures_are_plain_files(tmp_path):
    writer = Writer(tmp_path, first_step=0)
    writer.scalars(10, {"loss": 0.5})
    writer.grid(10, np.zeros((1, 2, 2, 3), np.float32))
    writer.close()
    assert rows_of(tmp_path) == [{"step": 10, "loss": 0.5}]
    assert np.asarray(Image.open(tmp_path / "previews/00000010.png")).tolist() == [[[128] * 3] * 2] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "previews"]


@pytest.mark.usefixtures("without_clu")
def test_rows_of_a_killed_run_are_written_once(tmp_path):
    lines = ['{"step": 10, "x": 1}\n', '{"step": 20, "x": 2}\n', '{"step": 30, "x": 3}\n', '{"step": 40, "x']
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    writer = Writer(tmp_path, first_step=20)
    writer.scalars(30, {"x": 3.5})
    writer.close()
    assert rows_of(tmp_path) == [{"step": 10, "x": 1}, {"step": 20, "x": 2}, {"step": 30, "x": 3.5}]


@pytest.mark.slow
def test_with_clu_tensorboard_has_the_numbers_too(tmp_path):
    pytest.importorskip("clu")
    script = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from latentfp.runtime.metrics import Writer;"
        "w = Writer(Path(sys.argv[1]), first_step=0); w.scalars(3, {'loss': 0.25});"
        "w.grid(3, np.zeros((1, 2, 2, 3), np.float32)); w.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()
    assert b"preview" in events.read_bytes()


def test_importing_the_runtime_does_not_import_tensorflow():
    script = "import sys, latentfp.runtime.loop, latentfp.build; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
