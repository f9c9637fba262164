#!/bin/sh
# Runs thea-unit in a pipe. Usage: sh test.sh [DIRECTORY OF thea-unit]; `thea` and a model (THEA_MODEL, else thea-mini) must be found.
# The vector of a document of one token is that token's row, so its length must be 1.
set -eu
THEA_STAGE_PATH=$(cd "${1:-$(dirname "$0")}" && pwd)
export THEA_STAGE_PATH
model=${THEA_MODEL:-thea-mini}

squares() {
    echo '{"id": "a", "tokens": [17]}' |
        thea load --format tokens - |
        thea layers -m "$model" --emit final |
        "$@" |
        thea pool --no-normalize |
        thea write --format tsv |
        tail -n 1 | tr '\t ,[]' '\n' | awk '/^-?[0-9.]+(e-?[0-9]+)?$/ { sum += $1 * $1; n++ } END { printf "%.4f %d\n", sum, n }'
}

unit=$(squares "$THEA_STAGE_PATH/thea-unit")
plain=$(squares cat)
case $unit in
    1.0000\ 0 | *\ 0) echo "test.sh: no numbers came out: $unit" >&2; exit 1 ;;
    1.0000\ *) ;;
    *) echo "test.sh: the squares of a row sum to $unit, expected 1.0000" >&2; exit 1 ;;
esac
[ "$plain" != "$unit" ] || { echo "test.sh: thea-unit changed nothing" >&2; exit 1; }
if "$THEA_STAGE_PATH/thea-unit" --least 7 </dev/null 2>/dev/null; then
    echo "test.sh: --least 7 is out of range and was taken" >&2
    exit 1
fi
echo "thea-unit: passed ($unit)"
