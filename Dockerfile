# The course for one person, or as the image of a hub: CPU build of torch, an ordinary user, bubblewrap for
# `make grade`.
#     docker build -t targeted-visual-explanations .
#     docker run --rm -p 8888:8888 targeted-visual-explanations
FROM python:3.12-slim-bookworm

ENV TORCH=cpu \
    SYSTEM=no \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    JUPYTER_PREFER_ENV_PATH=1 \
    JUPYTER_CONFIG_PATH=/srv/course/tools/jupyter \
    OMP_NUM_THREADS=2

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --shell /bin/bash learner

WORKDIR /srv/course
COPY requirements.lock pyproject.toml README.md LICENSE LICENSE-text ./
COPY tools tools
COPY data data
COPY course_utils course_utils
COPY course_checks course_checks
RUN python tools/set_up.py classroom
COPY lectures lectures
COPY exercises exercises
COPY classroom classroom

# learner, by number: a host need not know the name
USER 1000
ENV HOME=/home/learner \
    PATH=/srv/course/.venv/bin:$PATH
WORKDIR /home/learner
EXPOSE 8888
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8888/api', timeout=4)"]
CMD ["/srv/course/classroom/start"]
