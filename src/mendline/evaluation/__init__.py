"""How well the verdicts are, measured on failures whose cause is known."""
