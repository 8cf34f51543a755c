"""Tables, and what a page says of its own making."""

import pytest

from latentfp.report.markdown import made_with, table, write_page


@pytest.mark.parametrize(
    ("program", "given", "shown"),
    [
        (
            "/bin/latentfp",
            ["bench", "search", "--workdir", "/me"],
            "latentfp bench search --workdir DIR",
        ),
        ("/bin/latentfp", ["study", "capacity", "--config.n=5"], "latentfp study capacity --config.n=5"),
        (
            "/src/latentfp/main.py",
            ["--config=a.py", "--workdir=/w", "--config.study.bits=(64,)"],
            "python -m latentfp.main --config=a.py --workdir=DIR '--config.study.bits=(64,)'",
        ),
    ],
)
def test_a_page_tells_its_command(monkeypatch, tmp_path, program, given, shown):
    monkeypatch.setattr("sys.argv", [program, *given])
    assert made_with() == f"Made with\n\n    {shown}"
    page = write_page(tmp_path / "new" / "page.md", "# Title", "Text")
    assert page.read_text() == f"# Title\n\nText\n\nMade with\n\n    {shown}\n"


def test_a_table_of_formats_and_functions():
    rows = [
        {"name": "a|b", "part": {"share": 0.5}, "range": [1, 2], "none": None, "some": None},
        {"name": "c", "part": {"share": 0.125}, "range": [3, 4], "none": None, "some": 1.0},
    ]
    columns = {
        "name": "{name}",
        "share": "{part[share]:.1%}",
        "range": "{range[0]} … {range[1]}",
        "none": "{none:.2f}",
        "some": "{some:.2f}",
        "twice": lambda row: str(2 * row["part"]["share"]),
    }
    assert table(rows, columns).splitlines() == [
        "| name | share | range | some | twice |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a\\|b | 50.0% | 1 … 2 | – | 1.0 |",
        "| c | 12.5% | 3 … 4 | 1.00 | 0.25 |",
    ]
