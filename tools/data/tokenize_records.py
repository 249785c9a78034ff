"""Turns text into the JSON lines of tokens that `sotto data prepare --format tokens` reads.

The tokenizer is a Hugging Face tokenizer.json or a SentencePiece .model. One record is one privacy unit: a line of a text
file (--format lines), or a JSON object {"text": ...} or {"prompt": ..., "completion": ...} (--format jsonl). Prompt and
completion are tokenised as one text; a token that holds any of the completion is scored, the prompt's others are not. A
token that marks the end of the record is added.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile

# Tokens that end a text in the families that Sotto reads, tried in this order when --end_token is not given.
END_TOKENS = ("</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>")


class InputError(Exception):
    """Bad input; the message names the file and the rule, and never quotes the text."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token and where its text ends, in characters of the input."""

    token: int
    end: int


class JsonTokenizer:
    """A Hugging Face tokenizer.json, without the special tokens that its post-processor would add."""

    def __init__(self, path):
        import tokenizers  # The module is needed for this kind of file only.

        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self.vocabulary_size = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text):
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [Piece(token, end) for token, (_, end) in zip(encoding.ids, encoding.offsets)]

    def find(self, token):
        return self._tokenizer.token_to_id(token)


class SentencePieceTokenizer:
    """A SentencePiece model."""

    def __init__(self, path):
        import sentencepiece  # The module is needed for this kind of file only.

        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.vocabulary_size = self._processor.vocab_size()

    def encode(self, text):
        encoding = self._processor.encode(text, out_type="immutable_proto")
        return [Piece(piece.id, piece.end) for piece in encoding.pieces]

    def find(self, token):
        found = self._processor.piece_to_id(token)
        return found if self._processor.id_to_piece(found) == token else None


def open_tokenizer(path):
    """The tokenizer of a file, by its name's end."""
    if not path.is_file():
        raise InputError(f"--tokenizer: no file {path}")
    try:
        return JsonTokenizer(path) if path.suffix == ".json" else SentencePieceTokenizer(path)
    except ImportError as error:
        raise InputError(f"--tokenizer: the Python package {error.name} is missing (./dev tokenize installs it)") from error
    except Exception as error:  # Both libraries raise their own kinds, some of them bare.
        raise InputError(f"--tokenizer: {path} cannot be read: {error}") from error


def find_end_token(tokenizer, wanted):
    """The number of the token that ends a record."""
    for name in [wanted] if wanted else END_TOKENS:
        found = tokenizer.find(name)
        if found is not None:
            return found
    rule = f"the tokenizer has no token {wanted}" if wanted else f"the tokenizer has none of {', '.join(END_TOKENS)}"
    raise InputError(f"--end_token: {rule}")


def read_lines(file):
    for line in file:
        text = line.rstrip("\r\n")
        if text.strip():
            yield "", text


def read_jsonl(file):
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError(f"line {number}: must be one JSON object")
        fields = ("prompt", "completion") if "completion" in record else ("text",)
        for field in fields:
            if not isinstance(record.get(field), str):
                raise InputError(f'line {number}: field "{field}" must be a string')
        prompt, text = record.get("prompt", ""), record[fields[-1]]
        if text.strip():
            yield prompt if len(fields) == 2 else "", text


READERS = {"lines": read_lines, "jsonl": read_jsonl}


def tokenize(tokenizer, end_token, prompt, text):
    """One record: {"tokens": [...], "scored": [...]}."""
    pieces = tokenizer.encode(prompt + text)
    # Without a prompt all is scored, also a piece without text (SentencePiece's blank before the first word).
    scored = [int(not prompt or piece.end > len(prompt)) for piece in pieces]
    return {"tokens": [piece.token for piece in pieces] + [end_token], "scored": scored + [1]}


def write_records(options, tokenizer, output):
    """Writes the header and every record of the inputs to a file object; returns the number of records."""
    end_token = find_end_token(tokenizer, options.end_token)
    header = {"tokenizer": options.tokenizer.name, "vocabulary_size": tokenizer.vocabulary_size}
    output.write(json.dumps(header) + "\n")
    count = 0
    for path in options.inputs:
        try:
            with path.open(encoding="utf-8") as file:
                for prompt, text in READERS[options.format](file):
                    output.write(json.dumps(tokenize(tokenizer, end_token, prompt, text)) + "\n")
                    count += 1
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            raise InputError(f"{path}: {reason}") from error
    if count == 0:
        raise InputError("the input holds no records")
    return count


def run(options):
    """Writes the output through a temporary file, so that a file that is there is whole."""
    if any(path.resolve() == options.out.resolve() for path in options.inputs):
        raise InputError(f"--out must not be an input, but is {options.out}")
    tokenizer = open_tokenizer(options.tokenizer)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{options.out.name}.", dir=options.out.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            count = write_records(options, tokenizer, output)
        os.replace(temporary, options.out)
    except BaseException:
        os.unlink(temporary)
        raise
    return count


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", type=pathlib.Path, help="text files")
    parser.add_argument("--tokenizer", required=True, type=pathlib.Path, help="tokenizer.json, or a SentencePiece .model")
    parser.add_argument("--format", choices=sorted(READERS), default="lines", help="of the inputs (default: %(default)s)")
    parser.add_argument("--end_token", help=f"ends a record (default: the first that exists of {', '.join(END_TOKENS)})")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="file to write")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    try:
        count = run(options)
    except (InputError, OSError) as error:
        print(f"tokenize: error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {count} records")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
