#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# VERSION, vq.h and the program state one version; the change log has it.
set -eu
cd "$SOURCE"
part() { sed -n "s/^#define VQ_VERSION_$1  *\([0-9][0-9]*\).*/\1/p" include/vq/vq.h; }
file=$(head -n 1 VERSION)
header=$(part MAJOR).$(part MINOR).$(part PATCH)
[ "$file" = "$header" ] || { echo "VERSION says $file, vq.h says $header"; exit 1; }
grep -q "^## $file" docs/CHANGELOG.md || { echo "docs/CHANGELOG.md has no section '## $file'"; exit 1; }
program=$("$BUILD/vq" --version)
case $program in
*"$file"*) ;;
*) echo "vq --version says '$program', not $file"; exit 1 ;;
esac
