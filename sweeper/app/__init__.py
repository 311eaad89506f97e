"""Where the concrete parts meet: what each command does, built of space, runner, search and more."""
