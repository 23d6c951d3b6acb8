"""What methods and tables cost: counted, measured, planned."""
