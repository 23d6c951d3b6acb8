# Last, where all rules are known: what the scale asks for and no rule reads.
for name, wanted in SCALE_SETTINGS.resources.items():
    where = f"config/scales/{SCALE}.yaml, resources"
    checked(settings.check_name, name, NEEDS, what=f"rule of {where}:")
    for resource in wanted.model_fields_set:
        checked(
            settings.check_name, resource, NEEDS[name], what=f"key of {where}.{name}:"
        )
