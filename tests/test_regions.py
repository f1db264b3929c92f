"""Regions: attention within regions, masks, drawing tools."""

import ppadaattn
from ppadaattn.errors import InputError, InputNote
from ppadaattn.media.drawing import fill_outlines, fill_polygon, grow_region, paint_mask, show_regions
from ppadaattn.media.masks import mask_for, read_mask
from ppadaattn.model.attention import RegionState, attention_statistics, style_state
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.regions import level_labels, partner, split_mask
from ppadaattn.model.style import Style

import numpy as np
import paddle
import pytest
import reference
from PIL import Image

KINDS = ("softmax", "cosine")
RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)


def points(rng, queries=30, keys=24, key_channels=6, value_channels=4):
    return rng.randn(1, key_channels, queries), rng.randn(1, key_channels, keys), rng.randn(1, value_channels, keys)


def statistics(query, key, value, kind, content, style):
    tensors = map(paddle.to_tensor, (query, key, value))
    return [x.numpy() for x in attention_statistics(*tensors, kind, content_regions=content, style_regions=style)]


def masked_reference(query, key, value, kind, content, style):
    """Scores between a region of the content and style points outside its own are left out of every sum (B.1)."""
    allowed = (content[:, None] == 0) | (content[:, None] == style[None, :])
    if kind == "softmax":
        scores = np.einsum("bdi,bdj->bij", query, key)
        weights = np.exp(np.where(allowed, scores, -np.inf))
    else:
        unit = [x / np.sqrt((x**2).sum(1, keepdims=True)) for x in (query, key)]
        weights = (np.einsum("bdi,bdj->bij", *unit) + 1) * allowed
    return reference.weighted_statistics(weights / weights.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_in_regions_equals_masked_scores(rng, kind):
    arrays = points(rng)
    content, style = rng.randint(0, 3, 30), rng.randint(0, 3, 24)
    for actual, expected in zip(
        statistics(*arrays, kind, content, style), masked_reference(*arrays, kind, content, style)
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_points_outside_a_style_region_do_not_change_its_content_region(rng, kind):
    query, key, value = points(rng)
    content, style = np.repeat([1, 2, 0], 10), np.repeat([1, 2, 0], 8)
    before = statistics(query, key, value, kind, content, style)
    changed = [array + 100 * rng.randn(*array.shape) * (style != 1) for array in (key, value)]
    after = statistics(query, *changed, kind, content, style)
    for old, new in zip(before, after):
        np.testing.assert_allclose(new[:, :, content == 1], old[:, :, content == 1], atol=1e-6)
        assert np.abs(new - old)[:, :, content == 2].max() > 1 and np.abs(new - old)[:, :, content == 0].max() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_region_over_everything_changes_nothing(rng, kind):
    arrays = points(rng)
    plain = [x.numpy() for x in attention_statistics(*map(paddle.to_tensor, arrays), kind)]
    for actual, expected in zip(statistics(*arrays, kind, np.ones(30, int), np.ones(24, int)), plain):
        np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_regions_that_do_not_fit_are_refused(rng):
    query, key, value = map(paddle.to_tensor, points(rng))
    with pytest.raises(ValueError, match="region 2 of the content has no style points"):
        attention_statistics(query, key, value, content_regions=np.full(30, 2), style_regions=np.ones(24, int))
    state = RegionState([style_state(key, value)], np.zeros(29, int))
    with pytest.raises(ValueError, match="regions are for 29 content points; the query has 30"):
        state.statistics(query)


# Networks ------------------------------------------------------------------------------------------------------------


def network(attention):
    paddle.seed(3)
    return AdaAttNNetwork(width=1 / 16, attention=attention)


def image(rng, height=64, width=80):
    return paddle.to_tensor(rng.rand(1, 3, height, width).astype("float32"))


def halves(height=64, width=80, left=RED, right=BLUE):
    mask = np.zeros((height, width, 3), "uint8")
    mask[:, : width // 2], mask[:, width // 2 :] = left, right
    return mask


@pytest.mark.parametrize("attention", KINDS)
def test_a_mask_of_one_colour_changes_nothing(rng, attention):
    net, content, style = network(attention), image(rng), image(rng)
    mask = halves(right=RED)
    with paddle.no_grad():
        plain = net.stylize(content, net.prepare_style(style)).numpy()
        masked = net.stylize(content, net.prepare_style(style, mask=mask).in_regions(mask)).numpy()
    np.testing.assert_allclose(masked, plain, atol=1e-4)


@pytest.mark.parametrize("attention", KINDS)
def test_each_region_is_embedded_with_its_part_of_the_style(rng, attention):
    net, content, style = network(attention), image(rng), image(rng)
    with paddle.no_grad():
        prepared = net.prepare_style(style, mask=halves(left=BLACK))
        features = net.encoder(content)
        embedded = net.embed(features, prepared.in_regions(halves(left=BLUE, right=BLACK)))
        blue = net.embed(features, prepared.regions[BLUE])
        whole = net.embed(features, prepared)
    for level, feature in embedded.items():
        half = feature.shape[3] // 2
        np.testing.assert_allclose(feature[..., :half].numpy(), blue[level][..., :half].numpy(), atol=1e-4)
        np.testing.assert_allclose(feature[..., half:].numpy(), whole[level][..., half:].numpy(), atol=1e-4)
        assert np.abs((blue[level] - whole[level]).numpy()).max() > 1e-3


def test_one_style_for_each_region(rng):
    net, content = network("cosine"), image(rng)
    with paddle.no_grad():
        first, second = (net.prepare_style(image(rng)) for _ in range(2))
        both = Style.mix([first.as_region(RED), second.as_region(BLUE)])
        features = net.encoder(content)
        embedded = net.embed(features, both.in_regions(halves()))
        expected = [net.embed(features, style) for style in (first, second)]
    for level, feature in embedded.items():
        half = feature.shape[3] // 2
        for side, alone in zip((np.s_[..., :half], np.s_[..., half:]), expected):
            np.testing.assert_allclose(feature[side].numpy(), alone[level][side].numpy(), atol=1e-5)


def test_regions_of_sums_and_mixtures(rng):
    net = network("cosine")
    with paddle.no_grad():
        first, second = (
            net.prepare_style(image(rng), mask=halves()),
            net.prepare_style(image(rng)).as_region((250, 9, 0)),
        )
    assert set((first + second).regions) == {RED, BLUE}  # reds that are nearly alike are one
    assert (first + second).regions[RED].states[3].count == first.regions[RED].states[3].count + second.states[3].count
    assert set(Style.mix([first, second], [0, 1]).regions) == {RED}  # blue is of a style of weight 0


def test_colours_that_do_not_match_are_listed(rng):
    net = network("cosine")
    with paddle.no_grad():
        style = net.prepare_style(image(rng), mask=halves())
    with pytest.raises(InputError, match="no region for #00ff00 of .* regions are #0000ff, #ff0000"):
        style.in_regions(halves(right=(0, 255, 0)))
    with pytest.warns(InputNote, match="has no region for #0000ff of the style"):
        style.in_regions(halves(right=BLACK))


# Masks ---------------------------------------------------------------------------------------------------------------


def test_split_mask():
    labels, colours = split_mask(paint_mask({RED: np.eye(20) > 0, BLUE: np.arange(400).reshape(20, 20) >= 380}))
    assert sorted(colours) == [BLUE, RED]
    assert (labels == 1 + colours.index(BLUE)).sum() == 20 and (labels == 1 + colours.index(RED)).sum() == 19
    assert (split_mask(np.zeros((20, 20, 3), "uint8"))[0] == 0).all()
    labels, colours = split_mask(np.full((20, 20, 3), 255, "uint8"))
    assert (labels == 1).all() and colours == [(255, 255, 255)]


def test_masks_with_soft_edges_in_jpeg(tmp_path):
    mask = paint_mask({RED: np.tri(120) > 0, (0, 200, 0): np.indices((120, 120)).sum(0) < 60})
    Image.fromarray(mask).resize((240, 240), Image.BICUBIC).save(tmp_path / "m.jpg", quality=80)
    labels, colours = split_mask(read_mask(tmp_path / "m.jpg"))
    assert len(colours) == 2
    exact, of = split_mask(mask.repeat(2, 0).repeat(2, 1))
    order = [0, *(1 + of.index(partner(colour, of)) for colour in colours)]
    assert (np.array(order)[labels] == exact).mean() > 0.97


def test_transparent_pixels_are_in_no_region(tmp_path):
    mask = np.full((20, 20, 4), 255, "uint8")
    mask[:10, :, 3] = 0
    Image.fromarray(mask).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png")[:10] == 0).all() and (read_mask(tmp_path / "m.png")[10:] == 255).all()


def test_photographs_are_refused_as_masks(rng):
    with pytest.raises(InputError, match="one flat colour for each region"):
        split_mask(rng.randint(0, 256, (64, 64, 3)).astype("uint8"))


def test_masks_of_another_size_are_resized_with_a_note():
    mask = halves(32, 40)
    with pytest.warns(InputNote, match="the mask is 40 x 32 pixels, its picture 80 x 64 pixels: the mask is resized"):
        np.testing.assert_array_equal(mask_for(mask, (64, 80)), halves())
    np.testing.assert_array_equal(mask_for(mask, (64, 80), own_size=(32, 40)), halves())  # the picture was enlarged too
    with pytest.raises(InputError, match="a mask must be a path or a uint8 RGB array"):
        mask_for(mask.astype(float), (64, 80))


def test_regions_too_small_for_a_level_get_one_cell_with_a_note():
    labels = np.ones((64, 64), int)
    labels[33, 50] = 2
    with pytest.warns(InputNote, match="a region of 1 pixels is smaller than a cell of level 5"):
        cells = level_labels(labels, (4, 4), 5).reshape(4, 4)
    assert cells[2, 3] == 2 and (cells == 2).sum() == 1
    labels[34, 51] = 3  # in the same cell: only one of the two can have it
    with pytest.warns(InputNote):
        assert sorted(set(level_labels(labels, (4, 4), 5))) in ([1, 2], [1, 3])


# Drawing -------------------------------------------------------------------------------------------------------------


def test_growing_a_region_from_points():
    picture = np.zeros((30, 40, 3), "uint8")
    picture[:, 20:] = 100
    picture[5:10, 5:10] = 8
    picture.flags.writeable = False  # as `read_image` gives it
    grown = grow_region(picture, [(2, 3)], tolerance=5)
    assert grown[:, :20].sum() == 600 - 25 and not grown[:, 20:].any()
    assert grow_region(picture, [(2, 3)], tolerance=8)[:, :20].all()
    assert grow_region(picture, [(2, 3), (30, 3)], tolerance=8).all()
    with pytest.raises(InputError, match=r"the point \(40, 3\) is outside the picture of 40 x 30 pixels"):
        grow_region(picture, [(40, 3)])
    with pytest.raises(InputError, match="0 to 255; got 300"):
        grow_region(picture, [(4, 3)], tolerance=300)


def test_filling_outlines():
    square = fill_polygon((20, 30), [(5, 5), (14, 5), (14, 9), (5, 9)])
    assert square.sum() == 50 and square[5:10, 5:15].all()
    drawn = square.copy()
    drawn[6:9, 6:14] = False  # its outline alone
    np.testing.assert_array_equal(fill_outlines(drawn), square)
    drawn[5, 5:7] = False  # open: nothing but the line
    np.testing.assert_array_equal(fill_outlines(drawn), drawn)
    with pytest.raises(InputError, match="at least three points; got 2"):
        fill_polygon((20, 30), [(0, 0), (3, 3)])
    with pytest.raises(InputError, match="all of one size"):
        paint_mask({RED: np.ones((2, 2), bool), BLUE: np.ones((3, 2), bool)})


def test_showing_regions():
    picture = np.full((4, 4, 3), 100, "uint8")
    shown = show_regions(picture, paint_mask({RED: np.tri(4) > 0}))
    assert (shown[np.tri(4) == 0] == 100).all() and (shown[np.tri(4) > 0] == (177, 50, 50)).all()


def test_masks_by_path_and_array(stylizer, picture, tmp_path, rng):
    content, style = picture("c.png", 48, 64), picture("s.png", 32, 48)
    Image.fromarray(halves(48, 64)).save(tmp_path / "cm.png")
    Image.fromarray(halves(32, 48)).save(tmp_path / "sm.png")
    prepared = stylizer.prepare_style(style, mask=tmp_path / "sm.png")
    painted = stylizer(content, prepared, mask=tmp_path / "cm.png")
    np.testing.assert_array_equal(painted, stylizer(content, prepared, mask=halves(48, 64)))
    assert (painted != stylizer(content, prepared)).any()
    assert ppadaattn.Style is type(prepared)


@pytest.mark.parametrize("attention", KINDS)
def test_more_regions_than_cells(rng, attention):
    """A style of one cell at level 5 with a small region in a corner, and a content of the same mask."""
    net = network(attention)
    mask = halves(16, 16, RED, RED)
    mask[:3, :3] = 0, 255, 0
    with pytest.warns(InputNote), paddle.no_grad():
        style = net.prepare_style(image(rng, 16, 16), mask=mask)
        painted = net.stylize(image(rng, 16, 16), style.in_regions(mask)).numpy()
    assert np.isfinite(painted).all() and sorted(style.regions) == [(0, 255, 0), RED]
