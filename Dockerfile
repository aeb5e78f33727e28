# One image for workers, pages and (on a laptop's cluster) the mocks: which it is, the command says.
#
#     docker build -t actor-mesh .
#     docker run --rm actor-mesh --help

ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /venv
COPY k8s/requirements.lock k8s/
RUN /venv/bin/pip install --quiet --require-hashes -r k8s/requirements.lock
COPY pyproject.toml README.md app.py ./
COPY streams/ streams/
COPY agents/ agents/
COPY tables/ tables/
COPY web/ web/
COPY mocks/ mocks/
COPY k8s/healthcheck.py k8s/
# What only served the installation goes, and the pages of litellm's own proxy; the rest is compiled
# once, here: at run time nothing can be written.
RUN /venv/bin/pip install --quiet --no-deps --no-build-isolation --editable . \
    && /venv/bin/pip uninstall --quiet --yes setuptools pip \
    && rm -rf /venv/lib/python3*/site-packages/litellm/proxy/_experimental/out \
    && find /venv /app -depth -type d -name __pycache__ -exec rm -rf {} + \
    && /venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /venv/lib /app

FROM ${BASE}
LABEL org.opencontainers.image.title="actor-mesh" \
      org.opencontainers.image.licenses="MIT"
# No name is needed for the user: a number is what `runAsNonRoot` can check.
RUN mkdir -m 0700 /var/lib/mesh && chown 10001:10001 /var/lib/mesh
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MESH_DATA_DIR=/var/lib/mesh \
    MESH_WEB_HOST=0.0.0.0 \
    MESH_MOCK_HOST=0.0.0.0 \
    MESH_LOG_FORMAT=json
USER 10001:10001
VOLUME /var/lib/mesh
# 6066 pages, 6071 worker; 6067 to 6070 the mocks.
EXPOSE 6066 6071
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python", "k8s/healthcheck.py"]
ENTRYPOINT ["python", "app.py"]
CMD ["--help"]
