"""The former home of the model zoo, kept for programs that import it from here."""

from ppadaattn.files import cache_folder
from ppadaattn.weights.zoo import (
    DEFAULT_MODEL,
    MODELS,
    ROWS,
    Row,
    is_offline,
    look_up,
    obtain,
    vgg19_file,
    weights_file,
)
