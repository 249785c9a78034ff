#!/usr/bin/env bash
# Turns text into a file of tokens with a Hugging Face tokenizer.json or a SentencePiece model: tools/data/tokenize_records.py in a venv.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUIREMENTS=$SOTTO_ROOT/tools/data/requirements.txt
# Another list makes another folder.
VENV=$SOTTO_DEPS/tokenize-$(sha256sum "$REQUIREMENTS" | cut -c1-12)

if [ ! -d "$VENV" ]; then
  say "installing the Python packages tokenizers and sentencepiece into $SOTTO_DEPS: 5 MB to download, 45 MB of disk"
  mkdir -p "$SOTTO_DEPS"
  rm -rf "$VENV.part"
  python3 -m venv "$VENV.part" || die "python3 -m venv failed: on Debian it needs the package python3-venv"
  "$VENV.part/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$REQUIREMENTS" ||
    die "installing the packages failed; run the same command again"
  mv "$VENV.part" "$VENV"
fi
exec "$VENV/bin/python" "$SOTTO_ROOT/tools/data/tokenize_records.py" "$@"
