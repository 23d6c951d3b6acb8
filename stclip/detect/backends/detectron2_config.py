"""The own settings of detectron2's detectors. Light: no torch here."""

from stclip.config import Params


class Detectron2DetectorConfig(Params):
    """Which model."""

    model: str = "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
    """a `COCO-*/*.yaml` of the configurations in its package"""
    objects: bool = False
    """boxes of every class but persons"""
