"""The configuration: layers of YAML, typed values, and one sentence for each mistake."""

import ast
import dataclasses
import inspect

from ppadaattn import config as module
from ppadaattn.config import to_dict, to_yaml
from ppadaattn.errors import InputError, InputNote
from ppadaattn.evaluation import config as evaluation
from ppadaattn.evaluation import report, speed, temporal
from ppadaattn.model.attention import KINDS
from ppadaattn.model.init import INITS, initialize
from ppadaattn.model.network import CONVENTIONS, AdaAttNNetwork
from ppadaattn.model.transforms import TRANSFORMS
from ppadaattn.train import config as training
from ppadaattn.train import data, losses, objectives, trainer
from ppadaattn.train.config import Config, load_config

import pytest
import yaml
from conftest import CONFIGURATIONS, ROOT, run_python


@pytest.fixture
def write(tmp_path):
    def make(text, name="config.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return make


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_configuration_is_valid_and_says_where_its_numbers_are_from(path):
    config = load_config(path)
    assert config.dataset.train.content_root and config.dataset.train.style_root
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        interval = key.strip() in ("interval", "visual_interval", "keep_last", "num_workers", "batch_size", "size")
        if any(character.isdigit() for character in value.split("#")[0]) and not interval and "load:" not in line:
            described = "#" in line or path.name != "adaattn_image.yaml"
            assert described, f"{path.name}: no source beside {line!r}"


def test_the_papers_numbers():
    image, video = (load_config(ROOT / "configs" / f"adaattn_{kind}.yaml") for kind in ("image", "video"))
    for config, batch, attention, similarity in ((image, 8, "softmax", 0), (video, 4, "cosine", 100)):
        assert config.total_iters == 50000 and config.dataset.train.batch_size == batch
        assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, 0.999)
        assert config.lr_scheduler.name == "constant" and config.lr_scheduler.learning_rate == 1e-4
        assert config.dataset.train.load_size == 512 and config.dataset.train.crop_size == 256
        losses = config.losses
        weights = [x.weight for x in (losses.global_style, losses.local_feature, losses.image_similarity)]
        assert weights == [10, 3, similarity] and losses.content.weight == losses.range.weight == 0
        assert losses.local_feature.levels == [3, 4, 5] and not losses.local_feature.level_weights
        model = config.model
        assert (model.attention, model.conventions, model.width) == (attention, "paper", 1.0)
        assert not model.identity_attention and config.ema_decay is None and config.load is None


def test_bases_then_the_file_then_overrides(write):
    write("total_iters: 1\nseed: 1\nmodel: {width: 0.5, levels: [3]}", "first.yaml")
    write("seed: 2", "second.yaml")
    path = write("_base_: [first.yaml, second.yaml]\nmodel: {width: 0.25}")
    config = load_config(
        path, ["model.attention=cosine", "losses.global_style.level_weights={2: 0.5}", "total_iters=7"]
    )
    assert (config.total_iters, config.seed, config.model.levels, config.model.width) == (7, 2, [3], 0.25)
    assert config.model.attention == "cosine" and config.losses.global_style.level_weights == {2: 0.5}


def test_sections_are_merged_and_values_replaced(write):
    write("model: {width: 0.5}\nlosses: {content: {weight: 2, level_weights: {3: 0.1, 4: 0.2}}}", "base.yaml")
    path = write("_base_: base.yaml\nmodel:\nlosses: {content: {level_weights: {5: 0.3}}}")
    config = load_config(path)
    assert config.model.width == 0.5 and config.losses.content.weight == 2
    assert config.losses.content.level_weights == {5: 0.3}
    assert load_config(path, ["losses.content.level_weights={}"]).losses.content.level_weights == {}


def test_the_written_file_is_the_configuration(write):
    config = load_config(ROOT / "configs" / "adaattn_lite_video.yaml", ["lr_scheduler.learning_rate=1e-5"])
    assert config.lr_scheduler.learning_rate == 1e-5  # which YAML alone reads as text
    again = load_config(write(to_yaml(config)))
    assert again == config and to_dict(again) == yaml.safe_load(to_yaml(config))
    assert load_config(write("model:\nseed: 0")) == Config()


@pytest.mark.parametrize(
    "word, sentence",
    [
        ("total_iter=5", "unknown key total_iter (did you mean 'total_iters'?)"),
        ("dataset.train.batchsize=5", "unknown key dataset.train.batchsize (did you mean 'batch_size'?)"),
        ("log_config.visiual_interval=5", "unknown key log_config.visiual_interval (did you mean 'visual_interval'?)"),
        ("optimizer.zzz=5", "unknown key optimizer.zzz; known: name, beta1"),
        ("total_iters=many", "total_iters must be a whole number; got 'many'"),
        ("total_iters=0", "total_iters must be at least 1; got 0"),
        ("total_iters=1.5", "total_iters must be a whole number; got 1.5"),
        ("total_iters=true", "total_iters must be a whole number; got True"),
        ("total_iters=", "total_iters must be a whole number; got None"),
        ("lr_scheduler.learning_rate=.nan", "lr_scheduler.learning_rate must be a number; got nan"),
        ("lr_scheduler.learning_rate=0", "lr_scheduler.learning_rate must be above 0; got 0"),
        ("optimizer.beta1=1", "optimizer.beta1 must be below 1; got 1"),
        ("model.attention=soft", "model.attention must be one of softmax, cosine; got 'soft'"),
        ("model.levels=3", "model.levels must be a list of whole numbers, such as [3, 4, 5]; got 3"),
        ("losses.content.level_weights={a: 1}", "losses.content.level_weights must be a mapping of levels to numbers"),
        ("enable_visualdl=1", "enable_visualdl must be true or false; got 1"),
        ("model=5", "model must be a mapping of keys to values; got 5"),
        ("dataset.train.load_size=100", "dataset.train.load_size is 100, smaller than dataset.train.crop_size 256"),
        ("seed", "the override seed is not of the form a.b=c"),
        ("a..b=1", "the override a..b=1 is not of the form a.b=c"),
        ("seed=[", "the override seed=[: '[' is not a YAML value"),
    ],
)
def test_a_wrong_override_is_one_sentence(write, word, sentence):
    with pytest.raises(InputError) as error:
        load_config(write("total_iters: 3"), [word])
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("- 1\n- 2", "is no mapping of keys to values"),
        ("", "is no mapping of keys to values"),
        ("a: [1", "is not YAML"),
        ("_base_: config.yaml", "config.yaml is its own _base_"),
        ("_base_: nowhere.yaml", "there is no configuration nowhere.yaml; looked in "),
        ("_base_: 5", "_base_ must be a file name or a list of them; got 5"),
        ("modle: {}", "unknown key modle (did you mean 'model'?)"),
    ],
)
def test_a_wrong_file_is_one_sentence(write, text, sentence):
    with pytest.raises(InputError) as error:
        load_config(write(text))
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_no_paddle_is_needed_to_read_a_configuration():
    """The module itself; importing the package that it is in loads Paddle."""
    tree = ast.parse((ROOT / "ppadaattn" / "config.py").read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not {name for name in names if "paddle" in name} and module.__name__ == "ppadaattn.config"


def test_main_answers_in_one_sentence(write):
    done = run_python(ROOT / "tools" / "main.py", "-c", write("seed: 0"), "-o", "modell.width=1")
    assert done.returncode == 2 and done.stderr == "error: unknown key modell (did you mean 'model'?)\n"


# ---------------------------------------------------------------------------------------------------------------------
# One home for each default, and former names
# ---------------------------------------------------------------------------------------------------------------------

# Sections of the configuration, and the functions whose arguments their keys are.
STATED_IN = [
    (training.Model, AdaAttNNetwork),
    (training.Model, initialize),
    (training.Illumination, objectives.Stylization.paint_with_noise),
    (training.LocalFeature, losses.adaattn_star),
    (training.Reconstruction, objectives.Reconstruction),
    (evaluation.FlowError, temporal.read_clip),
    (evaluation.Speed, speed.measure),
]
STATED_IN += [
    (item.type, getattr(losses, f"{item.name}_loss"))
    for item in dataclasses.fields(training.Losses)
    if hasattr(losses, f"{item.name}_loss")
]


@pytest.mark.parametrize(
    ("section", "function"), STATED_IN, ids=lambda item: f"{item.__module__.rpartition('.')[2]}.{item.__name__}"
)
def test_a_default_is_the_object_in_the_signature(section, function):
    arguments = {
        name: argument.default
        for name, argument in inspect.signature(function).parameters.items()
        if argument.default is not inspect.Parameter.empty
    }
    fields = {item.name: item for item in dataclasses.fields(section)}
    shared = fields.keys() & arguments.keys()
    if section is evaluation.FlowError:
        shared.discard("size")  # of a report: frames reduced; of a clip by itself: as they are
    for name in shared:
        assert fields[name].metadata["default"] is arguments[name], name
    if section.__name__ not in ("IdentityPixels", "TotalVariation", "Range"):  # which have nothing but a weight
        assert shared or not arguments, f"{section} takes nothing from {function}"


def test_every_argument_of_a_loss_is_a_key():
    """But those that follow from the network, and the seed, which follows from the iteration."""
    for section, function in STATED_IN:
        if function.__module__ == losses.__name__ and function is not losses.adaattn_star:
            keywords = inspect.signature(function).parameters.values()
            names = {item.name for item in keywords if item.kind is item.KEYWORD_ONLY}
            assert names <= {item.name for item in dataclasses.fields(section)}, function


@pytest.mark.parametrize(
    ("section", "name", "table"),
    [
        (training.Model, "name", objectives.OBJECTIVES),
        (training.Model, "attention", KINDS),
        (training.Model, "conventions", CONVENTIONS),
        (training.Model, "transform", TRANSFORMS),
        (training.Model, "init", INITS),
        (training.GlobalStyle, "distance", losses.DISTANCES),
        (training.ImageSimilarity, "normalization", losses.SIMILARITY_NORMALIZATIONS),
        (training.Reconstruction, "distance", objectives.PIXEL_DISTANCES),
        (training.TrainData, "content_kind", data.CONTENT_KINDS),
        (training.TestData, "content_kind", data.CONTENT_KINDS),
        (training.Optimizer, "name", trainer.OPTIMIZERS),
        (training.Schedule, "name", trainer.SCHEDULES),
        (evaluation.FlowError, "flow", temporal.FLOWS),
        (evaluation.Report, "parts", report.TITLES),
    ],
)
def test_choices_are_the_table_of_the_code_that_uses_them(section, name, table):
    (found,) = [item for item in dataclasses.fields(section) if item.name == name]
    assert found.metadata["choices"] is table


def test_former_names_are_read_with_a_note(write):
    path = write("model: {revive: true}\nlosses: {content: {shares: {3: 0.5}}}", "old.yaml")
    with pytest.warns(InputNote) as notes:
        config = load_config(path, ["losses.image_similarity.reading=size_independent"])
    assert config.model.reinit_dead_channels and config.losses.content.level_weights == {3: 0.5}
    assert config.losses.image_similarity.normalization == "size_independent"
    sentences = [str(item.message) for item in notes]
    assert len(sentences) == 2
    assert (
        "old.yaml: keys have new names: model.revive is now reinit_dead_channels, losses.content.shares is"
        in sentences[0]
    )
    assert sentences[1].startswith("the overrides: keys have new names: losses.image_similarity.reading is now normal")
    assert "shares" not in to_yaml(config) and "revive" not in to_yaml(config)


def test_a_former_name_gives_way_to_layers_above(write):
    write("model: {revive: true}\nlosses: {content: {shares: {3: 0.5}}}", "old.yaml")
    path = write("_base_: old.yaml\nmodel: {reinit_dead_channels: false}")
    with pytest.warns(InputNote):
        config = load_config(path, ["losses.content.level_weights={4: 1}"])
    assert not config.model.reinit_dead_channels and config.losses.content.level_weights == {4: 1}


@pytest.mark.parametrize("old_first", [True, False])
def test_a_key_beside_its_former_name_is_refused(write, old_first):
    keys = ["revive", "reinit_dead_channels"][:: 1 if old_first else -1]
    sentence = r"model\.revive is the former name of model\.reinit_dead_channels; give one of the two"
    with pytest.raises(InputError, match=sentence):
        load_config(write("model:\n" + "".join(f"  {key}: true\n" for key in keys)))
    with pytest.raises(InputError, match=sentence):
        load_config(write("seed: 0"), [f"model.{key}=true" for key in keys])


def test_configurations_of_the_project_are_found_from_anywhere(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = load_config(ROOT / "configs" / "adaattn_lite_video.yaml")
    assert load_config("adaattn_lite_video.yaml") == load_config("configs/adaattn_lite_video.yaml") == shipped
    assert load_config(write("_base_: adaattn_lite_video.yaml")) == shipped
    assert load_config("baselines/sanet.yaml").model.transform == "sanet"
    monkeypatch.setenv("HOME", str(tmp_path))
    write("seed: 7", "mine.yaml")
    assert load_config("~/mine.yaml").seed == 7
    with pytest.raises(InputError) as error:
        load_config("adaattn_lite_vdieo.yaml")
    assert "did you mean 'adaattn_lite_video.yaml'?" in str(error.value)
    assert f"looked in {tmp_path} and among the packaged ones in {ROOT / 'configs'}" in str(error.value)


def test_an_override_may_name_a_file_that_the_locale_cannot_read():
    """Python gives each byte that it cannot read as one of these characters; YAML knows none of them."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert module._override(f"a.b={name}") == {"a": {"b": name}}
