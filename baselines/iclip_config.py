"""iCLIP's own settings. Light: no torch here."""

from typing import Literal

from pydantic import Field, model_validator

from stclip.config import MemoryEvery, MemoryPool, Params


class ICLIPConfig(Params):
    """Hyper-parameters; where papers and released code differ see docs/deviations.md."""

    units: str = Field(default="POHMPOHM", pattern=r"^[POHM]+$")
    """the interaction units in order: some of the letters P (persons), O (objects), H
    (surroundings) and M (memory)"""
    before: int = Field(default=30, ge=0)
    """frames of the memory before the key frame"""
    after: int = Field(default=30, ge=0)
    """and behind it"""
    memory_every: MemoryEvery = "frame"
    """what these two count: frames, or seconds of which one frame each is in the memory"""
    memory_pool: MemoryPool = "full"
    """frames that a memory may hold: all, or (as released) those seen as samples before"""
    person_slots: int = Field(default=25, ge=1)
    """places of a frame for persons: those of the best boxes; the released code takes any 25"""
    object_slots: int = Field(default=5, ge=1)
    """for objects"""
    context_slots: int = Field(default=25, ge=1)
    """for the surroundings"""
    memory_slots: int = Field(default=10, ge=1)
    """for the memory, a step"""
    mask_padding: bool = False
    """whether nobody attends to empty slots"""
    object_pick: Literal["score", "random"] = "score"
    """which of more than `object_slots` objects stay"""
    skip_objects: Literal["never", "frame", "batch"] = "never"
    """leave out unit O where nobody of the frame, or batch, touches any"""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """of what a unit adds"""
    prompt_layers: int = Field(default=2, ge=0)
    """of Interaction-Aware Prompting; 0: the texts stay as they are"""
    alpha: float = 0.1
    """initial weight of the prompting, of every channel"""
    temperature: float = Field(default=0.07, gt=0)
    """cosines are divided by it"""
    lr_groups: bool = True
    """learning rates as released; else one for all"""

    @model_validator(mode="after")
    def _a_memory_has_frames(self) -> "ICLIPConfig":
        if "M" in self.units and not self.before + self.after:
            raise ValueError(
                "units has M, but before and after are 0: take M out, or ask for frames"
            )
        return self
