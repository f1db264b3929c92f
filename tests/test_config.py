"""The configuration: layers of YAML, typed values, and one sentence for each mistake."""

import ast

from ppadaattn import config as module
from ppadaattn.config import Config, load_config, to_dict, to_yaml
from ppadaattn.errors import InputError

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
        ("seed", "-o seed is not of the form a.b=c"),
        ("a..b=1", "-o a..b=1 is not of the form a.b=c"),
        ("seed=[", "-o seed=[: '[' is not a YAML value"),
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
