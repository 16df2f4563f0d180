# Short names for what CONTRIBUTING.md explains. `just --list` shows them.

# Serve on 127.0.0.1:8848 with data in ./data
run *arguments:
    cargo run --release -- serve {{arguments}}

# All tests; those on PostgreSQL and MariaDB as far as servers are installed or named
test *arguments:
    cargo test --workspace {{arguments}}

# All tests, or what is named instead, beside a PostgreSQL, a MariaDB and a provider of single sign-on of our own; installs them as root when missing
test-databases *command='cargo test --workspace':
    scripts/databases run -- scripts/oidc run -- {{command}}

# Install PostgreSQL, MariaDB and faketime where they are missing; Debian or Ubuntu, as root
install-databases:
    scripts/databases install

# The quick round: format, lints, and the tests of the rules and the actors that need no database server
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-features -- -D warnings
    env -u CALLBOARD_TEST_POSTGRES_URL -u CALLBOARD_TEST_MYSQL_URL CALLBOARD_SIM_SEEDS=500 \
        cargo test -p callboard-protocol -p callboard-actors --all-features

# Everything that must pass, with PostgreSQL and MariaDB
ci:
    .ci/run

# Licences, advisories and layers of the dependencies; needs cargo-deny
deny:
    cargo deny check

# Kill a node amid publishers, again and again
crash-check *arguments:
    cargo run --release -p callboard-integration-tests --bin crash-check -- {{arguments}}

# Let storage fail at every call in turn, that of SQLite and of the database servers that are installed
storage-check *arguments:
    cargo run --release -p callboard-integration-tests --bin crash-check -- --failing-storage {{arguments}}

# Publish and read a few keys under a tiny cache and check every read
freshness-check *arguments:
    cargo run --release -p callboard-integration-tests --bin freshness-check -- {{arguments}}

# Let everything go wrong on clusters under load for a time, such as 30m; prints the table of docs/consistency.md
chaos duration='30m' *arguments='':
    cargo run --release -p callboard-integration-tests --bin chaos -- --duration {{duration}} {{arguments}}

# Break highly available databases under a cluster with load: MariaDB, Galera, Patroni; installs them as root when missing
chaos-ha *arguments:
    scripts/ha-programs
    PATH="$PWD/target/ha-programs/patroni/bin:$PATH" cargo run --release -p callboard-integration-tests --bin chaos-ha -- {{arguments}}

# Attack a node in every way that is known to have hurt one, beside good clients; prints a table
siege *arguments:
    cargo run --release -p callboard-integration-tests --bin siege -- {{arguments}}

# Publish on every node of a cluster and read every node at once; with --measure, how fast that is by the client wrk
cluster-freshness-check *arguments:
    cargo run --release -p callboard-integration-tests --bin cluster-freshness-check -- {{arguments}}

# Send everything that the interface's description allows, and what it does not
api-fuzz *arguments:
    scripts/api-fuzz {{arguments}}

# Measure a node, and rnacos beside it when that is on the PATH; see docs/performance.md
bench *arguments:
    scripts/bench {{arguments}}

# Feed arbitrary bytes to every decoder that a stranger reaches, ten minutes or so many seconds each; needs cargo-fuzz and nightly
fuzz seconds='600' *targets:
    scripts/fuzz {{seconds}} {{targets}}

# Write the bill of materials of the program, target/callboard.cdx.json (CycloneDX); builds cargo-cyclonedx when it is missing
bill-of-materials:
    scripts/bill-of-materials
