"""What runs logged: read, drawn, summed up."""
