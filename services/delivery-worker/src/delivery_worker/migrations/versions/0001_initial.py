"""The first schema: messages, members, devices and their cursors, partition owners, meta.

SQL that MySQL 8.4 and MariaDB 10.11 read alike. Binary collations for every id: the default ones take `alice` and
`Alice` for one user. Milliseconds since 1970 on the database's clock, in BIGINT.
"""

from alembic import op

revision = "0001"
down_revision = None

ID = "VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"

TABLES = {
    "message": f"""
        conversation_id BINARY(16) NOT NULL,
        seq BIGINT NOT NULL,
        sender {ID},
        device_id {ID},
        client_id {ID},
        ts BIGINT NOT NULL,
        body TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        PRIMARY KEY (conversation_id, seq),
        UNIQUE KEY message_client_id (conversation_id, sender, client_id)""",
    "member": f"""
        user_id {ID},
        conversation_id BINARY(16) NOT NULL,
        peer_id {ID},
        last_seq BIGINT NOT NULL,
        last_ts BIGINT NOT NULL,
        delivered_seq BIGINT NOT NULL,
        read_seq BIGINT NOT NULL,
        peer_delivered_seq BIGINT NOT NULL,
        peer_read_seq BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (user_id, conversation_id),
        KEY member_updated (user_id, updated_at)""",
    "device": f"""
        user_id {ID},
        device_id {ID},
        first_seen BIGINT NOT NULL,
        last_seen BIGINT NOT NULL,
        revoked_at BIGINT NULL,
        PRIMARY KEY (user_id, device_id)""",
    "device_cursor": f"""
        user_id {ID},
        device_id {ID},
        conversation_id BINARY(16) NOT NULL,
        seq BIGINT NOT NULL,
        PRIMARY KEY (user_id, device_id, conversation_id)""",
    "partition_owner": f"""
        partition_id INT NOT NULL,
        epoch BIGINT NOT NULL,
        owner {ID},
        PRIMARY KEY (partition_id)""",
    "meta": """
        name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        value VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        PRIMARY KEY (name)""",
}


def upgrade() -> None:
    """Make the tables. Each statement commits by itself, so a second try after a failure finds some there."""
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) {TABLE}")


def downgrade() -> None:
    """Drop everything."""
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {name}")
