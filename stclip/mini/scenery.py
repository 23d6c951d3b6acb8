"""Everything around the person: style of a picture, background, camera and sensor noise.

Two styles: STILL, the clean pictures with captions that the tiny CLIP is pre-trained on, and VIDEO,
the cluttered benchmark videos. They differ in numbers only.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from stclip.mini.choreography import Scene

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """How pictures of one kind vary; ranges are uniform, spreads are standard deviations."""

    own_scene: float  # chance of the action's own scene, else any
    plain: float  # chance of a studio background
    palette: float  # spread of the scene's colours
    texture: Range
    clutter: tuple[int, int]  # things in the background, least and most
    wash: tuple[float, float]  # gain and offset that pale the background
    scale: Range  # body height, picture heights
    ground: Range  # where the feet are, picture heights
    off_centre: float  # spread, picture widths
    follow: float  # 1: the movement's middle is centred, 0: its start
    body: float  # spread of the proportions
    angles: tuple[float, float, float]  # spread in degrees: torso, head, limbs
    roll: float  # spread of the camera's roll in degrees
    camera: tuple[float, float]  # spread of the camera's drift and shake, picture heights a frame
    props: float  # chance that a prop is there
    bystander: float  # chance that one more person stands about
    contrast: Range
    brightness: Range
    noise: Range
    blur: float  # chance of a soft lens
    colour_gain: Range
    colour_offset: Range


STILL = Style(
    own_scene=0.75,
    plain=0.45,
    palette=18,
    texture=(0, 10),
    clutter=(0, 3),
    wash=(0.5, 105),
    scale=(0.5, 0.82),
    ground=(0.875, 0.975),
    off_centre=0.05,
    follow=1.0,
    body=0.05,
    angles=(3, 5, 5),
    roll=2,
    camera=(0, 0),
    props=0.95,
    bystander=0.0,
    contrast=(0.9, 1.1),
    brightness=(0, 0),
    noise=(0, 5),
    blur=0.0,
    colour_gain=(1, 1),
    colour_offset=(0, 0),
)
VIDEO = Style(
    own_scene=0.6,
    plain=0.0,
    palette=30,
    texture=(6, 20),
    clutter=(3, 10),
    wash=(0.6, 70),
    scale=(0.33, 0.63),
    ground=(0.78, 0.96),
    off_centre=0.11,
    follow=0.5,
    body=0.08,
    angles=(3, 5, 7.5),
    roll=4,
    camera=(0.006, 0.004),
    props=0.85,
    bystander=0.3,
    contrast=(0.65, 1.25),
    brightness=(-25, 30),
    noise=(2, 8),
    blur=0.5,
    colour_gain=(0.7, 1),
    colour_offset=(0, 30),
)


def background(
    rng: np.random.Generator, size: tuple[int, int], scene: Scene, style: Style, *, horizon: float
) -> UInt8[np.ndarray, "H W 3"]:
    """A background of `size` (height, width); `horizon` in heights."""
    height, width = size
    line = int(horizon * height)
    if rng.random() < style.plain:
        image = np.full((height, width, 3), rng.uniform(120, 255) + rng.normal(0, 12, 3))
        if rng.random() < 0.5:
            image[line:] -= rng.uniform(10, 50)
        return _washed(image, style)
    image = np.empty((height, width, 3))
    image[:line] = scene.above + rng.normal(0, style.palette, 3)
    image[line:] = scene.below + rng.normal(0, style.palette, 3)
    image += np.linspace(-1, 1, height)[:, None, None] * rng.normal(0, 15)
    coarse = _smooth_noise(rng, (height, width), cells=4, channels=3)
    fine = _smooth_noise(rng, (height, width), cells=16, channels=1)
    image += rng.uniform(*style.texture) * (0.6 * coarse + 0.7 * fine)
    painted = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(*style.clutter, endpoint=True)):
        _thing(rng, painted, scene, line)
    return _washed(painted, style)


def _washed(image: np.ndarray, style: Style) -> UInt8[np.ndarray, "H W 3"]:
    """Paler than the figure, which has to stand out."""
    gain, offset = style.wash
    return (np.clip(image, 0, 255) * gain + offset).astype(np.uint8)


def _smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], *, cells: int, channels: int
) -> Float[np.ndarray, "H W C"]:
    noise = rng.standard_normal((cells, cells + 2, channels)).astype(np.float32)
    height, width = size
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth.reshape(height, width, channels)


def _thing(
    rng: np.random.Generator, image: UInt8[np.ndarray, "H W 3"], scene: Scene, line: int
) -> None:
    """One piece of clutter: a house or a cupboard, a bush, a picture, a pole."""
    height, width = image.shape[:2]
    base = np.array((scene.above, scene.below)[rng.integers(2)])
    colour = tuple(float(c) for c in np.clip(base + rng.normal(0, 45, 3), 0, 255))
    x, y = int(rng.integers(-10, width)), int(rng.integers(-10, line + 4))
    w, h = int(rng.integers(4, width // 3)), int(rng.integers(4, height // 2))
    top = max(0, line - h)
    kind = rng.integers(4)
    if kind == 0:
        cv2.rectangle(image, (x, top), (x + w, line), colour, -1)
    elif kind == 1:
        cv2.circle(image, (x, y), w // 3 + 1, colour, -1, cv2.LINE_AA)
    elif kind == 2:
        cv2.rectangle(image, (x, y), (x + w, y + h // 2), colour, -1)
    else:
        foot = x + int(rng.integers(-8, 9))
        cv2.line(image, (x, line), (foot, top), colour, int(rng.integers(1, 5)), cv2.LINE_AA)


def camera_path(
    rng: np.random.Generator, num_frames: int, *, height: int, limit: int, style: Style
) -> Float[np.ndarray, "T 2"]:
    """The camera's shift in pixels: a slow drift and a shake, at most `limit` either way."""
    drift, shake = style.camera
    path = np.cumsum(rng.normal(0, drift * height, (num_frames, 2)), 0)
    return np.clip(path + rng.normal(0, shake * height, (num_frames, 2)), -limit, limit)


@dataclass(frozen=True)
class Sensor:
    """What the camera does to a picture: soft lens, contrast, brightness, noise."""

    contrast: float
    brightness: float
    noise: float
    soft: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, style: Style) -> "Sensor":
        """Draw a camera for one video."""
        return cls(
            contrast=rng.uniform(*style.contrast),
            brightness=rng.uniform(*style.brightness),
            noise=rng.uniform(*style.noise),
            soft=bool(rng.random() < style.blur),
        )

    def expose(
        self, rng: np.random.Generator, image: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The picture as this camera records it.

        The noise is grey and 2 px coarse, as in compressed films, and a colour has 6 bits: PNG
        packs that into a third of what fine noise in all bits takes.
        """
        height, width, colours = image.shape
        taken = cv2.GaussianBlur(image, (3, 3), 0) if self.soft else image
        bank = _noise_bank()
        k, y, x = rng.integers(0, (len(bank), 32, 32))
        grain = bank[k, y : y + (height + 1) // 2, x : x + (width + 1) // 2] * self.noise
        # of all colours in a row: numpy is slow over an axis of three
        spread = np.rint(grain).astype(np.int16).repeat(2, 0).repeat(2 * colours, 1)
        table = (np.arange(256, dtype=np.float32) - 128) * self.contrast + 128 + self.brightness
        recorded = cv2.LUT(taken, np.rint(table).astype(np.int16)).reshape(height, -1)
        recorded = np.clip(recorded + spread[:height, : width * colours], 0, 255)
        return (recorded.astype(np.uint8) & np.uint8(0b11111100)).reshape(image.shape)


@cache
def _noise_bank() -> Float[np.ndarray, "N h w"]:
    """Standard normal noise to cut from: drawing anew for each frame would take half the time."""
    return np.random.default_rng(0).standard_normal((16, 128, 128)).astype(np.float32)
