"""The tests. Unit, conformance and adapter tests open no socket and read no real clock."""
