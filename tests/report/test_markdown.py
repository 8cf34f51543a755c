"""What a page says of its own making."""

from latentfp.report.markdown import made_with


def test_the_command_has_the_changes_of_this_run(monkeypatch):
    given = ["main.py", "--config=a.py", "--workdir=w", "--config.study.bits=(64,)", "--config.n=5"]
    monkeypatch.setattr("sys.argv", given)
    assert made_with("python  -m\nrun").endswith("    python -m run '--config.study.bits=(64,)' --config.n=5")
    monkeypatch.setattr("sys.argv", ["pytest", "-q"])
    assert made_with("run").endswith("    run")
