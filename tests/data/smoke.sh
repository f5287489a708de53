#!/usr/bin/env bash
# Does every peer that needs no environment answer right? One round on the tiny model that
# make_bundle.py trains; no time is asserted. Usage: smoke.sh PYTHON
set -euo pipefail
python=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$here/make_bundle.py" "$work"
# Pipelines exist for these heads only; polyhead-fp32 and separate-int8 are exported here.
"$python" -m polyhead bench run "$work/bundle" --checkpoint "$work/checkpoint" --smoke \
    --heads topic,sentiment,entities --cache "$work/cache" -o "$work/report"
# sentence-transformers gives vectors only.
"$python" -m polyhead bench run "$work/bundle" --checkpoint "$work/checkpoint" --smoke \
    --heads embedding --peers polyhead-int8,torch,sentence-transformers --cache "$work/cache" \
    -o "$work/report"
