# Stands in for the public image of Postgres 15 where no registry is reachable: the same server out of Debian's
# package, with as much of the image's interface as compose.yaml uses.
ARG BASE
FROM ${BASE}
RUN groupadd -r --gid=999 postgres \
 && useradd -r --gid=999 --uid=999 --home-dir=/var/lib/postgresql --shell=/bin/bash postgres \
 && mkdir -p /etc/postgresql-common/createcluster.d \
 && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/none.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
 && install -d -m 3777 -o postgres -g postgres /var/run/postgresql \
 && install -d -m 1777 -o postgres -g postgres /var/lib/postgresql/data \
 && mkdir /docker-entrypoint-initdb.d
COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
ENV PGDATA=/var/lib/postgresql/data
LABEL clawkaka.image=stand-in
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
