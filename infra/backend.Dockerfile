# The product's image: one program, and the two tools with which the worker reads the walls. Built from the
# repository's root: docker build -f infra/backend.Dockerfile .
# Where no registry is reachable, deploy.sh builds the stage "runtime" on Debian packages and adds the program that
# this machine compiled.
ARG BASE=debian:bookworm-slim
ARG BUILDER=rust:1.95-slim-bookworm

FROM ${BASE} AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates iproute2 nftables \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY infra/ready.sh /usr/local/bin/ready
LABEL clawkaka.image=backend
USER 10001:10001
WORKDIR /
ENTRYPOINT ["clawkaka"]
CMD ["serve"]

FROM ${BUILDER} AS build
WORKDIR /source
COPY . .
# The checked queries are committed: no build needs a database.
RUN SQLX_OFFLINE=true cargo build --locked --release --bin clawkaka

FROM runtime
COPY --from=build /source/target/release/clawkaka /usr/local/bin/clawkaka
ARG BUILD=unknown
LABEL clawkaka.build=${BUILD}
