"""The processes that run a sweep: supervisor, driver, preparation."""
