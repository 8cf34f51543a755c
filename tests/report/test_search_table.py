"""The table of the bench of the search."""

from latentfp.report.benches import write_search

RESULT = {
    "size": {"bits": 64, "queries": 256, "top": 5, "repeats": 2, "checked": 4},
    "hardware": "2 x86_64 CPU cores, no accelerator",
    "code": ["0.2.0+1"],
    "faiss": "2 threads, OPTIMIZE DD",
    "versions": {"jax": "0.1", "faiss-cpu": "1.2"},
    "memory": {"n": 10**8, "codes_mib": 762.9, "nearest_beyond_mib": 91.2, "best_beyond_mib": 101.4},
    "sizes": {
        "10000": {
            "first_call_seconds": {"nearest": 0.5, "best": 0.75},
            "best_seconds": {"nearest": 0.00125, "best": 0.0025, "faiss heap": 0.01, "faiss counting": 0.005},
            "faiss / nearest": 4.0,
            "faiss / best": 2.0,
        }
    },
}


def test_every_number_is_in_the_table(tmp_path):
    lines = write_search(tmp_path, RESULT).read_text().splitlines()
    assert "| 10 000 | 0.00125 | 0.0025 | 0.01 | 0.005 | 4.0 | 2.0 |" in lines
    text = "\n".join(lines)
    assert "256 queries among random codes of 64 bits, the best 5 of each" in text
    assert "beyond 763 MiB of 1e+08 codes: 91 MiB for nearest and 101 MiB for both" in text
    assert "Compiling beforehand, the slowest call took 0.8 s" in text
    assert "jax 0.1, faiss-cpu 1.2" in text
