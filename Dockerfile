# syntax=docker/dockerfile:1

# Two images: `serve` serves and keeps students; `train` imports and distills too (torch for CPUs).
#   docker build --target serve -t stillroom:serve .
#   docker build --target train -t stillroom:train --build-arg TORCH_INDEX_URL=... .
# docs/operating.md says how to run them.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1
# For the compiled loops, which make Embed and Classify about twice as fast; only here.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
RUN python -m venv /opt/stillroom
ENV PATH=/opt/stillroom/bin:$PATH
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY client/python client/python
COPY registry registry
COPY server server

FROM build AS build-serve
RUN pip install --constraint constraints.txt '.[server]'

FROM build AS build-train
# Only torch comes from here; the index's own copies of other packages are not the pinned ones.
ARG TORCH_INDEX_URL
RUN test -n "${TORCH_INDEX_URL}" \
    || { echo "pass --build-arg TORCH_INDEX_URL=, PyTorch's index of builds for CPUs" >&2; exit 1; }
RUN pip install --no-deps --index-url "${TORCH_INDEX_URL}" torch==2.13.0 \
    && pip install --constraint constraints.txt '.[train]'

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --system --gid 10001 stillroom \
    && useradd --system --uid 10001 --gid 10001 --no-create-home \
        --home-dir /var/lib/stillroom --shell /usr/sbin/nologin stillroom \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/stillroom
# Reachable from outside the container only with TLS and tokens, or with --allow-insecure: without
# either the server refuses to start and says so.
ENV PATH=/opt/stillroom/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/stillroom \
    STILLROOM_ADDRESS=0.0.0.0:50051 \
    STILLROOM_DATA_DIR=/var/lib/stillroom/data
COPY deploy/health.py /opt/health.py
WORKDIR /var/lib/stillroom
USER 10001:10001
VOLUME ["/var/lib/stillroom"]
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/health.py"]
ENTRYPOINT ["stillroom", "serve"]

FROM runtime AS train
COPY --from=build-train /opt/stillroom /opt/stillroom

FROM runtime AS serve
COPY --from=build-serve /opt/stillroom /opt/stillroom
