"""Tables of users as CSV or Parquet files, to bring users in and to take them out.

Columns: name; note and code where there are any (a code in hexadecimal, packed as fingerprint/codes.py says);
id, created, status and origin are written and, coming back, given anew. A CSV is UTF-8, or UTF-16 with its
byte-order mark; a cell that a spreadsheet would run as a formula has a ' before it, which comes off again.
"""

import codecs
import os
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from latentfp.deployment.registry import Registry, User
from latentfp.fingerprint.codes import Packed, pack
from latentfp.runtime.files import printable, replacing

BATCH = 10_000  # users in memory at once while writing
RUN = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "'",
)  # what a spreadsheet runs when a cell begins with it, and the quote
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Table(NamedTuple):
    """Users to be added, in order; `codes`: packed [n bytes], None where the file has none."""

    names: list[str]
    notes: list[str]
    codes: Packed | None


def read_table(path: Path) -> Table:
    """The users in a file. ValueError for what is no table with a column `name`, or has codes of no sense."""
    import pyarrow

    try:
        columns = _read(path)
    except (pyarrow.ArrowInvalid, UnicodeError) as error:
        said = printable(" ".join(str(error).split()))[:300]
        raise ValueError(f"{path} is no table of users in UTF-8 or UTF-16: {said}") from error
    names = columns["name"]
    if not all(names):
        at = next(row for row, name in enumerate(names, start=1) if not name)
        raise ValueError(f"{path} has no name in row {at}, expected one in each")
    notes = [note or "" for note in columns.get("note", [""] * len(names))]
    return Table(names, notes, _to_codes(path, columns["code"]) if "code" in columns else None)


def save_table(registry: Registry, path: Path, *, columns: tuple[str, ...]) -> int:
    """Write `columns` (id, name, code, created, status, note) of all users; returns how many.

    The file appears whole or not at all. ValueError where it exists or is neither .csv nor .parquet.
    """
    is_parquet = _is_parquet(path)
    if path.exists():
        raise ValueError(f"{path} exists and nothing is overwritten: choose another name")
    with (
        replacing(path) as partial,
        os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        count = _write(registry, file, columns, is_parquet)
        file.flush()
        os.fsync(file.fileno())
    return count


def _write(registry: Registry, file: BinaryIO, columns: tuple[str, ...], is_parquet: bool) -> int:
    import pyarrow as pa
    from pyarrow import csv, parquet

    schema = pa.schema([(name, pa.int64() if name == "id" else pa.string()) for name in columns])
    users, count = registry.stream(), 0
    with (parquet.ParquetWriter if is_parquet else csv.CSVWriter)(file, schema) as writer:
        while some := list(islice(users, BATCH)):
            rows = [{name: _cell(user, name, is_csv=not is_parquet) for name in columns} for user in some]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            count += len(some)
    return count


def _cell(user: User, column: str, *, is_csv: bool) -> Any:
    value = _value(user, column)
    return f"'{value}" if is_csv and isinstance(value, str) and value.startswith(RUN) else value


def _value(user: User, column: str) -> Any:
    return pack(user.code[None]).tobytes().hex() if column == "code" else getattr(user, column)


def _read(path: Path) -> dict[str, list[Any]]:
    """The columns that are known, as text. ArrowInvalid where it is not such a table."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if _is_parquet(path):
        table = parquet.read_table(path)
    else:
        with open(path, "rb") as file:
            encoding = "utf-16" if file.read(2) in UTF_16 else "utf8"
        texts = dict.fromkeys(("name", "note", "code", "created", "status"), pa.string())
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(encoding=encoding),
            convert_options=csv.ConvertOptions(column_types=texts, strings_can_be_null=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
        )
    wanted = [name for name in ("name", "note", "code") if name in table.column_names]
    if "name" not in wanted:
        raise pa.ArrowInvalid(f"it has the columns {table.column_names}, expected name (and note, code)")
    if twice := [name for name in wanted if table.column_names.count(name) > 1]:
        raise pa.ArrowInvalid(f"it has two columns {twice[0]}")
    if any(table.schema.field(name).type not in (pa.string(), pa.large_string()) for name in wanted):
        raise pa.ArrowInvalid(f"the columns {wanted} are not all text")
    found = table.select(wanted).to_pydict()
    return (
        found if _is_parquet(path) else {name: list(map(_unquoted, texts)) for name, texts in found.items()}
    )


def _unquoted(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:].startswith(RUN) else text


def _is_parquet(path: Path) -> bool:
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path} is neither .csv nor .parquet: choose one of them")
    return path.suffix == ".parquet"


def _to_codes(path: Path, texts: list[Any]) -> Packed:
    try:
        whole = [bytes.fromhex(text) for text in texts]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} has codes that are not hexadecimal, expected one in each row") from error
    if len({*map(len, whole)}) > 1:
        raise ValueError(f"{path} has codes of different lengths, expected those of one deployment")
    return np.frombuffer(b"".join(whole), dtype=np.uint8).reshape(len(whole), -1)
