"""What is made of the results: tables, published figures beside them, curves, galleries, comparisons, one HTML file."""
