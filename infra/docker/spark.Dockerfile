# Driver and executors of Spark: Java 17, Python, the platform, torch's CPU build.
#   docker build -f infra/docker/spark.Dockerfile -t hrnn-spark .

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/hrnn
ENV VIRTUAL_ENV=/opt/hrnn PATH=/opt/hrnn/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_NO_BUILD_ISOLATION=1
# What changes rarely comes first: the dependencies, each file as a lock's hash names it. uv stays outside /opt/hrnn.
COPY infra/locks infra/locks
RUN /usr/local/bin/pip install --require-hashes --no-deps -r infra/locks/installer.lock \
    && uv pip install --require-hashes --no-deps -r infra/locks/build.lock \
    && uv pip install --require-hashes --no-deps --index https://download.pytorch.org/whl/cpu -r infra/locks/torch-cpu.lock \
    && uv pip install --require-hashes --no-deps -r infra/locks/platform.lock
COPY pyproject.toml README.md LICENSE hrnn_start.py ./
COPY schemas schemas
COPY hrnn hrnn
COPY jobs jobs
COPY infra infra
RUN uv pip install --no-deps .

FROM python:3.11.14-slim-bookworm
# Debian keeps only the newest build of a package, so Java is pinned by its release: 17 of bookworm.
# procps: Spark's scripts call ps. tini: process 1 of a pod must pass signals on and reap.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/lib/jvm/java-17-openjdk-* /usr/lib/jvm/java-17 \
    && useradd --uid 10001 --create-home hrnn \
    && chgrp 0 /home/hrnn \
    && chmod g=u /etc/passwd /home/hrnn
COPY --from=build /opt/hrnn /opt/hrnn
COPY --chmod=755 infra/docker/entrypoint.sh /opt/entrypoint.sh
ENV PATH=/opt/hrnn/bin:$PATH \
    JAVA_HOME=/usr/lib/jvm/java-17 \
    SPARK_HOME=/opt/hrnn/lib/python3.11/site-packages/pyspark \
    PYSPARK_PYTHON=/opt/hrnn/bin/python \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/hrnn
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/entrypoint.sh"]
CMD ["hrnn", "doctor"]
