"""The former home of attention, kept for programs that import it from here."""

from ppadaattn.model.attention import KINDS, StyleState, attention_statistics, mix, state_from_dict, style_state
from ppadaattn.model.features import channel_statistics, modulate, normalize, sample_points, stacked_key, unit_points
from ppadaattn.model.transforms.adaattn import AdaAttN
