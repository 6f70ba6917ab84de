# One image for all services. `--build-arg EXTRAS=relay` makes a smaller image that holds a single service.
# `--build-arg BASE=…@sha256:…` pins the base image to a digest.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=all
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# uv comes from the lock file like everything else, so pip checks its hash. uv then installs exactly the locked versions
# of the packages that EXTRAS needs. With --system-certs uv trusts the certificates of the base image, as in the set-up
# of a checkout. The root file system of a container is read-only, so the bytecode is compiled here: a container then
# starts in a third of the time.
RUN python3 -m venv /opt/uv \
    && awk '/^uv==/ {on = 1; print; next} /^[a-z]/ {on = 0} on' requirements.lock > uv.lock \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes --no-deps -r uv.lock \
    && /opt/uv/bin/uv pip compile --system-certs pyproject.toml --extra "${EXTRAS}" --constraints requirements.lock \
       --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 -o extras.lock \
    && python3 -m venv --without-pip /opt/posthouse \
    && /opt/uv/bin/uv pip install --system-certs --no-cache --compile-bytecode --require-hashes \
       --python /opt/posthouse/bin/python -r extras.lock
COPY services services
COPY libs libs
COPY proto proto
COPY clients/python clients/python
COPY deploy/certificates deploy/certificates
COPY scripts/collect_licences.py scripts/collect_licences.py
RUN /opt/uv/bin/uv pip install --system-certs --no-cache --compile-bytecode --no-deps --python /opt/posthouse/bin/python . \
    && /opt/posthouse/bin/python scripts/collect_licences.py /opt/posthouse/licences

FROM ${BASE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Posthouse" \
      org.opencontainers.image.description="A mail delivery gateway as a REST and gRPC suite" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 posthouse \
    && useradd --uid 10001 --gid posthouse --no-create-home --shell /usr/sbin/nologin posthouse \
    && install -d -o posthouse -g posthouse -m 0700 /var/lib/posthouse /etc/posthouse/authority \
       /etc/posthouse/certificates/config_api /etc/posthouse/certificates/policy \
       /etc/posthouse/certificates/relay /etc/posthouse/certificates/ingress
COPY --from=build /opt/posthouse /opt/posthouse
ENV PATH=/opt/posthouse/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 POSTHOUSE_DATA_DIR=/var/lib/posthouse
USER 10001:10001
WORKDIR /var/lib/posthouse
VOLUME ["/var/lib/posthouse"]
STOPSIGNAL SIGTERM
# `posthouse ready` asks config_api and ingress whether they are ready, as suits a container that runs `posthouse up`.
# For containers with a single service, compose.yaml has checks of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 CMD ["posthouse", "ready"]
ENTRYPOINT ["posthouse"]
CMD ["--help"]
