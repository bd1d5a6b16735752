"""Weight files: found, read, fitted; the file formats' own libraries are the oracle."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from baselines.checkpoints import (
    CheckpointError,
    below,
    build,
    fetch,
    random_state,
    read_state,
    renamed,
    sha256,
    weight_record,
    without_storage,
)
from baselines.memory import give_back
from ti2v_bench.model import WeightFile

FILE = WeightFile("owner/name", "folder/model.ckpt", revision="abc123")


class Net(nn.Module):
    """A conv, a norm, a linear and a buffer that is not saved."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.GroupNorm(2, width)
        self.out = nn.Linear(width, 4)
        self.register_buffer("positions", torch.arange(5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.conv(x)).mean((2, 3))
        result: Tensor = self.out(hidden)
        return result


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"module": s, "epoch": 3}])
def test_every_published_wrapping_gives_the_same_state(tmp_path: Path, wrap: object) -> None:
    state = Net().state_dict()
    torch.save(wrap(state), tmp_path / "model.ckpt")  # type: ignore[operator]
    assert _equal(read_state(tmp_path / "model.ckpt"), state)


def test_deepspeed_prefix_is_removed(tmp_path: Path) -> None:
    state = Net().state_dict()
    torch.save({"module": {"_forward_module." + key: value for key, value in state.items()}}, tmp_path / "a.pt")
    assert _equal(read_state(tmp_path / "a.pt"), state)


def test_safetensors_and_old_pickles_are_read(tmp_path: Path) -> None:
    state = Net().state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert _equal(read_state(tmp_path / "a.safetensors"), state)
    assert _equal(read_state(tmp_path / "old.bin"), state)


class _Mischief:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Net().state_dict(), "callback": _Mischief()}, "model.ckpt")
    with pytest.raises(CheckpointError, match=r"holds more than tensors \(posix\.mkdir\).* would run code"):
        read_state(Path("model.ckpt"))
    Path("plain.ckpt").write_bytes(pickle.dumps(_Mischief(), protocol=2))
    with pytest.raises(CheckpointError):
        read_state(Path("plain.ckpt"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("name", ["cut.ckpt", "cut.safetensors"])
def test_a_file_cut_short_is_a_user_error(tmp_path: Path, name: str) -> None:
    whole = tmp_path / ("whole" + Path(name).suffix)
    if name.endswith(".ckpt"):
        torch.save(Net().state_dict(), whole)
    else:
        save_file(Net().state_dict(), whole)
    (tmp_path / name).write_bytes(whole.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=name):
        read_state(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>", b"PK\3\4", b"hello"]
)
def test_something_else_in_a_weight_files_place_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.ckpt is not a weight file .*Download it again\.$") as caught:
        read_state(tmp_path / "model.ckpt")
    assert "\n" not in str(caught.value)


def test_what_lightning_saves_beside_the_weights_is_left_alone(tmp_path: Path) -> None:
    state = Net().state_dict()
    optimizer = {
        "state": {0: {"exp_avg": torch.zeros(3), "step": 7}},
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}],
    }
    beside = {"epoch": 3, "optimizer_states": [optimizer], "lr_schedulers": [], "pytorch-lightning_version": "1.9.3"}
    torch.save({"state_dict": state, "callbacks": {"ModelCheckpoint": {"dirpath": "x"}}, **beside}, tmp_path / "m.ckpt")
    assert _equal(read_state(tmp_path / "m.ckpt"), state)


def test_built_network_computes_what_the_saved_one_did(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved, x = Net(), torch.randn(2, 3, 6, 6)
    torch.save({"state_dict": {"net." + key: value for key, value in saved.state_dict().items()}}, tmp_path / "m.ckpt")
    loaded = build(Net, below(read_state(tmp_path / "m.ckpt"), "net."), expected=FILE)
    assert torch.equal(loaded(x), saved(x))
    assert loaded.get_buffer("positions").tolist() == [0, 1, 2, 3, 4]
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_dtype_converts_floating_weights_only() -> None:
    loaded = build(Net, Net().state_dict(), expected=FILE, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.get_buffer("positions").dtype == torch.int64


def test_a_wrong_file_is_named_with_counts_and_first_keys() -> None:
    state = dict(Net().state_dict())
    del state["out.weight"], state["out.bias"]
    state["spare.weight"] = torch.zeros(1)
    state["norm.weight"] = torch.ones(6)
    with pytest.raises(CheckpointError) as caught:
        build(Net, state, expected=FILE)
    message = str(caught.value)
    assert "1 keys the model lacks (first: spare.weight)" in message
    assert "lack 2 it needs (first: out.weight)" in message
    assert "norm.weight is (6,), needed (8,)" in message
    assert "folder/model.ckpt of https://huggingface.co/owner/name at revision abc123" in message


def test_unused_keys_must_be_declared() -> None:
    state = {**Net().state_dict(), "logit_scale": torch.zeros(())}
    with pytest.raises(CheckpointError, match="logit_scale"):
        build(Net, state, expected=FILE)
    build(Net, state, expected=FILE, unused=("^logit_scale$",))


def test_renames_apply_in_order() -> None:
    state = {"down.3.block.0.w": torch.zeros(1)}
    pairs = ((r"^down\.(\d+)\.", r"down_blocks.\1."), (r"\.block\.", ".resnets."))
    assert list(renamed(state, pairs)) == ["down_blocks.3.resnets.0.w"]


def test_local_file_and_folder_layouts_are_found(tmp_path: Path) -> None:
    for place in ("model.ckpt", "folder/model.ckpt", "owner/name/folder/model.ckpt"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(place)
        assert fetch(FILE, str(tmp_path)) == path
        assert fetch(FILE, str(path)) == path


def test_an_absent_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file folder/model\.ckpt below"):
        fetch(FILE, str(tmp_path))
    with pytest.raises(CheckpointError, match="no file or folder"):
        fetch(FILE, str(tmp_path / "absent"))


def test_pinned_digest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    right = WeightFile("owner/name", "model.ckpt", sha256=digest)
    assert fetch(right, str(path)) == path
    assert weight_record(right, path)["sha256"] == sha256(path) == digest
    with pytest.raises(CheckpointError, match="sha256"):
        fetch(WeightFile("owner/name", "model.ckpt", sha256="0" * 64), str(path))


def test_random_weights_depend_on_seed_and_key_only() -> None:
    first, again, other = (random_state(Net, seed) for seed in (1, 1, 2))
    assert _equal(first, again)
    assert not torch.equal(first["conv.weight"], other["conv.weight"])
    wide = random_state(lambda: nn.Sequential(nn.Linear(4, 4), Net()), 1)
    assert not torch.equal(wide["1.conv.weight"], first["conv.weight"])


def test_random_weights_keep_activations_of_order_one() -> None:
    def deep() -> nn.Module:
        return nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.LayerNorm(256)) for _ in range(20)])

    net = build(deep, random_state(deep, 0), expected=FILE)
    assert 0.3 < net(torch.randn(4, 256)).std() < 3


def test_random_values_of_a_large_tensor_are_standard_normal_over_fan_in() -> None:
    weight = random_state(lambda: nn.Linear(2500, 2000, bias=False), 0)["weight"]  # longer than the pool
    assert weight.std().item() * 50 == pytest.approx(1, abs=0.01)


def test_network_without_storage_holds_no_weights() -> None:
    net = without_storage(Net)
    assert all(parameter.is_meta for parameter in net.parameters())
    assert not net.get_buffer("positions").is_meta


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this machine does not let a process reset its peak memory")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_loading_holds_at_most_1_3_times_the_checkpoint(tmp_path: Path, dtype: torch.dtype) -> None:
    def net() -> nn.Module:
        return nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(32)])

    path = tmp_path / "model.ckpt"
    torch.save(net().state_dict(), path)
    net().to(dtype)(torch.ones(1, 1024, dtype=dtype))  # the libraries' own buffers are not the loader's
    _reset_peak()
    before = _peak()
    loaded = build(net, read_state(path), expected=FILE, dtype=dtype)
    loaded(torch.ones(1, 1024, dtype=dtype))  # touches every weight
    assert _peak() - before <= 1.3 * path.stat().st_size


def test_a_tensor_whose_pages_were_given_back_keeps_its_values(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(100_000.0)}, tmp_path / "model.ckpt")
    mapped, own = read_state(tmp_path / "model.ckpt")["a"], torch.arange(100_000.0)
    for tensor in (mapped, mapped[3:7], mapped.view(100, 1000).T, own, torch.zeros(0)):
        before = tensor.clone()
        give_back(tensor)
        assert torch.equal(tensor, before)
