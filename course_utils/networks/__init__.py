"""The networks that are asked: ImageNet classifiers, the networks of the drawn birds, their weights."""
