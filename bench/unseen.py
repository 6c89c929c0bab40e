"""Copies the photos of a dataset's test split, below their names, into a folder of their own.

python -m bench.unseen ARCHIVE DATASET FOLDER
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from dataset_tools import files
from dataset_tools.archive import decode_name
from dataset_tools.dataset import open_dataset


def main() -> None:
    archive, dataset, folder = map(Path, sys.argv[1:4])
    part = folder.with_name(files.TEMPORARY + folder.name)
    shutil.rmtree(part, ignore_errors=True)
    names = {os.fsdecode(decode_name(row.source)) for row in open_dataset(dataset).pairs("test")}
    for name in names:
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(archive / name, part / name)
    part.rename(folder)
    print(f"{folder}: {len(names)} photos")


if __name__ == "__main__":
    main()
