#!/bin/sh
# The models that ship: datasets from the 1,670 portraits, training, export, figures. Hours on 2 cores; stopped, it goes on.
#
#     bench/train_models.sh PORTRAITS [WORK]
#
# PORTRAITS is the archive that data/README.md names. The same photos, versions and number of cores give the same models.
set -eu
portraits=$1
work=${2:-build/models}
mkdir -p "$work"

photomend build "$portraits" "$work/mosaics" --group-by folder --max-enlarge 1.5 --split 85/5/10 \
    --degrade mosaic:block=6..24,phase=random,space=random \
    --degrade jpeg:quality=60..95,subsampling=random,p=0.5
photomend train "$work/mosaics" "$work/mosaic" --preset mend --steps 20000 --val-every 500 --val-images 68
