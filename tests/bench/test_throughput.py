"""The bench: counts of known programs, loops, the machine's peak, the history, and a whole run."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_decoder import NETWORK

from configs.bench import throughput as config
from latentfp import rng
from latentfp.augment import suites
from latentfp.bench import costs, throughput
from latentfp.bench.costs import Cost
from latentfp.bench.stages import AlgebraicCode, Program, Sizes, Stage, objective_of, programs
from latentfp.bench.throughput import Loads, Peak, Seconds
from latentfp.deployment import decoder_training
from latentfp.generators import pretrained
from latentfp.report.benches import write_throughput
from latentfp.runtime import loop, mesh, provenance
from latentfp.runtime.fields import made
from latentfp.runtime.loop import Lazy, Objective
from latentfp.studies.context import open_context
from latentfp.training import gan
from latentfp.training.decoder import Learning
from latentfp.training.examples import Shares

M, K, N = 24, 48, 32
PRODUCT = 2.0 * M * M * M


def square():
    return jnp.full((M, M), 0.5)


def times_itself(length, **options):
    """A program that multiplies `length` times, in a loop."""

    def multiply(x):
        return jax.lax.scan(lambda y, _: (y @ x, None), x, None, length=length, **options)[0]

    return jax.jit(multiply)


class TestCosts:
    def test_a_product_takes_2mnk_operations_and_moves_its_matrices(self):
        built = costs.build(jax.jit(jnp.matmul), jnp.ones((M, K)), jnp.ones((K, N)))
        assert built.cost == Cost(2 * M * K * N, 4 * (M * K + K * N + M * N))
        assert built.memory >= 4 * (M * K + K * N + M * N)
        assert built.compile_seconds > 0
        assert (built.loops, built.devices) == ([], 1)
        np.testing.assert_array_equal(built.call(jnp.ones((M, K)), jnp.ones((K, N))), np.full((M, N), K))

    def test_xla_itself_counts_a_loop_once(self):
        """If this fails, XLA has learnt to count, and the bench counts twice."""
        compiled = times_itself(10).lower(square()).compile()
        assert costs.counted(compiled).flops == pytest.approx(PRODUCT, rel=0.01)

    @pytest.mark.parametrize("options", [{}, {"unroll": 4}, {"unroll": 10}, {"unroll": True}])
    def test_a_loop_counts_as_often_as_it_runs(self, options):
        built = costs.build(times_itself(10, **options), square())
        assert built.cost is not None
        assert built.cost.flops == pytest.approx(10 * PRODUCT, rel=0.01)
        assert built.loops == [10]

    def test_loops_within_loops_and_within_other_programs(self):
        def outer(x):
            inner = times_itself(3)
            return jax.lax.fori_loop(0, 5, lambda _, y: inner(y) @ y, x) @ x

        built = costs.build(jax.jit(outer), square())
        assert built.cost is not None
        assert built.cost.flops == pytest.approx((5 * (3 + 1) + 1) * PRODUCT, rel=0.01)

    def test_a_loop_without_a_known_end_makes_the_cost_unknown(self):
        endless = jax.jit(lambda x: jax.lax.while_loop(lambda y: y[0, 0] < 1e6, lambda y: y @ x, x))
        assert costs.build(endless, square()).cost is None

    def test_so_does_any_loop_on_several_devices(self):
        shared = mesh.map_shared(lambda x, y: y @ times_itself(2)(x), mesh.data_mesh(2))
        rows = mesh.shard_batch(mesh.data_mesh(2), np.ones((4, M), np.float32))
        x = mesh.replicate(mesh.data_mesh(2), square())
        built = costs.build(shared, x, (rows,))
        assert (built.cost, built.devices) == (None, 2)

    def test_costs_are_those_of_one_device(self):
        multiply = mesh.map_shared(lambda x, y: y @ x, mesh.data_mesh(2))
        rows = mesh.shard_batch(mesh.data_mesh(2), np.ones((4, M), np.float32))
        built = costs.build(multiply, mesh.replicate(mesh.data_mesh(2), square()), (rows,))
        assert built.cost is not None
        assert built.cost.flops == 2 * 2 * M * M

    def test_nothing_compiled_before_is_used(self, tmp_path):
        """Neither in memory nor from the persistent cache, which is as it was afterwards."""
        function = jax.jit(lambda x: jnp.sort(jnp.tanh(x @ x), axis=0) @ x)
        traced = []
        counting = jax.jit(lambda x: (traced.append(1), function(x))[1])
        settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
        usual = {name: jax.config.values[name] for name in settings}
        for name, value in zip(settings, (str(tmp_path), 0), strict=True):
            jax.config.update(name, value)
        costs.reset_cache()
        try:
            counting(square())
            before = sorted(tmp_path.iterdir())
            with costs.uncached():
                jax.jit(lambda x: jnp.cumsum(x @ x, axis=1))(square())
            costs.build(counting, square())
            assert sorted(tmp_path.iterdir()) == before != []
            assert len(traced) == 2
            jax.jit(lambda x: jnp.cumprod(x @ x, axis=1))(square())
            assert len(sorted(tmp_path.iterdir())) > len(before)
        finally:
            for name, value in usual.items():
                jax.config.update(name, value)
            costs.reset_cache()


class TestPeak:
    def test_formulas(self):
        """2 · 100³ operations in an eighth of a second; 2 MiB, read and written, in one."""
        found = throughput.peak_of(Loads(100, 1), Seconds([0.5, 0.25], [2.0]), Seconds([0.125], [1.0, 4.0]))
        assert found == Peak(1.6e7, 2.0**21, 3.0, 3.0)

    def test_the_machine_has_one(self):
        seconds = throughput.time_loads(Loads(64, 1), repeats=3, seed=0)
        assert [len(times) for times in seconds] == [3, 3]
        assert min(throughput.peak_of(Loads(64, 1), seconds)[:2]) > 0

    def test_the_copy_takes_no_fresh_memory(self, monkeypatch):
        places = []

        def watch(call, *, repeats):
            places.append({call().unsafe_buffer_pointer() for _ in range(repeats)})
            return [1.0] * repeats

        monkeypatch.setattr(throughput, "call_seconds", watch)
        throughput.time_loads(Loads(64, 1), repeats=5, seed=0)
        assert len(places[1]) == 1


class TestHistory:
    def test_the_last_of_its_kind(self):
        entries = [
            {"hardware": "a", "jax": "1", "sizes": {"x": [1]}, "n": 0},
            {"hardware": "a", "jax": "1", "sizes": {"x": [1]}, "n": 1},
            {"hardware": "b", "jax": "1", "sizes": {"x": [1]}, "n": 2},
            {"hardware": "a", "jax": "2", "sizes": {"x": [1]}, "n": 3},
            {"hardware": "a", "jax": "1", "sizes": {"x": [2]}, "n": 4},
            {"n": 5},
        ]
        found = throughput.latest(entries, {"hardware": "a", "jax": "1", "sizes": {"x": (1,)}})
        assert found is not None
        assert found["n"] == 1
        assert throughput.latest(entries, {"hardware": "c"}) is None


def move(by, state, key, batch, step):
    noise = jax.random.normal(rng.stream(key, "noise"), state.shape)
    return state + by * (noise + jnp.mean(batch) + step), {"moved": (jnp.sum(noise), jnp.float32(1))}


def wandering():
    """An objective that trains nothing: an update, and another one after every third step."""
    lazy = (Lazy(3, partial(move, 0.1)),)
    return Objective(lambda key: jax.random.normal(key, (3,)), partial(move, 1.0), lazy=lazy)


class TestStages:
    def test_programs_are_added_up(self):
        """One product for a batch, and two more with what the call before returned."""
        moving = Program("b", jax.jit(jnp.matmul, donate_argnums=0), (square(), square()), 2.0, lambda x: x)
        stage = Stage(8, [Program("a", jax.jit(jnp.matmul), (square(), square())), moving])
        row = throughput.measure_stage(stage, rounds=2)
        assert row["flops"] == 3 * PRODUCT
        assert row["per_second"] == 8 / row["seconds"] > 0
        assert [part["flops"] for part in row["programs"]] == [PRODUCT, PRODUCT]
        assert row["compile_seconds"] == sum(part["compile_seconds"] for part in row["programs"])
        best = Peak(10 * PRODUCT / row["seconds"], row["bytes"] / row["seconds"], 0.0, 0.0)
        assert throughput.shares(row, best) == {
            "product_share": pytest.approx(0.3),
            "copy_share": pytest.approx(1),
        }
        assert throughput.shares({**row, "whole_numbers": True}, best)["product_share"] is None
        assert throughput.shares({**row, "flops": None, "bytes": None}, best) == dict.fromkeys(
            ("product_share", "copy_share")
        )

    def test_seconds_count_as_often_as_a_program_is_called(self, monkeypatch):
        monkeypatch.setattr(throughput, "call_seconds", lambda call, *, repeats, **_: [call()] * repeats)
        assert throughput._rounds([(2, lambda: 3.0), (0.5, lambda: 4.0)], 3) == [8.0] * 3

    def test_a_whole_call_is_timed_instead(self):
        called = []
        stage = Stage(1, [Program("a", times_itself(2), (square(),))], whole=lambda: called.append(1))
        assert throughput.measure_stage(stage._replace(whole_numbers=True), rounds=1)["whole_numbers"]
        assert called

    def test_the_step_of_a_training_is_the_loops(self, tmp_path):
        """With the keys, the images and the numbers of steps that the loop would give."""
        objective = wandering()
        pixels = np.random.default_rng(0).integers(256, size=(8, 4, 4, 3)).astype(np.uint8)
        trained = loop.train(
            objective,
            lambda _: iter([pixels]),
            workdir=tmp_path,
            steps=1,
            seed=4,
            log_every=1,
            preview_every=9,
            checkpoint_every=9,
            keep=1,
            mesh=mesh.data_mesh(),
        )
        first, lazy = programs(objective, pixels, seed=4)
        assert (first.times, lazy.times) == (1, 1 / 3)
        state, _ = first.function(*first.arguments)
        state, _ = lazy.function(state, *lazy.arguments[1:])
        np.testing.assert_array_equal(state, trained)


LEARNING = Learning(
    rate=1e-3,
    warmup=2,
    steps=4,
    weight_decay=0.0,
    average_decay=0.9,
    iterations=1,
    content_weight=0.3,
    damage_weight=0.1,
)
DECODER = {
    "network": NETWORK,
    "shares": Shares(clean=0.3, mixed=0.3, fresh=0.0, ramp=2),
    "learning": LEARNING,
}
GAN = {"size": 16, "channels": (4, 4, 4), "latent_dim": 8, "r1_gamma": 0.5}


class TestTrainings:
    """Objectives of a context by name; nothing is compiled."""

    def test_the_decoders(self, deployment):
        objective = objective_of(open_context(deployment, seed=0), decoder_training.objective, DECODER)
        state = jax.eval_shape(objective.init, rng.root(0))
        assert state.weights["move"]["bias"].shape == (48 + 9,), "content, bits and damages"
        assert objective.lazy == ()

    def test_the_gans(self, deployment):
        objective = objective_of(open_context(deployment, seed=0), gan.objective, GAN)
        assert [lazy.every for lazy in objective.lazy] == [16, 4]
        state = jax.eval_shape(objective.init, rng.root(0))
        images, step = jnp.zeros((4, 16, 16, 3)), jnp.zeros((), int)
        after, _ = jax.eval_shape(objective.update, state, rng.root(1), images, step)
        assert jax.tree.structure(after) == jax.tree.structure(state)

    def test_the_denoisers_works_on_the_first_stage_of_the_deployments_generator(self, deployment):
        context = open_context(deployment, seed=0)
        facts = context.opened.manifest.generator._replace(name="avatars-ldm")
        manifest = context.opened.manifest._replace(generator=facts)
        other = context._replace(opened=context.opened._replace(manifest=manifest))
        study = made(config.get_config("avatars-ldm").to_dict()["study"], section="config.study")
        denoiser = study["training"]["denoiser training"]
        objective = objective_of(other, denoiser["objective"], denoiser["fields"])
        task = objective.update.args[0]  # type: ignore[attr-defined]
        shipped = pretrained.load("avatars-ldm").params["first_stage"]
        assert jax.tree.all(jax.tree.map(np.array_equal, task.first_stage, shipped))


NETWORK_16 = {"size": 16, "channels": [4, 4, 4], "latent_dim": 80, "mapping_layers": 1}


@pytest.fixture(scope="module")
def given(deployment, tmp_path_factory):
    return {
        "deployment": str(deployment),
        "sizes": Sizes(batch=8, refined=2, codes=3000, queries=4, top=2),
        "loads": Loads(side=64, mib=1),
        "rounds": 2,
        "networks": {"tiny": NETWORK_16},
        "suites": ("tiny",),
        "algebraic": AlgebraicCode(bits=32, message=11, readings=4, wrong=(3,)),
        "training": {"a training": {"objective": wandering, "fields": {}, "batch": 8}},
        "seed": 1,
        "history": str(tmp_path_factory.mktemp("bench") / "shared" / "history.jsonl"),
    }


@pytest.fixture(scope="module")
def measured(given, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("bench") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput, "LEAST", 0.01)
        patch.setitem(suites.SUITES, "tiny", suites.SUITES["nie2023"][:2])
        return workdir, throughput.run(**given, workdir=workdir)


OWN = ["sampling", "synthesis", "augmentation", "decoder", "refine", "paper's search", "search"]
UNTRAINED = ["synthesis, tiny", "decoder, tiny"]
WHOLE = ["tiny: none", "tiny: blur", "list decoding, 3 bits wrong"]
STAGES = [*OWN, *UNTRAINED, *WHOLE, "a training"]


@pytest.mark.slow
class TestRun:
    def test_every_stage_has_its_numbers(self, measured):
        workdir, result = measured
        assert json.loads((workdir / "throughput.json").read_text()) == result
        assert list(result["stages"]) == STAGES
        for name, row in result["stages"].items():
            assert row["per_second"] > 0, name
            assert (row["product_share"] is None) == (name == "search" or name in WHOLE), name
            if name in WHOLE:  # no programs of their own
                assert row["programs"] == [], name
                assert (row["compile_seconds"], row["memory_mib"], row["copy_share"]) == (None,) * 3, name
            else:
                assert min(row["compile_seconds"], row["memory_mib"], row["copy_share"]) > 0, name
        assert result["peak"]["flops"] > 0
        assert result["peak_memory_mib"] > 100
        assert result["hardware"] == provenance.hardware()

    def test_the_papers_search_is_all_of_its_updates(self, measured):
        """20 starts of 2000 steps: each renders once forward and once backward."""
        row = measured[1]["stages"]["paper's search"]
        assert (row["items"], [part["times"] for part in row["programs"]]) == (1, [2000])
        assert row["flops"] > 2000 * 20 * 2 * 768 * 2 * 48

    def test_known_costs(self, measured):
        """A linear generator multiplies 48 coordinates by 48 × 768 numbers, scales and adds an offset."""
        stages = measured[1]["stages"]
        assert stages["synthesis"]["flops"] == pytest.approx(8 * 768 * (2 * 48 + 2), rel=0.01)
        assert stages["synthesis"]["programs"][0]["memory_mib"] > 4 * 768 * 48 / 2**20
        assert [part["times"] for part in stages["refine"]["programs"]] == [1.0, 12]
        assert [part["times"] for part in stages["search"]["programs"]] == [1.0, 1.0]
        assert [part["times"] for part in stages["a training"]["programs"]] == [1.0, 1 / 3]
        assert stages["a training"]["devices"] == 8

    def test_the_next_run_is_compared(self, measured, given, monkeypatch, tmp_path):
        first = measured[1]
        assert first["previous"] is None
        one = Stage(8, [Program("one", jax.jit(jnp.matmul), (square(), square()))])
        for name in ("untrained", "attacks", "list_decoding"):
            monkeypatch.setattr(throughput, name, lambda *_, **__: {})
        monkeypatch.setattr(throughput, "stages", lambda *_: {"search": lambda: one})
        again = throughput.run(**given, workdir=tmp_path)
        assert again["previous"]["per_second"]["search"] == first["stages"]["search"]["per_second"]
        assert again["previous"]["date"] == first["date"]
        lines = Path(given["history"]).read_text().splitlines()
        assert [list(json.loads(line)["per_second"]) for line in lines] == [
            STAGES,
            ["search", "a training"],
        ]
        other = throughput.run(
            **given | {"sizes": given["sizes"]._replace(top=1), "history": None}, workdir=tmp_path
        )
        assert other["previous"] is None
        assert (tmp_path / "history.jsonl").exists()


def row(**changed):
    known = {"per_second": 100.0, "flops": 8e9, "bytes": 4e6, "product_share": 0.125, "copy_share": 0.5}
    built = {"spread": 0.25, "compile_seconds": 1.0, "memory_mib": 3.0, "device_peak_mib": None}
    return {"items": 8, "unit": "images", "devices": 1, "whole_numbers": False, **known, **built, **changed}


def test_the_page(tmp_path):
    unknown = dict.fromkeys(
        ("flops", "bytes", "product_share", "copy_share", "compile_seconds", "memory_mib"), None
    )
    result = {
        **{"generator": "avatars", "hardware": "2 cores", "code": ["0.2.0+1"], "jax": "1", "date": "now"},
        **{"loads": {"side": 64, "mib": 1}, "rounds": 2, "peak_memory_mib": 7.0, "previous": None},
        "peak": Peak(1e10, 2e10, 0.5, 0.1)._asdict(),
        "stages": {"synthesis": row(), "tiny: blur": row(**unknown, items=1, unit="file", per_second=7.0)},
    }
    text = write_throughput(tmp_path, result).read_text()
    assert "| synthesis | 8 images | 100 | 25% | 1 | 0.5 | 12.5% | 50% | 1.0 | 3 |" in text
    assert "| tiny: blur | 1 file | 7 | 25% | – | – | – | – | – | – |" in text
    assert "10 GFLOP/s" in text
    assert "| stage | measured, a second | at best here | reached | H100 | H200 | TPU v5e |" in text
    assert "Measured by latentfp 0.2.0+1 on 2 cores, with" in text
    assert "holds no earlier run" in text
    before = {
        "date": "then",
        "code": ["0.0.9+abc"],
        "per_second": {"synthesis": 200.0},
        "peak": {"flops": 1e10 / 4},
    }
    text = write_throughput(tmp_path, {**result, "previous": before}).read_text()
    assert "over that of latentfp 0.0.9+abc on then" in text
    assert "| 1.0 | 3 | 0.50 | 0.12 |" in text
    assert "| – | – | – | – |" in text


@pytest.mark.parametrize("generator", ["avatars", "avatars-ldm"])
def test_trainings_are_those_of_their_configurations(generator):
    trained = config.get_config(generator).to_dict()["study"]["training"]
    assert [entry["batch"] for entry in trained.values()] == [{"avatars": 32}.get(generator, 64), 64]
    assert all("deployment" not in entry["fields"] for entry in trained.values())
