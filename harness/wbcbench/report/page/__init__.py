"""How a report is put together, drawn and set; the sections beside this folder only say."""
