# Last, where all rules are known: what the scale asks for and no rule reads.
import gc
import inspect

for name, wanted in SCALE_SETTINGS.resources.items():
    where = f"config/scales/{SCALE}.yaml, resources"
    checked(settings.check_name, name, NEEDS, what=f"rule of {where}:")
    for resource in wanted.model_fields_set:
        checked(
            settings.check_name, resource, NEEDS[name], what=f"key of {where}.{name}:"
        )

# Snakemake asks for the signature of each function of `params` three times a job, and makes millions
# of small objects that stay: with signatures kept, and Python's collector of garbage looking at them
# seldom, a fifth less time goes into planning (benchmarks/planning.py).
for rule in workflow.rules:
    for function in filter(callable, rule.params):
        function.__signature__ = inspect.signature(function)
gc.freeze()
gc.set_threshold(50_000, 20, 100)
