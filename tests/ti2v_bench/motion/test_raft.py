"""RAFT-large against numbers of princeton-vl's code on seeded weights."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ti2v_bench.motion.flow import FlowError, flow_backend
from ti2v_bench.motion.raft import Raft, RaftFlow
from ti2v_bench.motion.raft_weights import torchvision_names


def _seeded(tag: Callable[[str], str], gain: float = 1.0) -> Raft:
    """Weights drawn per key, as the self-test prescribes."""
    model = Raft().eval()
    state = model.state_dict()
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        r = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(tag(key).encode())))
        if key.endswith("running_var"):
            value.copy_(1 + 0.05 * r.abs())
        elif key.endswith(("running_mean", "bias")):
            value.copy_(0.05 * r)
        elif value.ndim == 1:
            value.copy_(1 + 0.05 * r)
        else:
            value.copy_(gain * r / value[0].numel() ** 0.5)
    return model


def _image(height: int, width: int, shift: float, fx: float = 0.1, fy: float = 0.07) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    channels = [torch.sin(fx * (x - shift) + fy * y + c) * torch.cos(0.03 * y * (c + 1)) for c in range(3)]
    return torch.stack(channels)[None]  # grey 127.5 + 127.5 value, i.e. the value itself in [-1, 1]


def test_raft_large_has_the_published_size() -> None:
    model = Raft()
    assert sum(p.numel() for p in model.parameters()) == 5_257_536
    assert len(model.state_dict()) == 169


def test_one_update_equals_the_official_code() -> None:
    with torch.no_grad():
        flow = _seeded(lambda key: key)(_image(128, 160, 0), _image(128, 160, 2), updates=1)[0]
    assert flow.mean((1, 2)).tolist() == pytest.approx([-4.873307, 1.463393], abs=1e-4)
    assert flow[:, 10, 20].tolist() == pytest.approx([-4.054630, 1.673698], abs=1e-4)
    assert flow[:, 100, 150].tolist() == pytest.approx([-5.824696, -0.220382], abs=1e-4)


def _selftests(folder: Path) -> list[dict[str, Any]]:
    path = folder / "raft_large_selftest.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    tests: list[dict[str, Any]] = json.loads(path.read_text())["tests"]
    return tests


def test_recorded_flows_of_the_official_code_are_met(pytestconfig: pytest.Config) -> None:
    for case in _selftests(pytestconfig.getoption("--parity-dir")):
        images = [_image(case["H"], case["W"], shift, case["fx"], case["fy"]) for shift in (0.0, case["shift"])]
        for check in case["checks"]:
            if check["updates"] > 4 or (check["updates"], check["g"]) == (4, 1.0):
                continue  # the recurrence is the same code; longer ones only cost time
            model = _seeded(lambda key, seed=case["seed"]: f"{seed}:{key}", check["g"])
            with torch.no_grad():
                flow, low = (f[0] for f in model.predict(*images, check["updates"]))
            drift = check["max_abs_change_when_second_image_is_perturbed"]
            near = 1e-4 if check["updates"] == 1 else max(20 * drift, 1e-3 * check["max_abs_flow"])
            assert flow.mean((1, 2)).tolist() == pytest.approx(check["mean_uv"], abs=near)
            assert low.mean((1, 2)).tolist() == pytest.approx(check["low_res_mean_uv"], abs=near)
            for point in check["points"]:
                assert flow[:, point["yx"][0], point["yx"][1]].tolist() == pytest.approx(point["uv"], abs=near)


def _official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """princeton-vl's names, written down from its classes and not from our table."""
    official = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0].endswith("_encoder"):
            net = {"feature_encoder": "fnet", "context_encoder": "cnet"}[parts[0]]
            rest = parts[1:]
            if rest[0] == "convnormrelu":
                rest = ["conv1" if rest[1] == "0" else "norm1", *rest[2:]]
            elif rest[0] == "conv":
                rest = ["conv2", *rest[1:]]
            elif rest[2].startswith("convnormrelu"):
                rest = [*rest[:2], ("conv" if rest[3] == "0" else "norm") + rest[2][-1], *rest[4:]]
            name = ".".join([net, *rest])
            if "downsample.1" in name:
                official["module." + name.replace("downsample.1", "norm3")] = value
        elif parts[0] == "mask_predictor":
            name = ".".join(["update_block.mask", "0" if parts[1] == "convrelu" else "2", parts[-1]])
        elif parts[1] == "motion_encoder":
            short = {"convcorr1": "convc1", "convcorr2": "convc2", "convflow1": "convf1", "convflow2": "convf2"}
            name = ".".join(["update_block.encoder", short.get(parts[2], parts[2]), parts[-1]])
        elif parts[1] == "recurrent_block":
            name = f"update_block.gru.{parts[3]}{parts[2][-1]}.{parts[-1]}"
        else:
            name = key
        official["module." + name] = value
    return official


def test_princeton_names_load_to_the_same_weights(tmp_path: Path) -> None:
    ours = _seeded(lambda key: key).state_dict()
    official = _official_names(ours)
    assert len(official) == 179
    renamed = torchvision_names(official)
    assert set(renamed) == set(ours)
    assert all(torch.equal(renamed[key], ours[key]) for key in ours)
    torch.save(official, tmp_path / "raft-things.pth")
    loaded = RaftFlow.load(tmp_path / "raft-things.pth").model.state_dict()
    assert all(torch.equal(loaded[key], ours[key]) for key in ours)


def test_padding_and_batching_keep_size_and_order() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 131, 130, 3), dtype=np.uint8)
    backend = RaftFlow(_seeded(lambda key: key, 0.7), "seeded", updates=1, batch=1)
    flow = backend.flow(frames)
    assert flow.shape == (2, 2, 131, 130)
    assert flow.dtype == np.float32
    backend.batch = 2
    np.testing.assert_allclose(backend.flow(frames), flow, atol=1e-3)


def test_small_frames_and_missing_weights_are_refused_with_words(tmp_path: Path) -> None:
    backend = RaftFlow(Raft(), "random")
    with pytest.raises(FlowError, match="128x128"):
        backend.flow(np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(FlowError, match="does not exist"):
        RaftFlow.load(tmp_path / "absent.pth")
    with pytest.raises(FlowError, match="needs a checkpoint"):
        flow_backend("raft")
    with pytest.raises(FlowError, match="'farneback'"):
        flow_backend("farneback")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(FlowError, match="not a RAFT-large checkpoint"):
        RaftFlow.load(tmp_path / "other.pth")


def test_lower_precision_stays_near_float32() -> None:
    video = torch.cat([_image(128, 136, shift) for shift in (0.0, 2.0)])
    backend = RaftFlow(_seeded(lambda key: key, 0.7), "seeded", updates=3)
    exact = backend.flow_tensor(video)
    backend.precision = "bfloat16"
    near = backend.flow_tensor(video)
    assert near.dtype == torch.float32
    assert (near - exact).abs().max() < 0.05 * exact.abs().max()


def test_encoding_each_frame_once_equals_pair_by_pair() -> None:
    model = _seeded(lambda key: key)
    frames = torch.cat([_image(128, 136, shift) for shift in (0, 2, 5)])
    with torch.no_grad():
        together = model.adjacent(frames, updates=2)
        apart = torch.cat([model(frames[i : i + 1], frames[i + 1 : i + 2], updates=2) for i in range(2)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-5)
