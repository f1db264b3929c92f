"""The options of painting: one home for each."""

import dataclasses
import inspect
from typing import Optional

from ppadaattn.cli import paint
from ppadaattn.cli.pictures import PictureOptions
from ppadaattn.cli.videos import VideoOptions
from ppadaattn.errors import InputError
from ppadaattn.infer.clips import job_digest, paint_clip
from ppadaattn.infer.options import ClipOptions, FileOptions, PaintOptions, option, takes_options
from ppadaattn.infer.stylizer import Stylizer
from ppadaattn.model.style import Style

import numpy as np
import pytest

# A value for each option that is not its default.
OTHERS = {
    "size": 64, "style_size": 100, "style_scale": 2.0, "strength": 0.5, "preserve_color": True,
    "start": 1.0, "end": 2.0, "fps": 12.5, "crf": 30, "preview": True, "batch_size": 3,
    "smooth_statistics": 0.25, "flow_blend": 0.75, "keep_location": True,
}  # fmt: skip


def names(kind):
    return [item.name for item in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", [PaintOptions, ClipOptions, PictureOptions, VideoOptions])
def test_defaults_and_help_of_the_command_line_are_those_of_the_options(kind):
    actions = {action.dest: action for action in paint.parser()._actions}
    for item in dataclasses.fields(kind):
        action = actions[item.name]
        assert action.default is item.metadata.get("command_line", item.default)
        assert action.help.startswith(item.metadata["help"])
        assert action.option_strings == ["--" + item.name.replace("_", "-")]
    assert kind() == kind(**{item.name: item.default for item in dataclasses.fields(kind)})


@pytest.mark.parametrize(
    ("function", "kind"),
    [(Stylizer.__call__, PaintOptions), (Stylizer.stylize_video, ClipOptions), (paint_clip, ClipOptions)],
)
def test_defaults_of_signatures_are_those_of_the_options(function, kind):
    parameters = inspect.signature(function).parameters
    for item in dataclasses.fields(kind):
        assert parameters[item.name].default is item.default
        assert parameters[item.name].kind is inspect.Parameter.KEYWORD_ONLY
    assert inspect.signature(Stylizer.prepare_style).parameters["style_size"].default is PaintOptions.style_size


def test_help_shows_each_option_with_its_default_and_ends_with_two_examples(capsys):
    with pytest.raises(SystemExit):
        paint.parser("ppadaattn paint").parse_args(["--help"])
    shown = capsys.readouterr().out
    for default in (1024, PaintOptions.style_size, PaintOptions.strength, ClipOptions.batch_size):
        assert f"(default: {default})" in " ".join(shown.split())
    last = shown.rstrip().splitlines()[-3:]
    assert last[0] == "examples:" and all(line.startswith("  ppadaattn paint --content ") for line in last[1:])
    for example in last[1:]:
        paint.parser("ppadaattn paint").parse_args(example.split()[2:])


def test_a_new_field_is_all_that_a_new_option_takes():
    @dataclasses.dataclass(frozen=True)
    class More(ClipOptions):
        grain: Optional[float] = option(0.25, "how much grain", metavar="SHARE")

    @takes_options(More)
    def painter(**changes):
        return More(**changes)

    parser = paint.Parser("paint")
    paint._add_options(parser, paint.own_fields(More))
    assert parser.parse_args([]).grain == 0.25 and parser.parse_args(["--grain", "0.5"]).grain == 0.5
    assert "how much grain (default: 0.25)" in parser.format_help()
    assert inspect.signature(painter).parameters["grain"].default == 0.25 and painter(grain=1.0).grain == 1.0
    assert More(grain=0.5).that_change_frames() != More().that_change_frames()


@pytest.mark.parametrize("name", names(ClipOptions))
def test_each_option_decides_whether_a_video_is_resumed(name, tmp_path):
    """All but these: who lacks memory may resume with smaller batches, and the position is not in the frames."""
    style = Style({}, "of a network")
    plain = job_digest(tmp_path, style, None, ClipOptions())
    other = job_digest(tmp_path, style, None, ClipOptions(**{name: OTHERS[name]}))
    assert plain == job_digest(tmp_path, style, None, ClipOptions())
    assert (other == plain) == (name in ("batch_size", "keep_location"))


def test_clip_style_and_mask_decide_whether_a_video_is_resumed(tmp_path):
    (tmp_path / "other").mkdir()
    mask, style, options = np.zeros((20, 20, 3), "uint8"), Style({}, "one"), ClipOptions()
    jobs = [
        job_digest(tmp_path, style, None, options),
        job_digest(tmp_path / "other", style, None, options),
        job_digest(tmp_path, Style({}, "two"), None, options),
        job_digest(tmp_path, style, mask, options),
        job_digest(tmp_path, style, mask + 255, options),
    ]
    assert len(set(jobs)) == len(jobs)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": -3}, "`size` is a number of pixels, 0 or at least 16; got -3"),
        ({"size": 9}, "`size` is a number of pixels, 0 or at least 16; got 9"),
        ({"size": 20.5}, "`size` is a number of pixels, 0 or at least 16; got 20.5"),
        ({"size": None}, "`size` is a number of pixels, 0 or at least 16; got None"),
        ({"style_size": "large"}, "`style_size` is a number of pixels, 0 or at least 16; got 'large'"),
        ({"style_scale": 17}, "`style_scale` is a number above 0 and up to 16; got 17"),
        ({"style_scale": 2, "style_size": 64}, "`style_size` and `style_scale` both say how large a style is"),
        ({"strength": 1.5}, "1.5"),
        ({"fps": 0}, "`fps` is a number of frames per second"),
        ({"start": 2, "end": 1}, "must be after"),
        ({"batch_size": 0}, "`batch_size` is a number of frames, 1 or more; got 0"),
        ({"batch_size": 1.5}, "`batch_size` is a number of frames, 1 or more; got 1.5"),
        ({"smooth_statistics": 1}, "`smooth_statistics` is a share, 0 (off) or more and below 1; got 1"),
        ({"flow_blend": float("nan")}, "`flow_blend` is a share, 0 (off) or more and below 1; got nan"),
    ],
)
def test_values_outside_their_limits_are_refused(options, sentence):
    with pytest.raises(InputError) as caught:
        ClipOptions(**options)
    assert sentence in str(caught.value)


def test_a_misspelt_argument_is_named(stylizer, rng):
    picture = rng.randint(0, 256, (20, 20, 3)).astype("uint8")
    with pytest.raises(TypeError, match="strenght"):
        stylizer(picture, picture, strenght=0.5)


def test_options_of_one_kind_of_content_are_refused_for_the_other():
    pictures, videos = ({item.name for item in items} for items in (paint.FOR_PICTURES, paint.FOR_VIDEOS))
    shared = set(names(FileOptions))
    assert shared == set(names(PaintOptions)) | {"keep_location"}
    assert pictures == set(names(PictureOptions)) - shared == {"grid", "interpolation_grid"}
    assert videos == set(names(VideoOptions)) - shared == set(names(ClipOptions)) - shared | {"frames"}
