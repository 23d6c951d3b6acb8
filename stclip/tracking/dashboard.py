"""The W&B workspace of a scale's runs on a data set; wandb-workspaces writes it.

Runs are grouped by method (their group). Panels: methods against splits, unseen against base
classes, AP by class, training curves, costs, pictures. Keys are those of
`stclip.tracking.wandb_runs`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stclip.errors import TrackingError
from stclip.evaluate.voting import ASSUMPTIONS
from stclip.tracking.wandb_runs import (
    CLASSES,
    PICTURES,
    class_key,
    close_wandb,
    map_key,
    project_of,
    split_key,
    why_not_online,
)

if TYPE_CHECKING:
    import wandb_workspaces.workspaces as ws

logger = logging.getLogger(__name__)
WIDE, HIGH = 24, 9  # of a panel, in W&B's grid; a row is 24 wide
ALL = 1000  # runs or bars of a panel; W&B shows 10 otherwise


def build_dashboard(
    entity: str,
    *,
    scale: str,
    dataset: str,
    title: str,
    splits: Sequence[str],
    unseen: Sequence[str],
) -> ws.Workspace:
    """The workspace of a data set.

    Args:
        entity: W&B user or team.
        scale: its name.
        dataset: its name.
        title: of the workspace.
        splits: label splits, the columns of methods against splits.
        unseen: labels that are unseen in any of them.
    """
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws

    means: dict[str, Any] = {  # over splits and seeds of a method
        **{"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"},
        "max_runs_to_show": ALL,
    }

    def bars(title: str, keys: Sequence[str], **more: Any) -> wr.BarPlot:
        return wr.BarPlot(title=title, metrics=list(keys), max_bars_to_show=ALL, **means, **more)

    def curve(key: str, **more: Any) -> wr.LinePlot:
        return wr.LinePlot(title=key, x="Step", y=[key], **means, **more)

    def against(x: str, y: str, **more: Any) -> wr.ScatterPlot:
        return wr.ScatterPlot(title=f"{y} against {x}", x=x, y=y, **more)

    wide = wr.Layout(w=WIDE, h=HIGH)
    assumptions = list(ASSUMPTIONS)
    sections: dict[str, list[Any]] = {
        "Methods against splits": [
            bars(f"Unseen mAP, {name}", [split_key(name, split) for split in splits])
            for name in assumptions
        ],
        "Unseen against base": [
            against(map_key(boxes, "base", name), map_key(boxes, "unseen", name))
            for boxes in ("detected", "gt")
            for name in assumptions
        ],
        "AP by class": [
            *(
                bars(
                    f"AP of unseen classes, {name}",
                    [class_key("detected", "unseen", name, label) for label in unseen],
                    layout=wide,
                )
                for name in assumptions
            ),
            wr.WeavePanelSummaryTable(table_name=CLASSES, layout=wide),
        ],
        "Training": [
            curve("loss", smoothing_type="exponential", smoothing_factor=0.8, log_y=True),
            *(curve(key) for key in ("lr", "seconds", "samples_per_s", "peak_memory_gib")),
        ],
        "Costs": [
            *(against("costs/video_macs", f"costs/{name} mAP", log_x=True) for name in assumptions),
            *(
                bars(key, [key])
                for key in (
                    "costs/video_macs", "costs/trained", "costs/training_s", "costs/score_s",
                    "costs/frames_per_s",
                )
            ),
        ],
        "Pictures": [wr.MediaBrowser(title=name, media_keys=[name]) for name in PICTURES],
    }  # fmt: skip
    columns = [split_key(name, split) for name in assumptions for split in splits]
    return ws.Workspace(
        entity=entity,
        project=project_of(scale),
        name=title,
        sections=[
            ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()
        ],
        runset_settings=ws.RunsetSettings(
            filters=f"Config('dataset') = '{dataset}'",
            groupby=[ws.Metric("Group")],
            order=[ws.Ordering(ws.Config("order"), ascending=True)],
            pinned_columns=[f"summary:{key}" for key in columns],
        ),
        settings=ws.WorkspaceSettings(max_runs=ALL),
        auto_generate_panels=False,
    )


def specification(workspace: ws.Workspace) -> dict[str, Any]:
    """What would be saved, as JSON values."""
    return workspace._model.model_dump(mode="json", by_alias=True, exclude_none=True)


def save_dashboard(build: Callable[[str], ws.Workspace], *, entity: str | None) -> str:
    """Save a workspace as a new view of its project.

    Args:
        build: makes it for an entity.
        entity: W&B user or team; None for the API key's own.

    Returns:
        Its address.

    Raises:
        TrackingError: no key, no network, or W&B refuses it.
    """
    import wandb

    try:
        if reason := why_not_online():
            raise TrackingError(f"the dashboard was not saved: {reason}.")
        return build(entity or wandb.Api().default_entity or "").save().url
    except (wandb.Error, OSError, RuntimeError) as error:
        raise TrackingError(f"W&B did not save the dashboard: {error!r}") from error
    finally:
        close_wandb()
