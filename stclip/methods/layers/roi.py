"""RoIAlign: the part of a feature map that a box covers, in a grid of bins.

torchvision's operator has a deterministic gradient on a GPU in a form that must be compiled alone.
This one needs no compiler: bilinear samples averaged over a bin are a weighted sum of rows times a
weighted sum of columns, so both are matrix products.

Shape letters: see `stclip.methods`; c channels, b bins along a side, s samples of a bin. A cell of
a map is a patch.
"""

import torch
from jaxtyping import Float, Integer
from torch import Tensor


def roi_align(
    maps: Float[Tensor, "S c gy gx"],
    boxes: Float[Tensor, "B 4"],
    box_map: Integer[Tensor, " B"],
    *,
    bins: int = 7,
) -> Float[Tensor, "B c b b"]:
    """What `torchvision.ops.roi_align` gives with sampling_ratio 0 and aligned False.

    That is the form of the first detectors (He et al. 2017): no half-cell shift, a box is at least
    a cell wide and high, a bin averages ceil(side / bins) samples along each side. Here each bin is
    a product rows @ map @ columns; torchvision gives the same: `tests/test_roi.py`,
    `test_boxes_inside_the_map_are_pooled_as_by_torchvision`.

    Args:
        maps: feature maps.
        boxes: xyxy in cells. What reaches out of the map is cut off; of a box that lies outside, or
            with less than a cell inside, the nearest cell is taken, where torchvision has zeros.
        box_map: the map of each box.
        bins: along a side.
    """
    boxes = boxes.to(torch.promote_types(maps.dtype, torch.float32))
    rows = _sampled(boxes[:, 1], boxes[:, 3], cells=maps.shape[2], bins=bins)  # (B, b, gy)
    columns = _sampled(boxes[:, 0], boxes[:, 2], cells=maps.shape[3], bins=bins)  # (B, b, gx)
    with torch.autocast(maps.device.type, enabled=False):
        of_box = maps.to(boxes.dtype)[box_map]  # (B, c, gy, gx)
        across = torch.einsum("bdhw,bjw->bdhj", of_box, columns)
        return torch.einsum("bdhj,bih->bdij", across, rows)


def _sampled(
    start: Float[Tensor, " B"], end: Float[Tensor, " B"], *, cells: int, bins: int
) -> Float[Tensor, "B b cells"]:
    """How much of each cell along a side is in the mean of each bin."""
    start = start.clamp(0, cells - 1)
    size = (end.clamp(max=cells) - start).clamp(min=1)
    count = (size / bins).ceil()[:, None, None]  # samples of a bin
    sample = torch.arange(-(-cells // bins), device=start.device)  # as many as there may be
    along = torch.arange(bins, device=start.device)[:, None] + (sample + 0.5) / count  # (B, b, s)
    places = start[:, None, None] + along * (size / bins)[:, None, None]
    places = places.clamp(max=cells - 1)  # beyond the middle of the last cell there is no other
    cell = torch.arange(cells, device=start.device)
    shares = (1 - (places[..., None] - cell).abs()).clamp(min=0)  # (B, b, s, cells)
    return (shares * (sample < count)[..., None]).sum(2) / count
