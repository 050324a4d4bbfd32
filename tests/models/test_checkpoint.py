"""Checkpoints: every tensor is where it must be, or an error that names it in one sentence."""

import json
import re
import shutil
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.support import CHECKPOINTS, FIXTURES
from waferllm.errors import CheckpointError
from waferllm.models.checkpoint import check_finite, expected_tensors, open_checkpoint
from waferllm.models.config import load_config

UNTIED, TIED, SHARDED = "codellama", "llama-gqa-tied", "llama-sharded"
ONE_SHARD = "model-00002-of-00003.safetensors"


@pytest.fixture
def copy(tmp_path: Path):
    """A function that copies a fixture to a directory where it may be damaged."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(FIXTURES / name, tmp_path / name))

    return make


def rewrite(path: Path, **changes: np.ndarray | None) -> None:
    """Replace, add or (None) remove tensors of a one-file checkpoint; `__` stands for a dot."""
    tensors = load_file(path / "model.safetensors")
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, path / "model.safetensors")


def refuse(path: Path, says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_tensor_is_what_the_safetensors_library_reads(name: str) -> None:
    checkpoint = open_checkpoint(FIXTURES / name)
    told: dict[str, np.ndarray] = {}
    for file in (FIXTURES / name).glob("*.safetensors"):
        told |= load_file(file)
    assert set(checkpoint.names) == set(told) == set(expected_tensors(checkpoint.config))
    for tensor, values in told.items():
        found = checkpoint.tensor(tensor)
        assert found.dtype == values.dtype
        assert np.array_equal(found, values)
        check_finite(tensor, found)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("codellama", "float32"), ("llama-odd-f16", "float16"), ("mistral-bf16", "bfloat16")],
)
def test_the_dtype_is_that_of_most_weights(name: str, dtype: str) -> None:
    checkpoint = open_checkpoint(FIXTURES / name)
    assert checkpoint.dtype == checkpoint.config.dtype == dtype


def test_tensors_are_read_only_views_of_the_file() -> None:
    checkpoint = open_checkpoint(FIXTURES / UNTIED)
    first, again = (checkpoint.tensor("model.embed_tokens.weight") for _ in range(2))
    assert np.shares_memory(first, again)
    assert not first.flags.writeable
    with pytest.raises(CheckpointError, match="no tensor nothing"):
        checkpoint.tensor("nothing")


def test_a_tied_model_has_its_embedding_for_an_output_matrix(copy) -> None:
    path = copy(TIED)
    embedding = open_checkpoint(path).tensor("model.embed_tokens.weight")
    assert np.array_equal(open_checkpoint(path).tensor("lm_head.weight"), embedding)
    rewrite(path, lm_head__weight=np.array(embedding))
    assert np.array_equal(open_checkpoint(path).tensor("lm_head.weight"), embedding)


def test_a_tied_model_with_another_output_matrix_is_refused(copy) -> None:
    path = copy(TIED)
    embedding = open_checkpoint(path).tensor("model.embed_tokens.weight")
    rewrite(path, lm_head__weight=embedding + np.float32(1))
    refuse(path, "tie_word_embeddings = true, but its lm_head.weight differs")
    rewrite(path, lm_head__weight=np.array(embedding[:-1]))
    refuse(path, "lm_head.weight differs")


def test_frequencies_stored_by_old_transformers_are_ignored(copy) -> None:
    path = copy(UNTIED)
    extra = {"model__layers__0__self_attn__rotary_emb__inv_freq": np.ones(3, np.float32)}
    rewrite(path, **extra)
    assert "model.layers.0.self_attn.rotary_emb.inv_freq" not in open_checkpoint(path).names


def test_missing_extra_and_misshapen_tensors_are_named(copy) -> None:
    path = copy(UNTIED)
    norm = open_checkpoint(path).tensor("model.norm.weight")
    rewrite(path, model__norm__weight=None)
    refuse(path, "lacks tensor model.norm.weight")
    rewrite(path, model__norm__weight=norm[:-1].copy())
    refuse(path, re.escape("model.norm.weight") + ".* shape .*23.*, expected .*24")
    rewrite(
        path, model__norm__weight=norm.copy(), model__layers__2__mlp__up_proj__weight=norm.copy()
    )
    refuse(path, "holds tensor model.layers.2.mlp.up_proj.weight")
    rewrite(path, model__layers__2__mlp__up_proj__weight=None, lm_head__weight=None)
    refuse(path, "lacks tensor lm_head.weight.* tie_word_embeddings")


def test_a_bias_that_the_config_denies_is_named(copy) -> None:
    path = copy(UNTIED)
    rewrite(path, model__layers__0__self_attn__q_proj__bias=np.ones(24, np.float32))
    refuse(path, "holds tensor model.layers.0.self_attn.q_proj.bias")


@pytest.mark.parametrize("dtype", [np.float64, np.int8])
def test_a_tensor_of_another_dtype_is_named(copy, dtype) -> None:
    path = copy(UNTIED)
    rewrite(path, model__norm__weight=np.ones(24, dtype))
    refuse(path, "model.norm.weight .* dtype (F64|I8), expected one of F32, F16, BF16")


def test_dtypes_may_be_mixed(copy) -> None:
    path = copy("mistral-bf16")
    rewrite(path, model__norm__weight=np.ones(48, np.float32))
    checkpoint = open_checkpoint(path)
    assert checkpoint.tensor("model.norm.weight").dtype == np.float32
    assert checkpoint.dtype == "bfloat16"


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_refused(copy, keep: int) -> None:
    path = copy(UNTIED)
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refuse(path, "truncated")


def test_a_file_longer_than_its_header_says_is_refused(copy) -> None:
    path = copy(UNTIED)
    with (path / "model.safetensors").open("ab") as file:
        file.write(b"more")
    refuse(path, "4 bytes after its last tensor")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"not json", "not valid JSON"),
        (b"[]", "holds a list"),
        (b'{"a": 3}', "describes tensor a wrongly"),
        (b'{"a": {"dtype": "F32", "shape": [1]}}', "describes tensor a wrongly"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "tensor a wrongly"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "takes 8"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', "without gap"),
    ],
)
def test_a_header_that_lies_is_refused(copy, header: bytes, says: str) -> None:
    path = copy(UNTIED)
    data = struct.pack("<Q", len(header)) + header + bytes(8)
    (path / "model.safetensors").write_bytes(data)
    refuse(path, says)


def test_a_file_that_is_no_safetensors_is_refused(copy) -> None:
    path = copy(UNTIED)
    (path / "model.safetensors").write_bytes(b"\x80\x02PK pickled weights" * 10)
    refuse(path, "not a safetensors file")


def test_a_directory_without_weights_says_what_it_looked_for(copy) -> None:
    path = copy(UNTIED)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    refuse(path, "no model.safetensors.*other weights: pytorch_model.bin")
    (path / "config.json").unlink()
    refuse(path, "config.json cannot be read")
    refuse(path / "nowhere", "There is no")


def test_a_missing_shard_is_named(copy) -> None:
    path = copy(SHARDED)
    (path / ONE_SHARD).unlink()
    refuse(path, f"in {ONE_SHARD}, which is not in")


def test_shards_without_their_index_are_put_together(copy) -> None:
    path = copy(SHARDED)
    (path / "model.safetensors.index.json").unlink()
    whole = open_checkpoint(FIXTURES / SHARDED)
    assert open_checkpoint(path).names == whole.names
    (path / ONE_SHARD).unlink()
    refuse(path, "lacks tensor .* more")


def test_an_index_that_lies_is_refused(copy) -> None:
    path = copy(SHARDED)
    file = path / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    for change, says in (
        ({"model.norm.weight": "../elsewhere.safetensors"}, "expected a file name"),
        ({"model.norm.weight": 3}, "expected a file name"),
        ({"model.another.weight": ONE_SHARD}, "model.another.weight .* does not hold it"),
    ):
        file.write_text(json.dumps({"weight_map": index["weight_map"] | change}))
        refuse(path, says)
    for content, says in (("{}", "no weight_map"), ("{", "not valid JSON")):
        file.write_text(content)
        refuse(path, says)


def test_a_tensor_in_two_shards_is_refused(copy) -> None:
    path = copy(SHARDED)
    (path / "model.safetensors.index.json").unlink()
    shutil.copy(path / ONE_SHARD, path / "model-00004-of-00003.safetensors")
    refuse(path, "is in both")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_weight_that_is_not_finite_is_named(dtype, value: float) -> None:
    array = np.full((3, 1_000_001), np.finfo(np.float16).max, dtype)
    check_finite("w", array)
    array[1, 77] = value
    array[2, 5] = value
    with pytest.raises(CheckpointError, match=r"tensor w has -?(nan|inf) at \[1, 77\]"):
        check_finite("w", array)


def test_opening_reads_headers_only(copy) -> None:
    """Weights of NaN open without complaint: values are looked at only by `check_finite`."""
    path = copy(UNTIED)
    rewrite(path, model__norm__weight=np.full(24, np.nan, np.float32))
    checkpoint = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"model.norm.weight has nan at \[0\]"):
        check_finite("model.norm.weight", checkpoint.tensor("model.norm.weight"))


def test_expected_shapes_are_out_by_in() -> None:
    shapes = expected_tensors(load_config(FIXTURES / "llama-odd-f16"))
    assert shapes["model.embed_tokens.weight"] == (97, 60)
    assert shapes["model.layers.1.self_attn.q_proj.weight"] == (48, 60)
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == (24, 60)
    assert shapes["model.layers.1.self_attn.o_proj.weight"] == (60, 48)
    assert shapes["model.layers.1.mlp.down_proj.weight"] == (60, 52)
    assert "lm_head.weight" not in shapes
