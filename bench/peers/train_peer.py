"""One training process of PyTorch or Opacus, driven line by line by ./dev bench modes --peers.

The model is the benchmark's GPT-2: learned positions, pre-norm blocks, GELU's tanh form, untied head. A step is
`micro_batches` micro-batches of `examples` records of `tokens` random tokens, then AdamW. After each step the process
prints "SECONDS CPU_SECONDS 0 PEAK_BYTES" and waits for a line; the end of stdin ends it.

Usage: train_peer.py --system pytorch|opacus_hooks|opacus_ghost --tokens 128 --examples 16 ...
"""
import argparse
import resource
import sys
import time
import warnings

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """x + attention(ln_1(x)), then x + mlp(ln_2(x))."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.mlp_projection = nn.Linear(4 * width, width)

    def forward(self, x):
        examples, tokens, width = x.shape
        parts = self.attention(self.ln_1(x)).view(examples, tokens, 3, self.heads, width // self.heads)
        query, key, value = (parts.select(2, part).transpose(1, 2) for part in range(3))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).reshape(examples, tokens, width))
        return x + self.mlp_projection(functional.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """Logits [B, T, V] of tokens [B, T]."""

    def __init__(self, vocabulary, width, layers, heads, max_length):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(max_length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens):
        # Repeated for the examples: Opacus finds them in the first dimension of every input.
        positions = torch.arange(tokens.shape[1]).repeat(tokens.shape[0], 1)
        x = self.tokens(tokens) + self.positions(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


def example_losses(logits, tokens):
    """Mean over each example's own next tokens, [B]."""
    losses = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return losses.view(tokens.shape[0], -1).mean(1)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0, fused=True)


class Plain:
    """No privacy."""

    def __init__(self, model, options):
        self.model = model
        self.examples = options.examples * options.micro_batches
        self.optimizer = adamw(model)

    def add(self, tokens, is_last):
        (example_losses(self.model(tokens), tokens).sum() / self.examples).backward()
        if is_last:
            self.optimizer.step()
            self.optimizer.zero_grad()


class Opacus:
    """What both forms of Opacus do after `backward`, which they say: clip, and after the last micro-batch add noise and
    step."""

    def add(self, tokens, is_last):
        self.backward(tokens)
        self.optimizer.signal_skip_step(not is_last)
        self.optimizer.step()
        self.optimizer.zero_grad()

    @staticmethod
    def dp_options(options):
        return dict(noise_multiplier=0.5, max_grad_norm=options.clip_norm,
                    expected_batch_size=options.examples * options.micro_batches, loss_reduction="sum")


class OpacusHooks(Opacus):
    """Per-example gradients of GradSampleModule."""

    def __init__(self, model, options):
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        self.model = GradSampleModule(model, loss_reduction="sum")
        self.optimizer = DPOptimizer(adamw(model), **self.dp_options(options))

    def backward(self, tokens):
        example_losses(self.model(tokens), tokens).sum().backward()


class OpacusGhost(Opacus):
    """Ghost clipping: norms in a first backward pass, clipped sums in a second."""

    def __init__(self, model, options):
        from opacus.grad_sample import GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizerFastGradientClipping

        self.model = GradSampleModuleFastGradientClipping(
            model, loss_reduction="sum", max_grad_norm=options.clip_norm, use_ghost_clipping=True)
        self.optimizer = DPOptimizerFastGradientClipping(adamw(model), **self.dp_options(options))

    def backward(self, tokens):
        from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

        losses = example_losses(self.model(tokens), tokens)
        DPTensorFastGradientClipping(self.model, self.optimizer, losses, loss_reduction="sum").backward()


SYSTEMS = {"pytorch": Plain, "opacus_hooks": OpacusHooks, "opacus_ghost": OpacusGhost}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, required=True)
    parser.add_argument("--clip_norm", type=float, default=1.0)
    for name, default in (("tokens", 128), ("examples", 16), ("micro_batches", 2), ("threads", 2), ("width", 256),
                          ("vocabulary", 8192), ("layers", 8), ("heads", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def main():
    options = parse_arguments()
    warnings.filterwarnings("ignore")  # Opacus's remarks on hooks.
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Gpt2(options.vocabulary, options.width, options.layers, options.heads, options.tokens)
    records = torch.randint(options.vocabulary, (options.micro_batches, options.examples, options.tokens))
    system = SYSTEMS[options.system](model, options)
    while True:
        begin, cpu_begin = time.monotonic(), time.process_time()
        for i, tokens in enumerate(records):
            system.add(tokens, is_last=i + 1 == len(records))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(time.monotonic() - begin, time.process_time() - cpu_begin, 0, peak, flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
