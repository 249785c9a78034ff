"""Models that Sotto writes, read by transformers: the same logits as the model that Sotto read.

Skipped, with a line that says so, where Python has no torch or no transformers.
"""

import contextlib
import os
import subprocess
import tempfile
import unittest

from random_models import MODELS, load_file, logits_of, make, read, save_file, torch

CHECK = os.path.abspath(os.environ["SOTTO_CHECK"])
# float32 against float64, as the golden models are held.
TOLERANCE = 1e-5


class TransformersTest(unittest.TestCase):
    @contextlib.contextmanager
    def case(self, name):
        """A subtest with a folder of its own."""
        with self.subTest(name), tempfile.TemporaryDirectory() as self.folder:
            yield

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def check(self, tokens, world_size):
        save_file({"tokens": tokens}, self.path("batch.safetensors"))
        subprocess.run([CHECK, "logits", "--model", self.path("given"), "--batch", self.path("batch.safetensors"),
                        "--world_size", str(world_size), "--out", self.path("logits.safetensors"), "--save_model",
                        self.path("saved")], check=True)
        return load_file(self.path("logits.safetensors"))["logits"]

    def test_what_is_saved_gives_the_same_logits(self):
        for index, name in enumerate(sorted(MODELS)):
            with self.case(name):
                model = make(name, torch.float32, self.path("given"))
                tokens = torch.randint(0, 61, (3, 24), generator=torch.Generator().manual_seed(5))
                ours = self.check(tokens, world_size=1 + index % 2)
                exact = logits_of(model.to(torch.float64), tokens)
                self.assertLessEqual((ours - exact).abs().max().item(), TOLERANCE * exact.abs().max().item())
                model = model.to(torch.float32)
                self.assertTrue(torch.equal(logits_of(read(self.path("saved")), tokens), logits_of(model, tokens)))

    def test_names_and_tensors_come_back_bit_for_bit(self):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            with self.case(str(dtype)):
                make("llama", dtype, self.path("given"))
                self.check(torch.zeros(1, 4, dtype=torch.int64), world_size=2)
                given = load_file(self.path("given", "model.safetensors"))
                saved = load_file(self.path("saved", "model.safetensors"))
                self.assertEqual(sorted(given), sorted(saved))
                for name, tensor in given.items():
                    self.assertEqual(tensor.dtype, saved[name].dtype, name)
                    self.assertTrue(torch.equal(tensor, saved[name]), name)


if __name__ == "__main__":
    unittest.main()
