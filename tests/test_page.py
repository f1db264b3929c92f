"""The page of `ppadaattn serve` in a real browser: Chromium, driven by Playwright."""

import contextlib
import io
import os
import shutil

from ppadaattn.media.video_read import open_clip

import numpy as np
import pytest
from conftest import smooth
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright", reason="browser tests need Playwright: pip install playwright")

from ppadaattn.serve import service
from ppadaattn.serve.limits import Limits
from ppadaattn.serve.painter import Painter
from ppadaattn.serve.service import Service

from clients import NAME, PATIENCE, ask, running, wait_for
from playwright.sync_api import sync_playwright
from test_jobs import VIDEO_NAME, Steps, make_clip

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIDE = 128  # long side of what is painted: small, so that the whole file takes seconds
PAINTED = "#frame[data-painted=whole]"


@contextlib.contextmanager
def chromium(*more):
    """Chromium, started with more words of its command line; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"browser tests need one of {', '.join(BROWSERS)}, such as Debian's package chromium")
    # Chromium's sandbox does not start for root.
    words = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*words, *more])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def port(browser):
    limits = Limits(size=SIDE, max_pixels=1_000_000, style_files=True)
    with running(Service(Painter({NAME: NAME, VIDEO_NAME: VIDEO_NAME}, "cpu", limits, ".png"))) as port:
        yield port


@contextlib.contextmanager
def opened(browser, port, **options):
    """The page, ready; at the end it must have no error on the console and no request to another origin."""
    context, problems, origin = browser.new_context(**options), [], f"http://127.0.0.1:{port}/"
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    allowed = (origin, f"blob:{origin}", "data:")
    page.on("request", lambda request: request.url.startswith(allowed) or problems.append(request.url))
    page.goto(origin)
    page.wait_for_selector("body[data-state=ready]")
    page.problems = problems
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def page(browser, port):
    with opened(browser, port) as page:
        yield page


def file_of(array, name="photo.png"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


def photo(height=96, width=128):
    return smooth(np.random.RandomState(1), height, width)


def choose(page, file):
    page.set_input_files("#content-file", file)


def painted(page):
    """Wait until the page has painted; the picture, as it is downloaded."""
    page.wait_for_selector(f"body[data-state=ready] {PAINTED}")
    with page.expect_download() as download:
        page.click("#download")
    return np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)


def paint_after(page, action):
    """Do what changes the painting, and wait for the result of that."""
    page.evaluate("document.getElementById('frame').removeAttribute('data-painted')")
    action()
    return painted(page)


def drop(page, files):
    """Drop files, [(name, type, bytes)], as a file manager does."""
    page.evaluate(
        """(files) => {
            const data = new DataTransfer();
            for (const [name, type, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const stage = document.getElementById("stage");
            for (const kind of ["dragover", "drop"]) {
                stage.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true }));
            }
        }""",
        files,
    )


def test_drop_choose_a_style_and_see_the_result(page, stylizer):
    file = file_of(photo())
    drop(page, [[file["name"], file["mimeType"], list(file["buffer"])]])
    first = painted(page)
    second = paint_after(page, lambda: page.click("[data-style=woodcut]"))
    assert first.shape == second.shape == (96, 128, 3) and np.abs(first - second).mean() > 5
    style = str(next(path for name, path in page_styles() if name == "woodcut"))
    np.testing.assert_allclose(second, stylizer(photo(), style, style_size=SIDE), atol=1)
    assert page.get_attribute("#download", "download") == "photo_woodcut.png"
    page.click("#command summary")
    command = page.inner_text("#command code")
    assert "--content photo.png" in command and "--style examples/style/woodcut.jpg" in command
    from ppadaattn.cli import paint

    words = command.replace("\\\n", " ").split()[2:]
    assert paint.parser().parse_args(words).style_size == SIDE
    page.focus("#split")  # before and after, with the keyboard
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.getElementById('frame').style.getPropertyValue('--split')") == "5%"


def page_styles():
    from ppadaattn.serve.about import examples

    return examples("style").items()


def test_own_styles_paste_and_settings(page):
    page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        list(file_of(photo())["buffer"]),
    )
    before = painted(page)

    def choose_own():
        page.set_input_files(
            "#style-file", file_of(np.random.RandomState(5).randint(0, 256, (64, 64, 3)).astype("uint8"), "own.png")
        )

    own = paint_after(page, choose_own)
    assert np.abs(before - own).mean() > 5 and page.get_attribute("[data-style='own.png']", "aria-pressed") == "true"
    kept = paint_after(page, lambda: page.check("#keep"))
    weak = paint_after(page, lambda: page.locator("#strength").fill("0"))
    differences = [np.abs(photo().astype(int) - picture).mean() for picture in (own, kept, weak)]
    assert differences[0] > differences[1] > differences[2]
    with page.expect_download() as download:
        page.click("#save-style")
    assert download.value.suggested_filename == "own.style"
    page.wait_for_selector("body[data-state=ready]")


def test_mixtures(page):
    choose(page, file_of(photo()))
    one = painted(page)
    page.click("[data-mode=mix]")
    mixed = paint_after(page, lambda: page.click("[data-style=woodcut]"))
    assert page.locator("#weights output").all_inner_texts() == ["0.50", "0.50"]
    shifted = paint_after(page, lambda: page.locator("#weights input").nth(0).fill("0.9"))
    assert page.locator("#weights output").all_inner_texts() == ["0.90", "0.10"]
    assert np.abs(one - shifted).mean() < np.abs(one - mixed).mean()
    beside = paint_after(page, lambda: page.click("[data-mode=concat]"))
    assert page.locator("#weights").is_hidden() and np.abs(beside - mixed).mean() > 1


def test_regions_change_only_what_is_inside(page):
    """The statistics of the content are the same; what the decoder sees of its surroundings is the network's reach."""
    choose(page, file_of(photo(96, 128)))
    page.wait_for_selector("#frame:not([hidden])")
    before = painted(page)
    page.click("[data-tool=outline]")
    box = page.locator("#regions").bounding_box()

    def at(x, y):
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def outline():
        for x, y in ((0.004, 0.004), (0.25, 0.004), (0.25, 0.99), (0.004, 0.99)):
            page.mouse.click(*at(x, y))
        page.keyboard.press("Enter")

    after = paint_after(page, outline)
    change = np.abs(after - before).mean(axis=(0, 2))
    assert change[:32].mean() > 8 and change[96:].mean() <= 3, (change[:32].mean(), change[96:].mean())
    page.click("#command summary")
    assert "--content-mask mask.png --style-mask" in page.inner_text("#command code").replace("\\\n  ", "")
    back = paint_after(page, lambda: page.keyboard.press("Control+z"))
    assert np.abs(back - before).max() <= 1

    page.click("[data-tool=fill]")
    page.locator("#tolerance").fill("80")
    filled = paint_after(page, lambda: page.mouse.click(*at(0.5, 0.5)))
    assert np.abs(filled - before).mean() > 1
    page.click("[data-tool=brush]")
    page.click("[data-target='2']")

    def brush():
        page.mouse.move(*at(0.2, 0.2))
        page.mouse.down()
        page.mouse.move(*at(0.8, 0.3), steps=4)
        page.mouse.up()

    assert np.abs(paint_after(page, brush) - filled).mean() > 0.5
    assert page.locator(".chip img").count() == 3  # the rest and two regions
    again = paint_after(page, lambda: page.click("#clear"))
    assert np.abs(again - before).max() <= 1


def test_drawing_with_the_keyboard(page):
    choose(page, file_of(photo(96, 128)))
    before = painted(page)
    page.keyboard.press("b")
    page.focus("#regions")

    def draw():
        page.keyboard.press("Space")
        for _ in range(6):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Space")

    assert np.abs(paint_after(page, draw) - before).mean() > 0.5


def test_a_clip_is_painted_with_progress(page, tmp_path):
    make_clip(tmp_path / "clip.mp4", frames=24)
    page.evaluate(
        """() => {
            window.seen = [];
            const status = document.getElementById("status");
            new MutationObserver(() => window.seen.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    page.set_input_files("#content-file", str(tmp_path / "clip.mp4"))
    page.wait_for_selector("body[data-state=opened]")
    page.select_option("#format", "webm")
    page.click("#paint")
    page.wait_for_selector(f"body[data-state=ready] {PAINTED}")
    assert any(text.startswith("Frame ") and " of 24" in text for text in page.evaluate("window.seen"))
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "painted.webm")
    assert len(list(open_clip(tmp_path / "painted.webm").frames())) == 24
    page.wait_for_function("document.getElementById('after-clip').readyState >= 2")  # the browser plays it


def test_settings_outlive_a_reload(page):
    page.click("[data-style=ink_wash]")
    page.locator("#strength").fill("0.4")
    page.check("#keep")
    page.click("#language")
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert page.get_attribute("[data-style=ink_wash]", "aria-pressed") == "true"
    assert page.input_value("#strength") == "0.4" and page.is_checked("#keep")
    assert page.inner_text("[data-style=ink_wash]") == "水墨"
    assert page.inner_text("#paint") == "绘制" and page.get_attribute("html", "lang") == "zh-CN"


def test_both_languages_have_all_words(page):
    words = page.evaluate("import('./words.js').then(({ WORDS }) => WORDS)")
    assert words["en"].keys() == words["zh"].keys()
    for word, text in words["en"].items():
        assert sorted(part for part in text.split("{")[1:]) == [] or text.count("{") == words["zh"][word].count("{"), (
            word
        )
    used = page.evaluate(
        "[...document.querySelectorAll('[data-word],[data-label],[data-title]')].map((e) => ({...e.dataset}))"
    )
    assert {name for element in used for key, name in element.items() if key in ("word", "label", "title")} <= words[
        "en"
    ].keys()


def test_what_cannot_be_painted_is_said(page):
    large = Image.new("1", (10000, 6000))
    file = io.BytesIO()
    large.save(file, "PNG")
    choose(page, {"name": "large.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for_selector("#message:not([hidden])")
    assert (
        page.inner_text("#message span") == "large.png has 60 megapixels, and up to 1 are read; make it smaller first."
    )
    choose(page, {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"})
    page.wait_for_function("document.querySelector('#message span').textContent.includes('neither a picture nor')")
    choose(page, {"name": "b.tif", "mimeType": "image/tiff", "buffer": b"no picture"})
    page.wait_for_selector("body[data-state=failed]")
    assert "the content is not a picture that can be read" in page.inner_text("#message span")
    choose(page, {"name": "c.mp4", "mimeType": "video/mp4", "buffer": b"\0\0\0\x18ftypisom"})
    page.wait_for_selector("body[data-state=opened]")
    page.click("#paint")
    page.wait_for_selector("body[data-state=failed]")
    assert "the clip" in page.inner_text("#message span")
    page.problems[:] = [text for text in page.problems if "ERR_" not in text]  # what the browser could not show


def test_a_style_file_of_another_model(page, tmp_path):
    """One sentence; the picture, what was drawn and the last result stay."""
    page.select_option("#model", VIDEO_NAME)
    with page.expect_download() as download:
        page.click("#save-style")
    download.value.save_as(tmp_path / "video.style")
    page.wait_for_selector("body[data-state=ready]")
    page.select_option("#model", NAME)
    choose(page, file_of(photo()))
    page.wait_for_selector("#frame:not([hidden])")
    page.keyboard.press("b")
    page.locator("#regions").click(position={"x": 30, "y": 30})
    painted(page)
    page.set_input_files("#style-file", str(tmp_path / "video.style"))
    page.wait_for_selector("body[data-state=failed]")
    sentence = page.inner_text("#message span")
    assert sentence == "style 2 was prepared by another model; prepare the style again with this one"
    assert page.locator(PAINTED).is_visible() and page.is_enabled("#clear")
    paint_after(page, lambda: page.click("[data-style=woodcut]"))
    assert page.locator("#message").is_hidden() and page.locator(".chip img").count() == 2


def test_a_service_that_takes_no_style_files(browser):
    with running(Service(Steps(size=SIDE))) as port, opened(browser, port) as page:
        page.set_input_files("#style-file", {"name": "a.style", "mimeType": "", "buffer": b"x"})
        page.wait_for_function("document.querySelector('#message span').textContent.includes('is a style file')")
        assert page.locator("[data-style='a.style']").count() == 0


def sound_alone(path):
    """Write a clip that has no video."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), "float32"), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def test_a_clip_without_video(page, tmp_path):
    choose(page, sound_alone(tmp_path / "sound.mp4"))
    page.wait_for_selector("body[data-state=opened]")
    page.click("#paint")
    page.wait_for_selector("body[data-state=failed]")
    assert page.inner_text("#message span") == "the clip holds no video; expected a video file"


def test_an_upload_that_is_cut_off_is_sent_again(page):
    cut = []

    def abort_the_first(route):
        if cut:
            route.continue_()
        else:
            cut.append(route.request.url)
            route.abort("connectionreset")

    page.route("**/files", abort_the_first)
    choose(page, file_of(photo()))
    painted(page)
    assert len(cut) == 1
    page.problems[:] = [text for text in page.problems if "ERR_CONNECTION_RESET" not in text]


def test_telephone_and_dark(browser, port):
    options = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with opened(browser, port, **options) as page:
        page.tap("[data-content=landscape]")
        painted(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, background[4:-1].split(","))) < 60
        page.goto(f"http://127.0.0.1:{port}/api.html")
        page.wait_for_selector("h3 >> text='/jobs/{id}/events'")


def test_cancelling(browser):
    steps = Steps(size=SIDE)
    with running(Service(steps)) as port, opened(browser, port) as page:
        choose(page, file_of(photo()))
        page.wait_for_selector("body[data-state=painting][data-work=painting]")
        page.click("#cancel")
        page.wait_for_selector("body[data-state=cancelled]")
        assert page.inner_text("#status") == "Cancelled"
        steps.opened.set()
        wait_for(lambda: b'"queue":0' in ask(port, "GET", "/health")[2])
        assert steps.steps == 1
        page.click("#paint")
        page.wait_for_selector(f"body[data-state=ready] {PAINTED}")


def test_a_service_that_is_stopped_and_comes_back(browser, monkeypatch):
    """Nothing that was drawn is lost, and what was begun is painted by the new service."""
    monkeypatch.setattr(service, "PAINT_TO_END", 0.1)
    with contextlib.ExitStack() as browsing:
        with running(Service(Steps(size=SIDE))) as port:
            page = browsing.enter_context(opened(browser, port))
            page.uncheck("#live")
            choose(page, file_of(photo()))
            page.wait_for_selector("body[data-state=opened]")
            page.keyboard.press("b")
            page.locator("#regions").click(position={"x": 30, "y": 30})
            page.click("#paint")
            page.wait_for_selector("body[data-work=painting]")
        page.wait_for_selector("body[data-work=offline]")
        assert "goes on when it is back" in page.inner_text("#status")
        steps = Steps(size=SIDE)
        steps.opened.set()
        with running(Service(steps), port):
            page.wait_for_selector(f"body[data-state=ready] {PAINTED}")
            assert steps.steps == 4 and page.locator(".chip img").count() == 2
        page.problems[:] = [text for text in page.problems if "ERR_" not in text and "status of 404" not in text]
