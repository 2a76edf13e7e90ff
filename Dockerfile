# The image of Latchkey: `docker build -t latchkey .`, or `deploy/build-image` where no engine is.
#
#   docker run --rm -v latchkey-config:/etc/latchkey -v latchkey-data:/var/lib/latchkey latchkey init /etc/latchkey --yes
#   docker run -d --stop-timeout 40 -p 8443:8443 -p 2001:2001 -v latchkey-config:/etc/latchkey \
#     -v latchkey-data:/var/lib/latchkey latchkey
#
# In /etc/latchkey/latchkey.yaml let the store's url be sqlite:/var/lib/latchkey/latchkey.db, the access log's path
# /var/lib/latchkey/access.jsonl, and the doors listen on 0.0.0.0. The ops listener may stay on 127.0.0.1: the health
# check asks it from inside. The stop timeout leaves room for `limits.drain_seconds`.
ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
ARG CARGO_PROFILE=release
# cargo reads both from its environment; deploy/build-image sets them.
ARG CARGO_HOME=/usr/local/cargo
ARG CARGO_NET_OFFLINE=false
WORKDIR /build
COPY . .
RUN cargo build --locked --profile "$CARGO_PROFILE" --bin latchkey --target-dir /target \
    && install -D -m 0755 /target/*/latchkey /out/latchkey

FROM ${RUNTIME_IMAGE}
# Fixed ids, so that the owner of a volume's files can be named from outside.
RUN groupadd --gid 10001 latchkey \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/latchkey --shell /usr/sbin/nologin latchkey \
    && install -d -m 0750 -o 10001 -g 10001 /etc/latchkey /var/lib/latchkey
COPY --from=builder /out/latchkey /usr/local/bin/latchkey
ENV LATCHKEY_CONFIG=/etc/latchkey/latchkey.yaml
USER 10001:10001
WORKDIR /var/lib/latchkey
VOLUME ["/etc/latchkey", "/var/lib/latchkey"]
EXPOSE 8443 2001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["latchkey", "healthcheck"]
ENTRYPOINT ["latchkey"]
CMD ["serve"]
