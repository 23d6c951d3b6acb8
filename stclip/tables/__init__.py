"""Tables of results: pure functions of what the stages wrote."""
