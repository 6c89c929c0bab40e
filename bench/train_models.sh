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

build() {  # NAME DEGRADATION...: all of them have the same photos in the same splits
    name=$1
    shift
    photomend build "$portraits" "$work/$name" --group-by folder --max-enlarge 1.5 --split 85/5/10 "$@"
}
train() {  # DATASET RUN PRESET STEPS
    photomend train "$work/$1" "$work/$2" --preset "$3" --steps "$4" --val-every 500 --val-images 68
}
judge() {  # MODEL DATASET
    photomend evaluate "$work/$1" "$work/$2" --identity --detected --csv "$work/$1-$2.csv" --sheet "$work/$1-$2.png" \
        --worst "$work/$1-$2-worst.png" --best "$work/$1-$2-best.png" | tee "$work/$1-$2.txt"
}

build mosaics --degrade mosaic:block=6..24,phase=random,space=random --degrade jpeg:quality=60..95,subsampling=random,p=0.5
build grays --degrade grayscale:standard=random --degrade fade:p=0.5 --degrade sepia:p=0.3 --degrade grain:p=0.5 \
    --degrade jpeg:quality=60..95,subsampling=random,p=0.5

train mosaics mosaic mend 10000
train grays colorize mend 5000
for model in mosaic colorize; do
    [ -e "$work/$model.onnx" ] || photomend export "$work/$model" "$work/$model.onnx" --float16 --license mit
done

# The article's recipe on the same photos; `compare` tells its best figures within the time that ours took.
train mosaics article-mosaic article 13000
train grays article-colorize article 7000
photomend compare "$work/mosaic" "$work/article-mosaic"
photomend compare "$work/colorize" "$work/article-colorize"

for block in 8 16 24; do
    build "mosaics-$block" --degrade "mosaic:block=$block,phase=random"
    judge mosaic.onnx "mosaics-$block"
    judge article-mosaic "mosaics-$block"
done
build grays-plain --degrade grayscale
for dataset in grays grays-plain; do
    judge colorize.onnx "$dataset"
    judge article-colorize "$dataset"
done
photomend evaluate "$work/mosaic.onnx" "$work/mosaics-16" --per folder
photomend evaluate "$work/colorize.onnx" "$work/grays-plain" --per folder
