"""Checking a case: from its record and the files alone, everything that the record says is computed again.

    python -m latentfp.report.check case.json [FILES]      the same as `latentfp report check`

Needs NumPy, no JAX, and neither the deployment nor its generator; `cryptography` for the signature. For every
file: the ratios give the score's chance, that the p-value, and these, with alpha, the verdict; the accused
user's code, which the record opens, gives the score and matched bits, and belongs to the commitment that the
audit log made when the user was added. What cannot be computed without the deployment is believed to whoever
signed: that the ratios are those of the file, that nobody else scored better, and when the commitment was
made.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latentfp.attribution.evidence import (
    chance,
    family_wise,
    holm,
    log10_ratios,
    log_likelihoods,
    miss_p_value,
    support,
)
from latentfp.deployment import merkle
from latentfp.runtime.files import read_json

FORMAT = 3
AGREEMENT = 1e-9  # relative, of floats that two machines compute
UNREADABLE = "unreadable"
Record = dict[str, Any]


class Check(NamedTuple):
    """What was found of a record: by whom it is signed, None where that was not checked, and every fault."""

    public_key: str | None
    files: int
    faults: list[str]


def check(path: Path, files: Sequence[Path] = (), *, public: str | None = None) -> Check:
    """Compute everything that a record says again, and compare it; `public`: of the key that should have
    signed it, 64 hexadecimal digits."""
    try:
        record = read(path)
        signer, faults = _signature(record, public)
        faults += _page(path, record) + _files(record, files)
        entries = record["files"]
        for number, entry in enumerate(entries, start=1):
            faults += [f"file {number}: {fault}" for fault in _entry(record, entry)]
        faults += _case(record)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OverflowError,
        RecursionError,
        AttributeError,
    ) as error:
        return Check(None, 0, [f"it is no record of a case ({type(error).__name__})"])
    return Check(signer, len(entries), faults)


def read(path: Path) -> Record:
    """A record, strict JSON of this format in which no name comes twice. ValueError if it is not so."""
    record = read_json(path)
    if record["case"]["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    return record


def _signature(record: Record, public: str | None) -> tuple[str | None, list[str]]:
    try:
        from latentfp.deployment import signature
    except ImportError:
        return None, ["the signature was not checked: install `cryptography`"]
    try:
        return signature.verify(record, public=public), []
    except signature.BadSignature as error:
        return None, [str(error)]


def _page(path: Path, record: Record) -> list[str]:
    page = path.parent / Path(record["page"]["name"]).name
    if not page.is_file():
        return [f"the page {page.name!a} is missing"]
    found = hashlib.sha256(page.read_bytes()).hexdigest()
    return (
        []
        if found == record["page"]["sha256"]
        else [f"the page {page.name!a} is not the one that was signed"]
    )


def _files(record: Record, files: Sequence[Path]) -> list[str]:
    """That the files which are given are those of the record, by their contents."""
    wanted = {it["sha256"]: it["file"] for it in record["files"] if it["sha256"] is not None}
    if not files:
        return [f"the {len(wanted)} files of the case were not given, so they were not compared"]
    found = {
        hashlib.sha256(Path(file).read_bytes()).hexdigest(): file for file in files if Path(file).is_file()
    }
    gone = [
        f"{wanted[sha256]!a} is missing or not the file that was attributed"
        for sha256 in wanted.keys() - found
    ]
    return gone + [
        f"{str(found[sha256])!a} is no file of this case" for sha256 in found.keys() - wanted.keys()
    ]


def _entry(record: Record, entry: Record) -> list[str]:
    """What is wrong with what is said of one file."""
    if entry["verdict"] == UNREADABLE:
        said = [name for name in ("user", "p_value", "evidence", "opening") if entry[name] is not None]
        return [f"it is unreadable and has {', '.join(said)}"] if said else []
    evidence = entry["evidence"]
    ratios = np.array(evidence["ratios"], np.int8)[None]
    if ratios.tolist()[0] != evidence["ratios"] or len(evidence["ratios"]) != entry["bits"]:
        return ["the ratios are not one whole number a bit"]
    return _ranking(record, entry, ratios) or _chances(record, entry, ratios) + _opening(record, entry)


def _ranking(record: Record, entry: Record, ratios: np.ndarray) -> list[str]:
    """What is wrong with the scores and with who has them."""
    evidence, ranked = entry["evidence"], entry["ranked"]
    scores, whole = evidence["scores"], int(np.abs(ratios.astype(int)).sum())
    best = ranked[0] if ranked else {"user": None, "matched_bits": 0}
    rules = {
        "a score that these ratios cannot have": all(
            type(score) is int and abs(score) <= whole and (whole - score) % 2 == 0
            for score in [*scores, evidence["bound"]]
        ),
        "the users are not ranked by their scores": scores == sorted(scores, reverse=True)
        and len(scores) == len(ranked)
        and evidence["bound"] >= max(scores, default=-whole),
        "other users or another factor than the case has": all(
            evidence[name] == record["judgement"][name] for name in ("users", "factor", "dependent")
        ),
        "another user is named than the one who is ranked first": entry["user"] in (None, best["user"]),
        "other matched bits than those of the user who is ranked first": entry["matched_bits"]
        == best["matched_bits"],
    }
    return [fault for fault, holds in rules.items() if not holds]


def _chances(record: Record, entry: Record, ratios: np.ndarray) -> list[str]:
    """What is wrong with the p-values, the likelihoods and the verdict."""
    evidence, p = entry["evidence"], _p_value(entry["evidence"], ratios)
    tempers = np.array([np.inf if evidence["temper"] is None else evidence["temper"]])
    miss = float(miss_p_value(ratios, np.array([evidence["bound"]]), tempers)[0])
    committed = record["case"]["request"]["committed"] or not entry["ranked"]
    chosen = entry["code_origin"] != "drawn" and not committed
    scores = np.array(evidence["scores"], int)
    likely = log_likelihoods(ratios.repeat(len(scores), axis=0), scores).tolist()
    faults = _differs("p_value", entry["p_value"], None if chosen else p)
    faults += _differs("miss_p_value", entry["miss_p_value"], miss)
    ratio = None if chosen else _log10_ratio(evidence, ratios, tempers)
    faults += _differs("log10_lr", entry["log10_lr"], ratio)
    if entry["support"] != (None if ratio is None else support(ratio)):
        faults.append("the words are not those of the likelihood ratio")
    for candidate, value in zip(entry["ranked"], likely, strict=True):
        faults += _differs("log_likelihood", candidate["log_likelihood"], value)
    verdict = _verdict(record, entry, p, miss, chosen)
    if (entry["verdict"], entry["user"] is not None) != (verdict, verdict == "user"):
        faults.append(f"the verdict is {verdict}, and the record says {str(entry['verdict'])[:20]!a}")
    return faults


def _p_value(evidence: Record, ratios: np.ndarray) -> float:
    if not evidence["scores"]:
        return 1.0
    alone = np.minimum(1, evidence["factor"] * chance(ratios, np.array(evidence["scores"][:1])))
    return float(family_wise(alone, users=evidence["users"], dependent=evidence["dependent"])[0])


def _log10_ratio(evidence: Record, ratios: np.ndarray, tempers: np.ndarray) -> float | None:
    if not evidence["scores"]:
        return None
    scores, among = np.array(evidence["scores"][:1]), {name: evidence[name] for name in ("users", "factor")}
    return float(log10_ratios(ratios, scores, tempers, **among)[0])


def _verdict(record: Record, entry: Record, p: float, miss: float, chosen: bool) -> str:
    """user, none or inconclusive, by the rule of attribution/verdict.py."""
    alpha, cleared = record["case"]["request"]["alpha"], record["judgement"]["cleared"]
    scores = entry["evidence"]["scores"]
    if entry["status"] != "ok":
        return "inconclusive"
    alien = entry["membership"] is not None and entry["membership"] <= cleared
    if p <= alpha:
        alone = len(scores) == 1 or scores[0] > scores[1]
        in_case = entry["case_p_value"] is None or entry["case_p_value"] <= alpha
        return "user" if alone and in_case and not chosen and not alien else "inconclusive"
    return "none" if miss < entry["evidence"]["clears_below"] else "inconclusive"


def _opening(record: Record, entry: Record) -> list[str]:
    """That the accused user's code gives this score, and is the one that was committed to."""
    opening, evidence = entry["opening"], entry["evidence"]
    if (opening is None) != (entry["user"] is None):
        return ["a code is opened of a user who is not accused, or none of one who is"]
    if opening is None:
        return []
    faults = []
    if opening["name"] != entry["user"] or opening["deployment"] != record["deployment"]["id"]:
        faults.append("the code that is opened is another user's, or of another deployment")
    code, salt = bytes.fromhex(opening["code"]), bytes.fromhex(opening["salt"])
    repeats, bits = record["deployment"]["code_book"]["repeats"], len(evidence["ratios"])
    message = np.unpackbits(np.frombuffer(code, np.uint8), count=bits * repeats)[::repeats].astype(int)
    ratios = np.array(evidence["ratios"])
    if int((ratios * (2 * message - 1)).sum()) != evidence["scores"][0]:
        faults.append("the user's code has another score")
    if int(((ratios > 0) == (message > 0)).sum()) != entry["matched_bits"]:
        faults.append("the user's code agrees in another number of bits")
    value = merkle.opened_code(opening["deployment"], opening["number"], opening["name"], code, salt)
    place, path = opening["number"] - opening["first"], [bytes.fromhex(it) for it in opening["path"]]
    if not merkle.proved(value, place, opening["count"], path, bytes.fromhex(opening["commitment"])):
        faults.append("the user's code is not the one that was committed to")
    return faults


def _case(record: Record) -> list[str]:
    """That alpha holds for the whole case where that was asked."""
    tested = [it for it in record["files"] if it["p_value"] is not None]
    asked = record["case"]["request"]["case"]
    expected = holm([it["p_value"] for it in tested]) if asked else [None] * len(tested)
    faults = [
        fault
        for entry, p in zip(tested, expected, strict=True)
        for fault in _differs("case_p_value", entry["case_p_value"], p)
    ]
    if record["judgement"]["users"] != record["deployment"]["users"]:
        faults.append("another number of users was considered than the deployment has")
    return faults


def _differs(name: str, stated: Any, computed: float | None) -> list[str]:
    if stated is None or computed is None:
        same = stated is computed
    else:
        same = type(stated) in (int, float) and abs(stated - computed) <= AGREEMENT * abs(computed)
    return [] if same else [f"{name} is {computed}, and the record says {str(stated)[:30]!a}"]


def main(arguments: Sequence[str]) -> int:
    """Check, tell, and return 0 where nothing is wrong, else 1."""
    record, *files = map(Path, arguments)
    found = check(record, files)
    for fault in found.faults:
        sys.stderr.write(f"FAILED: {fault}\n")
    if not found.faults:
        sys.stdout.write(
            f"{str(record)!a}: {found.files} findings computed again, all as stated; signed by "
            f"{found.public_key}\n"
        )
    return 1 if found.faults else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m latentfp.report.check case.json [FILES]")
    sys.exit(main(sys.argv[1:]))
