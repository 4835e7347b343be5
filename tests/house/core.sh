#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# core.sh VQ -- where OpenBLAS says that it has chosen kernels older than the processor, commands
# that multiply large matrices start anew with others, once; where the user has chosen, none does.
set -eu
vq=$1
grep -qw avx2 /proc/cpuinfo 2>/dev/null || { echo "no AVX2: nothing to choose"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset OPENBLAS_CORETYPE
for core in Prescott SkylakeX; do
    cat >"$dir/$core.c" <<END
char *openblas_get_corename(void);
char *openblas_get_corename(void)
{
    static char name[] = "$core";
    return name;
}
END
    $CC -shared -fPIC -o "$dir/$core.so" "$dir/$core.c"
done
mv "$dir/Prescott.so" "$dir/old.so"

# How often OpenBLAS was loaded: it says each time, when asked, what it has chosen.
loads() { OPENBLAS_VERBOSE=2 "$@" 2>&1 >/dev/null | grep -c '^Core: ' || true; }
expect() # TIMES WHAT COMMAND...
{
    times=$1 what=$2
    shift 2
    found=$(loads "$@")
    [ "$found" = "$times" ] || { echo "$what: started $found times, not $times"; exit 1; }
    echo "$what: started $times times"
}
expect 1 "kernels that will do" env LD_PRELOAD="$dir/SkylakeX.so" "$vq" build --help
expect 2 "old kernels" env LD_PRELOAD="$dir/old.so" "$vq" build --help
expect 1 "old kernels, nothing to multiply" env LD_PRELOAD="$dir/old.so" "$vq" info --help
expect 1 "old kernels that were asked for" env LD_PRELOAD="$dir/old.so" OPENBLAS_CORETYPE=Haswell "$vq" build --help
LD_PRELOAD=$dir/old.so OPENBLAS_VERBOSE=2 "$vq" build --help 2>&1 >/dev/null | tail -n 1 |
    grep -qE '^Core: (SkylakeX|Haswell)$' || { echo "not started with newer kernels"; exit 1; }
