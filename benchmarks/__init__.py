"""Measurements of Mendline beside what its user would do by hand. Figures are printed; nothing is asserted."""
