"""RoIAlign as matrix products against torchvision's operator."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align as torchvision_roi_align

from stclip.methods.layers.roi import roi_align


def of_torchvision(maps: Tensor, boxes: Tensor, box_map: Tensor, bins: int) -> Tensor:
    rois = torch.cat([box_map[:, None].to(boxes.dtype), boxes], 1)
    return torchvision_roi_align(maps, rois, bins, 1.0, sampling_ratio=0, aligned=False)


@pytest.mark.parametrize(("height", "width"), [(14, 14), (6, 8), (9, 23), (1, 1)])
@pytest.mark.parametrize("bins", [7, 2])
def test_boxes_inside_the_map_are_pooled_as_by_torchvision(
    height: int, width: int, bins: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([width, height, width, height]).double()
    maps = torch.randn(3, 5, height, width, generator=generator, dtype=torch.float64)
    maps.requires_grad_()
    ends = torch.rand(40, 2, 2, generator=generator, dtype=torch.float64).sort(1).values
    boxes = ends.flatten(1) * size
    boxes = torch.cat([boxes, size[None] * torch.tensor([[0, 0, 1, 1]])])  # the whole map
    small = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)  # a cell at least, inside the map
    boxes[:, :2] = boxes[:, :2].minimum(size[:2] - small)
    box_map = torch.arange(len(boxes)) % 3
    found = roi_align(maps, boxes, box_map, bins=bins)
    expected = of_torchvision(maps, boxes, box_map, bins)
    assert found.shape == (41, 5, bins, bins)
    torch.testing.assert_close(found, expected)
    direction = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((x * direction).sum(), maps)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_what_reaches_out_of_the_map_is_cut_off() -> None:
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    boxes = torch.tensor([[-5.0, 1, 9, 20], [2, -9, 3, 0.5], [7, 7, 9, 9], [-4, -4, -3, -2]])
    boxes = torch.cat([boxes, torch.tensor([[1.0, 1, 1, 1]])])  # and one without area
    inside = torch.tensor([[0.0, 1, 4, 3], [2, 0, 3, 1], [3, 2, 4, 3], [0, 0, 1, 1], [1, 1, 2, 2]])
    of = torch.zeros(5, dtype=torch.long)
    found = roi_align(maps, boxes, of)
    torch.testing.assert_close(found, of_torchvision(maps, inside, of, 7))
    assert found[2].unique().tolist() == [11]  # the last cell


def test_half_precision_maps_are_pooled_in_single_precision() -> None:
    torch.manual_seed(0)
    maps, box = torch.randn(1, 3, 14, 14), torch.tensor([[1.3, 2.7, 9.9, 12.1]])
    of = torch.zeros(1, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        found = roi_align(maps.bfloat16(), box, of)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, roi_align(maps.bfloat16().float(), box, of))


def test_without_boxes_nothing_is_pooled() -> None:
    nobody = roi_align(torch.randn(2, 3, 4, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert nobody.shape == (0, 3, 7, 7)
