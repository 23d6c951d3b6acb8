"""The miniature: renders a small J-HMDB, pre-trains the tiny CLIP and the tiny person detector."""
