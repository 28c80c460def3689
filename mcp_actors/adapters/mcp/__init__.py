"""The Model Context Protocol: agents enter the rooms of people."""
