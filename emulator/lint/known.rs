//! What the rules know of images: which ones keep data and on which ports they give it out, and which have no
//! health check.

/// Data stores by the last part of an image's name, with the ports at which their data is.
const STORES: &[(&str, &[u16])] = &[
    ("arangodb", &[8529]),
    ("cassandra", &[7000, 7001, 7199, 9042, 9160]),
    ("clickhouse", &[8123, 9000, 9004, 9005, 9009]),
    ("clickhouse-server", &[8123, 9000, 9004, 9005, 9009]),
    ("cockroach", &[26257]),
    ("consul", &[8300, 8301, 8302, 8500]),
    ("couchbase", &[8091, 8092, 8093, 11210]),
    ("couchdb", &[4369, 5984]),
    ("dragonfly", &[6379]),
    ("edgedb", &[5656]),
    ("elasticsearch", &[9200, 9300]),
    ("etcd", &[2379, 2380]),
    ("influxdb", &[8086, 8088]),
    ("keydb", &[6379]),
    ("mariadb", &[3306]),
    ("meilisearch", &[7700]),
    ("memcached", &[11211]),
    ("milvus", &[19530]),
    ("mongo", &[27017, 27018, 27019]),
    ("mongodb", &[27017, 27018, 27019]),
    ("mssql", &[1433]),
    ("mysql", &[3306, 33060]),
    ("mysql-server", &[3306, 33060]),
    ("neo4j", &[7473, 7474, 7687]),
    ("opensearch", &[9200, 9300, 9600]),
    ("oracle-xe", &[1521]),
    ("percona", &[3306, 33060]),
    ("pgbouncer", &[5432, 6432]),
    ("pgvector", &[5432]),
    ("postgis", &[5432]),
    ("postgres", &[5432]),
    ("postgresql", &[5432]),
    ("qdrant", &[6333, 6334]),
    ("redis", &[6379]),
    ("redis-stack", &[6379, 8001]),
    ("redis-stack-server", &[6379]),
    ("rethinkdb", &[28015, 29015]),
    ("scylla", &[7000, 9042, 10000]),
    ("surrealdb", &[8000]),
    ("timescaledb", &[5432]),
    ("typesense", &[8108]),
    ("valkey", &[6379]),
    ("weaviate", &[8080, 50051]),
    ("zookeeper", &[2181, 2888, 3888]),
];

/// Ports at which, in a container whose image tells nothing, only a data store listens.
const STORE_PORTS: &[(u16, &str)] = &[
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (5984, "CouchDB"),
    (6379, "Redis"),
    (9042, "Cassandra"),
    (9200, "Elasticsearch"),
    (11211, "memcached"),
    (26257, "CockroachDB"),
    (27017, "MongoDB"),
];

/// Ports at which a program lets itself be taken over.
const INNER_PORTS: &[(u16, &str)] = &[
    (2375, "Docker's API"),
    (5005, "a Java debugger"),
    (5678, "a Python debugger"),
    (9229, "a Node.js debugger"),
];

/// Some of Docker's official images, which have no `HEALTHCHECK` as a rule (docker-library/faq#healthcheck).
const OFFICIAL: &[&str] = &[
    "alpine",
    "busybox",
    "caddy",
    "cassandra",
    "couchdb",
    "debian",
    "elasticsearch",
    "haproxy",
    "httpd",
    "influxdb",
    "kibana",
    "mariadb",
    "memcached",
    "mongo",
    "mysql",
    "nats",
    "neo4j",
    "nginx",
    "node",
    "php",
    "postgres",
    "python",
    "rabbitmq",
    "redis",
    "traefik",
    "ubuntu",
    "wordpress",
    "zookeeper",
];

/// Whether an image is one of the official ones that are known to have no health check.
pub(super) fn has_no_health_check(image: &str) -> bool {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    !image.contains('/') && OFFICIAL.contains(&image_name(image))
}

/// What is at a port that nobody but its own services should reach: a data store, or a debugger.
pub(super) fn inner(image: Option<&str>, port: u16) -> Option<&str> {
    let debugger = INNER_PORTS.iter().find(|(known, _)| *known == port);
    data_store(image, port).or_else(|| debugger.map(|(_, name)| *name))
}

/// The last part of an image's name: `ghcr.io/acme/postgres:17@sha256:…` → `postgres`.
pub(super) fn image_name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next().unwrap_or(last)
}

/// The data store that a port gives out: by the image, else by a port that nothing else has.
pub(super) fn data_store(image: Option<&str>, port: u16) -> Option<&str> {
    let name = image.map(image_name);
    if let Some((name, ports)) =
        name.and_then(|name| STORES.iter().find(|(known, _)| *known == name))
    {
        return ports.contains(&port).then_some(name);
    }
    let known = STORE_PORTS.iter().find(|(known, _)| *known == port);
    known.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (image, name) in [
            ("postgres", "postgres"),
            ("postgres:17-alpine", "postgres"),
            ("localhost:5000/acme/redis", "redis"),
            ("docker.io/library/mysql:8@sha256:abc", "mysql"),
        ] {
            assert_eq!(image_name(image), name);
        }
    }

    #[test]
    fn a_store_by_image_and_by_port() {
        assert_eq!(data_store(Some("postgres:17"), 5432), Some("postgres"));
        assert_eq!(data_store(Some("postgres:17"), 80), None);
        assert_eq!(data_store(Some("acme/app"), 5432), Some("PostgreSQL"));
        assert_eq!(data_store(None, 8080), None);
    }

    #[test]
    fn official_images_have_no_health_check() {
        for image in ["postgres", "redis:8-alpine", "docker.io/library/nginx"] {
            assert!(has_no_health_check(image), "{image}");
        }
        for image in ["acme/postgres", "localhost:5000/redis", "shop", "nextcloud"] {
            assert!(!has_no_health_check(image), "{image}");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(OFFICIAL.is_sorted());
        assert!(STORES.is_sorted_by_key(|(name, _)| *name));
        assert!(STORE_PORTS.is_sorted());
    }
}
