"""Outlines and textures: what the figures of generated scenes are made of, as functions of coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Outlines: signed distance to the border in units of the circumradius, negative inside, and the area in the same
# units. A signed distance gives anti-aliased edges: the covered part of a pixel is 0.5 - distance, clipped.


def _spikes(x: Array, y: Array, count: int, valley: float) -> Array:
    """Star with ``count`` tips at radius 1 and valleys at radius ``valley``; a triangle is ``_spikes(3, 1/2)``."""
    # Fold the plane into one wedge between a tip and a valley; there the border is one straight line.
    y = np.abs(y)
    for multiple in range(count - 2, 0, -2):
        angle = multiple * math.pi / count
        normal_x, normal_y = -math.sin(angle), math.cos(angle)
        beyond = 2 * np.maximum(normal_x * x + normal_y * y, 0)
        x, y = x - beyond * normal_x, y - beyond * normal_y
    y = np.abs(y)
    valley_x, valley_y = valley * math.cos(math.pi / count), valley * math.sin(math.pi / count)
    length = math.sqrt((1 - valley_x) ** 2 + valley_y**2)
    return ((x - 1) * valley_y + y * (1 - valley_x)) / length


def _disk(x: Array, y: Array) -> Array:
    return np.sqrt(x * x + y * y) - 1


def _triangle(x: Array, y: Array) -> Array:
    return _spikes(x, y, 3, 0.5)


def _star(x: Array, y: Array) -> Array:
    return _spikes(x, y, 5, 0.5)


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    level, upright = (np.maximum(x - a, y - b) for a, b in (CROSS_EXTENT, CROSS_EXTENT[::-1]))
    return np.minimum(level, upright)


def capsule(x: Array, y: Array) -> Array:
    """Draw the outline of the textured distractors: the shape of no class."""
    x = np.maximum(np.abs(x) - 0.5, 0)
    return np.sqrt(x * x + y * y) - 0.5


# Half the length and half the width of a bar, whose corners lie at radius 1.
CROSS_EXTENT = (math.sqrt(1 - 0.36**2), 0.36)

Outline = Callable[[Array, Array], Array]
SHAPES: dict[str, Outline] = {"disk": _disk, "triangle": _triangle, "star": _star, "cross": _cross}
AREAS: dict[Outline, float] = {
    _disk: math.pi,
    _triangle: 3 * math.sqrt(3) / 4,
    _star: 5 * 0.5 * math.sin(math.pi / 5),
    _cross: 4 * CROSS_EXTENT[1] * (2 * CROSS_EXTENT[0] - CROSS_EXTENT[1]),
    capsule: 1 + math.pi / 4,
}


# Textures: weight of the second colour, 0 to 1, at coordinates in units of the period.


def _wave(position: Array, sharpness: float) -> Array:
    """Square wave of period 1 with ramps, so that edges are anti-aliased: a clipped triangle wave."""
    triangle = np.abs(2 * (position - np.floor(position)) - 1)
    return np.clip((triangle - 0.5) * sharpness + 0.5, 0, 1)


def _stripes(x: Array, y: Array, sharpness: float) -> Array:
    return _wave(x, sharpness)


def _checks(x: Array, y: Array, sharpness: float) -> Array:
    first, second = _wave(x, sharpness), _wave(y, sharpness)
    return first + second - 2 * first * second


Texture = Callable[[Array, Array, float], Array]
TEXTURES: dict[str, Texture] = {"striped": _stripes, "checked": _checks}
