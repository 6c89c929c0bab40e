"""What the search for near-duplicates costs: cpu and memory for N photos, as a Markdown table.

python -m bench.near_hashes [N ...]

The hashes are drawn at random, as those of photos that have nothing to do with one another; the search does the same for them
as for real ones, and finds nothing.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from bench.tables import Row, machine, table
from dataset_tools import near, prints


def searched(number: int) -> tuple[float, float, int]:
    """(cpu s, MB of the process's peak so far, near pairs) of a search among `number` hashes."""
    held, rng = near.Prints(), np.random.default_rng(0)
    digits = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
    for _ in range(number):
        steps = rng.integers(8, 24, prints.LENGTH)  # sizes as photos have them; the sign is the digit's highest bit
        held.add(str(digits[steps | rng.integers(2, size=prints.LENGTH) << 5].tobytes(), "ascii"))
    start = time.process_time()
    found = sum(len(one) for one, _ in near.neighbours(held)) + sum(len(one) for one, _ in near.pairs(held))
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, found


def main() -> None:
    print(machine())
    rows: list[Row] = []
    for number in map(int, sys.argv[1:] or ("50000", "100000", "200000", "400000")):
        seconds, peak, found = searched(number)
        rows.append((f"{number:,}", seconds, 1e6 * seconds / number, peak, found))
    table("Near-duplicates among N hashes", ("N", "cpu, s", "µs a hash", "peak of the process so far, MB", "found"), rows)


if __name__ == "__main__":
    main()
