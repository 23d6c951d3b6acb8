"""Archives and models as published, checksums verified."""
