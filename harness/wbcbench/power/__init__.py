"""From sensors to traces on disk: meters, boards, and the session that samples them."""
