"""How the assessors were trained and measured. No lecture needs it; `make train-quality` does."""
