# alm2vec-search with the small model in it, for the CPU:
#
#   docker build --tag alm2vec-search .
#   docker run --rm --volume ~/recordings:/library:ro --volume alm2vec:/data alm2vec-search index /library
#   docker run --rm --volume alm2vec:/data alm2vec-search search "dog barking"
#
# With a torch that brings CUDA:  docker build --build-arg FLAVOUR=gpu --tag alm2vec-search:gpu .
# docs/docker.md says more; docker-compose.yml runs it as a server beside Qdrant.

# A tag can be moved to another image, a digest can't. To pin it for good, ask for the digest of the day
# (docker buildx imagetools inspect python:3.11.15-slim-bookworm) and write python:TAG@sha256:... here.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm


FROM ${PYTHON_IMAGE} AS build

# What is installed is what the lists say, byte for byte, and nothing is compiled: this stage has no
# compiler either.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /build/tools && python -m venv --without-pip /opt/alm2vec
COPY docker/build.lock docker/cpu.lock docker/torch-cpu.lock docker/gpu.lock ./

RUN /build/tools/bin/pip install --require-hashes --only-binary :all: --requirement build.lock

# cpu or gpu
ARG FLAVOUR=cpu
# Where the torch without CUDA lies; PyPI has none for Linux.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What goes at the end is for building on torch and for testing it: 200 MB.
RUN case "${FLAVOUR}" in cpu|gpu) ;; *) echo "FLAVOUR is cpu or gpu, not ${FLAVOUR}" >&2; exit 1 ;; esac \
    && install() { \
         python -m pip --python /opt/alm2vec/bin/python install \
           --require-hashes --no-deps --only-binary :all: "$@"; \
       } \
    && if [ "${FLAVOUR}" = cpu ]; then \
         install --index-url "${TORCH_INDEX}" --requirement torch-cpu.lock; \
       fi \
    && install --requirement "${FLAVOUR}.lock" \
    && torch="$(echo /opt/alm2vec/lib/python3*/site-packages/torch)" \
    && rm -rf "${torch}/include" "${torch}/test" "${torch}"/bin/test_* "${torch}"/bin/protoc*

COPY pyproject.toml README.md LICENSE ./source/
COPY alm2vec_search ./source/alm2vec_search
COPY indexer ./source/indexer
COPY trainer ./source/trainer
# The last line asks whether the lists still hold all that pyproject.toml wants.
RUN /build/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./source \
    && python -m pip --python /opt/alm2vec/bin/python install --no-deps --no-index wheels/*.whl \
    && python -m pip --python /opt/alm2vec/bin/python check


FROM ${PYTHON_IMAGE}

# The uid is fixed, so that volumes keep their owner from one image to the next.
RUN groupadd --gid 10001 alm2vec \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin alm2vec \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /opt/alm2vec /opt/alm2vec
COPY docker/healthcheck.py /opt/alm2vec/healthcheck.py

# All that is written lies in /data: the index or what is known of it, caches, fetched models. The rest
# can be mounted read-only. (A model of a hub is kept in HF_HOME.)
ENV PATH=/opt/alm2vec/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    ALM2VEC_HOME=/data/alm2vec \
    HF_HOME=/data/huggingface
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]

# Outside loopback the server wants a token: --env ALM2VEC_TOKEN=...
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/alm2vec/healthcheck.py"]
ENTRYPOINT ["alm2vec"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]
