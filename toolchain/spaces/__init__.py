"""Search spaces: what a genotype is and which graph it stands for. One family a module."""
