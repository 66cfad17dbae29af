"""Two models side by side: their layers aligned, what differs, and what another block in a layer's place costs."""
