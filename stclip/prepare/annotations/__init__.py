"""Files of annotations that people have of their own videos: one module a format."""
