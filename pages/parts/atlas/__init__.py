"""The Explore page: the map, what is selected on it, and the cards of tokens and subspaces."""
