#!/bin/sh
# The models that ship: datasets from the 1,670 portraits, training, export, figures. Hours on 2 cores; stopped, it goes on.
#
#     bench/train_models.sh PORTRAITS [WORK]       then: python -m bench.models WORK
#
# PORTRAITS is the archive of data/models/mosaic.md. From the root of the repository, in its environment. Training is exact on the
# same cores and versions: there the same weights come out. Where the models are to be made anew, put them into data/models.
set -eu
portraits=$1
work=${2:-build/models}
mkdir -p "$work"

build() {  # NAME OPTION...
    name=$1
    shift
    photomend build "$portraits" "$work/$name" --group-by folder --max-enlarge 1.5 --split 85/5/10 "$@"
}
train() {  # DATASET RUN PRESET STEPS EVERY
    photomend train "$work/$1" "$work/$2" --preset "$3" --steps "$4" --val-every "$5" --val-images 84
}
judge() {  # MODEL DATASET OPTION...
    model=$1
    dataset=$2
    shift 2
    name=$(basename "$model" .onnx)-$dataset
    photomend evaluate "$work/$model" "$work/$dataset" --json --per '^[^/]+' --csv "$work/$name.csv" --sheet "$work/$name.png" \
        --worst "$work/$name-worst.png" --best "$work/$name-best.png" "$@" > "$work/$name.part"
    mv "$work/$name.part" "$work/$name.txt"
}

# Faces for the mosaics; for the colours whole portraits, since that is what is colorized.
build mosaics --degrade mosaic:block=6..24,phase=random,space=random --degrade jpeg:quality=60..95,subsampling=random,p=0.5
build grays --crop center --degrade grayscale:standard=random --degrade fade:p=0.4 --degrade sepia:p=0.25 --degrade grain:p=0.3 \
    --degrade jpeg:quality=60..95,subsampling=random,p=0.4

train mosaics mosaic mend 22000 500
train grays colorize mend 500 250
for model in mosaic colorize; do
    [ -e "$work/$model.onnx" ] || photomend export "$work/$model" "$work/$model.onnx" --float16 --license mit
done

# The article's recipe on the same photos; docs/models.md says for how long.
train mosaics article-mosaic article 6000 500
train grays article-colorize article 1000 250
photomend compare "$work/mosaic" "$work/article-mosaic"
photomend compare "$work/colorize" "$work/article-colorize"

for block in 8 16 24; do
    build "mosaics-$block" --degrade "mosaic:block=$block,phase=random"
done
build grays-plain --crop center --degrade grayscale
# Faces are kept in other photos, and so split otherwise, than whole portraits are: those that colorize has not seen.
[ -e "$work/unseen" ] || python -m bench.unseen "$portraits" "$work/grays" "$work/unseen"
photomend build "$work/unseen" "$work/grays-faces" --group-by folder --max-enlarge 1.5 --split 0/0/100 --degrade grayscale
for dataset in mosaics-8 mosaics-16 mosaics-24 mosaics; do
    judge mosaic.onnx "$dataset" --identity --detected
    judge article-mosaic "$dataset" --identity --detected
done
for dataset in grays-faces grays-plain grays; do
    judge colorize.onnx "$dataset"
    judge article-colorize "$dataset"
done
