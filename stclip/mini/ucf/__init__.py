"""The miniature of UCF101-24: films of 24 actions with several persons, vehicles and animals."""
