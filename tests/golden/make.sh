#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/golden/make.sh VQ NAME.. -- writes the golden indexes NAME (v1-strings, v1-numbers, v2-copies)
# and their answers anew, by the program VQ.  Only for a format that no release has written yet:
# after that they stay as they are.
set -eu
vq=$1
shift
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 - "$dir" <<'PY'
import random, struct, sys
random.seed(7)
n, d = 96, 6
with open(sys.argv[1] + "/rows.fvecs", "wb") as f:
    for i in range(n):
        row = [4 * (i % 8 >> j % 3 & 1) - 2 + random.gauss(0, .5) for j in range(d)]
        f.write(struct.pack("<i%df" % d, d, *[round(x * 64) / 64 for x in row]))
with open(sys.argv[1] + "/ids", "w") as f:
    for i in range(n):
        f.write("caf\u00e9 %02d\n" % (i * 37 % n))
with open(sys.argv[1] + "/queries.fvecs", "wb") as f:
    for i in range(4):
        row = [random.gauss(0, 2) for j in range(d)]
        f.write(struct.pack("<i%df" % d, d, *[round(x * 64) / 64 for x in row]))
PY
"$vq" build "$dir/rows.fvecs" -o "$dir/v1-strings.vq" --ids "$dir/ids" --codec pq4 --bytes 6 \
    --nlist 2 --metric l2 --quiet
"$vq" build "$dir/rows.fvecs" -o "$dir/v1-numbers.vq" --codec sq8 --nlist 1 --metric cosine \
    --store i8 --quiet
"$vq" build "$dir/rows.fvecs" -o "$dir/v2-copies.vq" --ids "$dir/ids" --codec pq4 --bytes 6 \
    --nlist 9 --metric l2 --copies yes --quiet
for name; do
    effort=
    [ "$name" != v2-copies ] || effort="--nprobe 2" # where all lists are read no copy is
    "$vq" search "$dir/$name.vq" "$dir/queries.fvecs" -k 5 $effort --format tsv >"$name.tsv"
    "$vq" info --digest "$dir/$name.vq" >>"$name.tsv"
    zstd -q -19 -f "$dir/$name.vq" -o "$name.vq.zst"
done
cp "$dir/queries.fvecs" queries.fvecs
ls -l
