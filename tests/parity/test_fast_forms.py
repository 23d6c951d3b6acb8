"""Where exact algebra makes a layer fast: the fast form against its plain formula, in float64."""

from functools import partial
from typing import Any

import pytest
import torch
from small_clip import LABELS, gap, shaken, small_backbone
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.iclip import update_by_one_token
from baselines.iclip_interaction import Grouping, Slots, Unit
from baselines.xclip import VideoPrompting
from stclip.methods.clip.backbone import Backbone
from stclip.methods.layers.frozen_attention import FrozenAttention
from stclip.methods.layers.partial_block import block_of_first
from stclip.methods.layers.prompting import CrossAttention, PromptingBlock
from stclip.methods.st_clip.interest_tokens import attend
from stclip.methods.st_clip.person_context import TemporalLayer

EXACT = 1e-12


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def backbone() -> Backbone:
    return small_backbone().double()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def made(module: Any) -> Any:
    """In float64, away from initial values such as zero biases."""
    shaken(module.double())
    return module


@pytest.mark.parametrize("num_first", [1, 4, 9])
def test_a_block_for_its_first_tokens(backbone: Backbone, num_first: int) -> None:
    block: Any = backbone.blocks[0]
    tokens = drawn(2, 9, 64)
    found = block_of_first(block, tokens[:, :num_first], block.ln_1(tokens))
    assert gap(found, block(tokens)[:, :num_first]) < EXACT


@pytest.mark.parametrize("itself", [True, False])
def test_frozen_attention_and_its_gradients(backbone: Backbone, itself: bool) -> None:
    """Of a text under its mask, and of tokens that are asked about others."""
    attention: Any = backbone.clip.transformer.resblocks[0].attn
    assert isinstance(attention, FrozenAttention)
    tokens, others = drawn(2, 9, attention.embed_dim), drawn(2, 9, attention.embed_dim)
    mask = backbone.clip.attn_mask[:9, :9].double() if itself else None
    found = []
    for forward in (attention.forward, partial(nn.MultiheadAttention.forward, attention)):
        own = tokens.clone().requires_grad_()
        seen = own if itself else others
        given, _ = forward(own, seen, seen, need_weights=False, attn_mask=mask)
        given.square().sum().backward()
        assert own.grad is not None
        found.append((given.detach(), own.grad))
    (short, short_grad), (plain, plain_grad) = found
    assert gap(short, plain) < EXACT
    assert gap(short_grad, plain_grad) < EXACT


def test_frozen_attention_gives_the_map_where_it_is_asked_for(backbone: Backbone) -> None:
    attention: Any = backbone.blocks[0].attn
    tokens = drawn(2, 9, 64)
    given, weights = attention(tokens, tokens, tokens)
    assert weights.shape == (2, 9, 9)
    assert gap(given, attention(tokens, tokens, tokens, need_weights=False)[0]) < EXACT


def test_texts_cut_behind_the_longest(backbone: Backbone) -> None:
    ids = backbone.tokenize(LABELS)
    eot = ids.argmax(-1)
    longest = int(eot.max()) + 1
    assert longest < ids.shape[1]
    embedded = backbone.clip.token_embedding(ids)[:, :longest]
    assert gap(backbone.encode_embedded(embedded, eot), backbone.clip.encode_text(ids)) < EXACT


@pytest.mark.parametrize("num_labels", [1, 3, 12])
def test_cross_attention_folded(num_labels: int) -> None:
    layer = made(CrossAttention(32, heads=4))
    visual, q = drawn(2, 11, 32), drawn(2, num_labels, 4, 8)
    k, v = (p(visual).unflatten(-1, (4, 8)) for p in (layer.k_proj, layer.v_proj))
    weights = (torch.einsum("skhc,snhc->shkn", q, k) / 8**0.5).softmax(-1)
    plain = torch.einsum("shkn,snhc->skhc", weights, v)
    assert gap(layer.mix(q, visual), plain) < EXACT
    assert gap(layer.mix_folded(q, visual), plain) < EXACT


def test_mean_over_time() -> None:
    layer, x = made(TemporalLayer(24, heads=3)), drawn(3, 5, 4, 24)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    plain = torch.stack([y[:, m].mean(1) for y, m in zip(layer(x, mask), mask, strict=True)])
    assert gap(layer.mean(x, mask), plain) < EXACT
    mixed = layer.norm(x[0])  # the forward pass is that of PyTorch's attention
    mixed = layer.attention(mixed, mixed, mixed, need_weights=False)[0]
    assert gap(layer(x, mask)[0], x[0] + mixed) < EXACT


def test_a_block_with_the_attention_of_persons(backbone: Backbone) -> None:
    block: Any = backbone.blocks[0]
    tokens = drawn(2, 9, 64)
    found, rows = attend(block, tokens, 3)
    assert gap(found, block(tokens)) < EXACT
    normed = block.ln_1(tokens)
    _, attention = block.attn(normed, normed, normed, need_weights=True)  # mean over heads
    assert gap(rows, attention[:, 1:4]) < EXACT


def test_prompting_by_one_token() -> None:
    layer = made(PromptingBlock(32, heads=4))
    text, visual = drawn(5, 3, 32), drawn(5, 32)
    plain = layer.update(text, visual[:, None])
    assert gap(update_by_one_token(layer, text, visual), plain) < EXACT


def test_mean_before_the_projection() -> None:
    layer = made(VideoPrompting(24, 64, layers=1, alpha=0.1))
    patches = drawn(2, 4, 6, 24)
    plain = (layer.norm_patches(patches) @ layer.projection).mean(1)
    assert gap(layer.context(patches), plain) < EXACT


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("steps", [0, 6])
def test_attention_to_slots_by_identities(steps: int, masked: bool) -> None:
    """Frames of 2 and 1 persons; every slot is built, the empty ones too."""
    e, of_step, num = 16, 3, steps or 4
    unit = made(Unit(e, steps=steps))
    sample = torch.tensor([0, 0, 1])
    persons, contents = drawn(3, e), drawn(2, num, e)
    filled = torch.rand(2, num) < 0.6
    assert filled.any(1).all()
    assert not filled.all()
    total = of_step if steps else 7
    slots = Slots.of(contents, filled, total=total, by_step=steps > 0, masked=masked)
    found = unit.attend(persons, slots, Grouping(sample, 2))

    for x, s, row in zip(persons, sample.tolist(), found, strict=True):
        places = [(j, contents[s, j]) for j in range(num) if filled[s, j]]
        empty = torch.zeros_like(x)
        if not masked and steps:
            counts = [of_step - int(filled[s, j]) for j in range(num)]
            places += [(j, empty) for j, count in enumerate(counts) for _ in range(count)]
        elif not masked:
            places += [(0, empty)] * (total - len(places))
        held = torch.stack([content for _, content in places])
        k, v = unit.key(held), unit.value(held)
        if steps:
            numbers = torch.tensor([j for j, _ in places])
            k, v = k + unit.pos_k[numbers], v + unit.pos_v[numbers]
        weights = F.softmax(k @ unit.query(x) / e**0.5, 0)
        assert gap(row, weights @ v) < EXACT
