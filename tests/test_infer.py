"""tools/infer.py as a user calls it."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import ppadaattn
from ppadaattn.cli import convert, paint, pictures, videos
from ppadaattn.errors import InputError
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.media import images, video_read
from ppadaattn.media.images import read_image
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.model.style import Style
from ppadaattn.weights.checkpoint import load_network, network_weights, save_weights

import numpy as np
import paddle
import pytest
from conftest import ENVIRONMENT, ROOT, run_python
from PIL import Image


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files(folder="."):
    return sorted(os.listdir(folder))


def test_without_arguments_it_paints_the_bundled_example(run):
    status, out, _ = run()
    assert status == 0
    path = os.path.join("output", "still_life_brush_strokes.png")
    assert path in out and files("output") == ["still_life_brush_strokes.png"]
    painted, content = read_image(path), read_image(paint.EXAMPLE_PAIR[0])
    assert painted.shape == content.shape
    assert np.abs(painted.astype(int) - content).mean() > 10


def test_one_pair_into_a_file(run, picture, stylizer):
    content, style = picture("c.png", 40, 30), picture("s.jpg", 30, 40)
    status, out, _ = run("--content", content, "--style", style, "--output", "deep/er/out.bmp")
    assert status == 0 and "30 x 40 pixels" in out and files("deep/er") == ["out.bmp"]
    np.testing.assert_array_equal(read_image("deep/er/out.bmp"), stylizer(content, style))


def test_every_content_in_every_style(run, picture, stylizer, monkeypatch):
    for name in ("contents/a.png", "contents/b.jpg", "s1.png", "s2.png"):
        picture(name)
    encoded = []
    prepare = type(stylizer).prepare_style
    monkeypatch.setattr(
        type(stylizer), "prepare_style", lambda self, path, **k: encoded.append(str(path)) or prepare(self, path, **k)
    )
    status, _, err = run("--content", "contents", "--style", "s*.png", "--output", "out")
    assert status == 0 and [name[-6:] for name in encoded] == ["s1.png", "s2.png"]
    assert files("out") == ["a_s1.png", "a_s2.png", "b_s1.png", "b_s2.png"]
    assert "4/4" in err  # the progress bar
    np.testing.assert_array_equal(read_image("out/b_s2.png"), stylizer("contents/b.jpg", "s2.png"))


def test_equal_names_do_not_overwrite_each_other(run, picture):
    for name in ("1/a.png", "2/a.png", "2/A.jpg", "s.png"):
        picture(name)
    assert run("--content", "1/a.png", "2/a.png", "2/A.jpg", "--style", "s.png", "--output", "out/")[0] == 0
    assert files("out") == ["A_s_3.png", "a_s.png", "a_s_2.png"]


def test_sizes(run, picture):
    content, style = picture("c.png", 60, 100), picture("s.png", 90, 600)
    assert run("--content", content, "--style", style, "--size", 50, "--output", "a.png")[0] == 0
    assert run("--content", content, "--style", style, "--size", 0, "--output", "b.png")[0] == 0
    assert run("--content", content, "--style", style, "--size", 50, "--style-size", 120, "--output", "c2.png")[0] == 0
    assert read_image("a.png").shape == (30, 50, 3) and read_image("b.png").shape == (60, 100, 3)
    assert (read_image("a.png") != read_image("c2.png")).any()


def test_models_differ(run, picture):
    content, style = picture("c.png"), picture("s.png")
    for model in ("adaattn_lite_image", "adaattn_lite_video", ROOT / "pretrained" / "adaattn_lite_video.pdparams"):
        assert (
            run("--content", content, "--style", style, "--model", model, "--output", f"{str(model)[-5:]}.png")[0] == 0
        )
    assert (read_image("image.png") != read_image("video.png")).any()
    np.testing.assert_array_equal(read_image("video.png"), read_image("arams.png"))


def test_alpha_is_kept(run, picture):
    content, style = picture("c.png", mode="RGBA"), picture("s.png")
    assert run("--content", content, "--style", style, "--output", "out.png")[0] == 0
    np.testing.assert_array_equal(read_image("out.png")[:, :, 3], read_image(content)[:, :, 3])
    assert run("--content", content, "--style", style, "--output", "out.jpg")[0] == 0
    assert read_image("out.jpg").shape[2] == 3


def test_grid_beside_the_pictures_or_alone(run, picture):
    for name in ("c1.png", "c2.png", "s1.png", "s2.png", "s3.png"):
        picture(name)
    words = ("--content", "c*.png", "--style", "s*.png", "--grid", "--output")
    assert run(*words, "out")[0] == 0
    assert len(files("out")) == 7 and "grid.png" in files("out")
    assert run(*words, "sheet.png")[0] == 0
    sheet = read_image("sheet.png")
    np.testing.assert_array_equal(sheet, read_image("out/grid.png"))
    painted = read_image("out/c2_s3.png")  # small pictures stay as they are
    height, width = painted.shape[:2]
    assert sheet.shape == (3 * (height + 8) + 8, 4 * (width + 8) + 8, 3)
    np.testing.assert_array_equal(sheet[-height - 8 : -8, -width - 8 : -8], painted)


def test_resume_keeps_what_is_there(run, picture):
    for name in ("c1.png", "c2.png", "s.png"):
        picture(name)
    words = ("--content", "c1.png", "c2.png", "--style", "s.png", "--output", "out")
    assert run(*words)[0] == 0
    whole = read_image("out/c2_s.png")
    Image.new("RGB", (32, 24), "red").save("out/c1_s.png")
    os.remove("out/c2_s.png")
    assert run(*words, "--resume")[0] == 0
    assert (read_image("out/c1_s.png") == (255, 0, 0)).all()
    np.testing.assert_array_equal(read_image("out/c2_s.png"), whole)


def test_resume_paints_again_what_cannot_be_read_and_refuses_equal_names(run, picture):
    for name in ("c1.png", "c2.png", "c2.jpg", "s.png"):
        picture(name)
    words = ("--style", "s.png", "--output", "out", "--resume", "--content", "c1.png", "c2.png")
    assert run(*words)[0] == 0
    whole = read_image("out/c1_s.png")
    with open("out/c1_s.png", "w") as file:
        file.write("damaged")
    assert run(*words)[0] == 0
    np.testing.assert_array_equal(read_image("out/c1_s.png"), whole)
    status, _, err = run(*words, "--content", "c2.jpg")
    assert status == 2 and "different names" in err


@pytest.mark.parametrize("full", [True, False])
def test_an_error_on_the_way_keeps_what_is_done_and_goes_on_unless_the_disk_is_full(run, picture, monkeypatch, full):
    for name in ("c1.png", "c2.png", "c3.png", "s.png"):
        picture(name)
    write = pictures.write_image

    def full_disk(path, image, tags=None):
        if path.name == "c2_s.png":
            cause = OSError(errno.ENOSPC if full else errno.ENAMETOOLONG, "")
            raise InputError(f"{path} cannot be written: No space left on device") from cause
        write(path, image, tags)

    monkeypatch.setattr(pictures, "write_image", full_disk)
    # Else c3.png is under way when c2.png finds the disk full.
    monkeypatch.setattr(pictures, "_side_by_side", lambda stylizer, plan, options: (stylizer, 1))
    status, _, err = run("--content", "c1.png", "c2.png", "c3.png", "--style", "s.png", "--output", "out")
    assert status == 1 and "not painted: " in err and "No space left on device" in err
    assert files("out") == (["c1_s.png"] if full else ["c1_s.png", "c3_s.png"])


@pytest.mark.parametrize("alone", [True, False])
def test_a_sheet_that_cannot_be_written(run, picture, monkeypatch, alone):
    for name in ("c1.png", "c2.png", "s.png"):
        picture(name)
    write = pictures.write_image

    def refuse_sheets(path, image, tags=None):
        if path.name == "grid.png":
            raise InputError(f"{path} cannot be written: No space left on device")
        write(path, image, tags)

    monkeypatch.setattr(pictures, "write_image", refuse_sheets)
    output = "grid.png" if alone else "out"
    status, out, err = run("--content", "c1.png", "c2.png", "--style", "s.png", "--grid", "--output", output)
    assert "No space left on device" in err
    assert status == (2 if alone else 1)
    if not alone:
        assert files("out") == ["c1_s.png", "c2_s.png"] and out.startswith("out: 2 pictures")


def test_too_little_memory_is_said(run, picture, monkeypatch):
    content, style = picture("c.png"), picture("s.png")

    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Stylizer, "prepare_style", lambda *_, **__: None)
    monkeypatch.setattr(Stylizer, "__call__", no_memory)
    status, _, err = run("--content", content, "--style", style)
    assert status == 2 and "c.png at 32 x 24 pixels needs more memory than there is; lower --size" in err


def test_a_bad_picture_among_many_is_skipped(run, picture):
    for name in ("in/a.png", "in/c.png", "s.png"):
        picture(name)
    with open("in/b.jpg", "w") as file:
        file.write("no picture")
    status, out, err = run("--content", "in", "--style", "s.png", "--output", "out")
    assert status == 1 and files("out") == ["a_s.png", "c_s.png"]
    assert "skipped: in/b.jpg is not a picture" in err.replace("\\", "/") and "2 pictures" in out


def test_interrupted(run, picture, monkeypatch):
    content, style = picture("c.png"), picture("s.png")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "write_image", interrupt)
    status, _, err = run("--content", content, "--style", style)
    assert status == 130 and "interrupted" in err


PAIR = ("--content", "c.png", "--style", "s.png")


def bad(*words, sentence):
    return pytest.param(words, sentence, id=sentence[:40])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        bad("--content", "c.png", sentence="--content and --style go together"),
        bad("--content", "no.png", "--style", "s.png", sentence="there is no file or folder no.png"),
        bad("--content", "c.png", "--style", "empty", sentence="the folder empty holds no pictures"),
        bad("--content", "x*.png", "--style", "s.png", sentence="no pictures match x*.png that can be rea"),
        bad("--content", "text.jpg", "--style", "s.png", sentence="text.jpg is not a picture that can be read"),
        bad("--content", "cut.jpg", "--style", "s.png", sentence="cut.jpg cannot be read, it may be damaged or cut"),
        bad("--content", "c.png", "--style", "dot.png", sentence="dot.png is 1 x 1 pixels; each side must be at"),
        bad(*PAIR, "--model", "adattn", sentence="models: adaattn_lite_image, adaattn"),
        bad(*PAIR, "--model", "text.jpg", sentence="cannot be read as 'ppadaattn weigh"),
        bad(*PAIR, "--size", "-3", sentence="expected a number of pixels, 0 or at least"),
        bad(*PAIR, "--size", "9", sentence="argument --size: expected a number"),
        bad(*PAIR, "--output", "text.jpg/x.png", sentence="text.jpg is not a folder"),
        bad(*PAIR, "--output", "x.gif", sentence="x.gif: pictures are written as .jpg"),
        bad(*PAIR, "--output", "c.png", sentence="c.png is one of the pictures to read"),
        bad(*PAIR, "--style", "c.png", "s.png", "--output", "x.png", sentence="2 pictures need a folder"),
        bad("--content", "", "--style", "s.png", sentence="a file name is empty"),
        bad(*PAIR, "--output", "", sentence="--output is empty"),
        bad(*PAIR, "--output", "x.png", "--resume", sentence="--resume needs a folder"),
        bad(*PAIR, "--output", "text", sentence="text is not a folder"),
        bad(*PAIR, "--size", "²", sentence="argument --size: expected a number of pixels"),
        bad(*PAIR, "--device", "tpu", sentence="device 'tpu' is not known; expected"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_status_2_and_nothing_written(capsys, picture, words, sentence):
    picture("c.png"), picture("s.png")
    picture("cut.jpg", 64, 64)
    with open("cut.jpg", "r+b") as file:
        file.truncate(1500)
    for name in ("text.jpg", "text"):
        with open(name, "w") as file:
            file.write("no picture")
    Image.new("RGB", (1, 1)).save("dot.png")
    os.mkdir("empty")
    before = files()
    try:
        status = paint.main(list(words))
    except SystemExit as stopped:
        status = stopped.code
    output = capsys.readouterr()
    assert status == 2 and sentence in output.err
    assert output.err.startswith("error: ") and output.err.count("\n") == 1 and output.out == ""
    assert files() == before and files("empty") == []


def test_a_gpu_where_there_is_none(run, picture, capsys):
    status = paint.main(["--content", str(picture("c.png")), "--style", str(picture("s.png")), "--device", "gpu:99"])
    assert status == 2 and "gpu:99 cannot be used" in capsys.readouterr().err


def test_a_folder_without_permission(run, picture, monkeypatch):
    content, style = picture("c.png"), picture("s.png")
    os.mkdir("locked")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    status, _, err = run("--content", content, "--style", style, "--output", "locked/x.png")
    assert status == 2 and "no permission to write in" in err and files("locked") == []


def test_convert_weights(tmp_path, capsys):
    network = AdaAttNNetwork(width=1 / 32, attention="cosine")
    np.savez("a.npz", **network_weights(network))
    assert convert.main(["a.npz", "--attention", "cosine", "--about", "a test", "--output", "a.pdparams"]) == 0
    assert load_network("a.pdparams").architecture == network.architecture
    assert paddle.load("a.pdparams")["about"] == "a test"
    assert convert.main(["none.npz", "--attention", "cosine", "--output", "b.pdparams"]) == 2
    assert "there is no file none.npz" in capsys.readouterr().err
    assert convert.main(["a.npz", "--attention", "cosine", "--output", "./a.npz"]) == 2
    assert "is a file to read" in capsys.readouterr().err
    assert files() == ["a.npz", "a.pdparams"]


# In processes of their own ------------------------------------------------------------------------------------------


def test_the_tool_itself(picture):
    content, style = picture("c.png"), picture("s.png")
    done = run_python(
        ROOT / "tools" / "infer.py", "--content", content, "--style", style, "--output", "o.png", "--device", "cpu"
    )
    assert (done.returncode, done.stderr) == (0, "") and "o.png" in done.stdout and os.path.exists("o.png")
    failed = run_python(ROOT / "tools" / "infer.py", "--content", "none.png", "--style", style)
    assert failed.returncode == 2 and failed.stderr == "error: there is no file or folder none.png\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_told_to_stop_while_writing_it_leaves_nothing_half_written(tmp_path, picture, number):
    content, style = picture("c.png"), picture("s.png")
    script = (
        "import os, sys; from PIL import Image; from ppadaattn.cli.paint import main\n"
        "def save(self, path, **_):\n"
        "    path.write_bytes(b'half')\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "Image.Image.save = save\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = run_python("-c", script, "--content", content, "--style", style, "--output", "out/", "--device", "cpu")
    assert done.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert files("out") == [] and "Traceback" not in done.stderr


def test_without_paddle_one_sentence_names_the_extras(tmp_path):
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text("import sys; sys.modules['paddle'] = None")
    path = os.pathsep.join([str(hide), str(ROOT)])
    for use in ("import ppadaattn; ppadaattn.AdaAttNNetwork", "import ppadaattn.model.network"):
        imported = run_python("-c", use, PYTHONPATH=path)
        last = imported.stderr.strip().splitlines()[-1]
        assert imported.returncode == 1 and last.startswith("ImportError: ppadaattn needs PaddlePaddle")
        assert "ppadaattn[cpu]" in last and "ppadaattn[gpu]" in last
    tool = run_python(ROOT / "tools" / "infer.py", "--engine", "eager", PYTHONPATH=path)
    assert tool.returncode == 1 and "Traceback" not in tool.stderr and "ppadaattn[cpu]" in tool.stderr


# Styles, colours, regions --------------------------------------------------------------------------------------------


def test_a_mixture_and_styles_side_by_side(run, picture, stylizer):
    content, styles = picture("c.png"), [picture("s1.png"), picture("s22.png")]
    first, second = map(stylizer.prepare_style, styles)
    words = ("--content", content, "--style", *styles, "--output")
    status, _, err = run(*words, "mix.png", "--style-weights", "1", "3")
    assert status == 0 and "note: the weights sum to 4; used as 0.25, 0.75" in err
    mixed = stylizer(content, Style.mix([first, second], [0.25, 0.75]))
    np.testing.assert_array_equal(read_image("mix.png"), mixed)
    assert run(*words, "out", "--style-mode", "mix")[0] == 0 and files("out") == ["c_s1+s22.png"]
    assert run(*words, "both.png", "--style-mode", "concat")[0] == 0
    np.testing.assert_array_equal(read_image("both.png"), stylizer(content, first + second))


def test_strength_colours_and_scale(run, picture, stylizer):
    content, style = picture("c.png", 40, 60), picture("s.png", 30, 40)
    words = ("--content", content, "--style", style, "--output", "o.png")
    assert run(*words, "--strength", "0.4", "--preserve-color")[0] == 0
    expected = stylizer(content, style, strength=0.4, preserve_color=True)
    np.testing.assert_array_equal(read_image("o.png"), expected)
    assert run(*words, "--style-scale", "1.5")[0] == 0
    enlarged = stylizer.prepare_style(style, style_size=90, enlarge=True)
    np.testing.assert_array_equal(read_image("o.png"), stylizer(content, enlarged))


def test_regions(run, picture, stylizer):
    content, styles = picture("c.png", 48, 64), [picture("s1.png"), picture("s22.png")]
    mask = np.zeros((48, 64, 3), "uint8")
    mask[:24], mask[24:, :32] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(mask).save("m.png")
    Image.fromarray(np.full((24, 32, 3), (0, 0, 255), "uint8")).save("blue.png")
    words = ("--content", content, "--style", *styles, "--content-mask", "m.png", "--output", "o.png")
    assert run(*words, "--style-mask", "red", "blue.png")[0] == 0
    first, second = map(stylizer.prepare_style, styles)
    style = Style.mix([first.as_region((255, 0, 0)), second.as_region((0, 0, 255))])
    painted = stylizer(content, style, mask=mask)
    assert np.abs(read_image("o.png").astype(int) - painted).max() <= 1
    status, _, err = run(*words[:-1], "p.png", "--style-mask", "red", "#ff0000")
    assert status == 2 and "the style has no region for #0000ff of the content's mask" in err


def test_a_grid_of_interpolations(run, picture, stylizer):
    content, styles = picture("c.png"), [picture(f"s{'x' * n}.png") for n in range(4)]
    words = ("--content", content, "--style", *styles, "--interpolation-grid")
    assert run(*words, "3", "--output", "o.png")[0] == 0
    grid = read_image("o.png")
    assert grid.shape == (5 * (24 + 8) + 8, 5 * (32 + 8) + 8, 3)
    corner = grid[8:32, 8:40], grid[-32:-8, -40:-8]
    np.testing.assert_array_equal(corner[0], read_image(styles[0]))
    np.testing.assert_array_equal(corner[1], read_image(styles[3]))
    np.testing.assert_array_equal(grid[40:64, 48:80], stylizer(content, styles[0]))
    middle = Style.mix(list(map(stylizer.prepare_style, styles)))
    np.testing.assert_array_equal(grid[72:96, 88:120], stylizer(content, middle))
    assert run(*words, "--output", "out")[0] == 0 and files("out") == ["c_interpolations.png"]


def test_a_style_is_kept_and_used(run, picture, stylizer):
    content, style = picture("c.png"), picture("s.png")
    status, out, _ = run("--style", style, "--save-style", "kept.style", "--style-size", "24")
    assert status == 0 and "kept.style: the style s" in out and "c.png" not in out
    assert run("--content", content, "--style", "kept.style", "--output", "o.png")[0] == 0
    np.testing.assert_array_equal(read_image("o.png"), stylizer(content, style, style_size=24))
    status, _, err = run("--content", content, "--style", "kept.style", "--model", "adaattn_lite_video")
    assert status == 2 and "prepared by another model" in err


def test_videos_by_the_tool(run, picture, stylizer):
    av = pytest.importorskip("av", "14.2")
    os.mkdir("frames")
    for number in range(3):
        picture(f"frames/{'x' * (number + 1)}.png", 32, 48)
    style, words = picture("s.png"), ("--style", "s.png", "--content")
    status, out, _ = run(*words, "frames", "--output", "o.mp4", "--batch-size", "2")
    assert status == 0 and "o.mp4: 3 frames, 0.12 s of video, 48 x 32 pixels" in out
    with av.open("o.mp4") as container:
        assert len(list(container.decode(video=0))) == 3
    status, _, err = run(*words, "frames", "--output", "painted", "--frames")
    assert status == 0 and "note: painted by adaattn_lite_video, the model for videos; --model" in err
    video = ppadaattn.load("adaattn_lite_video", device="cpu")
    np.testing.assert_array_equal(read_image("painted/x.png"), video("frames/x.png", style))
    status, _, err = run(*words, "frames", "--output", "images", "--frames", "--model", "adaattn_lite_image")
    assert status == 0 and "note" not in err
    np.testing.assert_array_equal(read_image("images/x.png"), stylizer("frames/x.png", style))
    assert run(*words, "frames", "--output", "pictures")[0] == 0 and "x_s.png" in files("pictures")
    assert run(*words, "o.mp4", "--output", "out", "--preview", "--end", "0.08")[0] == 0
    assert files("out") == ["o_s.mp4"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        bad(*PAIR, "--strength", "1.5", sentence="is 0 (the content as its own style) to 1 (the style); got 1.5"),
        bad(*PAIR, "--style-weights", "0.5", "0.5", sentence="1 styles need 1 weights; --style-weights has 2"),
        bad(*PAIR, "--style", "t.png", "--style-weights", "-1", "2", sentence="--style-weights are 0 or more, and not"),
        bad(*PAIR, "--style", "t.png", "--style-weights", "0", "0", sentence="and not all 0; got 0 0"),
        bad(*PAIR, "--style-mode", "concat", "--style-weights", "1", sentence="are for a mixture; --style-mode is con"),
        bad(*PAIR, "--style-mask", "red", sentence="--style-mask needs --content-mask"),
        bad(*PAIR, "--content-mask", "none.png", sentence="--content-mask: there is no file none.png"),
        bad(*PAIR, "--content-mask", "c.png", "--style-mask", "rde", sentence="there is no such file, and no such col"),
        bad(*PAIR, "--content-mask", "c.png", "--style-mask", "red", "red", sentence="1 styles need 1 masks"),
        bad(*PAIR, "--style-size", "50", "--style-scale", "2", sentence="--style-size and --style-scale both say"),
        bad(*PAIR, "--style-scale", "0", sentence="argument --style-scale: expected a number above 0"),
        bad(*PAIR, "--interpolation-grid", "3", sentence="--interpolation-grid is between four styles"),
        bad(*PAIR, "--fps", "3", sentence="--fps is for videos, and c.png is none"),
        bad(*PAIR, "--frames", sentence="--frames is for videos and folders of frames, and c.png is none"),
        bad("--content", "c.mp4", "c.png", "--style", "s.png", sentence="pictures and videos are painted apart"),
        bad("--content", "c.mp4", "--style", "s.png", "--grid", sentence="--grid is for pictures, and c.mp4 is none"),
        bad("--content", "c.mp4", "--style", "s.png", sentence="c.mp4 cannot be read as a video"),
        bad("--content", "c.mp4", "--style", "s.png", "--output", "x.txt", sentence="videos are written as .mp4"),
        bad("--style", "s.png", "t.png", "--save-style", "x.style", sentence="--save-style keeps one style"),
        bad("--style", "s.png", "--save-style", "x.png", sentence="give it a name that ends in .style"),
        bad("--save-style", "x.style", sentence="--save-style needs --style"),
        bad(*PAIR[:2], "--style", "bad.style", sentence="bad.style cannot be read as 'ppadaattn style 2'"),
    ],
)  # fmt: skip
def test_bad_styles_regions_and_videos_are_one_sentence(run, picture, words, sentence):
    picture("c.png"), picture("s.png"), picture("t.png")
    for name in ("bad.style", "c.mp4"):
        with open(name, "w") as file:
            file.write("nothing")
    before = files()
    status, out, err = run(*words)
    assert status == 2 and sentence in err and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert files() == before


def test_sources_are_never_overwritten(run, picture):
    pytest.importorskip("av", "14.2")
    os.mkdir("frames")
    for number in range(2):
        picture(f"frames/{number}.png", 32, 48)
    picture("s.png"), picture("mask.png", 32, 48)
    for name in ("c.mp4", "c_s.mp4"):
        assert run("--content", "frames", "--style", "s.png", "--output", name)[0] == 0
    status, _, err = run("--content", "c.mp4", "c_s.mp4", "--style", "s.png", "--output", ".")
    assert status == 2 and "c_s.mp4 is one of the pictures to read" in err
    words = ("--content", "frames/0.png", "--style", "s.png", "--content-mask", "mask.png", "--style-mask", "red")
    status, _, err = run(*words, "--output", "mask.png")
    assert status == 2 and "mask.png is one of the pictures to read" in err


def test_several_videos_of_which_one_is_bad_or_finished(run, picture):
    pytest.importorskip("av", "14.2")
    os.makedirs("in/frames")
    for number in range(2):
        picture(f"in/frames/{number}.png", 32, 48)
    picture("s.png")
    for name in ("in/a.mp4", "in/c.mp4"):
        assert run("--content", "in/frames", "--style", "s.png", "--output", name, "--frames")[0] == 0
    with open("in/b.mp4", "w") as file:
        file.write("nothing")
    status, _, err = run("--content", "in", "--style", "s.png", "--output", "out")  # a folder of videos
    assert status == 1 and files("out") == ["a_s.mp4", "c_s.mp4"] and "b.mp4 cannot be read as a video" in err
    status, _, err = run("--content", "in/[ac].mp4", "--style", "s.png", "--output", "out", "--resume")
    assert status == 0 and err.count("is finished: it is kept") == 2


# Once is enough -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("styles", [1, 2])
def test_a_content_with_a_mask_is_decoded_once(run, picture, monkeypatch, styles):
    content, style = picture("c.png", 48, 64), [picture(f"{'s' * (n + 1)}.png") for n in range(styles)]
    Image.fromarray(np.full((48, 64, 3), (255, 0, 0), "uint8")).save("mask.png")
    decoded, decode = [], images._decode
    monkeypatch.setattr(
        images, "_decode", lambda path, name: decoded.append(os.path.basename(path)) or decode(path, name)
    )
    masks = ("--content-mask", "mask.png", "--style-mask", *["red"] * styles, "--style-mode", "each")
    assert run("--content", content, "--style", *style, *masks, "--size", "32", "--output", "out/")[0] == 0
    assert len(files("out")) == styles
    assert sorted(decoded) == sorted(["c.png", "mask.png", *(path.name for path in style)])


@pytest.mark.parametrize("output", ["o.mp4", "o.avi"])
def test_a_clip_is_opened_once(run, picture, monkeypatch, output):
    pytest.importorskip("av", "14.2")
    os.mkdir("frames")
    for number in range(3):
        picture(f"frames/{number}.png", 32, 48)
    picture("s.png")
    assert run("--content", "frames", "--style", "s.png", "--output", "c.mp4")[0] == 0
    opened = []
    for kind in (video_read.VideoFile, video_read.FrameFolder):
        init = kind.__init__
        monkeypatch.setattr(kind, "__init__", lambda self, *a, _init=init: opened.append(a[0].name) or _init(self, *a))
    for content in ("c.mp4", "frames"):
        words = ("--content", content, "--style", "s.png", "--style-scale", "2", "--output", output)
        status, out, _ = run(*words)
        assert status == 0 and "3 frames" in out
    assert opened == ["c.mp4", "frames"]


def test_alpha_is_answered_with_strength(run):
    for words in (("--alpha", "0.5"), ("--alpha=0.5",)):
        status, out, err = run(*words)
        assert status == 2 and "--strength" in err and err.count("\n") == 1 and out == ""


def test_a_run_of_a_training_is_a_model(run, picture, stylizer):
    content, style = picture("c.png"), picture("s.png")
    save_weights("run/iter_20_weight.pdparams", stylizer.network)
    words = ("--content", content, "--style", style, "--output", "o.png", "--model")
    status, _, err = run(*words, "run")
    assert status == 0 and "note: the newest weights of run: iter_20_weight.pdparams" in err
    np.testing.assert_array_equal(read_image("o.png"), stylizer(content, style))
    os.mkdir("empty")
    status, _, err = run(*words, "empty")
    assert status == 2 and "the folder empty holds no iter_N_weight.pdparams" in err


def test_messages_of_the_library_are_in_the_words_of_the_command_line(run, picture):
    pytest.importorskip("av", "14.2")
    os.mkdir("frames")
    picture("frames/1.png", 32, 48), picture("s.png")
    status, _, err = run("--content", "frames", "--style", "s.png", "--output", "o.mp4", "--crf", "77")
    assert status == 2 and err == "error: --crf, the quality of the video, is 0 to 51 in .mp4; got 77\n"


def test_a_bad_content_is_said_once_however_many_styles_there_are(run, picture):
    for name in ("c.png", "s1.png", "s2.png"):
        picture(name)
    with open("b.jpg", "w") as file:
        file.write("no picture")
    status, out, err = run("--content", "b.jpg", "c.png", "--style", "s1.png", "s2.png", "--output", "out", "--grid")
    assert status == 1 and err.count("skipped: b.jpg is not a picture") == 1 and "2 pictures" in out
    assert files("out") == ["c_s1.png", "c_s2.png", "grid.png"]
    assert read_image("out/grid.png").shape == (2 * (24 + 8) + 8, 3 * (32 + 8) + 8, 3)


# What is in a folder, pipes, names ------------------------------------------------------------------------------------


def test_a_broken_profile_is_said_once_a_file(run, picture):
    for name in ("a.png", "b.png", "s.png"):
        picture(name, icc_profile=b"broken")
    picture("t.png")
    status, _, err = run(
        "--content", "a.png", "b.png", "--style", "s.png", "t.png", "a.png", "--output", "out", "--grid"
    )
    assert status == 0
    assert [err.count(f"note: {name}: its colour profile") for name in ("a.png", "b.png", "s.png")] == [1, 1, 1]


def test_what_a_folder_holds_is_painted_or_named(run, picture):
    picture("s.png")
    Image.new("RGB", (32, 24), "red").save(picture("in/b.jpg").with_name("a.jfif"), "JPEG")
    Image.new("RGB", (32, 24), "red").save("in/c.gif")
    Path("in/d.heic").write_bytes(b"no picture")
    Path("in/e.mp4").write_bytes(b"no video")
    Path("in/notes.txt").write_text("no picture")
    status, _, err = run("--content", "in", "--style", "s.png", "--output", "out")
    assert status == 1 and files("out") == ["a_s.png", "b_s.png", "c_s.png"]
    assert "skipped: in/d.heic is not a picture" in err.replace("\\", "/") and "notes" not in err
    assert "skipped: 1 videos among the pictures of in: e.mp4" in err


def moving(path, colours=("red", "green", "blue")):
    """A picture that moves."""
    frames = [Image.new("RGB", (48, 32), colour) for colour in colours]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 300, 50], loop=0)


def test_pictures_that_move_are_clips_where_they_are_contents(run, picture):
    pytest.importorskip("av", "14.2")
    picture("s.png"), moving("a.webp"), moving("s.gif")
    status, out, err = run("--content", "a.webp", "--style", "s.gif", "--output", "out")
    assert status == 0 and files("out") == ["a_s.webp"] and "a_s.webp: 3 frames, 0.45 s of video" in out
    assert err.count("s.gif: it moves: its first frame is taken") == 1
    with Image.open("out/a_s.webp") as image:
        assert image.n_frames == 3
    status, _, err = run("--content", "a.webp", "--style", "s.png", "--output", "o.jpg")
    assert status == 0 and "a.webp: it moves: its first frame is taken" in err and Path("o.jpg").is_file()


@pytest.mark.parametrize(
    ("contents", "output", "expected"),
    [
        (["a.webp"], "o.webp", True),
        (["a.png"], "o.png", True),
        (["a.gif"], "folder", True),
        (["a.webp"], "o.tif", False),
        (["a.png"], "-", False),
        (["still.gif"], "o.gif", True),
        (["still.gif"], "o.jpg", False),
        (["a.webp", "still.png"], "folder", False),
        (["a.webp", "b.mp4"], "folder", True),
        (["still.png"], "o.webp", False),
        (["moving"], "folder", True),
        (["moving/*.webp", "a.gif"], "folder", True),
        (["moving"], "o.jpg", False),
        (["moving", "still.png"], "folder", False),
        (["mixed"], "folder", False),
    ],
)
def test_what_moves_is_a_clip_where_the_output_can_move(picture, contents, output, expected):
    """As is a video; a picture beside others, or into a format of one picture, is painted as one."""
    for name in ("a.webp", "a.png", "a.gif"):
        moving(name)
    picture("still.png")
    Image.new("RGB", (32, 24)).save("still.gif")
    Path("b.mp4").write_bytes(b"")
    for folder, names in {"moving": ["a.webp", "a.png"], "mixed": ["a.webp", "still.png"]}.items():
        os.mkdir(folder)
        for name in names:
            shutil.copy(name, folder)
    assert videos.are_clips(contents, output) is expected
    with pytest.raises(InputError, match="pictures and videos are painted apart"):
        videos.are_clips(["still.png", "b.mp4"], "folder")


def test_two_names_are_two_results(run, picture):
    picture("c.png"), picture("s.png")
    os.mkdir("links")
    os.symlink("../c.png", "links/a.png")
    os.symlink("../c.png", "links/b.png")
    assert run("--content", "links", "links/*.png", "--style", "s.png", "s.png", "--output", "out")[0] == 0
    assert files("out") == ["a_s.png", "b_s.png"]


def test_a_repeated_style_counts_for_masks_weights_and_corners(run, picture):
    picture("c.png"), picture("s.png")
    mask = np.zeros((24, 32, 3), "uint8")
    mask[:, :16], mask[:, 16:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(mask).save("mask.png")
    words = ("--content", "c.png", "--output", "o.png", "--style", "s.png", "s.png")
    assert run(*words, "--content-mask", "mask.png", "--style-mask", "red", "blue")[0] == 0
    assert run(*words, "--style-weights", "0.5", "0.5")[0] == 0
    assert run(*words, "s.png", "s.png", "--interpolation-grid", "2")[0] == 0


def test_long_names_of_pairs_are_shortened_with_a_note(run, picture):
    content, style = "c" * 140, "s" * 140
    picture(f"{content}.png"), picture(f"{style}.png"), picture(f"{style}t.png")
    words = ("--content", f"{content}.png", "--style", f"{style}.png", f"{style}t.png", "--output", "out", "--resume")
    for _ in range(2):
        status, _, err = run(*words)
        assert status == 0 and err.count("is too long for a file") == 2 and len(files("out")) == 2
    assert all(name.startswith(content) and len(name) <= 255 for name in files("out"))
    status, _, err = run("--content", f"{content}.png", "--style", f"{style}.png", "--output", "o" * 252 + ".png")
    assert status == 2 and "its name has more than 255 bytes" in err


def test_a_name_that_begins_with_a_dash_has_its_sentence(run, picture):
    picture("-c.png"), picture("--d.png"), picture("s.png")
    for name in ("-c.png", "--d.png"):
        status, _, err = run("--content", name, "--style", "s.png")
        assert status == 2 and f"{name} is read as an option, since it begins with a dash: write ./{name}" in err
        assert run("--content", f"./{name}", "--style", "s.png", "--output", "o.png")[0] == 0


def test_colours_and_date_come_from_the_content_and_the_position_only_where_asked(run, picture):
    exif = Image.Exif()
    exif[0x0132], exif[0x8825] = "2020:02:03 04:05:06", {1: "N", 2: (48.0, 8.0, 15.0)}
    picture("c.jpg", exif=exif, dpi=(300, 300)), picture("s.png")
    for words, located in (((), False), (("--keep-location",), True)):
        assert run("--content", "c.jpg", "--style", "s.png", "--output", "o.jpg", *words)[0] == 0
        with Image.open("o.jpg") as image:
            assert image.getexif()[0x0132] == "2020:02:03 04:05:06" and image.info["dpi"] == (300, 300)
            assert bool(image.getexif().get_ifd(0x8825)) == located and image.info["icc_profile"]
    _, _, err = run("--content", "c.jpg", "--style", "s.png", "--output", "o.tif", "--keep-location")
    assert "cannot hold the position" in err


def pipe(*words, stdin=None, stdout=subprocess.PIPE):
    words = [sys.executable, ROOT / "tools" / "infer.py", *words, "--device", "cpu", "--engine", "eager"]
    return subprocess.run(list(map(str, words)), input=stdin, stdout=stdout, stderr=subprocess.PIPE, env=ENVIRONMENT)


def test_a_picture_through_pipes(picture, stylizer):
    content, style = picture("c.png"), picture("s.png")
    done = pipe("--content", "-", "--style", style, "--output", "-", stdin=content.read_bytes())
    assert done.returncode == 0 and b"-: 32 x 24 pixels" in done.stderr
    difference = np.abs(read_image(done.stdout).astype(int) - stylizer(content, style))
    assert difference.max() <= 1 and files() == ["c.png", "s.png"]
    failed = pipe("--content", "-", "--style", style, "--output", "-", stdin=b"no picture")
    assert failed.returncode == 2 and b"error: standard input is not a picture" in failed.stderr
    assert failed.stdout == b""


def test_pipes_take_one_picture(run, picture):
    picture("c.png"), picture("s.png")
    status, _, err = run("--content", "-", "c.png", "--style", "s.png")
    assert status == 2 and "reads one picture from standard input: give it alone" in err
    status, _, err = run("--content", "c.png", "c.png", "s.png", "--style", "s.png", "--output", "-")
    assert status == 2 and "2 pictures need a folder" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("output", ["o.png", "-"])
def test_nobody_reads_what_is_said(picture, output):
    content, style = picture("c.png"), picture("s.png")
    reading, writing = os.pipe()
    os.close(reading)
    words = ("--content", content, "--style", style, "--output", output)
    done = pipe(*words, stdout=writing)
    os.close(writing)
    assert done.returncode in (0, 141) and b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert output == "-" or read_image("o.png").shape == (24, 32, 3)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = pipe(*words, stdout=full)
        assert done.returncode == (2 if output == "-" else 1)
        assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
