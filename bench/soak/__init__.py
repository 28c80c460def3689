"""Everything that chaos does one by one, for ten minutes or longer, and whether memory stays what it was."""
