"""Frames in turn: optical flow, smoothed statistics, blended frames."""

import ppadaattn
from ppadaattn.errors import InputError
from ppadaattn.infer.frames import FramePainter, Memory, is_cut
from ppadaattn.media import flow

import numpy as np
import paddle
import pytest


def texture(height=64, width=96, seed=0):
    """A smooth random picture, float64 H x W x 3."""
    waves = np.random.RandomState(seed).rand(12, 3, 3)
    rows, columns = np.mgrid[:height, :width]
    phases = [0.35 * (w[0, 0] * rows + w[0, 1] * columns)[..., None] + 6 * w[1] for w in waves]
    return sum(np.sin(p) * w[2] for p, w in zip(phases, waves)) * 12 + 128


@pytest.fixture
def moving():
    """Two frames, of which the second shows what moved 3 pixels to the right and 2 down."""
    large = texture(80, 112).clip(0, 255).astype("uint8")
    return large[8:72, 8:104], large[6:70, 5:101]


def test_the_flow_of_a_shift_is_known(moving):
    found, trusted = flow.reliable_flow(*moving)
    inner = np.s_[10:-10, 10:-10]
    assert trusted[inner].mean() > 0.95
    np.testing.assert_allclose(np.median(found[inner], (0, 1)), (3, 2), atol=0.1)
    assert not trusted[:, -3:].any()  # what moved out of the frame


def test_warping_undoes_a_known_flow(moving):
    known = np.zeros((64, 96, 2), "float32")
    known[...] = 3, 2
    warped, inside = flow.warp(moving[1], known)
    assert not inside[-2:].any() and not inside[:, -3:].any() and inside[:-2, :-3].all()
    np.testing.assert_array_equal(warped[inside], moving[0][inside])
    half = known * 0
    half[..., 0] = 0.5
    ramp = np.tile(np.arange(96.0, dtype="float32"), (64, 1))[..., None]
    np.testing.assert_allclose(flow.warp(ramp, half)[0][:, :-1].squeeze(), ramp[:, :-1, 0] + 0.5)


def test_cuts(moving):
    assert not is_cut(*moving) and is_cut(moving[0], np.zeros_like(moving[0]))


def frames(count=4):
    large = texture(80, 112).clip(0, 255).astype("uint8")
    return [np.ascontiguousarray(large[8 - i : 72 - i, 8 - 2 * i : 104 - 2 * i]) for i in range(count)]


@pytest.fixture(scope="module")
def video():
    return ppadaattn.load("adaattn_lite_video", device="cpu")


@pytest.fixture(scope="module")
def style(video):
    return video.prepare_style(texture(48, 48, 1).clip(0, 255).astype("uint8"))


def test_without_options_frames_are_painted_alone(video, style):
    pictures, memory = FramePainter(video, style)(frames())
    for picture, frame in zip(pictures, frames()):
        np.testing.assert_allclose(picture.astype(int), video(frame, style), atol=1)
    np.testing.assert_array_equal(memory.picture, pictures[-1])


@pytest.mark.parametrize("options", [{"smooth_statistics": 0.7}, {"flow_blend": 0.6}])
def test_batches_and_single_frames_are_one(video, style, options):
    painter = FramePainter(video, style, **options)
    together, last = painter(frames())
    memory, alone = None, []
    for frame in frames():
        pictures, memory = painter([frame], memory)
        alone += pictures
        memory = Memory.from_arrays(memory.to_arrays())  # as from a file
    assert all(np.abs(a.astype(int) - b).max() <= 2 for a, b in zip(together, alone))
    np.testing.assert_array_equal(memory.content, last.content)
    plain, _ = FramePainter(video, style)(frames())
    assert np.abs(plain[0].astype(int) - together[0]).max() <= 1  # statistics that are given are left to Paddle
    assert np.abs(plain[3].astype(int) - together[3]).max() > 2


def test_smoothed_statistics_are_a_moving_average(video, style):
    share, clip = np.float32(0.7), frames()
    _, memory = FramePainter(video, style, smooth_statistics=0.7)(clip)
    average = {}
    with paddle.no_grad():
        for frame in clip:
            own = video.network.content_statistics(video.encode(frame[None]))
            for level, pair in own.items():
                before = average.get(level, [x.numpy() for x in pair])
                average[level] = [share * b + (1 - share) * x.numpy() for b, x in zip(before, pair)]
    for level, pair in memory.statistics.items():
        for actual, expected in zip(pair, average[level]):
            np.testing.assert_allclose(actual, expected, atol=1e-4)
    features = video.encode(clip[-1][None])
    given = {level: tuple(map(paddle.to_tensor, pair)) for level, pair in average.items()}
    expected = video.paint(None, style, features=features, content_statistics=given)[0]
    assert np.abs(memory.picture.astype(int) - expected).max() <= 1


def test_blending_takes_the_frame_before_along_the_flow(video, style):
    clip = frames(2)
    plain, _ = FramePainter(video, style)(clip)
    blended, _ = FramePainter(video, style, flow_blend=0.6)(clip)
    found, trusted = flow.reliable_flow(clip[1], clip[0])
    moved, _ = flow.warp(plain[0].astype("float32"), found)
    expected = np.where(trusted[..., None], 0.4 * plain[1] + 0.6 * moved, plain[1])
    np.testing.assert_allclose(blended[1], expected, atol=0.51)
    assert trusted.mean() > 0.5


def test_nothing_is_handed_on_over_a_cut(video, style):
    clip = [frames(1)[0], 255 - 0 * frames(1)[0]]
    plain, _ = FramePainter(video, style)(clip)
    steady, memory = FramePainter(video, style, smooth_statistics=0.9, flow_blend=0.9)(clip)
    np.testing.assert_allclose(steady[1].astype(int), plain[1], atol=1)
    assert sorted(memory.statistics) == [3, 4, 5]


@pytest.mark.parametrize("options", [{"smooth_statistics": 1.0}, {"flow_blend": -0.1}, {"flow_blend": float("nan")}])
def test_shares_outside_their_range_are_refused(video, style, options):
    with pytest.raises(InputError, match="is a share, 0 .off. or more and below 1"):
        FramePainter(video, style, **options)
