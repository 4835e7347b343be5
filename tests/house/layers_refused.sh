#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# script/check-layers refuses what it should: one small tree for each rule.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/include/vq" "$dir/index" "$dir/cli" "$dir/examples" "$dir/bench" "$dir/src/base" \
    "$dir/src/math/x86" "$dir/src/codec" "$dir/src/train" "$dir/src/io" "$dir/src/eval"
status=0
# FILE  TEXT...: a tree that holds just this file
try()
{
    want=$1 file=$2
    shift 2
    printf '%s\n' "$@" >"$dir/$file"
    got=accepted
    "$SOURCE/script/check-layers" "$dir" >"$dir/log" 2>&1 || got=refused
    if [ $got != "$want" ]; then
        echo "$file with '$*' was $got:"
        cat "$dir/log"
        status=1
    fi
    rm "$dir/$file"
}
try accepted index/search.c '#include "index/search.h"' '#include <string.h>' '#include "src/codec/codec.h"'
try accepted src/codec/pq8.c '#include "src/codec/codec.h"' '#include "src/codec/pq.h"' '#include "src/train/pq.h"'
try accepted index/mdb.h '#include <lmdb.h>'
try accepted index/change.c '#include "index/change.h"' '#include "index/mdb.h"'
try accepted cli/cmd_eval.c '#include "src/eval/metrics.h"' '#include "vq/vq.h"'
try accepted src/math/x86/avx2.c '#include "src/math/kernels.h"' '#include <immintrin.h>'
try accepted src/math/x86/avx2_int.c '#include "src/math/x86/kth.h"'
try refused src/math/x86/avx2.c '#include "src/math/topk.h"'
try refused src/math/topk.c '#include "src/math/x86/kth.h"'
try refused src/base/mem.c '#include "src/math/kernels.h"'
try refused src/math/topk.c '#include "src/train/kmeans.h"'
try refused src/train/pq.c '#include "src/codec/codec.h"'
try refused src/codec/pq8.c '#include "src/codec/pq4.h"'
try refused src/io/npy.c '#include "index/layout.h"'
try refused cli/cmd_info.c '#include "index/file.h"'
try refused examples/a.c '#include "src/base/mem.h"'
try refused index/build.c '#include <lmdb.h>'
try refused index/build.c '#include "index/build.h"' '#include "index/mdb.h"'
try refused index/build.c '#include <omp.h>'
try refused src/codec/sq8.c '#include <immintrin.h>'
try refused src/train/rotation.c '#include <cblas.h>'
try refused src/io/zst.c '#include <zstd.h>'
try refused index/build.c '#include <curl/curl.h>'
try refused index/build.c '#include "file.h"'
try refused index/build.c '#include <string.h>' '#include "index/build.h"'
try refused src/math/x86/avx2.c '#include "src/base/mem.h"'
try refused src/math/x86/avx2.c '#include <stdio.h>'
exit $status
