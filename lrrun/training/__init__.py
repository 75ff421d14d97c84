"""The only room that imports torch: models, datasets, optimizers, the loop and its runner."""
