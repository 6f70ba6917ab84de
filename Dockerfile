# One image for every service; `--build-arg EXTRAS=relay` makes a smaller one that holds a single service.
FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=all
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# The locked versions and hashes of just those extras.
RUN python -m venv /opt/lock \
    && awk '/^uv==/ {on = 1; print; next} /^[a-z]/ {on = 0} on' requirements.lock > uv.lock \
    && /opt/lock/bin/pip install --require-hashes --no-deps -r uv.lock \
    && /opt/lock/bin/uv pip compile pyproject.toml --extra "${EXTRAS}" --constraints requirements.lock \
       --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 -o extras.lock \
    && python -m venv /opt/posthouse \
    && /opt/posthouse/bin/pip install --require-hashes -r extras.lock
COPY services services
COPY libs libs
COPY proto proto
RUN /opt/posthouse/bin/pip install --no-deps .

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 posthouse \
    && useradd --uid 10001 --gid posthouse --no-create-home --shell /usr/sbin/nologin posthouse \
    && install -d -o posthouse -g posthouse -m 0700 /var/lib/posthouse
COPY --from=build /opt/posthouse /opt/posthouse
ENV PATH=/opt/posthouse/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 POSTHOUSE_DATA_DIR=/var/lib/posthouse
USER 10001:10001
WORKDIR /var/lib/posthouse
VOLUME ["/var/lib/posthouse"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["posthouse"]
CMD ["--help"]
