"""Users come in and go out as CSV or Parquet, whole or not at all."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from latentfp.deployment import tables
from latentfp.deployment.deployment import create, open_registry
from latentfp.deployment.usernames import check_usernames

COLUMNS = ("id", "name", "code", "created", "status", "note", "origin")


@pytest.fixture
def registry(folder):
    registry = open_registry(folder)
    registry.add(["007", "Ünal, Ö", 'the "one"', "null"], note="two\nlines, and a comma")
    return registry


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_out_and_in_again(registry, tmp_path, settings, suffix):
    path = tmp_path / f"users.{suffix}"
    assert tables.save_table(registry, path, columns=COLUMNS) == 6
    assert path.stat().st_mode & 0o777 == 0o600
    read = tables.read_table(path)
    assert read.names == [user.name for user in registry.users()]
    assert read.notes == [user.note for user in registry.users()]
    assert read.codes is not None
    np.testing.assert_array_equal(read.codes, registry.packed())
    other = create(tmp_path / "other", **settings).registry
    other.add(read.names, note=read.notes, codes=read.codes)
    np.testing.assert_array_equal(other.packed(), registry.packed())
    assert [user.note for user in other.users()] == read.notes


def test_without_codes(registry, tmp_path):
    path = tmp_path / "users.csv"
    tables.save_table(registry, path, columns=("name",))
    assert tables.read_table(path) == (
        ["alice", "bob", "007", "Ünal, Ö", 'the "one"', "null"],
        [""] * 6,
        None,
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_cell_is_a_formula(registry, tmp_path, suffix):
    names = ["=1+1", "+1", "@SUM(A1)", "'quoted", "'=twice", "O'Brien"]
    registry.add(names, note="=HYPERLINK(1)")
    path = tmp_path / f"users.{suffix}"
    tables.save_table(registry, path, columns=COLUMNS)
    if suffix == "csv":
        cells = [cell for line in path.read_text().splitlines() for cell in line.split(",")]
        assert not any(cell.strip('"').startswith(("=", "+", "@", "-")) for cell in cells)
    read = tables.read_table(path)
    assert read.names[-6:] == names
    assert read.notes[-6:] == ["=HYPERLINK(1)"] * 6


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spreadsheets_write_byte_order_marks(tmp_path, encoding):
    path = tmp_path / "users.csv"
    path.write_bytes("name,note\r\nÜnal,用户\r\n".encode(encoding))
    assert tables.read_table(path) == (["Ünal"], ["用户"], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who\nann\n", "it has the columns .*, expected name"),
        ('name\nann\n""\n', "has no name in row 2"),
        ("name,code\nann,xy\n", "codes that are not hexadecimal"),
        ("name,code\nann,00ff\nbob,00\n", "codes of different lengths"),
        ("name,note\nann\n", "is no table of users .*: .*Expected 2 columns"),
        ("", "is no table of users"),
        ("name\nÜnal\n".encode("latin-1"), "in UTF-8 or UTF-16: .*invalid UTF8"),
        ("name\tnote\nann\t\n".encode("utf-16"), "expected name"),
        (b"\xff\xfen", "is no table of users"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    path = tmp_path / "users.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        tables.read_table(path)
    assert "\n" not in str(caught.value)


def test_numbers_are_no_names(tmp_path):
    parquet.write_table(pa.table({"name": [1, 2]}), tmp_path / "users.parquet")
    with pytest.raises(ValueError, match="are not all text"):
        tables.read_table(tmp_path / "users.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ValueError, match="is no table of users"):
        tables.read_table(tmp_path / "no.parquet")


def test_nothing_is_overwritten_or_left_half_written(registry, tmp_path, monkeypatch):
    path = tmp_path / "users.csv"
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists and nothing is overwritten"):
        tables.save_table(registry, path, columns=COLUMNS)
    assert path.read_text() == "mine"
    for out in (tmp_path / "users.txt", tmp_path / "users"):
        with pytest.raises(ValueError, match=r"is neither \.csv nor \.parquet"):
            tables.save_table(registry, out, columns=COLUMNS)
    before = sorted(tmp_path.iterdir())

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(tables, "_cell", broken)
    with pytest.raises(OSError, match="disk full"):
        tables.save_table(registry, tmp_path / "new.csv", columns=COLUMNS)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 16), np.uint8), r"shape \(2, 16\), expected \(2, 8\): 16 bits a user"),
        (np.zeros((1, 8), np.uint8), r"shape \(1, 8\), expected \(2, 8\)"),
        (np.array([[1, 0] + 6 * [0], [1, 0] + 6 * [0]], np.uint8), "one code twice"),
        (np.array([[1, 0] + 6 * [0], [2, 0, 1] + 5 * [0]], np.uint8), "ones beyond their 16 bits"),
    ],
)
def test_imported_codes_are_checked(registry, codes, message):
    with pytest.raises(ValueError, match=message):
        registry.add(["x", "y"], codes=codes)
    assert registry.count() == 6


def test_an_imported_code_that_is_registered_is_refused(registry):
    with pytest.raises(ValueError, match="a code is registered already"):
        registry.add(["x"], codes=registry.packed()[2:3])
    registry.verify()
    assert registry.count() == 6


def test_many_refused_names_are_not_all_repeated():
    wanted = [f"user {i}" for i in range(1000)]
    with pytest.raises(ValueError, match=r"'user 4'\] and 995 more are registered already") as caught:
        check_usernames(2 * wanted)
    assert len(str(caught.value)) < 200
