"""Tables, and what a page says of its own making."""

import pytest

from latentfp.report.markdown import table, write_page


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
def test_a_page_tells_what_made_it(monkeypatch, tmp_path, program, given, shown):
    monkeypatch.setattr("sys.argv", [program, *given])
    result = {"hardware": "2 x86_64 cores", "code": ["0.1.0+a", "0.2.0+b"]}
    page = write_page(tmp_path / "new" / "page.md", result, "# Title", "Text")
    made = "Measured by latentfp 0.1.0+a, 0.2.0+b on 2 x86\\_64 cores, with"
    assert page.read_text() == f"# Title\n\nText\n\n{made}\n\n    {shown}\n"


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
