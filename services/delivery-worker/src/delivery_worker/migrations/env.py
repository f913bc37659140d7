"""Owns how Alembic reaches the database: through the connection that `delivery_worker.schema` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, transactional_ddl=False)
with context.begin_transaction():
    context.run_migrations()
