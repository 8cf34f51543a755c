"""Search over random codes: seconds beside those of faiss on the same codes, and memory beyond the codes.

Run: python -m latentfp.main --config=configs/bench/search.py --workdir=runs/search
Needs faiss-cpu (the extra `test`) and 3 GB of memory.
"""

from ml_collections import ConfigDict

from configs import base
from latentfp.bench import search
from latentfp.report.benches import write_search


def get_config() -> ConfigDict:
    """10^4 to 10^8 codes of 64 bits, 256 queries, the best 5 of each."""
    config = base.bench_config(search.run, write_search)
    config.study = ConfigDict(
        {
            "sizes": (10**4, 10**5, 10**6, 10**7, 10**8),
            "bits": 64,
            "queries": 256,
            "top": 5,
            "repeats": 2,
            "checked": 4,
        }
    )
    return config
