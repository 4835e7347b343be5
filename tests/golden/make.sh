#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/golden/make.sh VQ NAME.. -- writes the golden indexes NAME (v1-strings, v1-numbers, v1-saq,
# v1-bars, v1-rabitq, v2-copies, v3-changed, v4-attributes, v4-dictionary, v5-rounded) and their
# answers anew, by the program VQ.  Only for a format that no release has written yet: after that
# they stay as they are.  Those of v1 to v3, but for v1-rabitq, cannot be made any more, nor
# v4-attributes, which one of v3 became: what is built now with stored rows has chunks of rows of
# their own size, and so format 4, and queries of metric l2 have a matrix of their own.
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
# Tags, times and payloads, of vectors that have moved.
cp "$dir/v3-changed.vq" "$dir/v4-attributes.vq"
python3 - "$dir" <<'PY'
import sys
dir = sys.argv[1]
ids = ["caf\u00e9 %02d" % (i * 37 % 96) for i in range(96)]
ids = [i for i in ids if not "caf\u00e9 20" <= i < "caf\u00e9 30"]
with open(dir + "/tags", "w") as t, open(dir + "/times", "w") as m, open(dir + "/payload", "w") as p:
    for n, i in enumerate(ids):
        if n % 3: t.write(i + ("\ten" if n % 2 else "\tfr\tthe other half") + "\n")
        if n % 4: m.write("%s\t%d\n" % (i, n - 20))
        p.write('{"id": "%s", "drink": "coffee", "cups": %d, "text": "served in the year %d"}\n' % (i, n, 1900 + n))
        p.write('{"id": "tea %02d"}\n' % n if n < 10 else "")
PY
"$vq" set "$dir/v4-attributes.vq" --tags "$dir/tags" --times "$dir/times" --payload "$dir/payload" --quiet
printf 'caf\303\251 03\ncaf\303\251 04\ntea 05\n' >"$dir/few"
"$vq" delete "$dir/v4-attributes.vq" --ids "$dir/few" --quiet
# A build of today: chunks of rows of their own size, and payloads enough for a dictionary.
python3 - "$dir" <<'PY'
import random, struct, sys
random.seed(8)
dir, n, d = sys.argv[1], 200, 6
with open(dir + "/many.fvecs", "wb") as f:
    for i in range(n):
        row = [4 * (i % 8 >> j % 3 & 1) - 2 + random.gauss(0, .5) for j in range(d)]
        f.write(struct.pack("<i%df" % d, d, *[round(x * 64) / 64 for x in row]))
with open(dir + "/many.jsonl", "w") as p, open(dir + "/many.tags", "w") as t:
    for i in range(n):
        p.write('{"id": %d, "drink": "tea", "cups": %d, "text": "served in the year %d"}\n' % (i, i * 7 % 13, 1800 + i))
        t.write("%d\t%s\n" % (i, "odd" if i % 2 else "even"))
PY
"$vq" build "$dir/many.fvecs" -o "$dir/v4-dictionary.vq" --codec sq8 --nlist 3 --metric l2 --quiet \
    --tags "$dir/many.tags" --payload "$dir/many.jsonl"
# Codes with a tail (those of v1-bars were of the same rows), and error bars that are right for
# neighbours.
python3 - "$dir" <<'PY'
import random, struct, sys
random.seed(9)
dir, d = sys.argv[1], 112
middles = [[random.gauss(0, 2) for j in range(d)] for i in range(5)]
for name, n in ("wide", 120), ("queries-wide", 4):
    with open("%s/%s.fvecs" % (dir, name), "wb") as f:
        for i in range(n):
            row = [x + random.gauss(0, 1) for x in middles[i % 5]]
            f.write(struct.pack("<i%df" % d, d, *[round(x * 64) / 64 for x in row]))
PY
"$vq" build "$dir/wide.fvecs" -o "$dir/v5-rounded.vq" --codec saq --bits 9 --nlist 3 --metric l2 \
    --store none --quiet
"$vq" build "$dir/wide.fvecs" -o "$dir/v1-rabitq.vq" --codec rabitq --bits 9 --nlist 3 \
    --metric ip --store none --quiet
for name; do
    effort= filter= queries=queries
    case $name in # where all lists are read no copy is
    v1-bars | v1-rabitq | v5-rounded) queries=queries-wide ;;
    v2-copies | v3-changed) effort="--nprobe 2" ;;
    v4-dictionary) filter='tag:odd' ;;
    v4-attributes) filter='tag:en & time>=-10 | tag:"the other half" & !(time<20)' ;;
    esac
    "$vq" search "$dir/$name.vq" "$dir/$queries.fvecs" -k 5 $effort ${filter:+--filter "$filter"} --format tsv >"$name.tsv"
    "$vq" info --digest "$dir/$name.vq" >>"$name.tsv"
    zstd -q -19 -f "$dir/$name.vq" -o "$name.vq.zst"
done
cp "$dir/queries.fvecs" "$dir/queries-wide.fvecs" .
ls -l
