"""Inference of Sotto beside transformers in float64: captured residual streams beside forward hooks, scores, greedy texts,
edits, and models that were trained with low-rank adapters, exported and read again.

Skipped, with a line that says so, where Python has no torch or no transformers.
"""

import contextlib
import os
import re
import tempfile
import unittest

from random_models import MODELS, load_file, logits_of, make, read, save_file, torch
from sotto_program import Sotto

GOLDEN = [os.path.abspath(folder) for folder in os.environ["GOLDEN_MODELS"].split(":")]
# Of float32 against float64, as the golden models are held; values of random models are larger than 1.
TOLERANCE = 1e-5


def prompts_of(model, lengths):
    generator = torch.Generator().manual_seed(11)
    return [torch.randint(0, model.config.vocab_size, (length,), generator=generator).tolist() for length in lengths]


@contextlib.contextmanager
def residual_stream(model):
    """What forward hooks see: the output of the embeddings, then of every block, of the last forward pass."""
    decoder = model.get_decoder()
    # Dropout, which does nothing here, is what sums the embeddings of GPT-2.
    modules = [decoder.drop, *decoder.h] if hasattr(decoder, "drop") else [decoder.embed_tokens, *decoder.layers]
    seen = [None] * len(modules)

    def hook(layer):
        def keep(_module, _inputs, output):
            seen[layer] = (output[0] if isinstance(output, tuple) else output).detach()
        return keep

    handles = [module.register_forward_hook(hook(layer)) for layer, module in enumerate(modules)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class InferenceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.sotto = Sotto(folder.name)

    def write_prompts(self, prompts):
        return self.sotto.write_lines("prompts.jsonl", [{"tokens": prompt} for prompt in prompts])

    def random(self, name):
        """The directory of a random model, and the model in float64."""
        directory = self.sotto.new_path(name)
        return directory, make(name, torch.float32, directory).to(torch.float64)

    def models(self):
        """Name, directory, model in float64: the golden models and one of each kind."""
        for directory in GOLDEN:
            yield os.path.basename(directory), directory, read(directory).to(torch.float64)
        for name in sorted(MODELS):
            yield name, *self.random(name)

    def expect_near(self, ours, exact):
        self.assertEqual(ours.shape, exact.shape)
        error = (ours.to(torch.float64) - exact).abs().max().item()
        self.assertLessEqual(error, TOLERANCE * max(1.0, exact.abs().max().item()))

    def expect_stream(self, weights, model, prompts, workers):
        """`weights` of Sotto, --model DIR or --job ID, capture what hooks of `model` see."""
        layers = range(model.config.num_hidden_layers + 1)
        captured = load_file(self.sotto.infer("capture", "stream.safetensors", *weights, "--prompts",
                                              self.write_prompts(prompts), "--workers", workers, "--layers", *layers))
        self.assertEqual(len(captured), len(prompts) * len(layers))
        with residual_stream(model) as seen:
            for index, prompt in enumerate(prompts):
                logits_of(model, torch.tensor([prompt]))
                for layer in layers:
                    self.expect_near(captured[f"prompt.{index}.layer.{layer}"], seen[layer][0])

    def test_captures_what_forward_hooks_see(self):
        for index, (name, directory, model) in enumerate(self.models()):
            with self.subTest(name):
                prompts = prompts_of(model, lengths=(1, 7, 16, 3, 11, 2))
                for workers in ((1, 2, 4) if directory in GOLDEN else (1 + index % 2,)):
                    self.expect_stream(("--model", directory), model, prompts, workers)

    def test_scores_are_the_log_probabilities(self):
        for index, (name, directory, model) in enumerate(self.models()):
            with self.subTest(name):
                texts = prompts_of(model, lengths=(2, 9, 16, 5, 12))
                pairs = [(text[:i + 1], text[i + 1:]) for i, text in enumerate(texts)]
                path = self.sotto.write_lines("pairs.jsonl", [
                    {"tokens": prompt, "continuation_tokens": continuation} for prompt, continuation in pairs])
                lines = self.sotto.lines("score", "--model", directory, "--prompts", path, "--workers", 1 + index % 2)
                self.assertEqual([line["prompt"] for line in lines], list(range(len(pairs))))
                for line, (prompt, continuation) in zip(lines, pairs):
                    logits = logits_of(model, torch.tensor([prompt + continuation]))[0, len(prompt) - 1:-1]
                    exact = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None])[:, 0]
                    self.expect_near(torch.tensor(line["token_log_probabilities"], dtype=torch.float64), exact)

    def test_greedy_texts_are_the_likeliest(self):
        for index, (name, directory, model) in enumerate(self.models()):
            with self.subTest(name):
                prompts = prompts_of(model, lengths=(1, 3, 2, 4, 1))
                lines = self.sotto.lines("generate", "--model", directory, "--prompts", self.write_prompts(prompts),
                                         "--max_new_tokens", 12, "--workers", 1 + index % 2)
                for line, prompt in zip(lines, prompts):
                    self.assertEqual(len(line["tokens"]), 12)
                    logits = logits_of(model, torch.tensor([prompt + line["tokens"]]))[0, len(prompt) - 1:-1]
                    # The likeliest token, or one that float32 cannot tell from it.
                    chosen = logits.gather(1, torch.tensor(line["tokens"])[:, None])[:, 0]
                    self.expect_near(chosen, logits.amax(-1))

    def test_edits_are_those_of_the_tensors(self):
        for name, matrix in (("gpt2", "transformer.h.0.attn.c_attn.weight"), ("gpt2", "transformer.wte.weight"),
                             ("llama", "model.layers.1.mlp.down_proj.weight"), ("qwen2", "lm_head.weight")):
            with self.subTest(f"{name} {matrix}"):
                directory, _ = self.random(name)
                edited = load_file(os.path.join(directory, "model.safetensors"))
                left, right = torch.randn(edited[matrix].shape[0]), torch.randn(edited[matrix].shape[1])
                projections = self.sotto.new_path("projections.safetensors")
                save_file({f"{matrix}.left": left, f"{matrix}.right": right}, projections)
                saved = self.sotto.infer("edit", "edited", "--model", directory, "--projections", projections, "--scale",
                                         "-0.375", "--workers", 2)
                edited[matrix] = (edited[matrix].double() - 0.375 * left.double()[:, None] * right.double()).float()
                ours = load_file(os.path.join(saved, "model.safetensors"))
                self.assertEqual(sorted(ours), sorted(edited))
                for tensor, values in edited.items():
                    self.assertTrue(torch.equal(ours[tensor], values), tensor)
                read(saved)

    def train_adapters(self, directory, targets):
        """The id of a job that trained low-rank adapters of these maps with DP, on two workers."""
        if not os.path.exists(self.sotto.path("records.tokens")):
            generator = torch.Generator().manual_seed(7)
            records = [{"tokens": torch.randint(0, 61, (12,), generator=generator).tolist()} for _ in range(64)]
            path = self.sotto.write_lines("records.jsonl", [{"tokenizer": "none", "vocabulary_size": 61}, *records])
            self.sotto.run("data", "prepare", path, "--format", "tokens", "--max_length", 16, "--out", self.sotto.path("records.tokens"))
            self.sotto.run("dataset", "add", "records", self.sotto.path("records.tokens"), "--max_records", 64,
                           "--epsilon", 1000, "--delta", 1e-5)
        spec = self.sotto.write("job.yaml", f"""
model: {{hugging_face_directory: {directory}, adaptation: {{lora: {{rank: 3, alpha: 12, targets: [{targets}]}}}}}}
data: {{dataset: records}}
privacy: {{epsilon: 50, clip_norm: 1}}
train: {{expected_batch_size: 8, steps: 8, optimizer: {{adamw: {{}}}}, learning_rate: {{peak: 0.02}}}}
workers: {{count: 2, strategy: FULL_SHARD}}
""")
        return re.search(r"^(job-\d+) succeeded", self.sotto.run("run", spec, "--slots", 2), re.MULTILINE)[1]

    def expect_scores(self, job, model, prompts):
        """The log-probabilities of all tokens after each prompt: the logits but for a constant."""
        vocabulary = model.config.vocab_size
        path = self.sotto.write_lines("pairs.jsonl", [{"tokens": prompt, "continuation_tokens": [token]}
                                                      for prompt in prompts for token in range(vocabulary)])
        lines = self.sotto.lines("score", "--job", job, "--prompts", path, "--batch_size", 64)
        ours = torch.tensor([line["log_probability"] for line in lines], dtype=torch.float64)
        for row, prompt in zip(ours.view(len(prompts), vocabulary), prompts):
            self.expect_near(row, logits_of(model, torch.tensor([prompt]))[0, -1].log_softmax(-1))

    def test_exported_adapters_are_merged(self):
        attention, mlp = "q_proj, k_proj, v_proj, o_proj", "gate_proj, up_proj, down_proj"
        for name, targets in (("gpt2", "c_attn, c_fc, c_proj"), ("llama", f"{attention}, {mlp}"),
                              ("llama_tied_with_biases", f"{attention}, {mlp}"), ("qwen2", attention),
                              ("qwen3", "q_proj, down_proj")):
            with self.subTest(name):
                directory, _ = self.random(name)
                job = self.train_adapters(directory, targets)
                exported = self.sotto.path(f"exported-{job}")
                self.sotto.run("export", job, "--out", exported)
                given = load_file(os.path.join(directory, "model.safetensors"))
                merged = load_file(os.path.join(exported, "model.safetensors"))
                self.assertEqual(sorted(given), sorted(merged))
                for tensor, values in given.items():
                    if any(f".{target}.weight" in tensor for target in targets.split(", ")):
                        self.assertGreater((merged[tensor] - values).abs().max().item(), 0.01, tensor)
                    else:
                        self.assertTrue(torch.equal(merged[tensor], values), tensor)
                # What Sotto computes with the adapters beside the frozen maps, transformers with the merged ones.
                model = read(exported).to(torch.float64)
                prompts = prompts_of(model, lengths=(1, 9, 4))
                self.expect_stream(("--job", job), model, prompts, workers=2)
                self.expect_scores(job, model, prompts)


if __name__ == "__main__":
    unittest.main()
