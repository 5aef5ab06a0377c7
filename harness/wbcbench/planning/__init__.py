"""An experiment file → a plan: runs in a seeded order, what they cost, what they can show."""
