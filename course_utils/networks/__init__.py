"""The networks that are asked: ImageNet classifiers, those of the drawn birds, their weights."""
