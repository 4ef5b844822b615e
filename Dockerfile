# outputd as a user of its own, on a root that may be read-only: it writes to /data, and to /tmp.
# docker build --build-arg EXTRAS=archive: with what --archive needs.
FROM python:3.11-slim AS build
ARG EXTRAS=
COPY . /src
RUN pip wheel --no-cache-dir --wheel-dir /wheels "/src${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim
ARG EXTRAS=
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links=/wheels "outputd${EXTRAS:+[$EXTRAS]}" \
    && rm -r /wheels \
    && twistd --help >/dev/null \
    && useradd --system --uid 8081 --home-dir /data --create-home outputd
USER outputd
WORKDIR /data
VOLUME /data
ENV OUTPUTD_DB_DIR=/data PYTHONDONTWRITEBYTECODE=1
EXPOSE 8081 8091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["python", "-c", "import os, ssl, urllib.request as r; \
tls = bool(os.environ.get('OUTPUTD_TLS_CERT')); port = os.environ.get('OUTPUTD_HEALTH_PORT', '8091'); \
r.urlopen(f\"http{'s' * tls}://localhost:{port}/ready\", timeout=4, \
context=ssl._create_unverified_context() if tls else None)"]
ENTRYPOINT ["outputd"]
