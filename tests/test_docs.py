"""What the documentation shows can be run: the examples of the public functions, and the notebook."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from linear_space import add_drawn
from nbclient import NotebookClient

import latentfp
from latentfp.deployment.deployment import open_registry
from latentfp.generators import pretrained

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the generator and the deployment that the examples open."""
    folder = tmp_path_factory.mktemp("examples")
    fields = {"latent_dim": 24, "size": 8}
    _, params = latentfp.linear_generator(**fields)
    pretrained.save(folder / "linear", kind="linear", fields=fields, params=params, noise_seed=None)
    options = {"sigma": 0.5, "shift": 8, "bits": 16, "samples": 100}
    latentfp.fit(folder / "deployment", generator=folder / "linear", **options)
    add_drawn(open_registry(folder / "deployment"), ["alice", "bob"], seed=0)
    return folder


@pytest.mark.parametrize("name", latentfp.__all__)
def test_examples_run(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "here"))
    examples = doctest.DocTestFinder().find(getattr(latentfp, name), name, globs={"lf": latentfp})
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for example in examples:
        runner.run(example, out=said.append)
    assert "".join(said) == ""
    assert runner.summarize(verbose=False).attempted > 0, "an example was promised"


def test_importing_the_library_imports_nothing_heavy():
    code = "import sys, latentfp; print({'jax', 'numpy', 'PIL', 'pyarrow'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(AttributeError, match="'latentfp' has no attribute 'attribute'"):
        latentfp.attribute  # noqa: B018
    assert set(latentfp.__all__) <= set(dir(latentfp))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Jupyter
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_show_what_they_did(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code), "outputs are committed"
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()


def test_fitting_and_attributing_need_no_training_packages():
    """What launch/demo.sh installs is enough."""
    code = """
import sys
for name in ("tensorflow_datasets", "clu"):
    sys.modules[name] = None  # from here on, importing it fails
import latentfp.api, latentfp.cli.investigator, latentfp.cli.provider
import latentfp.deployment.fitting, latentfp.studies.demo
"""
    subprocess.run([sys.executable, "-c", code], check=True)
