"""The miniature of AVA: long films of several persons who do one thing after the other."""
