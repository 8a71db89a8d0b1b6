"""Comparison of any number of methods over several data sets: mean ranks, tests, critical differences, intervals."""
