# The controller: provisioner and an SSH client. Build and use: docs/install.md.

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
# ssh needs an entry in /etc/passwd: build with --build-arg UID="$(id -u)" to use your own files.
ARG UID=1000
# Any version of Debian's stable release has what is needed here, and security updates should be installed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid "$UID" --create-home provisioner
# The only wheel of this name is the one from above.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels provisioner
USER ${UID}
WORKDIR /work
ENTRYPOINT ["provisioner"]
CMD ["--help"]
