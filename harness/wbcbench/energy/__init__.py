"""From traces to joules that can be quoted."""
