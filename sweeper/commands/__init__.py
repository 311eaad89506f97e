"""Where the concrete parts meet: what each command does, of space, runner, search and more."""
