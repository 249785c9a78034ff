"""Tests of tokenize_records.py. Cases that need the tokenizer packages skip, with a message, where they are missing."""
import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

import tokenize_records


class WordTokenizer:
    """Words with the blank before them; token = number of the word in `words`."""

    words = ("</s>", "a", " b", " c", "</end>")
    vocabulary_size = len(words)

    def encode(self, text):
        pieces, end = [], 0
        while end < len(text):
            token = next(i for i, word in enumerate(self.words) if text.startswith(word, end))
            end += len(self.words[token])
            pieces.append(tokenize_records.Piece(token, end))
        return pieces

    def find(self, token):
        return self.words.index(token) if token in self.words else None


def run_main(*arguments):
    """Exit code and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = tokenize_records.main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = stopped.code
    return code, printed.getvalue()


class TokenizeTest(unittest.TestCase):
    def test_a_token_that_holds_any_of_the_completion_is_scored(self):
        record = tokenize_records.tokenize(WordTokenizer(), 0, "a b ", "c")
        self.assertEqual(record, {"tokens": [1, 2, 3, 0], "scored": [0, 0, 1, 1]})

    def test_text_without_a_prompt_is_scored_whole(self):
        record = tokenize_records.tokenize(WordTokenizer(), 0, "", "a b")
        self.assertEqual(record, {"tokens": [1, 2, 0], "scored": [1, 1, 1]})

    def test_a_piece_without_text_is_scored_when_there_is_no_prompt(self):
        class BlankFirst(WordTokenizer):
            def encode(self, text):
                return [tokenize_records.Piece(0, 0), *super().encode(text)]

        self.assertEqual(tokenize_records.tokenize(BlankFirst(), 0, "", "a")["scored"], [1, 1, 1])
        self.assertEqual(tokenize_records.tokenize(BlankFirst(), 0, "a", " b")["scored"], [0, 0, 1, 1])

    def test_end_token(self):
        self.assertEqual(tokenize_records.find_end_token(WordTokenizer(), None), 0)
        self.assertEqual(tokenize_records.find_end_token(WordTokenizer(), "</end>"), 4)
        with self.assertRaisesRegex(tokenize_records.InputError, "no token </none>"):
            tokenize_records.find_end_token(WordTokenizer(), "</none>")


class ReadTest(unittest.TestCase):
    def test_lines(self):
        self.assertEqual(list(tokenize_records.read_lines(io.StringIO("a b\n\n c\r\n"))), [("", "a b"), ("", " c")])

    def test_jsonl(self):
        text = '{"text": "x"}\n\n{"prompt": "p", "completion": "q"}\n{"text": " "}\n'
        self.assertEqual(list(tokenize_records.read_jsonl(io.StringIO(text))), [("", "x"), ("p", "q")])

    def test_errors_name_the_line_and_never_the_text(self):
        for line, rule in (
            ("secret", "must be one JSON object"),
            ('{"txt": "secret"}', 'field "text" must be a string'),
            ('{"completion": "secret"}', 'field "prompt" must be a string'),
        ):
            with self.assertRaises(tokenize_records.InputError) as raised:
                list(tokenize_records.read_jsonl(io.StringIO('{"text": "x"}\n' + line)))
            self.assertIn(f"line 2: {rule}", str(raised.exception))
            self.assertNotIn("secret", str(raised.exception))


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.input = self.folder / "in.txt"
        self.input.write_text("one two\nthree\n" * 50, encoding="utf-8")
        self.out = self.folder / "out.jsonl"

    def test_missing_tokenizer(self):
        code, printed = run_main(self.input, "--tokenizer", self.folder / "none.json", "--out", self.out)
        self.assertEqual(code, 2)
        self.assertIn("--tokenizer: no file", printed)
        self.assertFalse(self.out.exists())

    def test_a_missing_package_is_named_with_what_installs_it(self):
        for package, name in (("tokenizers", "tokenizer.json"), ("sentencepiece", "spm.model")):
            path = self.folder / name
            path.write_text("{}", encoding="utf-8")
            # None: importing it fails as if it were not installed, whether it is or not.
            with self.subTest(package), unittest.mock.patch.dict(sys.modules, {package: None}):
                code, printed = run_main(self.input, "--tokenizer", path, "--out", self.out)
                self.assertEqual(code, 2)
                self.assertIn(f"the Python package {package} is missing (./dev tokenize installs it)", printed)
                self.assertFalse(self.out.exists())

    def test_out_must_not_be_an_input(self):
        code, printed = run_main(self.input, "--tokenizer", "t.json", "--out", self.input)
        self.assertEqual(code, 2)
        self.assertIn("--out must not be an input", printed)

    def check_output(self, tokenizer):
        code, printed = run_main(self.input, "--tokenizer", tokenizer, "--out", self.out)
        self.assertEqual(code, 0, printed)
        header, *records = [json.loads(line) for line in self.out.read_text().splitlines()]
        self.assertEqual(header["tokenizer"], tokenizer.name)
        self.assertEqual(len(records), 100)
        for record in records:
            self.assertEqual(len(record["tokens"]), len(record["scored"]))
            self.assertLess(max(record["tokens"]), header["vocabulary_size"])
        self.assertEqual(list(self.folder.glob(".out*")), [])

    @unittest.skipUnless(importlib.util.find_spec("tokenizers"), "the package tokenizers is not installed")
    def test_tokenizer_json(self):
        import tokenizers

        path = self.folder / "tokenizer.json"
        words = {"</s>": 0, "one": 1, "two": 2, "three": 3}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="</s>"))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokenizer.save(str(path))
        self.check_output(path)

    @unittest.skipUnless(importlib.util.find_spec("tokenizers"), "the package tokenizers is not installed")
    def test_a_broken_tokenizer_json_is_named(self):
        path = self.folder / "tokenizer.json"
        path.write_text("{}", encoding="utf-8")
        code, printed = run_main(self.input, "--tokenizer", path, "--out", self.out)
        self.assertEqual(code, 2)
        self.assertIn(f"{path} cannot be read", printed)

    @unittest.skipUnless(importlib.util.find_spec("sentencepiece"), "the package sentencepiece is not installed")
    def test_sentencepiece_model(self):
        import sentencepiece

        prefix = self.folder / "spm"
        sentencepiece.SentencePieceTrainer.train(
            input=str(self.input), model_prefix=str(prefix), vocab_size=12, minloglevel=2
        )
        self.check_output(prefix.with_suffix(".model"))


if __name__ == "__main__":
    unittest.main()
