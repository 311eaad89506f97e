"""The curves of a ladder: where one passes another, and forecasts of the largest rung."""
