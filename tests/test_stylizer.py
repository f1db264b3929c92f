"""The inference object."""

import ppadaattn
from ppadaattn.errors import InputError, InputNote
from ppadaattn.infer.options import PaintOptions
from ppadaattn.media.images import flatten, read_image
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.weights.checkpoint import save_weights

import numpy as np
import paddle
import pytest
from PIL import Image


def arrays(rng):
    content = rng.randint(0, 256, (37, 50, 3)).astype("uint8")
    style = rng.randint(0, 256, (29, 44, 3)).astype("uint8")
    return content, style


def test_array_in_array_out(stylizer, rng):
    content, style = arrays(rng)
    before = content.copy()
    output = stylizer(content, style)
    assert output.dtype == np.uint8 and output.shape == content.shape
    np.testing.assert_array_equal(content, before)
    np.testing.assert_array_equal(output, stylizer(content, style))
    # rounded and clipped, not wrapped around
    tensors = [paddle.to_tensor(x.transpose(2, 0, 1)[None].astype("float32") / 255) for x in (content, style)]
    with paddle.no_grad():
        raw = stylizer.network(*tensors)[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(output, raw.clip(0, 1) * 255, atol=0.51)


def test_paths_arrays_and_prepared_styles_are_one(stylizer, picture):
    content_path, style_path = picture("content.png", 40, 33), picture("style.png", 20, 60)
    content, style = read_image(content_path), read_image(style_path)
    expected = stylizer(content, style)
    np.testing.assert_array_equal(stylizer(content_path, str(style_path)), expected)
    np.testing.assert_array_equal(stylizer(content, stylizer.prepare_style(style_path)), expected)


def test_a_prepared_style_is_not_encoded_again(rng, monkeypatch):
    stylizer = ppadaattn.load(device="cpu", engine="eager")
    content, style = arrays(rng)
    calls = []
    forward = stylizer.network.encoder.forward
    monkeypatch.setattr(stylizer.network.encoder, "forward", lambda image: calls.append(image.shape) or forward(image))
    prepared = stylizer.prepare_style(style)
    for _ in range(3):
        stylizer(content, prepared)
    assert [tuple(shape[2:]) for shape in calls] == [style.shape[:2], *[content.shape[:2]] * 3]


def test_files_are_reduced_arrays_are_not(stylizer, picture, rng, monkeypatch):
    content, style = picture("content.png", 60, 100), picture("style.png", 80, 600)
    assert stylizer(content, style, size=50).shape == (30, 50, 3)
    assert stylizer(content, style).shape == (60, 100, 3)
    sizes = []
    monkeypatch.setattr(stylizer, "engine", None)
    encode = stylizer.network.prepare_style
    monkeypatch.setattr(
        stylizer.network, "prepare_style", lambda image, **_: sizes.append(image.shape[2:]) or encode(image)
    )
    stylizer.prepare_style(style)
    stylizer.prepare_style(style, style_size=0)
    stylizer.prepare_style(read_image(style))
    assert [tuple(size) for size in sizes] == [(68, 512), (80, 600), (80, 600)]


def test_alpha_is_laid_on_white_for_the_network(stylizer, rng):
    content, style = arrays(rng)
    transparent = np.dstack([style, np.zeros(style.shape[:2], "uint8")])
    np.testing.assert_array_equal(stylizer(content, flatten(transparent)), stylizer(content, np.full_like(style, 255)))


def test_styles_are_saved_for_their_model(stylizer, rng, tmp_path):
    content, style = arrays(rng)
    prepared = stylizer.prepare_style(style)
    stylizer.save_style(tmp_path / "a.style", prepared)
    np.testing.assert_array_equal(
        stylizer(content, stylizer.load_style(tmp_path / "a.style")), stylizer(content, style)
    )
    with pytest.raises(InputError, match="prepared by another model"):
        ppadaattn.load("adaattn_lite_video", device="cpu").load_style(tmp_path / "a.style")


def test_styles_of_another_model_are_refused(stylizer, rng, tmp_path):
    content, style = arrays(rng)
    foreign = ppadaattn.load("adaattn_lite_video", device="cpu").prepare_style(style)
    for use in (lambda: stylizer(content, foreign), lambda: stylizer.save_style(tmp_path / "a.style", foreign)):
        with pytest.raises(InputError, match="prepared by another model"):
            use()
    with pytest.raises(ValueError, match="one network has prepared"):
        foreign + stylizer.prepare_style(style)
    plain = ppadaattn.Style(stylizer.prepare_style(style).states)  # as the network itself gives it
    stylizer.save_style(tmp_path / "a.style", plain)
    assert stylizer(content, stylizer.load_style(tmp_path / "a.style")).shape == content.shape
    both = stylizer.prepare_style(style) + stylizer.prepare_style(255 - style)
    mixed = ppadaattn.Style.mix([both, stylizer.prepare_style(style)])
    assert stylizer(content, mixed).shape == content.shape


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.astype("float32"), r"`content` must be .* got an array of float32 \(37, 50, 3\)"),
        (lambda a: a[:, :, 0], r"got an array of uint8 \(37, 50\)"),
        (lambda a: np.dstack([a, a[:, :, :1]]), r"got an array of uint8 \(37, 50, 4\)"),
        (lambda a: a[:15], "the content array is 50 x 15 pixels"),
        (lambda a: a.tolist(), "got list"),
        (lambda a: None, "got NoneType"),
    ],
)
def test_other_arrays_are_refused(stylizer, rng, change, sentence):
    content, style = arrays(rng)
    with pytest.raises(InputError, match=sentence):
        stylizer(change(content), style)


@pytest.mark.parametrize("device", ["gpu:99", "tpu", "gpu:x", "cuda"])
def test_devices_that_are_not_there(device):
    with pytest.raises(InputError, match="cannot be used|expected cpu, gpu or gpu:N"):
        ppadaattn.load(device=device)
    assert paddle.get_device() == "cpu" or paddle.is_compiled_with_cuda()


def test_strength_goes_from_the_content_to_the_style(stylizer, rng):
    content, style = arrays(rng)
    style = stylizer.prepare_style(style)
    np.testing.assert_array_equal(stylizer(content, style, strength=1), stylizer(content, style))
    own = stylizer.prepare_style(content)
    half = stylizer(content, style, strength=0.5)
    # The content as its own style is prepared by Paddle, other styles by the engine: a value may be rounded otherwise.
    for found, expected in (
        (stylizer(content, style, strength=0), stylizer(content, own)),
        (half, stylizer(content, ppadaattn.Style.mix([style, own]))),
    ):
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert (half != stylizer(content, style)).any()
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="strength is 0 .the content as its own style. to 1 .the style.; got"):
            stylizer(content, style, strength=wrong)


def test_strength_of_a_mixture_in_regions_and_of_a_batch(stylizer, rng):
    content, style = arrays(rng)
    first, second = stylizer.prepare_style(style), stylizer.prepare_style(255 - style)
    mask = np.zeros_like(content)
    mask[:20] = 255, 0, 0
    mixed = ppadaattn.Style.mix([first.as_region((255, 0, 0)), second.as_region((255, 0, 0))])
    assert (stylizer(content, mixed, mask=mask, strength=0.3) != stylizer(content, mixed, mask=mask)).any()
    contents = np.stack([content, 255 - content])
    for picture, alone in zip(stylizer.paint(contents, mixed, strength=0.3), contents):
        assert np.abs(picture.astype(int) - stylizer(alone, mixed, strength=0.3)).max() <= 1


@pytest.mark.parametrize("model", ["adaattn_lite_image", "adaattn_lite_video"])
def test_weights_of_one_and_nothing_and_a_style_beside_itself(model, rng):
    stylizer = ppadaattn.load(model, device="cpu")
    content, style = arrays(rng)
    first, second = stylizer.prepare_style(style), stylizer.prepare_style(255 - style)
    expected = stylizer(content, first)
    np.testing.assert_array_equal(stylizer(content, ppadaattn.Style.mix([first, second], [1, 0])), expected)
    assert np.abs(stylizer(content, first + first).astype(int) - expected).max() <= 1


def test_colours_of_the_content_are_kept(stylizer, rng):
    content, style = arrays(rng)
    content = content // 2 + 64
    kept, plain = stylizer(content, style, preserve_color=True), stylizer(content, style)
    weights = np.array([0.299, 0.587, 0.114])  # BT.601
    grey = (plain @ weights)[..., None]
    expected = grey + content - (content @ weights)[..., None]  # Y of the one, Cb and Cr of the other
    inside = ((expected > 4) & (expected < 251)).all(-1)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(kept[inside], expected[inside], atol=4)


def test_a_style_file_stands_where_a_picture_does(stylizer, picture, tmp_path, rng):
    content, style = arrays(rng)
    mask = np.zeros_like(style)
    mask[:10], mask[10:] = (255, 0, 0), (0, 0, 255)
    prepared = stylizer.prepare_style(style, mask=mask)
    stylizer.save_style(tmp_path / "a.style", prepared)
    np.testing.assert_array_equal(stylizer(content, tmp_path / "a.style"), stylizer(content, prepared))
    of_content = np.zeros_like(content)
    of_content[:, :25], of_content[:, 25:] = (0, 0, 255), (255, 0, 0)
    painted = stylizer(content, str(tmp_path / "a.style"), mask=of_content)
    np.testing.assert_array_equal(painted, stylizer(content, prepared, mask=of_content))
    with pytest.raises(InputError, match="is a style file, whose regions are in it"):
        stylizer.prepare_style(tmp_path / "a.style", mask=mask)
    with pytest.raises(InputError, match=r"styles are kept in files named \*.style"):
        stylizer.save_style(tmp_path / "a.png", prepared)


def test_enlarging_a_style(stylizer, picture):
    style = picture("s.png", 30, 40)
    larger = stylizer.prepare_style(style, style_size=80, enlarge=True)
    assert larger.states[3].count == 15 * 20 and stylizer.prepare_style(style).states[3].count == 8 * 10


def test_bytes_and_pil_images_stand_for_files(stylizer, picture):
    content, style = picture("content.png", 40, 33), picture("style.png", 20, 60)
    expected = stylizer(content, style, size=32)
    assert expected.shape == (32, 26, 3)
    np.testing.assert_array_equal(stylizer(content.read_bytes(), style.read_bytes(), size=32), expected)
    np.testing.assert_array_equal(stylizer(Image.open(content), Image.open(style), size=32), expected)
    turned = Image.open(picture("turned.jpg", 24, 32))
    turned.getexif()[0x0112] = 6  # to be seen turned by 90 degrees
    assert stylizer(turned, style).shape == (32, 24, 3)
    for name in ("RGBA", "L"):
        other = picture(f"{name}.png", 24, 32, name)
        np.testing.assert_array_equal(stylizer(Image.open(other), style), stylizer(other, style))
    with pytest.raises(InputError, match="^the content is not a picture that can be read"):
        stylizer(b"no picture", style)
    with pytest.raises(InputError, match="^the style is 4 x 4 pixels; each side must be at least 16"):
        stylizer(content, Image.new("RGB", (4, 4)))


def test_a_list_of_styles_is_a_mixture(stylizer, picture, rng):
    content, array = arrays(rng)
    path = picture("style.png", 20, 60)
    prepared = stylizer.prepare_style(255 - array)
    parts = [stylizer.prepare_style(array), stylizer.prepare_style(path), prepared]
    mixed = stylizer(content, [array, Image.open(path), prepared], style_weights=[1, 2, 5])
    np.testing.assert_array_equal(mixed, stylizer(content, ppadaattn.Style.mix(parts, [1, 2, 5])))
    equal = stylizer(content, ppadaattn.Style.mix(parts))
    np.testing.assert_array_equal(stylizer(content, (array, path, prepared)), equal)
    foreign = ppadaattn.load("adaattn_lite_video", device="cpu").prepare_style(array)
    for style, more, sentence in (
        ([array, path], {"style_weights": [1]}, "2 styles need 2 weights; `style_weights` has 1"),
        ([array, path], {"style_weights": [1, -1]}, "`style_weights` are 0 or more, and not all 0; got 1 -1"),
        ([], {}, "a list of styles is empty"),
        (prepared, {"style_weights": [1]}, "`style_weights` are for a list of styles"),
        ([array, foreign], {}, "prepared by another model"),
        ([array, None], {}, "`style` must be .* got NoneType"),
    ):
        with pytest.raises(InputError, match=sentence):
            stylizer(content, style, **more)


def test_style_scale_is_relative_to_the_content(stylizer, picture, rng):
    content, style = arrays(rng)[0], picture("s.png", 30, 40)
    enlarged = stylizer.prepare_style(style, style_size=75, enlarge=True)
    np.testing.assert_array_equal(stylizer(content, style, style_scale=1.5), stylizer(content, enlarged))


def test_options_as_an_object_and_as_arguments(stylizer, rng):
    content, style = arrays(rng)
    options = PaintOptions(strength=0.5, preserve_color=True)
    expected = stylizer(content, style, strength=0.5, preserve_color=True)
    np.testing.assert_array_equal(stylizer(content, style, options), expected)
    plain = stylizer(content, style, strength=0.5)
    np.testing.assert_array_equal(stylizer(content, style, options, preserve_color=False), plain)


def test_repr_says_model_engine_and_device(stylizer):
    eager = ppadaattn.load("adaattn_lite_video", device="cpu", engine="eager")
    assert repr(eager) == "Stylizer(model='adaattn_lite_video', engine='eager', device='cpu')"
    assert repr(ppadaattn.Stylizer(eager.network)) == "Stylizer(model=None, engine='eager', device='cpu')"
    assert repr(stylizer).startswith("Stylizer(model='adaattn_lite_image', engine='")


def test_the_folder_of_a_training_is_a_model(stylizer, tmp_path, rng):
    content, style = arrays(rng)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(InputError, match="run holds no iter_N_weight.pdparams, which a training writes"):
        ppadaattn.load(run, device="cpu")
    save_weights(run / "iter_90_weight.pdparams", AdaAttNNetwork(width=1 / 32))
    save_weights(run / "iter_100_weight.pdparams", stylizer.network)
    (run / "iter_200_checkpoint.pdparams").write_bytes(b"no weights")
    with pytest.warns(InputNote, match="the newest weights of .*run: iter_100_weight.pdparams"):
        trained = ppadaattn.load(str(run), device="cpu")
    np.testing.assert_array_equal(trained(content, style), stylizer(content, style))
