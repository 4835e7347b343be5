#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every script is executable, names its shell and parses; none asks a question.
set -u
cd "$SOURCE" || exit 1
bad=0
complain() { echo "$1"; bad=1; }
for file in script/* .ci/run tests/house/*.sh; do
    [ -x "$file" ] || complain "$file is not executable"
    case $(head -n 1 "$file") in
    '#!/bin/sh') sh -n "$file" || complain "$file: does not parse by sh" ;;
    '#!/bin/bash') bash -n "$file" || complain "$file: does not parse by bash" ;;
    *) complain "$file does not start with #!/bin/sh or #!/bin/bash" ;;
    esac
    sed -n 2p "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "$file has no licence line"
    ! grep -nE '(^|[;&|[:space:]])read +(-[a-z]*p|[a-z_]+ *$)' "$file" || complain "$file asks for input"
done
if [ -e cli/vq.bash ]; then bash -n cli/vq.bash || complain "cli/vq.bash does not parse"; fi
exit $bad
