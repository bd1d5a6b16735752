"""The motion focal loss against values worked out by hand."""

import pytest
import torch

from motif.loss import loss_terms


def test_by_hand() -> None:
    prediction = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 2, 2)
    target = torch.zeros(1, 1, 1, 2, 2)
    heat = torch.tensor([0.0, 0.5, 1.0, 0.0]).reshape(1, 1, 2, 2)
    terms = loss_terms(prediction, target, heat)
    assert terms.diffusion.item() == pytest.approx((1 + 4 + 9 + 16) / 4)
    assert terms.motion.item() == pytest.approx(((0.5 * 2) ** 2 + (1 * 3) ** 2) / 4)  # m' acts squared
    assert terms.total(2.0).item() == pytest.approx(7.5 + 2 * 2.5)


def test_each_clip_counts_alone_and_channels_share_the_heat() -> None:
    prediction = torch.ones(2, 4, 3, 2, 2)
    heat = torch.zeros(2, 3, 2, 2)
    heat[1, 2] = 1
    terms = loss_terms(prediction, torch.zeros_like(prediction), heat)
    assert terms.diffusion.tolist() == [1, 1]
    assert terms.motion.tolist() == pytest.approx([0, 1 / 3])


def test_heat_of_one_everywhere_doubles_the_loss_at_weight_one() -> None:
    prediction, target = torch.randn(2, 2, 4, 3, 5, 5)
    terms = loss_terms(prediction, target, torch.ones(2, 3, 5, 5))
    assert terms.total(1.0).item() == pytest.approx(2 * torch.nn.functional.mse_loss(prediction, target).item())


def test_gradient_is_scaled_by_one_plus_weight_times_heat_squared() -> None:
    prediction = torch.full((1, 1, 1, 1, 2), 3.0, requires_grad=True)
    heat = torch.tensor([0.0, 0.5]).reshape(1, 1, 1, 2)
    loss_terms(prediction, torch.zeros(1, 1, 1, 1, 2), heat).total(4.0).backward()
    assert prediction.grad is not None
    cold, hot = prediction.grad.flatten().tolist()
    assert cold == pytest.approx(2 * 3 / 2)
    assert hot == pytest.approx(cold * (1 + 4 * 0.25))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        loss_terms(torch.zeros(1, 4, 2, 3, 3), torch.zeros(1, 4, 2, 3, 3), torch.zeros(1, 1, 2, 3, 3))
