#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/golden/make.sh VQ NAME.. -- writes the golden indexes NAME (v1-strings, v1-numbers, v1-saq,
# v2-copies, v3-changed) and their answers anew, by the program VQ.  Only for a format that no release has written yet:
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
"$vq" build "$dir/rows.fvecs" -o "$dir/v1-saq.vq" --codec saq --bits 4 --nlist 2 --metric l2 \
    --store none --quiet
"$vq" build "$dir/rows.fvecs" -o "$dir/v2-copies.vq" --ids "$dir/ids" --codec pq4 --bytes 6 \
    --nlist 9 --metric l2 --copies yes --quiet
# Names that came later than others, names that are gone, and space that is free.
cp "$dir/v2-copies.vq" "$dir/v3-changed.vq"
python3 - "$dir" <<'PY'
import struct, sys
dir, d = sys.argv[1], 6
rows = open(dir + "/rows.fvecs", "rb").read()
open(dir + "/more.fvecs", "wb").write(rows[20 * (4 + 4 * d):36 * (4 + 4 * d)])
with open(dir + "/more", "w") as f:
    for i in range(16):
        f.write(("tea %02d\n" if i < 10 else "caf\u00e9 %02d\n") % i)
open(dir + "/gone", "w").write("".join("caf\u00e9 %02d\n" % i for i in range(20, 30)))
PY
"$vq" delete "$dir/v3-changed.vq" --ids "$dir/gone" --quiet
"$vq" add "$dir/v3-changed.vq" "$dir/more.fvecs" --ids "$dir/more" --upsert --quiet
for name; do
    effort=
    case $name in v2-copies | v3-changed) effort="--nprobe 2" ;; esac # where all lists are read no copy is
    "$vq" search "$dir/$name.vq" "$dir/queries.fvecs" -k 5 $effort --format tsv >"$name.tsv"
    "$vq" info --digest "$dir/$name.vq" >>"$name.tsv"
    zstd -q -19 -f "$dir/$name.vq" -o "$name.vq.zst"
done
cp "$dir/queries.fvecs" queries.fvecs
ls -l
