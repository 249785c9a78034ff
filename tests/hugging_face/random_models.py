"""Small models with random weights, as transformers makes and saves them.

Where Python has no torch or no transformers of major version 5, importing this says so and ends the program: skipped.
"""

import sys

try:
    import torch
    import transformers
    from safetensors.torch import load_file, save_file  # noqa: F401
except ImportError as error:
    print(f"SKIPPED: this Python has no {error.name}: Sotto is not compared with transformers here")
    sys.exit(0)

if int(transformers.__version__.split(".")[0]) < 5:
    print(f"SKIPPED: the models here are those of transformers 5, but this Python has {transformers.__version__}")
    sys.exit(0)
transformers.utils.logging.disable_progress_bar()

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


def make(name, dtype, directory, **changes):
    """The model with random weights, biases and norms included, as transformers saves it; given back in float32."""
    torch.manual_seed(3)
    model_type, members = MODELS[name]
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(model_type, **{**members, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model = model.to(dtype)
    model.save_pretrained(directory)
    return model.to(torch.float32)


def read(directory):
    """The model that transformers reads there; it must find all tensors and no others."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not (report["missing_keys"] or report["unexpected_keys"]), report
    return model


def logits_of(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits
