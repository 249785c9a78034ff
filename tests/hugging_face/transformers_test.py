"""Models that Sotto writes, read by transformers: the same logits as the model that Sotto read.

Skipped, with a line that says so, where Python has no torch or no transformers.
"""

import os
import subprocess
import sys
import tempfile
import unittest

try:
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"SKIPPED: this Python has no {error.name}: what Sotto writes is not read by transformers here")
    sys.exit(0)

if int(transformers.__version__.split(".")[0]) < 5:
    print(f"SKIPPED: the models here are those of transformers 5, but this Python has {transformers.__version__}")
    sys.exit(0)
transformers.utils.logging.disable_progress_bar()

CHECK = os.path.abspath(os.environ["SOTTO_CHECK"])
# float32 against float64, as the golden models are held.
TOLERANCE = 1e-5

COMMON = dict(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
              initializer_range=0.15)


def rope(**members):
    return {**COMMON, "rope_parameters": {"rope_theta": 10000.0, **members}}


MODELS = {
    "gpt2": ("gpt2", dict(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.15)),
    "gpt2_of_other_parts": ("gpt2", dict(vocab_size=61, n_embd=32, n_layer=2, n_head=2, n_positions=64, n_inner=40,
                                         activation_function="relu", scale_attn_by_inverse_layer_idx=True,
                                         tie_word_embeddings=False, layer_norm_epsilon=1e-4,
                                         initializer_range=0.15)),
    "llama": ("llama", rope(rope_type="default")),
    "llama_tied_with_biases": ("llama", {**rope(rope_type="default", rope_theta=5000.0), "tie_word_embeddings": True,
                                         "attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-3,
                                         "hidden_act": "gelu", "head_dim": 16}),
    "llama_linear": ("llama", rope(rope_type="linear", factor=3.0)),
    "llama_dynamic": ("llama", {**rope(rope_type="dynamic", factor=4.0), "max_position_embeddings": 16}),
    "llama_llama3": ("llama", rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                   original_max_position_embeddings=16)),
    "llama_yarn": ("llama", rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "qwen2": ("qwen2", rope(rope_type="default")),
    "qwen2_tied": ("qwen2", {**rope(rope_type="default"), "tie_word_embeddings": True}),
    "qwen3": ("qwen3", {**rope(rope_type="default"), "head_dim": 12}),
    "qwen3_with_biases": ("qwen3", {**rope(rope_type="default"), "head_dim": 8, "attention_bias": True}),
}


def logits_of(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits


class TransformersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, *parts):
        return os.path.join(self.folder.name, *parts)

    def make(self, name, dtype):
        """A model with random weights, biases and norms included, as transformers saves it."""
        torch.manual_seed(3)
        model_type, members = MODELS[name]
        model = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(model_type, **members))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        model = model.to(dtype)
        model.save_pretrained(self.path("given"))
        return model.to(torch.float32)

    def check(self, tokens, world_size):
        save_file({"tokens": tokens}, self.path("batch.safetensors"))
        subprocess.run([CHECK, "logits", "--model", self.path("given"), "--batch", self.path("batch.safetensors"),
                        "--world_size", str(world_size), "--out", self.path("logits.safetensors"), "--save_model",
                        self.path("saved")], check=True)
        return load_file(self.path("logits.safetensors"))["logits"]

    def test_what_is_saved_gives_the_same_logits(self):
        for index, name in enumerate(sorted(MODELS)):
            with self.subTest(name):
                self.setUp()
                model = self.make(name, torch.float32)
                tokens = torch.randint(0, 61, (3, 24), generator=torch.Generator().manual_seed(5))
                ours = self.check(tokens, world_size=1 + index % 2)
                exact = logits_of(model.to(torch.float64), tokens)
                self.assertLessEqual((ours - exact).abs().max().item(), TOLERANCE * exact.abs().max().item())
                model = model.to(torch.float32)
                saved, report = transformers.AutoModelForCausalLM.from_pretrained(
                    self.path("saved"), output_loading_info=True)
                self.assertFalse(report["missing_keys"] or report["unexpected_keys"], report)
                self.assertTrue(torch.equal(logits_of(saved, tokens), logits_of(model, tokens)))

    def test_names_and_tensors_come_back_bit_for_bit(self):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            with self.subTest(str(dtype)):
                self.setUp()
                self.make("llama", dtype)
                self.check(torch.zeros(1, 4, dtype=torch.int64), world_size=2)
                given = load_file(self.path("given", "model.safetensors"))
                saved = load_file(self.path("saved", "model.safetensors"))
                self.assertEqual(sorted(given), sorted(saved))
                for name, tensor in given.items():
                    self.assertEqual(tensor.dtype, saved[name].dtype, name)
                    self.assertTrue(torch.equal(tensor, saved[name]), name)


if __name__ == "__main__":
    unittest.main()
