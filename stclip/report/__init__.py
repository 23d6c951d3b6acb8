"""The page that shows a scale's results: `stclip report`."""
