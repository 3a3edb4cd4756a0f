"""All pages of a class in one zip, under the names that the LMS gave: it takes them back so."""

import io
import zipfile
from pathlib import Path

from .store import write_bytes

NO_TIME = (1980, 1, 1, 0, 0, 0)  # so that the same pages make the same bytes


def write_zip(
    path: Path, assignment: str, pages: dict[str, str], origins: dict[str, dict[str, str]]
) -> None:
    """Write the zip.

    Args:
        pages: student's folder (or key) -> the page.
        origins: student's folder -> what the LMS calls it, see `lms.origins`.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for student, page in sorted(pages.items()):
            entry = zipfile.ZipInfo(_place(student, assignment, origins.get(student, {})), NO_TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, page)
    write_bytes(path, buffer.getvalue())


def _place(student: str, assignment: str, origin: dict[str, str]) -> str:
    """Where Moodle and Canvas look for a student's page."""
    if origin.get("system") == "canvas":  # Canvas reads student and file from the name
        return f"{origin['place'].rsplit('.', 1)[0]}.html"
    return f"{origin.get('place') or student}/{assignment}.html"
