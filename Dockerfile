# The image of the daemon: the wheel is made in the first stage, only its environment goes into the second.
#
#   docker build --tag drift-monitor .
#   docker run --read-only --tmpfs /tmp --volume drift:/data --volume ./drift.yaml:/etc/drift-monitor/drift.yaml:ro drift-monitor
#
# Pin the base by digest where builds must repeat: --build-arg BASE=python:3.13-slim@sha256:...
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/drift-monitor
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY migrations ./migrations
COPY config/prometheus ./config/prometheus
COPY config/grafana ./config/grafana
COPY docs/runbooks.md ./docs/runbooks.md
COPY drift_monitor ./drift_monitor
RUN /opt/drift-monitor/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# Only files whose hashes are written down; then the wheel by its path, so that no index can put another in its place.
RUN /opt/drift-monitor/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock \
 && /opt/drift-monitor/bin/python -m pip install --no-cache-dir --no-deps /wheels/drift_monitor-*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="drift-monitor" \
      org.opencontainers.image.description="Watches features of database tables for distribution drift" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Bytecode was written when the packages were installed; the root file system may be read-only.
ENV PATH="/opt/drift-monitor/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DRIFT_HEALTH_URL="http://localhost:8765/-/healthy"
COPY --from=build /opt/drift-monitor /opt/drift-monitor
RUN install -d -o 65532 -g 65532 -m 0750 /data
WORKDIR /data
VOLUME ["/data"]
# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8765
STOPSIGNAL SIGTERM
# No proxy: the question is whether this container answers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python3", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(os.environ['DRIFT_HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["drift-monitor"]
CMD ["run", "--config.file=/etc/drift-monitor/drift.yaml"]
