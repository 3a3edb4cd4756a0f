"""Widgets: choose a photo, a class and a question; play the observer; answer a quiz."""
