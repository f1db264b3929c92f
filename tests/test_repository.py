"""Promises that documents and committed files make."""

import argparse
import ast
import importlib
import importlib.util
import re
import shlex

from ppadaattn.infer import export_onnx
from ppadaattn.infer.engine import ENGINES
from ppadaattn.infer.stylizer import load
from ppadaattn.media.images import FORMATS, READ_FORMATS, WITHOUT_ALPHA, find_images, read_image
from ppadaattn.media.video_formats import VIDEO_FORMATS
from ppadaattn.version import __version__

import numpy as np
import pytest
import yaml
from conftest import ROOT, run_python

GLOBS = ("*.md", "*/README.md", "hub_module/*/README.md", "docs/*.md")
DOCUMENTS = sorted({path.relative_to(ROOT).as_posix() for pattern in GLOBS for path in ROOT.glob(pattern)})

# Where the options of each command are described, one table row each.
OPTION_PAGES = {
    "paint": "options",
    "train": "training",
    "evaluate": "evaluation",
    "export": "export",
    "convert": "weights",
    "download": "weights",
    "serve": "service",
}
COMMAND = r"(?:[A-Z_]+=\S* )*(?:ppadaattn|python -m ppadaattn|python tools/(\w+)\.py)(?= |$)"
TOOLS = {"main": "train", "infer": "paint", "convert_weights": "convert"}  # other tools bear the name of their command


def text_of(document):
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document):
    """[(language, code)] of the fenced blocks of a document; the language may have a word after it."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```", text_of(document), re.MULTILINE | re.DOTALL)


def parser_of(command):
    return importlib.import_module(f"ppadaattn.cli.{command}").parser()


def commands_of(document):
    """[(command, words)] of the lines of a document's code blocks that run a command of this project."""
    found = []
    for language, code in code_blocks(document):
        if language.startswith(("python", "json", "yaml")):
            continue
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.split(r" && |; ", line):
                match = re.match(
                    r"(?:[A-Z_]+=\S* )*(?:ppadaattn|python -m ppadaattn|python tools/(\w+)\.py)(?= |$)", part
                )
                if not match:
                    continue
                words = shlex.split(part[match.end() :], comments=True)
                tool = match.group(1)
                command = TOOLS.get(tool, tool) if tool else words.pop(0)
                if command not in ("benchmark", "benchmark_video", "compare"):  # scripts, not commands
                    found.append((command, words))
    return found


def options_of(parser):
    """The long options of a parser and of the parsers of its commands, but for --help and hidden ones."""
    options = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options = options.union(*map(options_of, action.choices.values()))
        elif action.help != argparse.SUPPRESS:
            options.update(word for word in action.option_strings if word.startswith("--"))
    return options - {"--help"}


def without_comments(code):
    return re.sub(r"[ ]*#[^\n]*", "", code)


@pytest.mark.parametrize("page", sorted(set(OPTION_PAGES.values())))
def test_docs_describe_every_option_and_no_other(page):
    options = [options_of(parser_of(command)) for command, where in OPTION_PAGES.items() if where == page]
    described = set(re.findall(r"^\| `(--[a-z-]+)", text_of(f"docs/{page}.md"), re.MULTILINE))
    assert described == set().union(*options)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_inside_the_repository_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)]*)\)|src=\"([^\"]+)\"", text_of(document)):
        target, _, heading = "".join(target).partition("#")
        if "://" in target:
            continue
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.exists(), target
        if heading:
            assert heading in headings_of(path), f"{target}#{heading}"


def headings_of(path):
    """The names that the headings of a Markdown file have in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_links_to_code_name_what_is_there():
    """[`name`](file.py): the file defines the name."""
    links = re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", text_of("docs/layout.md"))
    assert len(links) > 20
    for name, path in links:
        defined = rf"^\s*(?:def|class) {name}\b|^{name} = "
        assert re.search(defined, text_of(path), re.MULTILINE), f"{path}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_parse(document):
    for command, words in commands_of(document):
        try:
            parser_of(command).parse_args(words)
        except SystemExit as ended:
            pytest.fail(f"{command} {shlex.join(words)}: exit status {ended.code}")


def test_documents_show_every_command():
    for document in ("README.md", "README_zh.md"):
        assert {command for command, _ in commands_of(document)} == set(OPTION_PAGES)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_in_documents_compiles(document):
    for language, code in code_blocks(document):
        if language.startswith("python"):
            compile(code, document, "exec")


RUNNABLE = [
    (document, index)
    for document in DOCUMENTS
    for index, (language, _) in enumerate(code_blocks(document))
    if language == "python runs"
]


@pytest.mark.parametrize(("document", "index"), RUNNABLE)
def test_python_in_documents_runs(document, index, monkeypatch, tmp_path):
    """Blocks marked `python runs`, with the examples at hand and everything written elsewhere."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    code = code_blocks(document)[index][1]
    if "exported/" in code:
        pytest.importorskip("onnxruntime")
        network = load("adaattn_lite_image", device="cpu", engine="eager").network
        export_onnx.save_program(network, "network", "exported", "bytes", {"model": "adaattn_lite_image"})
    exec(compile(code, document, "exec"), {})
    if document == "README.md":
        assert read_image("painted.png").shape == (512, 768, 3)


def test_readme_is_short_and_begins_with_the_commands_that_ci_runs():
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 160 and max(map(len, lines)) <= 320
    installs = [line for line in lines if line.startswith("pip install")]
    assert installs[0].endswith("&& python tools/infer.py") and installs[1].endswith("&& python -m pytest")


def test_chinese_readme_has_the_code_tables_and_links_of_the_english_one():
    english, chinese = "README.md", "README_zh.md"
    assert [(language, without_comments(code)) for language, code in code_blocks(chinese)] == [
        (language, without_comments(code)) for language, code in code_blocks(english)
    ]

    def links(document):
        return sorted(set(re.findall(r"\]\(([^)]*)\)", text_of(document))) - {english, chinese})

    def figures(document):
        return [re.findall(r"\d+\.\d+", line) for line in text_of(document).splitlines() if line.startswith("| `")]

    assert links(chinese) == links(english) and figures(chinese) == figures(english)


def test_faq_quotes_sentences_of_this_product():
    """Messages are quoted with … for what varies."""
    quoted = re.findall(r"^\| \"(.+?)\" \|", text_of("docs/faq.md"), re.MULTILINE)
    assert len(quoted) > 20
    sentences = [sentence for path in (ROOT / "ppadaattn").rglob("*.py") for sentence in strings_of(path)]
    for message in quoted:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL)
        assert any(pattern.search(sentence) for sentence in sentences), message


def strings_of(path):
    """The string literals of a Python file; what an f-string fills in is …."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_citation_names_the_paper():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    paper = citation["preferred-citation"]
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert citation["version"] == __version__
    assert paper["title"] == "AdaAttN: Revisit Attention Mechanism in Arbitrary Neural Style Transfer"
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Liu", "Lin", "He", "Li", "Wang", "Li", "Sun", "Li", "Ding"]
    assert paper["year"] == 2021 and paper["url"].endswith("2108.03647")


def draw():
    pytest.importorskip("cv2")
    specification = importlib.util.spec_from_file_location("draw", ROOT / "examples" / "draw.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_examples_are_the_pictures_that_the_script_draws():
    names = sorted(draw().PICTURES)
    committed = find_images([ROOT / "examples" / "content", ROOT / "examples" / "style"])
    assert sorted(f"{path.parent.name}/{path.stem}" for path in committed) == names
    assert len([name for name in names if name.startswith("content/")]) >= 2
    assert len([name for name in names if name.startswith("style/")]) >= 6


def test_script_draws_the_committed_pictures(tmp_path):
    """At a quarter of the size a picture is the committed one reduced, but for strokes and grain."""
    draw()
    script = ROOT / "examples" / "draw.py"
    run_python(script, "style/wave_print", "--scale", "0.25", "--output", tmp_path)
    small = read_image(tmp_path / "style" / "wave_print.jpg").astype(int)
    large = read_image(ROOT / "examples" / "style" / "wave_print.jpg", max(small.shape)).astype(int)
    assert np.abs(small - large).mean() < 25
    failed = run_python(script, "mona_lisa")
    assert failed.returncode == 2 and "Traceback" not in failed.stderr and "style/wave_print" in failed.stderr


def test_benchmark_prints_its_tables():
    words = ["--attention", "64,64", "--network", "32", "--models", "adaattn_lite_video"]
    words += ["--engines", "48,32", "--full-width", "--training", "1", "--training-size", "32"]
    done = run_python(ROOT / "tools" / "benchmark.py", *words)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 64, 64 |")]
    assert [row.split(" | ")[2] for row in rows] == [
        "softmax, quadratic", "softmax, tiles (ours)", "cosine, quadratic", "cosine, linear (ours)",
    ]  # fmt: skip
    assert "| adaattn_lite_video | 32 |" in done.stdout
    assert all(f"| adaattn_lite_video | 48 x 32 | {engine} |" in done.stdout for engine in ENGINES if engine != "auto")
    assert "| ours | 1 |" in done.stdout and "| naive | 1 |" in done.stdout


@pytest.fixture
def benchmark():
    """tools/benchmark.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "tools" / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_benchmark_takes_steps_of_training(benchmark):
    small = ["dataset.train.crop_size=32", "dataset.train.batch_size=2", "model.width=0.0625"]
    for options in ([], benchmark.PLAIN_LOSSES):
        assert benchmark.steps_of([*small, *options])() > 0


def test_benchmark_writes_the_chosen_ratios_between_the_marks(benchmark, tmp_path, capsys, monkeypatch):
    measured = {benchmark.measure_steps: (0.3, 0.25, 0.2), benchmark.measure_torch_steps: 0.5}
    monkeypatch.setattr(benchmark, "in_new_process", lambda function, *_: measured[function])
    written, marks = tmp_path / "tables.md", benchmark.MARKS
    written.write_text(f"Before.\n{marks[0]}\nold\n{marks[1]}\nAfter.\n")
    benchmark.main(["--ratios", "training", "--torch", "python", "--write", str(written)])
    printed = capsys.readouterr().out
    assert [row.split(" | ")[1:3] for row in printed.splitlines() if row.startswith("| training")] == [
        ["0.250 s, 0.300 s", "1.20"], ["0.200 s, 0.500 s", "2.50"],
    ]  # fmt: skip
    assert written.read_text() == f"Before.\n{marks[0]}\n\n{printed.strip()}\n\n{marks[1]}\nAfter.\n"
    written.write_text("no marks")
    with pytest.raises(SystemExit):
        benchmark.main(["--ratios", "training", "--write", str(written)])
    assert marks[0] in capsys.readouterr().err


def rows_of(document):
    """The cells of the rows of a document's tables."""
    lines = [line for line in text_of(document).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_formats_page_has_the_formats_of_the_code():
    rows = rows_of("docs/formats.md")
    pictures = {row[0]: row for row in rows if len(row) == 5 and row[0] not in ("format", "---")}
    assert sorted(pictures) == sorted(READ_FORMATS)
    written = {}
    for suffix, (kind, _) in FORMATS.items():
        written.setdefault(kind, []).append(suffix)
    for kind, (_, _, cell, alpha, _) in pictures.items():
        suffixes = re.findall(r"`(\.\w+)`", cell)
        assert suffixes == written.get(kind, [])
        assert not suffixes or alpha.startswith("no") == (kind in WITHOUT_ALPHA)
    videos = {row[0].strip("`"): row for row in rows if len(row) == 4 and row[0].startswith("`.")}
    assert {suffix: row[1] for suffix, row in videos.items()} == {
        suffix: kind.container for suffix, kind in VIDEO_FORMATS.items()
    }
    codecs = {"H.264": "libx264", "MPEG-4": "mpeg4", "VP9": "libvpx-vp9", "GIF": "ffv1"}
    assert all(codecs[row[2]] == VIDEO_FORMATS[suffix].codec for suffix, row in videos.items())
    assert all((row[3] != "none") == VIDEO_FORMATS[suffix].sound for suffix, row in videos.items())
