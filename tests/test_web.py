"""The page of `ppadaattn export --web` in Chromium: the network runs in the browser, with WebAssembly."""

import contextlib
import functools
import http.server
import io
import os
import re
import threading
from pathlib import Path

import ppadaattn
from ppadaattn.errors import InputNote
from ppadaattn.infer.export_onnx import save_program
from ppadaattn.media.video_read import open_clip
from ppadaattn.model.style import Style
from ppadaattn.resources import packaged
from ppadaattn.serve.export_web import NPM_FOLDER, RUNTIME_FILES, save_page

import numpy as np
import pytest
from conftest import ROOT, smooth
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from clients import PATIENCE
from test_jobs import make_clip
from test_page import PAINTED, choose, chromium, file_of, opened, paint_after, painted, photo, sound_alone

# Its files, where they are not in node_modules of this clone.
RUNTIME = Path(os.environ.get("PPADAATTN_ONNXRUNTIME_WEB", ROOT / NPM_FOLDER))


JS = "text/javascript"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (RUNTIME / next(iter(RUNTIME_FILES))).is_file():
        pytest.skip("the page needs ONNX Runtime: npm install onnxruntime-web, or PPADAATTN_ONNXRUNTIME_WEB=FOLDER")
    frames = tmp_path_factory.mktemp("camera") / "frames.mjpeg"
    with frames.open("wb") as file:
        for seed in range(3):
            Image.fromarray(smooth(np.random.RandomState(seed), 96, 128)).save(file, "JPEG")
    gpu = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")  # which pages do not choose by themselves
    with chromium(*gpu, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={frames}") as browser:
        yield browser


@contextlib.contextmanager
def serving(folder):
    """The port of a server of static files."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "page"
    save_page(folder, runtime=RUNTIME)
    with serving(folder) as port:
        yield port


@pytest.fixture
def page(browser, port):
    with opened(browser, port) as page:
        page.select_option("#format", "png")
        yield page


@pytest.fixture(scope="module")
def video_stylizer():
    return ppadaattn.load("adaattn_lite_video", device="cpu")


def style(name):
    return str(packaged("examples") / "style" / f"{name}.jpg")


@contextlib.contextmanager
def said(page):
    """What the page complains of in this block."""
    page.evaluate("document.getElementById('message').hidden = true")
    sentences = []
    yield sentences
    page.wait_for_selector("#message:not([hidden])")
    sentences.append(page.inner_text("#message span"))


def test_paints_what_the_command_paints(page, video_stylizer):
    page.wait_for_selector("#how:not(:empty)")
    assert re.search(r"on \d+ threads; no picture leaves this computer", page.inner_text("#how")) or os.cpu_count() == 1
    for hidden in ("#save-style", "#interface"):
        assert page.locator(hidden).is_hidden(), hidden
    choose(page, file_of(photo(97, 131)))  # odd sides
    first = painted(page)
    np.testing.assert_allclose(first, video_stylizer(photo(97, 131), style("brush_strokes")), atol=2)
    second = paint_after(page, lambda: page.click("[data-style=woodcut]"))
    expected = video_stylizer(photo(97, 131), style("woodcut"))
    np.testing.assert_allclose(second, expected, atol=2)
    kept = paint_after(page, lambda: page.check("#keep"))
    expected = video_stylizer(photo(97, 131), style("woodcut"), preserve_color=True)
    np.testing.assert_allclose(kept, expected, atol=3)  # 2 of the luminance, and rounding of the conversion
    page.click("#command summary")
    assert "--model adaattn_lite_video" in page.inner_text("#command code").replace("\\\n", "")


def test_sizes_and_own_styles_are_reduced_alike(page, video_stylizer, tmp_path):
    page.locator("#size").fill("256")
    content, own = photo(301, 413), photo(150, 203)
    Image.fromarray(content).save(tmp_path / "content.png")
    Image.fromarray(own).save(tmp_path / "own.png")
    page.locator("#stroke").fill("128")
    page.set_input_files("#style-file", str(tmp_path / "own.png"))
    choose(page, str(tmp_path / "content.png"))
    found = painted(page)
    expected = video_stylizer(str(tmp_path / "content.png"), str(tmp_path / "own.png"), size=256, style_size=128)
    np.testing.assert_allclose(found, expected, atol=2)


def test_image_model(page, stylizer):
    page.select_option("#model", "adaattn_lite_image")
    page.locator("#stroke").fill("128")
    page.set_input_files("#style-file", file_of(photo(64, 80), "own.png"))
    choose(page, file_of(photo(65, 96)))
    np.testing.assert_allclose(painted(page), stylizer(photo(65, 96), photo(64, 80)), atol=2)
    weak = paint_after(page, lambda: page.locator("#strength").fill("0.4"))
    np.testing.assert_allclose(weak, stylizer(photo(65, 96), photo(64, 80), strength=0.4), atol=2)
    page.set_input_files("#style-file", file_of(photo(50, 90), "other.png"))
    page.click("[data-mode=concat]")
    both = paint_after(page, lambda: page.click("[data-style='own.png']"))
    other, own = (stylizer.prepare_style(photo(*size)) for size in ((50, 90), (64, 80)))
    np.testing.assert_allclose(both, stylizer(photo(65, 96), other + own, strength=0.4), atol=2)


def test_strength_mixtures_and_styles_side_by_side(page, video_stylizer):
    content = photo(97, 131)
    choose(page, file_of(content))
    painted(page)
    weak = paint_after(page, lambda: page.locator("#strength").fill("0.35"))
    expected = video_stylizer(content, style("brush_strokes"), strength=0.35)
    np.testing.assert_allclose(weak, expected, atol=2)
    page.locator("#strength").fill("1")
    page.click("[data-mode=mix]")
    page.click("[data-style=woodcut]")
    mixed = paint_after(page, lambda: page.locator("#weights input").nth(0).fill("0.7"))
    names = [style("brush_strokes"), style("woodcut")]
    np.testing.assert_allclose(mixed, video_stylizer(content, names, style_weights=[0.7, 0.3]), atol=2)
    beside = paint_after(page, lambda: page.click("[data-mode=concat]"))
    first, second = map(video_stylizer.prepare_style, names)
    np.testing.assert_allclose(beside, video_stylizer(content, first + second), atol=2)
    page.click("#command summary")
    assert "--style-mode concat" in page.inner_text("#command code").replace("\\\n", "")


def test_regions(page, video_stylizer):
    """A mixture in the rest, a style in a region, and one in a region smaller than a cell of the feature map."""
    content = photo(97, 131)
    choose(page, file_of(content))
    painted(page)
    page.click("[data-mode=mix]")
    paint_after(page, lambda: page.click("[data-style=woodcut]"))
    page.locator("#strength").fill("0.8")
    page.click("[data-tool=outline]")
    for x, y in ((0.3, 0.2), (0.7, 0.2), (0.6, 0.9)):
        page.mouse.click(*at(page, x, y))
    page.keyboard.press("Enter")
    page.click("[data-style=ink_wash]")
    page.click("[data-tool=brush]")
    page.locator("#width").fill("2")
    page.click("[data-target='2']")
    page.click("[data-style=stained_glass]")
    found = paint_after(page, lambda: page.mouse.click(*at(page, 0.1, 0.5)))
    with page.expect_download() as download:
        page.click("#download-mask")
    mask = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert mask.shape == content.shape and 0 < (mask == [0, 0, 255]).all(2).sum() <= 16
    colours = {(255, 255, 255): ["brush_strokes", "woodcut"], (255, 0, 0): ["ink_wash"], (0, 0, 255): ["stained_glass"]}
    styles = [
        video_stylizer.prepare_style(style(name)).as_region(colour)
        for colour, names in colours.items()
        for name in names
    ]
    with pytest.warns(InputNote, match="widened to one cell"):
        expected = video_stylizer(content, Style.mix(styles, [0.5, 0.5, 1, 1]), mask=mask, strength=0.8)
    np.testing.assert_allclose(found, expected, atol=2)


def at(page, x, y):
    box = page.locator("#regions").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_a_clip(page, video_stylizer, tmp_path):
    make_clip(tmp_path / "clip.mp4", frames=24)
    source = [frame.image for frame in open_clip(tmp_path / "clip.mp4").frames()]
    choose(page, str(tmp_path / "clip.mp4"))
    page.wait_for_selector("body[data-state=opened]")
    page.click("#paint")
    page.wait_for_selector("#status >> text=/^Frame [1-9]\\d* of 24/")
    page.keyboard.press("Escape")
    page.wait_for_selector("body[data-state=cancelled]")
    page.click("#paint")
    page.wait_for_selector(f"body[data-state=ready] {PAINTED}")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "clip_brush_strokes.webm"
    download.value.save_as(tmp_path / "painted.webm")
    clip = open_clip(tmp_path / "painted.webm")
    frames = [frame.image for frame in clip.frames()]
    assert len(frames) == 24 and clip.seconds == pytest.approx(open_clip(tmp_path / "clip.mp4").seconds, abs=0.05)
    prepared, light = video_stylizer.prepare_style(style("brush_strokes")), np.array([0.299, 0.587, 0.114])
    for number in (0, 11, 23):  # encoding takes the colours of small strokes, and leaves their light
        found, expected = frames[number] @ light, video_stylizer(source[number], prepared) @ light
        assert np.abs(found - expected).mean() < 5 < np.abs(found - frames[number - 3] @ light).mean()
    page.wait_for_function("document.getElementById('after-clip').readyState >= 2")  # the browser plays it


def test_works_offline(browser, port):
    with opened(browser, port) as page:
        choose(page, file_of(photo()))
        before = painted(page)
        page.wait_for_function(
            "async () => (await (await caches.open((await caches.keys())[0])).keys())"
            ".some(({ url }) => url.endsWith('adaattn_lite_video/woodcut.bin'))"
        )
        page.context.set_offline(True)
        page.reload()
        page.wait_for_selector("body[data-state=ready]")
        choose(page, file_of(photo()))
        np.testing.assert_array_equal(painted(page), before)


def test_one_thread_without_isolation(browser, port, video_stylizer):
    with opened(browser, port, service_workers="block") as page:
        page.wait_for_selector("#how >> text=/on one thread, since the page is not isolated/")
        choose(page, file_of(photo()))
        page.wait_for_selector(PAINTED)
        page.problems[:] = [text for text in page.problems if "Service Worker" not in text]  # Playwright says so


# In place of ONNX Runtime with WebGPU: it loads, and a session fails.
BROKEN = """
export const env = { wasm: {} };
export const InferenceSession = { async create() { throw new Error("the device is lost"); } };
"""


def test_without_a_graphics_processor_that_fails(browser, port, video_stylizer):
    with opened(browser, port, service_workers="block") as page:
        page.context.route("**/ort.webgpu.bundle.min.mjs", lambda route: route.fulfill(body=BROKEN, content_type=JS))
        page.goto(f"http://127.0.0.1:{port}/?webgpu=any")
        page.wait_for_selector("body[data-state=ready]")
        page.wait_for_selector("#how >> text=/The graphics processor failed, so this browser paints without it/")
        page.select_option("#format", "png")
        choose(page, file_of(photo()))
        np.testing.assert_allclose(painted(page), video_stylizer(photo(), style("brush_strokes")), atol=2)
        page.problems[:] = [text for text in page.problems if "Service Worker" not in text]  # Playwright says so


def test_what_cannot_be_painted_is_said(page, tmp_path):
    with said(page) as sentences:
        choose(page, sound_alone(tmp_path / "sound.mp4"))
    assert sentences == ["sound.mp4 is not a clip that this browser can play."]
    with said(page) as sentences:
        choose(page, {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": b"x"})
    with said(page) as sentences_of_picture:
        choose(page, {"name": "b.png", "mimeType": "image/png", "buffer": b"no picture"})
    with said(page) as sentences_of_small:
        choose(page, file_of(photo(8, 40), "small.png"))
        page.wait_for_selector("body[data-state=opened]")
        page.wait_for_selector("body[data-state=failed]")
    assert sentences == ["clip.mp4 is not a clip that this browser can play."]
    assert sentences_of_picture == ["b.png is not a picture that this browser can read."]
    assert sentences_of_small == ["small.png is too small: each side must have at least 17 pixels."]
    large = io.BytesIO()
    Image.new("1", (10000, 6000)).save(large, "PNG")
    with said(page) as sentences:
        choose(page, {"name": "large.png", "mimeType": "image/png", "buffer": large.getvalue()})
    assert sentences == ["large.png has 60 megapixels, and up to 25 are read; make it smaller first."]


def test_camera(browser, port, tmp_path):
    with opened(browser, port, permissions=["camera"]) as page:
        page.click("#camera")
        frames = "() => Number(document.getElementById('camera-canvas').dataset.frames || 0)"

        def wait_for_frames(count):
            before = page.evaluate(frames)
            page.wait_for_function(f"{frames} >= {before + count}")

        def snapshot():
            with page.expect_download() as download:
                page.click("#snapshot")
            return np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)

        wait_for_frames(2)
        assert re.fullmatch(r"[\d.]+ frames per second", page.inner_text("#rate"))
        first = snapshot()
        assert first.shape == (192, 256, 3)
        page.click("[data-style=woodcut]")
        wait_for_frames(2)
        second = snapshot()
        assert np.ptp(first.std(2)) > 30 and second.std(2).mean() < first.std(2).mean()  # a woodcut has few colours
        page.click("#record")
        wait_for_frames(3)
        with page.expect_download() as download:
            page.click("#record")
        download.value.save_as(tmp_path / "camera.webm")
        assert len(list(open_clip(tmp_path / "camera.webm").frames())) >= 2
        page.click("#camera-off")
        assert page.locator("#camera-view").is_hidden() and page.locator("#choose").is_visible()


def test_camera_refused(page):
    with said(page) as sentences:
        page.click("#camera")
    assert sentences == ["The camera was refused; allow it for this page in the browser's settings."]
    assert page.locator("#choose").is_visible()


def test_javascript_of_the_documents(browser, stylizer, tmp_path):
    """The example of docs/export.md, as it is, on a page of its own."""
    example = re.search(r"```js\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)[1]
    (tmp_path / "example.js").write_text(example)
    (tmp_path / "index.html").write_text(
        '<link rel="icon" href="data:,"><script type="module" src="example.js"></script>'
    )
    save_program(stylizer.network, "network", tmp_path / "exported", "bytes")
    (tmp_path / "onnxruntime-web").mkdir()
    for name in next(iter(RUNTIME_FILES.items())):
        (tmp_path / "onnxruntime-web" / name).symlink_to(RUNTIME / name)
    content, style = photo(20, 256), photo(24, 256)[::-1]
    for name, picture in (("photo", content), ("painting", style)):
        Image.fromarray(picture).save(tmp_path / f"{name}.jpg", "PNG")  # so that all decoders read the same pixels
    with serving(tmp_path) as port:
        page = browser.new_page()
        with page.expect_console_message(timeout=PATIENCE * 1000) as logged:
            page.goto(f"http://127.0.0.1:{port}/")
        dims, data = (argument.evaluate("value => Array.from(value)") for argument in logged.value.args)
        page.close()
    np.testing.assert_allclose(np.reshape(data, dims), stylizer(content, style), atol=1)
