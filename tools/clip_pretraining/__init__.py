"""Contrastive training of a config's two towers, and the file that real CLIPs come in."""
