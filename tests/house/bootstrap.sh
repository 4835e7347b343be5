#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# script/bootstrap on a make-believe Debian: installs what is missing and that alone; without root it
# prints the line to run and fails; with all there it calls nothing.  What is there for another
# architecture does not count.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
export LOG="$dir/log"
tool() { printf '#!/bin/sh\n%s\n' "$2" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
tool dpkg-query 'for p; do :; done; case " $MISSING " in *" $p "*) exit 1 ;; esac
echo "arm64 installed"
case " $FOREIGN " in *" $p "*) ;; *) echo "amd64 installed" ;; esac'
tool dpkg 'echo amd64'
tool apt-get 'echo "apt-get $*" >>"$LOG"'
tool id 'echo "$AS"'
tool sudo 'exit 1'
fail() { echo "$*"; cat "$LOG" "$dir/out" 2>/dev/null; exit 1; }
call() { : >"$LOG"; PATH="$dir/bin:$PATH" "$SOURCE/script/bootstrap" "$@" >"$dir/out" 2>&1 </dev/null; }
export MISSING AS FOREIGN=

MISSING='' AS=1000
call test || fail "nothing is missing, yet it failed"
[ ! -s "$LOG" ] || fail "nothing is missing, yet it called apt"

MISSING='cmake liblmdb-dev' AS=1000
! call demo || fail "not root: it should fail"
grep -q 'apt-get install -y --no-install-recommends cmake liblmdb-dev' "$dir/out" || fail "not root: no line to run"
[ ! -s "$LOG" ] || fail "not root, yet it called apt"

AS=0
call demo || fail "root: it failed"
grep -q '^apt-get -q install -y --no-install-recommends cmake liblmdb-dev$' "$LOG" || fail "root: wrong packages"

MISSING='' FOREIGN=liblmdb-dev
call demo || fail "foreign: it failed"
grep -q '^apt-get -q install -y --no-install-recommends liblmdb-dev$' "$LOG" || fail "foreign: not installed"

MISSING=libcriterion-dev FOREIGN=
call demo || fail "the demo needs no test package"
[ ! -s "$LOG" ] || fail "the demo installed a test package"
! call nonsense || fail "an unknown word was accepted"
