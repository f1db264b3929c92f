"""The commands as a user types them: one front door, one mechanism for wrong words, examples, defaults and hints."""

import argparse
import dataclasses
import errno
import importlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
import warnings

import ppadaattn
from ppadaattn import __main__ as front_door
from ppadaattn import resources
from ppadaattn.cli import common, evaluate
from ppadaattn.errors import InputError, nearest, note
from ppadaattn.evaluation.config import FlowError, Quality, Report, Speed
from ppadaattn.model.network import AdaAttNNetwork
from ppadaattn.serve.limits import FORMATS, HOST, PORT, Limits
from ppadaattn.train.config import load_config
from ppadaattn.train.run import Run

import pytest
from conftest import ENVIRONMENT, ROOT, run_python
from PIL import Image

PARSERS = {name: importlib.import_module(f"ppadaattn.cli.{name}").parser() for name in front_door.COMMANDS}


def subparsers(parser):
    """{name: Parser} of the subcommands of a parser."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0] if found else {}


ALL_PARSERS = {
    parser.prog: parser for made in PARSERS.values() for parser in (made, *subparsers(made).values())
}  # 'ppadaattn evaluate flow' and so on


@pytest.fixture(autouse=True)
def _keep_process(monkeypatch):
    """Commands set the warnings and signals of their process, which is the tests' own here."""
    monkeypatch.setattr(common, "_end_plainly_on_signals", lambda: None)
    monkeypatch.setattr(common, "interrupt_plainly", lambda: None)
    with warnings.catch_warnings():
        yield


@pytest.fixture
def refused(capsys):
    """refused(*words) -> the one sentence of `ppadaattn WORDS`, which ends with status 2."""

    def check(*words):
        try:
            status = front_door.main(list(map(str, words)))
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert status == 2 and out == "" and len(err.splitlines()) == 1
        return err

    return check


def small_parser(**options):
    made = common.Parser("ppadaattn small", **options)
    made.add_argument("-c", "--config-file")
    made.add_argument("--resume", action="store_true")
    made.add_argument("--style-size")
    made.add_argument("words", nargs="*")
    return made


# Reaching commands ---------------------------------------------------------------------------------------------------


def test_every_command_module_is_at_the_front_door():
    modules = {path.stem for path in (ROOT / "ppadaattn" / "cli").glob("*.py") if "\ndef parser(" in path.read_text()}
    assert modules == set(front_door.COMMANDS)


def test_the_tools_are_the_same_commands():
    launched = {}
    for path in (ROOT / "tools").glob("*.py"):
        launched.update(
            dict.fromkeys(re.findall(r"^    sys\.exit\(run\(\"(\w+)\"", path.read_text(), re.MULTILINE), path.stem)
        )
    assert set(launched) == set(front_door.COMMANDS)
    assert launched["train"] == "main" and launched["paint"] == "infer"


def test_from_a_tool_to_the_network_are_eight_calls(tmp_path, monkeypatch, rng):
    """run, the command's work, paint and paint_one of pictures, three of Stylizer, the network; no wrappers."""
    calls, wrappers = [], ("device.py", "side_by_side.py")

    def stylize(network, features, style, **options):
        frames = [frame for frame in traceback.extract_stack() if f"{os.sep}ppadaattn{os.sep}" in frame.filename]
        calls.append([frame.name for frame in frames if os.path.basename(frame.filename) not in wrappers])
        return features["relu1_1"][:, :3]

    monkeypatch.setattr(AdaAttNNetwork, "stylize_features", stylize)
    monkeypatch.chdir(tmp_path)
    for name in ("c.png", "s.png"):
        Image.fromarray(rng.randint(0, 256, (20, 24, 3)).astype("uint8")).save(name)
    words = ["--content", "c.png", "--style", "s.png", "--output", "o.png", "--engine", "eager"]
    assert common.run("paint", words) == 0
    assert calls == [["run", "_paint", "paint", "paint_one", "__call__", "paint", "_paint_whole"]]


def test_help_and_version_need_no_library():
    """Only the command that runs is imported, and what it needs."""
    script = (
        "import sys\n"
        "from ppadaattn.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(sorted({'paddle', 'numpy', 'PIL', 'yaml', 'tqdm'} & set(sys.modules)))"
    )
    done = run_python("-c", script)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.endswith("\n[]\n")
    assert all(f"  {name} " in done.stdout for name in front_door.COMMANDS)
    version = run_python("-m", "ppadaattn", "--version")
    assert (version.returncode, version.stdout) == (0, f"ppadaattn {ppadaattn.__version__}\n")


def test_public_names_load_when_they_are_used():
    assert set(ppadaattn._HOMES) < set(ppadaattn.__all__) <= set(dir(ppadaattn))
    for name in (*ppadaattn.__all__, *ppadaattn._MODULES):
        assert getattr(ppadaattn, name) is not None
    assert ppadaattn.Stylizer is importlib.import_module("ppadaattn.infer.stylizer").Stylizer
    assert ppadaattn.regions is importlib.import_module("ppadaattn.regions")
    with pytest.raises(AttributeError, match="module 'ppadaattn' has no attribute 'Stilizer'"):
        ppadaattn.Stilizer  # noqa: B018


# Wrong words ---------------------------------------------------------------------------------------------------------


def test_of_near_words_one_that_is_only_longer_comes_first():
    known = ["adaattn_video", "adaattn_lite_image", "adaattn_lite_video"]
    assert nearest("adaattn_lite", known).startswith(" (did you mean 'adaattn_lite_")
    assert nearest("adaatn_video", known) == " (did you mean 'adaattn_video'?)"
    assert nearest("portrait", known) == nearest("portrait", []) == ""


def test_the_nearest_word_is_named(refused):
    assert "invalid choice: 'pant' (did you mean 'paint'?); choose from paint, train" in refused("pant")
    assert refused() == "error: the following arguments are required: COMMAND\n"
    assert "no option --verison (did you mean '--version'?); `ppadaattn --help` lists them" in refused("--verison")
    assert "invalid choice: 'flwo' (did you mean 'flow'?); choose from flow, quality" in refused("evaluate", "flwo")
    for words, option in (
        (("paint", "--stlye", "a.jpg"), "--style"),
        (("paint", "--preserve-colour"), "--preserve-color"),
        (("paint", "--engin=auto"), "--engine"),
        (("train", "--config-fiel", "a.yaml"), "--config-file"),  # not that --config-file is required
        (("evaluate", "flow", "--method", "a"), "--methods"),  # an abbreviation is no option
    ):
        typed = words[-2 if words[-1][:2] != "--" else -1].partition("=")[0]
        assert f"there is no option {typed} (did you mean '{option}'?)" in refused(*words)
    assert refused("train", "--zzz") == "error: there is no option --zzz; `ppadaattn train --help` lists them\n"
    assert "unrecognized arguments: -z" in refused("download", "-z", "--list")


def test_words_of_other_programs_are_answered_with_the_option_here(refused):
    assert refused("paint", "--alpha", "0.5") == "error: --alpha is called --strength here\n"
    for parser in ALL_PARSERS.values():
        for word, option in parser.synonyms.items():
            assert word not in parser._option_string_actions and option.split()[0] in parser._option_string_actions


def test_words_that_only_look_like_options_are_values():
    args = small_parser().parse_args(["-c", "--a b", "--", "--stlye"])
    assert (args.config_file, args.words) == ("--a b", ["--stlye"])


# Help ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prog", ALL_PARSERS)
def test_help_ends_with_two_examples_that_parse(prog):
    parser = ALL_PARSERS[prog]
    *_, title, first, second = parser.format_help().splitlines()
    assert title == "examples:"
    for line in (first, second):
        words = shlex.split(line)
        assert line.startswith(f"  {prog}") and words[0] == "ppadaattn"
        args = PARSERS[words[1]].parse_args(words[2:])
        assert callable(args.work) and args.command_line == words


def test_examples_of_the_front_door_are_commands():
    parser = front_door.parser()
    assert len(parser.examples) == 2 and parser.format_help().rstrip().endswith(parser.examples[1])
    assert all(example.split()[0] in front_door.COMMANDS for example in parser.examples)


def test_defaults_are_those_of_their_home():
    service = PARSERS["serve"]
    for field in dataclasses.fields(Limits):
        assert service.get_default(field.name) is field.default
    assert (service.get_default("host"), service.get_default("port")) == (HOST, PORT)
    assert service.get_default("format") is FORMATS[0]
    parsers = subparsers(PARSERS["evaluate"])
    for name, kind, fields in (
        ("flow", FlowError, ["frames"]),
        ("flow", Report, ["style_size"]),
        ("quality", Quality, ["size"]),
        ("speed", Speed, ["sizes", "runs", "limit"]),
    ):
        for field in fields:
            assert parsers[name].get_default(field) == getattr(kind(), field)
    for parser in (service, *parsers.values()):  # help shows the default itself
        for action in parser._actions:
            if isinstance(action.default, (int, float)) and not isinstance(action.default, bool):
                assert f"(default: {action.default})" in action.help % vars(action)
    assert f"(default: {' '.join(Speed().sizes)})" in " ".join(parsers["speed"].format_help().split())


# Errors, notes and hints in the words of the command line ------------------------------------------------------------


def test_arguments_become_options_where_the_command_has_them(capsys):
    args = small_parser().parse_args([])
    message = "begin anew without `resume`, with `style_size` 512 and `config_file`; see `load` and `x.y`"
    translated = "begin anew without --resume, with --style-size 512 and --config-file; see `load` and `x.y`"

    with common.errors_reported(args) as outcome:
        note(message)
        raise InputError(message)
    assert outcome.status == 2
    assert capsys.readouterr().err == f"note: {translated}\nerror: {translated}\n"


def test_hints_repeat_what_the_user_typed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("ppadaattn.train.run.train", lambda *_: Run(tmp_path, stopped_by=15))
    config, words = (
        str(ROOT / "configs" / "adaattn_lite_image.yaml"),
        ["--load", "m", "--seed", "3", "-o", "ema_decay=0.5"],
    )
    for run, program in (
        (lambda words: front_door.main(["train", *words]), "ppadaattn train"),
        (lambda words: front_door.main(["train", *words], "python -m ppadaattn"), "python -m ppadaattn train"),
        (lambda words: common.run("train", words, "python tools/main.py"), "python tools/main.py"),
    ):
        assert run(["-c", config, *words]) == 128 + 15
        hint = f"{program} -c {config} -o ema_decay=0.5 -o seed=3 --resume {tmp_path}"
        assert capsys.readouterr().err == f"stopped; to resume: {hint}\n"


def test_the_words_of_a_subcommand_are_whole():
    args = evaluate.parser("python tools/evaluate.py").parse_args(["report", "my file.yaml", "--output", "x"])
    assert shlex.join(args.command_line) == "python tools/evaluate.py report 'my file.yaml' --output x"
    assert args.parser.prog == "python tools/evaluate.py report"


def test_home_is_expanded_in_every_place_of_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    words = ["~/a.jpg", "--style-size=~/b", "key=~/c", "load=~", "~", "a~/b", "x=y=~/z"]
    expanded = ["/home/me/a.jpg", "--style-size=/home/me/b", "key=/home/me/c", "load=~", "~", "a~/b", "x=y=~/z"]
    assert list(map(common._expand_home, words)) == expanded
    args = small_parser().parse_args(["-c", "~/a.yaml"])
    assert args.config_file == "/home/me/a.yaml" and args.command_line[-1] == "~/a.yaml"


# Files that travel with the package ----------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The package as if installed from a wheel, beside folders of other packages with the same names."""
    package = tmp_path / "site-packages" / "ppadaattn"
    for name in ("configs", "examples", "pretrained"):
        (package / name).mkdir(parents=True)
        (package.parent / name).mkdir()
    monkeypatch.setattr(resources, "PACKAGE", package)
    return package


def test_packaged_folders_are_beside_the_package_or_inside_it(wheel, monkeypatch):
    assert resources.packaged("configs") == wheel / "configs"
    monkeypatch.undo()
    assert resources.packaged("configs") == ROOT / "configs"
    assert (resources.packaged("pretrained") / "adaattn_lite_image.pdparams").is_file()


def test_a_configuration_is_looked_for_here_then_among_the_packaged_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    video = ROOT / "configs" / "adaattn_video.yaml"
    assert resources.find_config("adaattn_video.yaml") == resources.find_config("configs/adaattn_video.yaml") == video
    assert resources.find_config("compare/cosine.yaml") == ROOT / "configs" / "compare" / "cosine.yaml"
    for folder in (tmp_path, tmp_path / "mine", tmp_path / "home"):
        folder.mkdir(exist_ok=True)
        (folder / "adaattn_video.yaml").write_text("seed: 5")
    mine = tmp_path / "mine" / "adaattn_video.yaml"
    assert resources.find_config("adaattn_video.yaml").resolve() == tmp_path / "adaattn_video.yaml"
    assert resources.find_config("~/adaattn_video.yaml") == tmp_path / "home" / "adaattn_video.yaml"
    assert resources.find_config("adaattn_video.yaml", beside=tmp_path / "mine" / "x.yaml") == mine
    with pytest.raises(InputError) as error:
        resources.find_config("adaattn_vdieo.yaml")
    assert str(error.value) == (
        "there is no configuration adaattn_vdieo.yaml (did you mean 'adaattn_video.yaml'?); "
        f"looked in {tmp_path} and among the packaged ones in {ROOT / 'configs'}"
    )


def test_configurations_begin_with_packaged_ones_and_expand_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    roots = (
        "dataset: {train: {content_root: ~/photos}, test: {content_root: examples/content, style_root: examples/no}}"
    )
    (tmp_path / "mine.yaml").write_text(f"_base_: adaattn_video.yaml\noutput_dir: ~/runs\n{roots}")
    config = load_config("~/mine.yaml", ["load=~/model.pdparams"])
    assert config.model.attention == "cosine" and config.total_iters == 50000
    assert (config.output_dir, config.load) == (str(tmp_path / "runs"), str(tmp_path / "model.pdparams"))
    assert config.dataset.train.content_root == str(tmp_path / "photos")
    assert config.dataset.test.content_root == str(ROOT / "examples" / "content")
    assert config.dataset.test.style_root == "examples/no"
    monkeypatch.chdir(ROOT)  # in a clone a path stays as it is written
    assert load_config(tmp_path / "mine.yaml").dataset.test.content_root == "examples/content"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes there")
def test_names_of_a_configuration_are_found_whatever_the_locale(tmp_path):
    (tmp_path / "caf\xe9").mkdir()
    code = "import os, sys; from ppadaattn.resources import expand; os.stat(expand(sys.argv[1] + '/caf\\xe9'))"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run_python("-c", code, tmp_path, **plain).returncode == 0
    for text in ("caf\xe9", "caf\udce9", "half \ud800"):
        assert resources.expand(text) == text


def test_the_wheel_holds_what_the_package_looks_for(monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    told = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: told.update(words))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    assert told["entry_points"] == {"console_scripts": ["ppadaattn = ppadaattn.__main__:main"]}
    packed = {
        os.path.join("ppadaattn", *package.split(".")[1:], os.path.relpath(path, folder))
        for package, folder in told["package_dir"].items()
        for pattern in told["package_data"][package]
        for path in (ROOT / folder).glob(pattern)
    }
    needed = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "pretrained").glob("*.pdparams")]
    needed += [*(ROOT / "examples" / "content").iterdir(), *(ROOT / "examples" / "style").iterdir()]
    assert {os.path.join("ppadaattn", os.path.relpath(path, ROOT)) for path in needed} <= packed
    assert (ROOT / "ppadaattn" / "py.typed").is_file() and told["package_data"]["ppadaattn"] == ["py.typed"]
    targets = re.findall(r"\]\(([^)]*)\)", told["long_description"])
    assert targets and all(target.startswith("https://") for target in targets)


# Standard output -----------------------------------------------------------------------------------------------------

COMMAND_LINES = [["--help"], ["--version"], *([name, "--help"] for name in front_door.COMMANDS), ["download", "--list"]]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", [None, "1"])
@pytest.mark.parametrize("words", [["--help"], ["paint", "--help"], ["download", "--list"]], ids=" ".join)
def test_an_output_that_is_full_or_closed_is_no_traceback(words, unbuffered):
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
    environment.update({"PYTHONUNBUFFERED": unbuffered} if unbuffered else {})
    command = [sys.executable, "-m", "ppadaattn", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 141 and done.stderr == ""


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_each_command_says_that_its_output_is_full(words, monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as end:
        front_door.main(words)
    assert end.value.code == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_the_picture_is_there_though_the_output_is_full(tmp_path, picture):
    files = ["--content", picture("c.png"), "--style", picture("s.png"), "--output", tmp_path / "painted.png"]
    command = [sys.executable, "-m", "ppadaattn", "paint", *map(str, files), "--device", "cpu"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert done.returncode == 1 and "Traceback" not in done.stderr and (tmp_path / "painted.png").is_file()


def test_other_errors_of_the_system_stay():
    with pytest.raises(FileNotFoundError), common.plain_output():
        os.listdir("/nowhere/at/all")
