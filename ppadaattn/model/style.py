"""A style as a network keeps it: one state for each level; mixed, concatenated, in regions (section 4.5, B.1)."""

import numbers
from typing import TYPE_CHECKING, Dict, Optional, Sequence

from ppadaattn.errors import InputError, note
from ppadaattn.model.architecture import feature_size
from ppadaattn.model.regions import Colour, colour_name, level_labels, partner, split_mask

import numpy as np

if TYPE_CHECKING:
    from ppadaattn.model.attention import StyleState


class Style:
    """What a network keeps of a style: one StyleState for each level.

    `a + b` concatenates styles, as if they were side by side in one picture; `Style.mix` interpolates between them. A
    style that was prepared with a mask has `regions`: a content with a mask reads each of its regions from the region
    of the same colour, and points outside all regions from the whole style (appendix B.1).

    Attributes:
        states: {level: StyleState}.
        fingerprint: of the network that prepared it, where known; else None.
        regions: {(red, green, blue): Style}, the parts of the style.
    """

    def __init__(
        self,
        states: "Dict[int, StyleState]",
        fingerprint: Optional[str] = None,
        regions: "Optional[Dict[Colour, Style]]" = None,
    ):
        self.states = dict(states)
        self.fingerprint = fingerprint
        self.regions = dict(regions or {})

    @property
    def is_single(self) -> bool:
        """Whether it is one style without mixtures: a state with a kind of attention at each level, of batch 1."""
        return all(state.kind and state.batch == 1 for state in self.states.values())

    def state_dicts(self) -> Dict[int, dict]:
        """{level: `StyleState.state_dict`}."""
        return {level: state.state_dict() for level, state in self.states.items()}

    def __add__(self, other: "Style") -> "Style":
        if not isinstance(other, Style):
            return NotImplemented
        _check_of_one_network([self, other])
        states = {level: state + other.states[level] for level, state in self.states.items()}
        regions = {
            colour: parts[0] if len(parts) == 1 else parts[0] + parts[1]
            for colour, parts, _ in _parts_by_colour([self, other], [1, 1])
        }
        return Style(states, self.fingerprint, regions)

    @staticmethod
    def mix(styles: "Sequence[Style]", weights: Optional[Sequence[float]] = None) -> "Style":
        """Interpolate between styles: at each point, average their means and stds by the weights (section 4.5).

        A region is mixed of the styles that have a region of its colour, and left out where their weights are all 0.

        Args:
            styles: Styles of one network.
            weights: one number for each style, not negative; they are divided by their sum. Default: equal.

        Raises:
            TypeError: something else than Styles.
            ValueError: styles of several networks, weights that do not fit.
        """
        from ppadaattn.model.attention import mix  # here, because it loads Paddle

        styles = list(styles)
        _check_of_one_network(styles)
        states = {level: mix([style.states[level] for style in styles], weights) for level in styles[0].states}
        each = [1.0] * len(styles) if weights is None else list(weights)
        regions = {
            colour: Style.mix(parts, own) for colour, parts, own in _parts_by_colour(styles, each) if sum(own) > 0
        }
        return Style(states, styles[0].fingerprint, regions)

    def as_region(self, colour: Colour) -> "Style":
        """The same style, for regions of `colour`, (red, green, blue), of a content's mask."""
        return Style(self.states, self.fingerprint, {tuple(colour): Style(self.states, self.fingerprint)})

    def in_regions(self, mask: np.ndarray) -> "Style":
        """The style for one content with regions.

        Args:
            mask: uint8 H x W x 3 of the content's size; see `ppadaattn.regions`.

        Returns:
            a Style for contents of that size only.

        Raises:
            InputError: colours of the mask of which this style has no region; all are listed.
        """
        labels, colours = split_mask(mask)
        partners = {colour: partner(colour, self.regions) for colour in colours}
        missing = [colour_name(colour) for colour, other in partners.items() if other is None]
        if missing:
            known = ", ".join(map(colour_name, self.regions)) or "none"
            raise InputError(
                f"the style has no region for {', '.join(missing)} of the content's mask; its regions are {known}"
            )
        unused = [colour_name(colour) for colour in self.regions if colour not in partners.values()]
        if unused:
            note(f"the content's mask has no region for {', '.join(unused)} of the style")
        parts = [self, *(self.regions[other] for other in partners.values())]
        states = {}
        for level in self.states:
            cells = level_labels(labels, feature_size(mask.shape[:2], level), level)
            states[level] = self.states[level].in_regions([part.states[level] for part in parts], cells)
        return Style(states, self.fingerprint)


def _parts_by_colour(styles, weights):
    """Yield (colour, the styles' regions of that colour, weights of these styles) for each colour of any region."""
    colours = []
    for colour in (colour for style in styles for colour in style.regions):
        if partner(colour, colours) is None:
            colours.append(colour)
    for colour in colours:
        keys = [partner(colour, style.regions) for style in styles]
        parts = [(style.regions[key], weight) for style, key, weight in zip(styles, keys, weights) if key is not None]
        yield (colour, *zip(*parts))


def _check_of_one_network(styles):
    if not styles or not all(isinstance(style, Style) for style in styles):
        raise TypeError("expected one or more Style objects, as prepare_style gives them")
    kinds = {(style.fingerprint, tuple(style.states)) for style in styles}
    if len(kinds) != 1:
        raise ValueError("only styles that one network has prepared can be concatenated or mixed")


def check_strength(strength: float) -> None:
    """Raise InputError unless `strength`, how much of a style is used, is a number from 0 to 1."""
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise InputError(f"`strength` is 0 (the content as its own style) to 1 (the style); got {strength!r}")
