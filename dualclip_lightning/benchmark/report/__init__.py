"""Outputs made from the results: tables, published figures, curves, galleries, comparisons and one HTML file."""
