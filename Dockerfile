# Two images in one file, called as SageMaker calls them (`docker run IMAGE serve`, `docker run IMAGE train`):
#   docker build --target serve -t binventory-serve .
#   docker build --target train -t binventory-train .
# torch comes from the index that pip is told; for a build without CUDA: --build-arg TORCH_INDEX=ADDRESS.
# SageMaker wants its containers to run as root, so no user is set.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
# The distribution's own Python, with its security updates: a pinned version would soon be gone from the mirrors.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/base.txt requirements/base.txt
RUN python3 -m venv /opt/binventory \
    && /opt/binventory/bin/pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY ship/abid.LICENSE ship/abid.LICENSE
COPY src src
RUN /opt/binventory/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM build AS build-train
ARG TORCH=2.13.0
ARG TORCH_INDEX=
RUN /opt/binventory/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "torch==${TORCH}"
COPY requirements/train.txt requirements/train.txt
RUN /opt/binventory/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/train.txt
# timm wants torchvision only to be imported.
COPY tests/torchvision_stub torchvision_stub
RUN /opt/binventory/bin/pip install --no-cache-dir --no-deps --no-build-isolation ./torchvision_stub

FROM python AS train
COPY --from=build-train /opt/binventory /opt/binventory
ENV PATH=/opt/binventory/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["python", "-m", "binventory.cloud.container"]
CMD ["train"]

FROM python AS serve
COPY --from=build /opt/binventory /opt/binventory
ENV PATH=/opt/binventory/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp/cache \
    SM_MODEL_DIR=/opt/ml/model \
    BINVENTORY_HOSTING=1 \
    BINVENTORY_HOST=0.0.0.0
# Without this label SageMaker gives a container in a pipeline of several no port of its own.
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
EXPOSE 8080
ENTRYPOINT ["binventory"]
CMD ["serve"]
