"""Person boxes: detect."""

from stclip.cli.options import CONFIG, ConfigFolder, Dataset, In, Out, ScaleName, app


@app.command()
def detect(
    dataset: Dataset,
    scale: ScaleName,
    weights: In,
    clips: In,
    frames: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Box every person on the key frames of the test clips."""
    from stclip import config as c
    from stclip.detect import detect as stage
    from stclip.records import Clips

    stride = c.load_dataset(config, dataset, scale=scale).key_frame_stride
    detector = c.load_scale(config, scale).detector
    found = stage(
        detector, weights=weights, clips=Clips.read(clips), frames=frames, key_frame_stride=stride
    )
    found.write(out)
