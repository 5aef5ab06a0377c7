"""A report on the loopback interface while its study is still being carried out; it only reads."""
