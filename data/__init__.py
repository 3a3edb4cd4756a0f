"""Data files of the course, reached through `importlib.resources.files("course_utils.data")`."""
