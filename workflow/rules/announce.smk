# What was resolved is announced to the jobs, which compare it with what they resolve themselves; a
# folder that was copied without times is told.
from snakemake.logging import logger

from stclip.runtime.file_times import copied_without_times, file_times

if not workflow.remote_exec and copied_without_times(file_times(at_most=50)):
    logger.warning(
        "Most files here are newer than when they were made, as after a copy without times; "
        "`stclip doctor` says what to do."
    )
if not (workflow.remote_exec and announced):
    AT = f"at scale {SCALE}"
    records = {
        f"scale {SCALE}": SCALE_SETTINGS.shown,
        f"miniature of scale {SCALE}": SCALE_SETTINGS.miniature,
        **{
            f"rendering of {name} {AT}": its
            for name, its in SCALE_SETTINGS.miniature.render.items()
        },
        **{f"table {name} {AT}": table for name, table in ALL_TABLES.items()},
        **{f"figure {name} {AT}": figure for name, figure in FIGURES.items()},
        **{
            f"data set {name} {AT}": dataset for name, dataset in WHOLE_DATASETS.items()
        },
        **{f"detector {name} {AT}": its for name, its in USED_DETECTORS.items()},
        **{
            f"method {method} of {dataset} {AT}": its
            for (dataset, method), its in METHOD_SETTINGS.items()
        },
        **{
            f"download {name} of models {AT}": its
            for name, its in SCALE_SETTINGS.models.items()
        },
        **{
            f"download {name} of {dataset} {AT}": its
            for dataset, of_it in DATASETS.items()
            for name, its in of_it.archives.items()
        },
    }
    with one_state():
        announced = checked(resolved.announcement, records, versions=VERSION)
os.environ[resolved.RESOLVED] = announced


envvars:
    resolved.RESOLVED,
