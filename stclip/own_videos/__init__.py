"""Somebody's own videos and labels: `stclip predict`, `stclip.predict`, `stclip.Predictor`.

A video becomes what the road knows, part by part and in memory: a clip, its key frames, boxes of a
detector; then the one scorer scores it.
"""
