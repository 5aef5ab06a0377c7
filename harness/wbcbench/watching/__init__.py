"""One run carried out: from a spec to the watcher, and the trainer as the watcher sees it."""
