"""The portal's limits: leaky bucket, running time of methods, size of a batch, and where they are kept."""
