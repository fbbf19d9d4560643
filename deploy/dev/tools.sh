#!/usr/bin/env bash
# The programs that deploy/ is held against and that Debian does not have, into .cache/tools:
#
#   kubernetes-validate   Kubernetes' own schemas, strictly
#   check-jsonschema      the schema of compose files
#
# Both come from PyPI and carry their schemas with them, so that the tests need no network.
set -euo pipefail
cd "$(dirname "$0")/../.."

VERSIONS=(kubernetes-validate==1.37.0 check-jsonschema==0.39.0)
TOOLS=.cache/tools
STAMP="$TOOLS/${VERSIONS[*]}"

[ -e "$STAMP" ] && exit 0
echo "fetching ${VERSIONS[*]}" >&2
rm -rf "$TOOLS"
mkdir -p .cache
/usr/bin/python3 -m venv "$TOOLS"
"$TOOLS/bin/pip" -q --disable-pip-version-check install "${VERSIONS[@]}" >&2
touch "$STAMP"
