"""From rows to statements: which runs may stand together, and what they show."""
