"""A style as a network keeps it: one state a level, mixed, put side by side, in regions."""

import numbers

from ppadaattn.errors import InputError, note
from ppadaattn.model.attention import mix
from ppadaattn.model.regions import colour_name, level_labels, partner, split_mask
from ppadaattn.model.vgg import feature_size


class Style:
    """What a network keeps of a style: one StyleState a level.

    `a + b` puts styles side by side, as if they were one picture; `Style.mix` interpolates between them. Where a style
    was prepared with a mask, `regions` are its parts: contents with a mask read each region from the part of the same
    colour, and what is in no region from the whole (appendix B.1).

    Attributes:
        states: {level: StyleState}.
        fingerprint: of the network that prepared it, where that is known; None elsewhere.
        regions: {(red, green, blue): Style} of its parts.
    """

    def __init__(self, states, fingerprint=None, regions=None):
        self.states = dict(states)
        self.fingerprint = fingerprint
        self.regions = dict(regions or {})

    def __add__(self, other):
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
    def mix(styles, weights=None):
        """A style between `styles`: at each point the weighted average of their means and stds (section 4.5).

        A region is mixed of the styles that have one of its colour; it is left out where their weights are all 0.

        Args:
            styles: list of Style, of one network.
            weights: one number a style, not negative; they are divided by their sum. Default: equal.
        """
        styles = list(styles)
        _check_of_one_network(styles)
        states = {level: mix([style.states[level] for style in styles], weights) for level in styles[0].states}
        of_each = [1.0] * len(styles) if weights is None else list(weights)
        regions = {
            colour: Style.mix(parts, own) for colour, parts, own in _parts_by_colour(styles, of_each) if sum(own) > 0
        }
        return Style(states, styles[0].fingerprint, regions)

    def as_region(self, colour):
        """The same style, the whole of which is also its part for regions of `colour`: (red, green, blue)."""
        return Style(self.states, self.fingerprint, {tuple(colour): Style(self.states, self.fingerprint)})

    def in_regions(self, mask):
        """The style for a content with regions.

        Args:
            mask: uint8 H x W x 3 of the content's size; see `ppadaattn.regions`.

        Returns:
            a Style for contents of that size only.

        Raises:
            InputError: colours of the mask that no part of this style has; all are listed.
        """
        labels, colours = split_mask(mask)
        partners = {colour: partner(colour, self.regions) for colour in colours}
        alone = [colour_name(colour) for colour, other in partners.items() if other is None]
        if alone:
            known = ", ".join(map(colour_name, self.regions)) or "none"
            raise InputError(
                f"the content's mask has {', '.join(alone)}, of which the style has no region; its regions are {known}"
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
    """(colour, the parts for it, the weights of their styles), for each colour of a region of any of the styles."""
    colours = []
    for colour in (colour for style in styles for colour in style.regions):
        if partner(colour, colours) is None:
            colours.append(colour)
    for colour in colours:
        own = [partner(colour, style.regions) for style in styles]
        owners = [(style.regions[key], weight) for style, key, weight in zip(styles, own, weights) if key is not None]
        yield (colour, *zip(*owners))


def _check_of_one_network(styles):
    if not styles or not all(isinstance(style, Style) for style in styles):
        raise TypeError("expected one or more Style objects, as prepare_style gives them")
    kinds = {(style.fingerprint, tuple(style.states)) for style in styles}
    if len(kinds) != 1:
        raise ValueError("only styles that one network has prepared can be put side by side or mixed")


def check_strength(strength):
    """InputError unless it is a number from 0 to 1."""
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise InputError(f"strength is 0 (the content as its own style) to 1 (the style); got {strength!r}")
