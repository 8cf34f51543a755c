"""Attribution of very many files: by several processes, in parts that are kept.

Part i holds the findings of files i · PART … (i + 1) · PART - 1 of a list, as `part-00000i.parquet`. A
process makes the parts whose number is its own modulo the number of processes, skips those that are there,
and a part appears whole or not at all. So a job may be killed at any time and go on with another number of
processes, and the parts are the same: each follows from its files, the deployment and the request alone.

Every part is one entry of the audit log, with the hash of its file, made before the part is there; a process
that is killed in between makes the part, and the entry, again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from latentfp.data.files import file_hash
from latentfp.data.listing import Listing
from latentfp.deployment.attribute import (
    Finding,
    Request,
    attribute_all,
    deployment_facts,
    prepare,
    request_facts,
)
from latentfp.deployment.deployment import Opening, load_generator, open_deployment
from latentfp.runtime.files import claim, printable, replacing
from latentfp.runtime.processes import Share
from latentfp.runtime.progress import track

PART = 1000  # files
SETTING = "bulk.json"
COLUMNS = {  # Arrow's types of a finding's fields
    **dict.fromkeys(("file", "sha256", "verdict", "user"), "string"),
    **dict.fromkeys(("matched_bits", "bits"), "int64"),
    **dict.fromkeys(("p_value", "log10_lr", "miss_p_value", "residual", "membership"), "float64"),
    **dict.fromkeys(("support", "status", "stage"), "string"),
    **dict.fromkeys(("passes", "iterations"), "int64"),
    "code_origin": "string",
}


class Done(NamedTuple):
    """What a process did: parts that it made, of all parts, and which of all are there now."""

    made: int
    parts: int
    complete: int


def bulk(
    folder: Opening,
    files: Listing,
    out: Path,
    request: Request,
    share: Share,
    *,
    part: int = PART,
) -> Done:
    """Make this process's missing parts in `out`.

    ValueError where `out` holds parts of other files, of another request, or of a deployment that has changed
    since, for instance by a new user; and as `prepare`.
    """
    opened = open_deployment(folder)
    setting = {  # what the parts depend on; of the list, its hash
        "deployment": deployment_facts(opened, request),
        "request": request_facts(request),
        "files": len(files),
        "names": files.sha256(),
        "part": part,
    }
    path = out / SETTING
    if not claim(path, json.dumps(setting, indent=1, sort_keys=True) + "\n"):
        raise ValueError(f"{out} holds the parts of another job, see {path}: choose another folder")
    parts = -(-len(files) // part)
    missing = [number for number in share.of(range(parts)) if not _path(out, number).exists()]
    prepared = prepare(opened, load_generator(opened), request)
    for number in track(missing, f"parts of process {share.index}"):
        with replacing(_path(out, number)) as fresh:
            some = files[number * part : (number + 1) * part]
            write(fresh, attribute_all(prepared, some))
            found = {"part": number, "sha256": file_hash(fresh)}
            opened.registry.note("attribute", found)
    return Done(len(missing), parts, sum(_path(out, number).exists() for number in range(parts)))


def _path(out: Path, number: int) -> Path:
    return out / f"part-{number:06d}.parquet"


def write(path: Path, findings: Iterator[Finding]) -> None:
    """One part as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([pa.field(name, kind) for name, kind in COLUMNS.items()])
    named = (finding._replace(file=printable(finding.file)) for finding in findings)
    rows = [{name: getattr(finding, name) for name in COLUMNS} for finding in named]
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
